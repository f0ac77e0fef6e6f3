//! Pulling an image from a registry into the local store.

use super::{Mpimg, name_image};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;
use crate::oci::{Digest, Platform, Reference};

/// An image that was pulled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PulledImage {
    /// Its name in the local store.
    pub name: Reference,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Whether the local store had this image under this name before.
    pub up_to_date: bool,
}

impl Mpimg {
    /// Pulls an image for one platform into the local store, layers included, and gives it the name
    /// that it has in the registry.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it is not there, or not for this platform; [`ErrorKind::Usage`]:
    /// the name has no tag; [`ErrorKind::Auth`], [`ErrorKind::Registry`], [`ErrorKind::Network`]:
    /// the registry.
    pub async fn pull(&self, name: &Reference, platform: &Platform) -> Result<PulledImage> {
        let Some(tag) = name.tag().cloned() else {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("`{}` has no tag to be called by in the local store", name.familiar()),
            )
            .with_hint(format!("add one: `{}:TAG@DIGEST`, or use `mpimg copy`", name.repository().familiar())));
        };
        let local = name.repository().with_tag(tag);
        let store = self.open_store().await?;
        let image = self.find(Transport::Registry(name.clone()), platform).await?;
        // Layers come first, so that the name never stands for an image that is not whole.
        image.layer_files(&store).await?;
        let before = store.resolve(&local)?.map(|record| record.manifest.digest);
        let record = image.write_to_store(&store).await?;
        name_image(&store, std::slice::from_ref(&local), record).await?;
        let digest = image.descriptor().digest;
        Ok(PulledImage { name: local, digest, up_to_date: before == Some(digest) })
    }
}
