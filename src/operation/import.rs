//! Importing a tar of a root file system as a base image.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::archive::ArchiveSource;
use super::{Mpimg, blocking, name_image};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Layer, import_with_comment};
use crate::layer::Codec;
use crate::oci::{Platform, Reference};

/// Which tar becomes an image, and how.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportRequest {
    /// The tar, plain or compressed with gzip, bzip2, xz or zstd.
    pub source: ArchiveSource,
    /// The image's name in the local store.
    pub name: Reference,
    /// What the image runs on.
    pub platform: Platform,
    /// How the layer is compressed; a gzip file stays as it is.
    pub codec: Codec,
    /// The image's time, seconds since 1970; the file's modification time without it.
    pub source_date_epoch: Option<String>,
    /// What the image's history says, instead of where it came from.
    pub message: Option<String>,
}

impl ImportRequest {
    /// An image for linux/amd64, called `name`.
    pub fn new(source: impl Into<ArchiveSource>, name: Reference) -> Self {
        Self {
            source: source.into(),
            name,
            platform: Platform::default(),
            codec: Codec::default(),
            source_date_epoch: None,
            message: None,
        }
    }

    /// Takes `SOURCE_DATE_EPOCH` of this process.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        self.source_date_epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
        self
    }
}

impl Mpimg {
    /// Makes a base image of a root file system, and names it. The same file gives the same digest.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is not a tar, or is damaged; [`ErrorKind::Usage`]:
    /// `source_date_epoch` is not a number.
    pub async fn import(&self, request: ImportRequest) -> Result<Image> {
        let ImportRequest { source, name, platform, codec, source_date_epoch, message } = request;
        let store = &self.open_store().await?;
        let work = store.clone();
        let image = blocking(move || {
            let archive = source.open(&work)?;
            let threads = crate::threads::available();
            let pack = |tar: &mut dyn std::io::Read| Layer::pack(&work, tar, codec, threads);
            let created = created(source_date_epoch.as_deref(), || modified(&archive.path))?;
            import_with_comment(&work, &archive.path, &platform, created, message, &pack)
        });
        let image = image.await?;
        let record = image.write_to_store(store).await?;
        name_image(store, &[name], record).await?;
        Ok(image)
    }
}

fn modified(file: &Path) -> Result<SystemTime> {
    file.metadata().and_then(|metadata| metadata.modified()).map_err(|error| Error::io("read", file, error))
}

/// An image's time in seconds since 1970: `epoch`, the text of `SOURCE_DATE_EPOCH`, or else
/// another.
pub(super) fn created(epoch: Option<&str>, or_else: impl FnOnce() -> Result<SystemTime>) -> Result<i64> {
    if let Some(epoch) = epoch {
        return epoch.parse().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH is `{epoch}`, which is not a number"))
                .with_hint("set it to seconds since 1970, or unset it")
        });
    }
    let since = or_else()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_secs()).unwrap_or_default())
}
