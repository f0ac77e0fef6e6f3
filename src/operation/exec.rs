//! Running a further command in a container.

use super::{Mpimg, blocking};
use crate::container::ExecSpec;
use crate::error::Result;
use crate::sandbox::{Running, Streams};

impl Mpimg {
    /// Starts a further command in a running container; it ends with the value that is returned, or
    /// with this process.
    ///
    /// # Errors
    /// Those of [`Mpimg::container`], [`Mpimg::image_of`] and
    /// [`Container::exec`](crate::container::Container::exec).
    pub async fn exec(&self, container: &str, spec: ExecSpec, streams: Streams) -> Result<Running> {
        let container = self.container(container)?;
        let image = self.image_of(&container).await?;
        blocking(move || container.exec(&image, &spec, streams)).await
    }
}
