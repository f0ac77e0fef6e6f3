//! A bill of materials of an image: kept beside it in the registry, or in a file.
//!
//! The image does not change: a bill of materials that refers to it has a digest of its own. Layers
//! are read as they are stored, and not unpacked.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::recorded::SbomOutputs;
use super::{Mpimg, PushedImage, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Layer, ManifestTree, Transport, artifact, fetch_layers};
use crate::oci::{Descriptor, Digest, Platform, Repository};
use crate::progress::TaskKind;
use crate::sbom::{Inventory, LayerFacts, Package, SbomFile, SbomFormat};
use crate::store::Store;

const BUFFER: usize = 256 * 1024;

/// This many files that could not be read are named one by one.
const NOTICES: usize = 5;

/// What Harbor's own scanner attaches SBOMs as (goharbor/harbor, `src/pkg/scan/sbom`).
const HARBOR_SBOM: &str = "application/vnd.goharbor.harbor.sbom.v1";

/// A bill of materials of an image.
#[derive(Debug, Clone)]
pub struct ImageSbom {
    /// The image.
    pub image: Image,
    /// What is installed in it.
    pub inventory: Inventory,
    /// The document.
    pub document: String,
}

impl Mpimg {
    /// What is installed in an image. Layers that are elsewhere are fetched unless the store knows
    /// what is in them; none is unpacked.
    ///
    /// # Errors
    /// Those of the registry that has a layer; [`ErrorKind::Corrupt`]: a layer is damaged;
    /// [`ErrorKind::Interrupted`]: stopped.
    pub async fn inventory(&self, image: &Image) -> Result<Inventory> {
        let store = self.open_store().await?;
        let task = self.progress().task(TaskKind::Work, "list packages", None);
        let cancel = self.cancellation().clone();
        let scanned = async {
            let (layers, from) = (image.layers().to_vec(), store.clone());
            let stored = move || layers.iter().map(|layer| LayerFacts::stored(&from, layer)).collect::<Result<Vec<_>>>();
            let known = blocking(stored).await?;
            let unknown = image.layers().iter().zip(&known).filter(|(_, known)| known.is_none());
            let unknown: Vec<Layer> = unknown.map(|(layer, _)| layer.clone()).collect();
            let mut files = fetch_layers(&store, &unknown).await?.into_iter().zip(unknown);
            blocking(move || {
                let facts = known.into_iter().map(|known| match known {
                    Some(known) => Ok(Some(known)),
                    None => {
                        files.next().map(|(path, layer): (PathBuf, Layer)| read_facts(&store, &layer, &path, &cancel)).transpose()
                    }
                });
                Inventory::of(&facts.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?)
            })
            .await
        };
        match scanned.await {
            // However far the reading had come.
            Err(_) if self.cancellation().is_cancelled() => Err(Error::new(ErrorKind::Interrupted, "the work was interrupted")),
            inventory => inventory.inspect(|_| task.done()),
        }
    }

    /// The packages of [`Mpimg::inventory`].
    ///
    /// # Errors
    /// Those of [`Mpimg::inventory`].
    pub async fn packages(&self, image: &Image) -> Result<Vec<Package>> {
        self.inventory(image).await.map(|inventory| inventory.packages)
    }

    /// As `packages`, for a bill of materials. What could not be read is worth a warning, and so is
    /// an image with no package at all.
    pub(super) async fn materials(&self, image: &Image) -> Result<Inventory> {
        let inventory = self.inventory(image).await?;
        let (shown, more) = inventory.notices.split_at(inventory.notices.len().min(NOTICES));
        shown.iter().for_each(|notice| self.progress().warn(notice, None));
        if !more.is_empty() {
            self.progress().warn(&format!("{} more files could not be read for the SBOM", more.len()), None);
        }
        if inventory.packages.is_empty() {
            let hint = "what is read is listed in the documentation, docs/sbom.md; files of other kinds are not guessed at";
            self.progress().warn("no package was found in the image: its SBOM lists none", Some(hint));
        }
        Ok(inventory)
    }

    /// The bill of materials of an image, in this form. It calls the image by the repository or
    /// file that `name` names, as
    /// [`Mpimg::add_sbom`] and [`BuildOutputs::sbom_file`](super::BuildOutputs::sbom_file) do.
    ///
    /// # Errors
    /// Those of [`Mpimg::find`] and [`Mpimg::inventory`].
    pub async fn sbom(&self, name: Transport, platform: &Platform, format: SbomFormat) -> Result<ImageSbom> {
        let called = match &name {
            Transport::Store(name) | Transport::Registry(name) => name.repository().to_string(),
            other => other.to_string(),
        };
        let image = self.find(name, platform).await?;
        let inventory = self.materials(&image).await?;
        let document = format.document(&called, image.descriptor().digest, &image, &inventory);
        Ok(ImageSbom { image, inventory, document })
    }

