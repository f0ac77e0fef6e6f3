//! Saving an image as an archive or an OCI layout.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport, write_docker_archive};
use crate::oci::{Platform, Reference};
use crate::store::ImageRecord;

/// Which image is saved, and where to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SaveRequest {
    /// The image.
    pub image: Transport,
    /// The platform, if the image is for several.
    pub platform: Platform,
    /// Layouts and archives; see [`SaveRequest::add_output`].
    pub outputs: Vec<Transport>,
}

impl SaveRequest {
    /// The image for linux/amd64.
    pub fn new(image: Transport) -> Self {
        Self { image, platform: Platform::default(), outputs: Vec::new() }
    }

    /// Adds an output: `FILE` (a docker archive), `docker-archive:FILE[:NAME[:TAG]]`,
    /// `oci-archive:FILE[:TAG]` or `oci:DIR[:TAG]`. An archive has the image's name unless it is
    /// given another.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it is none of these.
    pub fn add_output(&mut self, text: &str) -> Result<()> {
        let output = match text.split_once(':') {
            Some(("oci" | "oci-archive" | "docker-archive", _)) => Transport::parse(text)?,
            Some(("docker", rest)) if rest.starts_with("//") => {
                return Err(Error::new(ErrorKind::Usage, format!("`{text}` is in a registry"))
                    .with_hint("use `mpimg copy` or `mpimg push`"));
            }
            // A path may have a colon.
            _ => Transport::DockerArchive { file: text.into(), reference: None },
        };
        self.outputs.push(output.named(self.name()));
        Ok(())
    }

    /// The image's name, if it has one with a tag: docker archives know no other.
    fn name(&self) -> Option<Reference> {
        let name = match &self.image {
            Transport::Store(name) | Transport::Registry(name) => Some(name),
            Transport::DockerArchive { reference, .. } => reference.as_ref(),
            Transport::OciLayout { .. } | Transport::OciArchive { .. } => None,
        }?;
        Some(name.repository().with_tag(name.tag()?.clone()))
    }
}

impl Mpimg {
    /// Writes an image to layouts and archives. The same image gives the same bytes.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`]; [`ErrorKind::Io`]: an output cannot be written.
    pub async fn save(&self, request: SaveRequest) -> Result<Image> {
        let image = self.find(request.image, &request.platform).await?;
        for output in &request.outputs {
            output.write(&self.open_store().await?, &image).await?;
        }
        Ok(image)
    }

    /// Writes an image as a docker archive to `writer`; `outputs` is left alone. A reader that has
    /// gone away ends the writing without an error.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`]; [`ErrorKind::Io`]: `writer` fails.
    pub async fn save_to(&self, request: SaveRequest, writer: &mut (dyn Write + Send)) -> Result<Image> {
        let store = &self.open_store().await?;
        let scratch = store.scratch()?;
        let file = scratch.path().join("image.tar");
        let archive = Transport::DockerArchive { file: file.clone(), reference: request.name() };
        let image = self.save(SaveRequest { outputs: vec![archive], ..request }).await?;
        let mut archive = File::open(&file).map_err(|error| Error::io("open", &file, error))?;
        match io::copy(&mut archive, writer) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(ErrorKind::Io, "cannot write the archive").with_source(error))
            }
            _ => Ok(image),
        }
    }

    /// Writes several images of the local store, each with these names, to one docker archive.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: it cannot be written; and what fetching layers gives.
    pub async fn save_images(&self, images: Vec<(ImageRecord, Vec<Reference>)>, file: &Path) -> Result<()> {
        let (store, client) = (self.store()?, self.client());
        let read = |record: &ImageRecord| Image::read_from_store(store, record, |repository, blob| client.blob(repository, blob));
        let images = images.into_iter().map(|(record, names)| Ok((read(&record)?, names))).collect::<Result<_>>()?;
        write_docker_archive(store, file, images).await
    }
}
