//! Giving an image of the local store another name.

use super::Mpimg;
use super::images::missing;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Reference};

impl Mpimg {
    /// Gives an image of the local store another name; a name that is taken moves to it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such image; [`ErrorKind::Usage`]: the new name has
    /// another digest.
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
}
