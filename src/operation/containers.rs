//! Containers of the local store: listed, and found by name or ID.

use super::Mpimg;
use crate::container::{Container, ContainerInfo};
use crate::error::Result;

impl Mpimg {
    /// The container that a name, an ID or the beginning of one means.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is none, or more than one.
    pub fn container(&self, name: &str) -> Result<Container> {
        Container::find(self.store()?, name)
    }

    /// All containers, newest first; those that have ended and were not removed are included.
    ///
    /// # Errors
    /// [`ErrorKind::Store`](crate::ErrorKind::Store): the store cannot be opened.
    pub fn containers(&self) -> Result<Vec<ContainerInfo>> {
        Container::list(self.store()?)
    }
}
