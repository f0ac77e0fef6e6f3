//! Removing names of images from the local store. [`Mpimg::prune`] frees the space of what has no
//! name any more.

use super::Mpimg;
use super::images::missing;
use crate::error::Result;
use crate::oci::Reference;

impl Mpimg {
    /// Removes names; returns those that existed. With `force`, a missing name is not an error;
    /// without, all are removed or none.
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

    /// Deletes tags, or manifests with all their tags, from their registries. Stops at the first
    /// that fails.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): it is not there;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): the registry does not delete
    /// tags, or nothing at all.
    pub async fn remove_remote(&self, names: &[Reference]) -> Result<()> {
        for name in names {
            self.client().delete(name).await?;
        }
        Ok(())
    }
}
