//! Management packs at sites that the internet does not reach: what a pack needs, the pack with its
//! image in one file, and both at the other site.
//!
//! Invariant: the image is the same byte for byte, and so is every member of the pack but the lines
//! that name the repository.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::{Mpimg, blocking};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{ManifestTree, Transport, artifact};
use crate::oci::{Reference, Repository, Tag};
use crate::project::{ContainerRepository, Pak};
use crate::registry::AnonymousReport;

/// What a pack is in an export: an artifact that refers to the pack's image.
const PAK_TYPE: &str = "application/vnd.mpimg.management-pack.v1+zip";

/// What a pack begins with: the first entry of a ZIP archive.
const ZIP: &[u8] = b"PK\x03\x04";

/// Whether a pack's image is where the pack says.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedPak {
    /// The pack.
    pub pak: Pak,
    /// Its image; `None`: the pack leaves the registry to the product.
    pub image: Option<Reference>,
    /// Whether it is there, with the credentials of this user; an error if that could not be found
    /// out.
    pub present: Option<Result<bool>>,
    /// Whether the product, which does not log in, can pull it.
    pub anonymous: Option<AnonymousReport>,
}

/// A pack and its image in one file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExportedPak {
    /// The pack.
    pub pak: Pak,
    /// Where the image came from.
    pub image: Reference,
    /// The file: an OCI archive.
    pub file: PathBuf,
    /// How many manifests refer to the image and are in the file: signatures, bills of materials.
    pub referrers: usize,
    /// The bytes of the image's configurations and layers.
    pub size: u64,
}

/// What is to be done with an exported pack.
#[derive(Debug, Clone)]
pub struct PakImportRequest {
    /// What [`Mpimg::pak_export`] wrote.
    pub file: PathBuf,
    /// Where the image goes.
    pub repository: ContainerRepository,
    /// Its tag there; without one the pack's version and the beginning of the digest, which no
    /// other image has.
    pub tag: Option<Tag>,
    /// The pack that names this repository; in this folder under its usual name, where this is a
    /// folder.
    pub output: PathBuf,
    /// Whether the pack leaves the registry to the product.
    pub use_default_registry: bool,
}

/// A pack at its new site.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportedPak {
    /// The pack that was written.
    pub pak: Pak,
    /// Where its image is.
    pub image: Reference,
    /// Its tag there.
    pub tag: Tag,
    /// How many manifests that refer to the image were pushed with it.
    pub referrers: usize,
    /// Whether the product, which does not log in, can pull it.
    pub anonymous: AnonymousReport,
}

