//! Loading the images of an archive into the local store.

use std::io;

use super::archive::ArchiveSource;
use super::{Mpimg, blocking, name_image};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{Image, Layer, Listed, Transport};
use crate::layer::Codec;
use crate::oci::{Platform, Reference};
use crate::store::Store;

/// Which archive is loaded, and under which names.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadRequest {
    /// What `docker save`, `podman save` or [`Mpimg::save`] has written, compressed or not; or the
    /// folder of an OCI layout.
    pub source: ArchiveSource,
    /// A further name, for an archive of one image.
    pub name: Option<Reference>,
    /// The platform, if the image is for several.
    pub platform: Platform,
    /// Keep an image without a name by its ID alone; else it is an error.
    pub unnamed: bool,
}

impl LoadRequest {
    /// All images of the archive for linux/amd64, under the names that they have there.
    pub fn new(source: impl Into<ArchiveSource>) -> Self {
        Self { source: source.into(), name: None, platform: Platform::default(), unnamed: false }
    }
}

/// An image that was loaded.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedImage {
    /// The image.
    pub image: Image,
    /// The names that it got in the local store; none of one that has none.
    pub names: Vec<Reference>,
}

impl Mpimg {
    /// Loads the images of an archive. Uncompressed layers are compressed on the way in.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such file; [`ErrorKind::Corrupt`]: it is not an archive
    /// of images, or is damaged; [`ErrorKind::Usage`]: an image has no name, or `name` was given
    /// for several images.
    pub async fn load(&self, request: LoadRequest) -> Result<Vec<LoadedImage>> {
        let LoadRequest { source, name, platform, unnamed } = request;
        let store = &self.open_store().await?;
        let (work, shown) = (store.clone(), source.to_string());
        let mut images = blocking(move || read_all(&work, source, &platform)).await?;
        if name.is_some() && images.len() != 1 {
            return Err(Error::new(ErrorKind::Usage, format!("`{shown}` holds {} images, and one name was given", images.len()))
                .with_hint("load it without a name, then use `mpimg tag`"));
        }
        for LoadedImage { image, names } in &mut images {
            names.extend(name.clone());
            if names.is_empty() && unnamed {
                self.keep_unnamed(image).await?;
                continue;
            }
            if names.is_empty() {
                let digest = image.descriptor().digest;
                return Err(Error::new(ErrorKind::Usage, format!("the image `{digest}` in `{shown}` has no name"))
                    .with_hint(format!("give it one with {}", Setting::Name.with("NAME"))));
            }
            let record = image.write_to_store(store).await?;
            name_image(store, names, record).await?;
        }
        Ok(images)
    }
}

fn read_all(store: &Store, source: ArchiveSource, platform: &Platform) -> Result<Vec<LoadedImage>> {
    let archive = source.open(store)?;
    let threads = crate::threads::available();
    let pack = |tar: &mut dyn io::Read| Layer::pack(store, tar, Codec::default(), threads);
    let read =
        |Listed { transport, names, .. }: Listed| Ok(LoadedImage { image: transport.read(store, platform, Some(&pack))?, names });
    Transport::list(store, &archive.path)?.into_iter().map(read).collect()
}
