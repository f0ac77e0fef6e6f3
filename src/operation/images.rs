//! Listing the images of the local store.

use std::time::SystemTime;

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{CONFIG_LIMIT, ImageConfig, rfc3339};
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
    /// When it was given this name.
    pub named_at: Option<SystemTime>,
}

impl StoredImage {
    /// When it was made (RFC 3339): as its config says, or, if that says 1970 so that builds are
    /// reproducible, when it was given its name here.
    pub fn made(&self) -> Option<String> {
        let reproducible = rfc3339(0);
        let named = || self.named_at.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        match &self.created {
            Some(created) if *created == reproducible => named().map(|time| rfc3339(time.as_secs().cast_signed())),
            created => created.clone(),
        }
    }

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
        let image = |(name, record)| StoredImage { created: created(&record), named_at: store.named_at(&name), name, record };
        Ok(store.list()?.into_iter().map(image).collect())
    }
}

/// The error of a name that no image has.
pub(super) fn missing(name: &Reference, hint: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no image `{}` in the local store", name.familiar())).with_hint(hint)
}
