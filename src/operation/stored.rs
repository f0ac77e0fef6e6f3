//! Images of the local store: listed, named, removed.
//!
//! Refuses to free space by itself: `mpimg prune` does, for all that has no name any more.

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{CONFIG_LIMIT, ImageConfig};
use crate::oci::{Digest, Reference};
use crate::store::ImageRecord;

/// An image that the local store has a name for.
#[derive(Debug, Clone)]
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
        let layers = self.record.layers.iter().map(|layer| layer.descriptor.size);
        self.record.manifest.size + self.record.config.size + layers.sum::<u64>()
    }
}

impl Mpimg {
    /// The images of the local store, in the order of their names.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: it cannot be read.
    pub fn images(&self) -> Result<Vec<StoredImage>> {
        let store = self.store()?;
        // A config that cannot be read is told by whoever uses the image; the list stays whole.
        let created = |record: &ImageRecord| {
            let bytes = store.read_small(&record.config.digest, CONFIG_LIMIT).ok()?;
            ImageConfig::from_bytes(&bytes).ok()?.created
        };
        let image = |(name, record)| StoredImage { created: created(&record), name, record };
        Ok(store.list()?.into_iter().map(image).collect())
    }

    /// Gives an image of the local store another name; a name that is taken moves to it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such image; [`ErrorKind::Usage`]: the new name has another digest.
    pub fn tag(&self, source: &Reference, target: &Reference) -> Result<Digest> {
        let store = self.store()?;
        let image = store.resolve(source)?.ok_or_else(|| missing(source, "`mpimg images` lists what is there"))?;
        if target.digest().is_some_and(|digest| *digest != image.manifest.digest) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("the image has the digest `{}`, not that of the new name", image.manifest.digest),
            )
            .with_hint("leave out what comes after `@`"));
        }
        store.tag(target, &image)?;
        Ok(image.manifest.digest)
    }

    /// Takes names away; tells which. With `force`, one that is not there is no error; without, all or none are removed.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no image of that name; nothing was removed.
    pub fn remove(&self, names: &[Reference], force: bool) -> Result<Vec<Reference>> {
        let store = self.store()?;
        // First looked for, then removed: a mistyped name leaves all others where they are.
        for name in names {
            if !force && store.resolve(name)?.is_none() {
                return Err(missing(name, "`mpimg images` lists what is there; nothing was removed"));
            }
        }
        let mut removed = Vec::new();
        for name in names {
            if store.untag(name)? {
                removed.push(name.clone());
            }
        }
        Ok(removed)
    }
}

fn missing(name: &Reference, hint: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no image `{}` in the local store", name.familiar())).with_hint(hint)
}
