//! Image names: which image a reference means on this machine.
//!
//! Refuses to name an image whose local blobs are not all there and on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Store;
use super::handle::Durability;
use super::layout::{failed, file_names, sync_folder};
use super::transient::is_transient;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, DiffId, Digest, Platform, Reference, Repository};

const NAMES: &str = "names";

/// An image of the store. Manifest and config are local; layers may be remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The manifest.
    pub manifest: Descriptor,
    /// The config.
    pub config: Descriptor,
    /// What it runs on.
    pub platform: Platform,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
}

/// A layer of an image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Its stored bytes.
    pub descriptor: Descriptor,
    /// Where they are.
    #[serde(default, rename = "repository", skip_serializing_if = "LayerLocation::is_local")]
    pub location: LayerLocation,
}

/// Where the bytes of a layer are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Option<String>", try_from = "Option<String>")]
pub enum LayerLocation {
    /// In the store.
    #[default]
    Local,
    /// In this repository, and perhaps in the store as well.
    Remote(Repository),
}

impl LayerLocation {
    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

impl From<LayerLocation> for Option<String> {
    fn from(location: LayerLocation) -> Self {
        match location {
            LayerLocation::Local => None,
            LayerLocation::Remote(repository) => Some(repository.to_string()),
        }
    }
}

impl TryFrom<Option<String>> for LayerLocation {
    type Error = Error;

    fn try_from(repository: Option<String>) -> Result<Self> {
        repository.map_or(Ok(Self::Local), |text| Repository::parse(&text).map(Self::Remote))
    }
}

impl ImageRecord {
    /// The bytes that the image takes in a registry.
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.descriptor.size);
        self.manifest.size + self.config.size + layers.sum::<u64>()
    }

    /// The blobs that must be in the store.
    pub(super) fn local_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let layers = self.layers.iter().filter(|layer| layer.location.is_local()).map(|layer| &layer.descriptor);
        [&self.manifest, &self.config].into_iter().chain(layers)
    }
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    image: ImageRecord,
}

impl Store {
    /// Gives the image a name, taking it from whatever image had it. When this returns, the image
    /// survives a power cut.
    ///
    /// A reference with a digest is kept under repository and digest, its tag left out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: a blob of the image is not in the store.
    pub fn tag(&self, name: &Reference, image: &ImageRecord) -> Result<()> {
        let cannot = |error: Error| error.wrap(format!("cannot name the image `{}`", name.familiar()));
        for blob in image.local_blobs() {
            if !self.has(&blob.digest, blob.size)? {
                let missing = format!("blob `{}` is not in the local store", blob.digest);
                return Err(cannot(Error::new(ErrorKind::NotFound, missing)));
            }
        }
        let blobs: Vec<Digest> = image.local_blobs().map(|blob| blob.digest).collect();
        self.sync(&blobs).map_err(cannot)?;
        if is_transient(name) {
            // Who gives such a name tidies up after those before; that it did not work out must not
            // keep it from its work.
            let _ = self.forget_transient();
        }
        let name = key(name);
        let path = self.name_path(&name);
        let record = serde_json::to_vec_pretty(&Named { name, image: image.clone() })
            .map_err(|error| failed("write", &path, io::Error::other(error)))?;
        self.write_file(&path, &[&record], Durability::OnDisk)
    }

    /// The image that `name` means here. A digest finds any image of that repository with this
    /// manifest.
    pub fn resolve(&self, name: &Reference) -> Result<Option<ImageRecord>> {
        if let Some(named) = read(&self.name_path(&key(name)))? {
            return Ok(Some(named.image));
        }
        let Some(digest) = name.digest() else { return Ok(None) };
        let same = |(other, image): &(Reference, ImageRecord)| {
            other.repository() == name.repository() && image.manifest.digest == *digest
        };
        Ok(self.list()?.into_iter().find(same).map(|(_, image)| image))
    }

    /// Takes the name away; tells whether it was there. The image's blobs stay until
    /// [`prune`](Self::prune).
    pub fn untag(&self, name: &Reference) -> Result<bool> {
        let path = self.name_path(&key(name));
        match std::fs::remove_file(&path) {
            Ok(()) => sync_folder(&self.root().join(NAMES)).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("remove", &path, error)),
        }
    }

    /// All names with their images, sorted by name.
    pub fn list(&self) -> Result<Vec<(Reference, ImageRecord)>> {
        let folder = self.root().join(NAMES);
        let mut images = Vec::new();
        for file in file_names(&folder).map_err(|error| failed("read", &folder, error))? {
            // A name may be taken away while we look.
            if let Some(named) = read(&folder.join(file))? {
                images.push((Reference::parse(&named.name)?, named.image));
            }
        }
        images.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(images)
    }

    /// When the image was given this name.
    pub(crate) fn named_at(&self, name: &Reference) -> Option<SystemTime> {
        self.name_path(&key(name)).metadata().and_then(|metadata| metadata.modified()).ok()
    }

    fn name_path(&self, key: &str) -> PathBuf {
        // A reference may be longer than a file name and holds slashes.
        self.root().join(NAMES).join(format!("{}.json", Digest::of(key).hex()))
    }
}

fn key(name: &Reference) -> String {
    match name.digest() {
        Some(digest) => name.repository().with_digest(*digest).to_string(),
        None => name.to_string(),
    }
}

fn read(path: &Path) -> Result<Option<Named>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("image record `{}` is damaged", path.display()))
            .with_hint("remove that file, then pull or build the image again")
            .with_source(error)
    })
}
