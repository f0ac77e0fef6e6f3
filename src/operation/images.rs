//! Listing the images of the local store.

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{CONFIG_LIMIT, ImageConfig};
use crate::oci::Reference;
use crate::store::ImageRecord;

/// An image that the local store has a name for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredImage {
    /// The name.
    pub name: Reference,
    /// What it names.
    pub record: ImageRecord,
    /// When it was made, as its config says (RFC 3339).
    pub created: Option<String>,
}

impl StoredImage {
    /// The bytes that it takes in a registry.
    pub fn size(&self) -> u64 {
        self.record.size()
    }
}

impl StoredImage {
    /// Whether it was built without a name, so that its name here is only where the store keeps it.
    pub fn is_unnamed(&self) -> bool {
        super::local_images::is_unnamed(&self.name)
    }
}

impl Mpimg {
    /// The images of the local store, in the order of their names.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: it cannot be read.
    pub fn images(&self) -> Result<Vec<StoredImage>> {
        let store = self.store()?;
        // A config that cannot be read is an error of those who use the image; the list stays
        // complete.
        let created = |record: &ImageRecord| {
            let bytes = store.read_small(&record.config.digest, CONFIG_LIMIT).ok()?;
            ImageConfig::from_bytes(&bytes).ok()?.created
        };
        let image = |(name, record)| StoredImage { created: created(&record), name, record };
        Ok(store.list()?.into_iter().map(image).collect())
    }
}

/// The error of a name that no image has.
pub(super) fn missing(name: &Reference, hint: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no image `{}` in the local store", name.familiar())).with_hint(hint)
}
