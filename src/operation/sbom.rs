//! A bill of materials of an image: kept beside it in the registry, or in a file.
//!
//! The image does not change: a bill of materials that refers to it has a digest of its own. Layers are read as they are stored, and not
//! unpacked.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Mpimg, PushedImage, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, ManifestTree, artifact};
use crate::oci::{Descriptor, Digest, Repository};
use crate::progress::TaskKind;
use crate::sbom::{Package, SbomFile, SbomFormat, Scan};

const BUFFER: usize = 256 * 1024;

/// What Harbor's own scanner attaches SBOMs as (goharbor/harbor, `src/pkg/scan/sbom`).
const HARBOR_SBOM: &str = "application/vnd.goharbor.harbor.sbom.v1";

/// Where the bill of materials of a pushed image goes.
#[derive(Debug, Clone, Default)]
pub struct SbomOutputs {
    /// Into the registry, in this form: an artifact that refers to the image.
    pub attach: Option<SbomFormat>,
    /// To this file.
    pub file: Option<SbomFile>,
}

impl Mpimg {
    /// The Python and Debian packages of an image, and the crates of each Cargo.lock in it. Layers that are elsewhere are fetched.
    ///
    /// # Errors
    /// Those of the registry that has a layer; [`ErrorKind::Corrupt`]: a layer is damaged; [`ErrorKind::Interrupted`]: stopped.
    pub async fn packages(&self, image: &Image) -> Result<Vec<Package>> {
        let layers = image.layers().to_vec();
        let files = image.layer_files(&self.open_store().await?).await?;
        let task = self.progress().task(TaskKind::Work, "list packages", None);
        let cancel = self.cancellation().clone();
        let scanned = blocking(move || {
            let mut scan = Scan::default();
            for (path, layer) in files.into_iter().zip(layers) {
                let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
                let file = Cancellable { inner: file, cancel: cancel.clone() };
                scan.add(layer.tar_in(BufReader::with_capacity(BUFFER, file))?)?;
            }
            Ok(scan.packages())
        });
        match scanned.await {
            // However far the reading had come.
            Err(_) if self.cancellation().is_cancelled() => Err(Error::new(ErrorKind::Interrupted, "the work was interrupted")),
            packages => packages.inspect(|_| task.done()),
        }
    }

    /// The packages for a bill of materials. None at all is worth a warning: the image may have packages of other kinds.
    async fn materials(&self, image: &Image) -> Result<Vec<Package>> {
        let packages = self.packages(image).await?;
        if packages.is_empty() {
            let hint = "only what dpkg, Python's installers and a Cargo.lock have written down is looked for";
            self.progress().warn("no package was found in the image: its SBOM lists none", Some(hint));
        }
        Ok(packages)
    }

    /// Makes a bill of materials of a pushed image, writes it and attaches it; if attached, the digest of the manifest that carries
    /// it. The packages are looked for once.
    ///
    /// # Errors
    /// Those of [`Mpimg::packages`], [`SbomFile::write`] and the registry.
    pub async fn add_sbom(&self, pushed: &PushedImage, outputs: &SbomOutputs) -> Result<Option<Digest>> {
        let SbomOutputs { attach, file } = outputs;
        if attach.is_none() && file.is_none() {
            return Ok(None);
        }
        let add = async {
            let packages = self.materials(&pushed.image).await?;
            let repository = pushed.destination.push.repository();
            let name = repository.to_string();
            let document = |format: SbomFormat| format.document(&name, pushed.digest, &pushed.image, &packages);
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
    ) -> Result<()> {
        let packages = self.materials(image).await?;
        let document = format.document(&repository.to_string(), subject.digest, image, &packages);
        let artifact = self.sbom_artifact(repository, format, document, &subject)?;
        self.client().attach(repository, &artifact).await.map(drop)
    }

    /// A document as an artifact that refers to `subject`. Harbor shows its own type as the image's SBOM, and others as something
    /// unknown; oras, regctl and who goes by the blob's type find the document's own.
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
        let packages = self.materials(image).await?;
        file.write(&file.format().document(name, image.descriptor().digest, image, &packages))
    }
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
        let found: Vec<_> = mpimg.packages(&built.image).await.unwrap().into_iter().map(|package| package.purl).collect();
        assert_eq!(found, ["pkg:pypi/a@1"]);
        mpimg.cancellation().cancel();
        assert_eq!(mpimg.packages(&built.image).await.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
