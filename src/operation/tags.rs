//! Listing the tags of a repository.

use super::Mpimg;
use crate::error::Result;
use crate::oci::{Repository, Tag};

impl Mpimg {
    /// All tags of a repository in a registry, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth),
    /// [`ErrorKind::Registry`](crate::ErrorKind::Registry),
    /// [`ErrorKind::Network`](crate::ErrorKind::Network): the registry.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>> {
        Ok(self.client().tags(repository).await?.into_iter().collect())
    }
}
