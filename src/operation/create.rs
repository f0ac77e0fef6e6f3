//! Making a container that is started later, and starting it.

use super::{ImageFiles, Mpimg, RunRequest, Started, blocking, find_local_image};
use crate::container::{Attached, Container, ContainerState};
use crate::error::Result;
use crate::image::Image;
use crate::oci::Platform;
use crate::store::{BlobSource, Store};

impl Mpimg {
    /// Makes a container that [`start_container`](Self::start_container) starts.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`] and [`Container::create`].
    pub async fn create(&self, request: RunRequest) -> Result<Container> {
        let RunRequest { image: name, platform, spec } = request;
        let store = self.store()?.clone();
        let image = find_local_image(&name, &platform, &store, self.client()).await?;
        blocking(move || Container::create(&store, &image, &name, &spec)).await
    }

    /// Starts a container that was [created](Self::create); it outlives this process.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage): it was started before; and those of
    /// [`Container::start`].
    pub async fn start_container(&self, name: &str) -> Result<Started<Container>> {
        self.start_created(name, |container, store, image, note| {
            container.start_created(store, image, note)?;
            Ok(container.clone())
        })
        .await
    }

    /// As [`start_container`](Self::start_container), but the container ends with the value that is
    /// returned, or with this process.
    ///
    /// # Errors
    /// See there.
    pub async fn attach_container(&self, name: &str) -> Result<Started<Attached>> {
        self.start_created(name, |container, store, image, note| container.attach_created(store, image, note)).await
    }

    async fn start_created<T: Send + 'static>(
        &self,
        name: &str,
        start: impl FnOnce(&Container, &Store, &Image, &mut dyn FnMut(&str)) -> Result<T> + Send + 'static,
    ) -> Result<Started<T>> {
        let (container, store) = (self.container(name)?, self.store()?.clone());
        let image = self.image_of(&container).await?;
        blocking(move || {
            let mut notes = Vec::new();
            let container = start(&container, &store, &image, &mut |note| notes.push(note.to_owned()))?;
            Ok(Started { container, notes })
        })
        .await
    }

    /// The files of a container: those of its image, and what its command has written.
    ///
    /// # Errors
    /// Those of [`Mpimg::image_files`] and [`Container::changes`].
    pub async fn container_files(&self, container: &Container) -> Result<ImageFiles> {
        let image = self.image_of(container).await?;
        let mut paths = image.layer_files(self.store()?).await?.into_iter();
        let mut layers = Vec::new();
        for layer in container.layers(&image)? {
            let path = match (paths.next(), &layer.source) {
                (Some(path), _) => path,
                (None, BlobSource::File(path)) => path.clone(),
                (None, _) => continue,
            };
            layers.push((layer, path));
        }
        let files = self.files_of(layers).await?;
        match container.info()?.state {
            ContainerState::Created => Ok(files),
            _ => {
                let container = container.clone();
                blocking(move || files.with_container(&container, &image)).await
            }
        }
    }

    /// The image of a container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): it is no longer in the local store.
    pub async fn image_of(&self, container: &Container) -> Result<Image> {
        let digest = container.info()?.digest.to_string();
        find_local_image(&digest, &Platform::host(), self.store()?, self.client()).await
    }
}