    /// Makes a bill of materials of a pushed image, writes it and attaches it; if attached, the
    /// digest of the manifest that carries it. The packages are looked for once.
    ///
    /// # Errors
    /// Those of [`Mpimg::packages`], [`SbomFile::write`] and the registry.
    pub async fn add_sbom(&self, pushed: &PushedImage, outputs: &SbomOutputs) -> Result<Option<Digest>> {
        let SbomOutputs { attach, file } = outputs;
        if !outputs.is_wanted() {
            return Ok(None);
        }
        let add = async {
            let inventory = self.materials(&pushed.image).await?;
            let repository = pushed.destination.push.repository();
            let name = repository.to_string();
            let document = |format: SbomFormat| format.document(&name, pushed.pushed.digest, &pushed.image, &inventory);
            if let Some(file) = file {
                file.write(&document(file.format()))?;
            }
            let Some(format) = *attach else { return Ok(None) };
            let subject = pushed.pushed.descriptor();
            let artifact = self.sbom_artifact(repository, format, document(format), &subject)?;
            self.client().attach(repository, &artifact).await?;
            Ok(Some(artifact.descriptor.digest))
        };
        add.await.map_err(|error: Error| error.wrap("the image is pushed, but its SBOM is not"))
    }

    /// Attaches a bill of materials to an image that is in `repository`.
    pub(super) async fn attach_sbom(
        &self,
        repository: &Repository,
        image: &Image,
        subject: Descriptor,
        format: SbomFormat,
    ) -> Result<Digest> {
        let inventory = self.materials(image).await?;
        let document = format.document(&repository.to_string(), subject.digest, image, &inventory);
        let artifact = self.sbom_artifact(repository, format, document, &subject)?;
        self.client().attach(repository, &artifact).await?;
        Ok(artifact.descriptor.digest)
    }

    /// A document as an artifact that refers to `subject`. Harbor shows its own type as the image's
    /// SBOM, and others as something unknown; oras, regctl and who goes by the blob's type find the
    /// document's own.
    fn sbom_artifact(
        &self,
        repository: &Repository,
        format: SbomFormat,
        document: impl Into<Bytes>,
        subject: &Descriptor,
    ) -> Result<ManifestTree> {
        let kind = match self.client().is_harbor(repository)? {
            true => HARBOR_SBOM,
            false => format.media_type(),
        };
        Ok(artifact(kind, format.media_type(), document.into(), subject))
    }

    /// Writes the bill of materials of an image that is called `name`.
    pub(super) async fn write_sbom(&self, name: &str, image: &Image, file: &SbomFile) -> Result<()> {
        let inventory = self.materials(image).await?;
        file.write(&file.format().document(name, image.descriptor().digest, image, &inventory))
    }
}

/// What a layer tells of packages, by reading it in the file `path`.
fn read_facts(store: &Store, layer: &Layer, path: &Path, cancel: &CancellationToken) -> Result<LayerFacts> {
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let file = Cancellable { inner: file, cancel: cancel.clone() };
    LayerFacts::read(store, layer, layer.tar_in(BufReader::with_capacity(BUFFER, file))?)
}

/// A file that cannot be read further once the token is cancelled.
struct Cancellable {
    inner: File,
    cancel: CancellationToken,
}

impl Read for Cancellable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not `Interrupted`, which readers take as a reason to read again.
        if self.cancel.is_cancelled() { Err(io::ErrorKind::BrokenPipe.into()) } else { self.inner.read(buffer) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BuildOutputs, Options};
    use super::*;
    use crate::build::BuildRequest;

    #[tokio::test(flavor = "multi_thread")]
    async fn cancellation_ends_the_reading_of_layers() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = folder.path().join("METADATA");
        std::fs::write(&metadata, "Metadata-Version: 2.1\nName: a\nVersion: 1\n").unwrap();
        std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCOPY METADATA /usr/lib/a.dist-info/\n").unwrap();
        let home = tempfile::tempdir().unwrap();
        let mpimg = Mpimg::new(Options { home: Some(home.path().into()), ..Options::default() });
        let built = mpimg.build(BuildRequest::new(folder.path()), &BuildOutputs::default()).await.unwrap();
        mpimg.cancellation().cancel();
        assert_eq!(mpimg.packages(&built.image).await.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