impl Mpimg {
    /// Reads a management pack and asks its registry for the image. `registry`: where the product
    /// looks for an image whose pack leaves the registry to it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is not a management pack; [`ErrorKind::Io`]. What the registry
    /// says is in the result.
    pub async fn pak_inspect(&self, file: &Path, registry: Option<&str>) -> Result<InspectedPak> {
        let path = file.to_owned();
        let pak = blocking(move || Pak::open(&path)).await?;
        let image = pak.image(registry)?;
        let (mut present, mut anonymous) = (None, None);
        if let Some(image) = &image {
            let found = match self.client().pull_tree(image, None).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                found => found.map(|_| true),
            };
            present = Some(found);
            anonymous = Some(self.client().check_anonymous(image.repository(), &pak.digest).await);
        }
        Ok(InspectedPak { pak, image, present, anonymous })
    }

    /// Writes a management pack, its image and what refers to the image to one file: an OCI
    /// archive, in which the pack is one more artifact that refers to the image.
    ///
    /// # Errors
    /// Those of [`pak_inspect`](Self::pak_inspect); [`ErrorKind::Usage`]: the pack leaves the
    /// registry to the product, and `registry` is none; [`ErrorKind::NotFound`]: the image is not
    /// there; [`ErrorKind::Registry`], [`ErrorKind::Network`], [`ErrorKind::Auth`].
    pub async fn pak_export(&self, file: &Path, registry: Option<&str>, output: &Path) -> Result<ExportedPak> {
        let path = file.to_owned();
        let (pak, bytes) = blocking(move || {
            let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            Ok((Pak::read(&path, Cursor::new(&bytes))?, Bytes::from(bytes)))
        })
        .await?;
        let Some(image) = pak.image(registry)? else {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` leaves the registry to the product", file.display()))
                .with_hint(format!("name it with {}", Setting::Registry.with("HOST[:PORT]"))));
        };
        let (tree, mut referrers) = self.pull_with_referrers(&image).await?;
        let (count, size) = (referrers.len(), tree.all_blobs().iter().map(|(blob, _)| blob.size).sum());
        referrers.push(artifact(PAK_TYPE, PAK_TYPE, bytes, &tree.descriptor));
        let archive = Transport::OciArchive { file: output.to_owned(), tag: Some(archive_tag(&pak)) };
        archive.write_tree(&self.open_store().await?, &tree, &referrers).await?;
        Ok(ExportedPak { pak, image, file: output.to_owned(), referrers: count, size })
    }

    /// Pushes the image of an exported pack, with what refers to it, and writes the pack that names
    /// the image's new place.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the file has no pack, or another image than the pack names;
    /// [`ErrorKind::Unsupported`]: the registry does not take the image as it is; and those of a
    /// push. Nothing is written unless the image is there.
    pub async fn pak_import(&self, request: PakImportRequest) -> Result<ImportedPak> {
        let (file, store) = (request.file.clone(), self.open_store().await?);
        let read = move || {
            expect_exported(&file)?;
            Transport::OciArchive { file, tag: None }.read_tree(&store, None, true)
        };
        let (tree, mut referrers) = blocking(read).await?;
        let is_pak = |tree: &ManifestTree| serde_json::from_slice(&tree.bytes).is_ok_and(|Artifact { kind }| kind == PAK_TYPE);
        let Some(at) = referrers.iter().position(is_pak) else {
            return Err(Error::new(ErrorKind::Corrupt, format!("`{}` has no management pack in it", request.file.display()))
                .with_hint("name the file that `mpimg pak export` has written"));
        };
        let artifact = referrers.remove(at);
        let (layer, _) = artifact.blobs.last().ok_or_else(|| Error::new(ErrorKind::Corrupt, "the artifact is empty"))?;
        let bytes = artifact.blob(&layer.digest, u64::MAX).await?;
        let pak = Pak::read(&request.file, Cursor::new(&bytes))?;
        if pak.digest != tree.descriptor.digest {
            let message = format!(
                "`{}` has the image `{}`, but its pack names `{}`",
                request.file.display(),
                tree.descriptor.digest,
                pak.digest
            );
            return Err(Error::new(ErrorKind::Corrupt, message).with_hint("export the pack again"));
        }
        let output = match request.output.is_dir() {
            true => new_file_in(&request.output, &pak)?,
            false => request.output,
        };
        let repository = request.repository.repository();
        let tag = match request.tag {
            Some(tag) => tag,
            None => Tag::parse(&archive_tag(&pak))?,
        };
        let pushed = self.push_tree(&repository.with_tag(tag.clone()), &tree, &referrers).await?;
        drop(pushed);
        self.expect_same(repository, &pak).await?;
        let (registry, to) = (!request.use_default_registry, repository.clone());
        let written = blocking(move || {
            pak.write_for(&bytes, &to, registry, &output)?;
            Pak::open(&output)
        })
        .await?;
        let anonymous = self.client().check_anonymous(repository, &written.digest).await;
        let image = repository.with_digest(written.digest);
        Ok(ImportedPak { pak: written, image, tag, referrers: referrers.len(), anonymous })
    }

    /// An error if the registry has another image under the pack's digest, or none: some convert
    /// manifests.
    async fn expect_same(&self, repository: &Repository, pak: &Pak) -> Result<()> {
        let there = self.client().pull_tree(&repository.with_digest(pak.digest), None).await;
        there
            .map(drop)
            .map_err(|error| error.wrap(format!("`{repository}` does not have the image as the pack names it, `{}`", pak.digest)))
    }

    /// An image of a registry, and all that refers to it.
    async fn pull_with_referrers(&self, image: &Reference) -> Result<(ManifestTree, Vec<ManifestTree>)> {
        let tree = self.client().pull_tree(image, None).await?;
        let referrers = self.client().pull_attached(image.repository(), &tree).await?;
        Ok((tree, referrers))
    }
}

/// An error if `file` is not there, or is the pack itself.
fn expect_exported(file: &Path) -> Result<()> {
    let mut start = Vec::new();
    match File::open(file).and_then(|file| file.take(ZIP.len() as u64).read_to_end(&mut start)) {
        Ok(_) if start == ZIP => Err(Error::new(ErrorKind::Usage, format!("`{}` is a pack without its image", file.display()))
            .with_hint(format!(
                "where its registry can be reached, `mpimg pak export {}` puts both into one file; name that here",
                file.display()
            ))),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::NotFound, format!("there is no file `{}`", file.display()))
                .with_hint("name the file that `mpimg pak export` has written"))
        }
        Err(error) => Err(Error::io("open", file, error)),
    }
}

/// A name that no other image has: the pack's version, and the beginning of the digest.
fn archive_tag(pak: &Pak) -> String {
    let word = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let version: String = pak.version.chars().map(word).take(64).collect();
    format!(
        "{}_{}",
        if version.starts_with(['.', '-']) || version.is_empty() { "pak" } else { &version },
        &pak.digest.hex()[..12]
    )
}

/// The pack's usual name in a folder. A pack that is there already may be the vendor's own, which
/// names another registry.
fn new_file_in(folder: &Path, pak: &Pak) -> Result<PathBuf> {
    let file = folder.join(pak.file_name());
    match file.symlink_metadata() {
        Err(_) => Ok(file),
        Ok(_) => Err(Error::new(ErrorKind::Usage, format!("`{}` exists already", file.display()))
            .with_hint("name another folder, or the file itself to replace it")),
    }
}

#[derive(Deserialize)]
struct Artifact {
    #[serde(rename = "artifactType")]
    kind: String,
}
