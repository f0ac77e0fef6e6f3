//! Images of the local store as docker and buildah see them: by ID, with all their names, and some
//! with none.
//!
//! An image's ID is the digest of its configuration. What a repository of a registry calls it
//! (`NAME@DIGEST`) is a name, too. An image that was built without a name is kept under
//! [`UNNAMED`].

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::Mpimg;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{CONFIG_LIMIT, Image, ImageConfig};
use crate::oci::{Digest, Reference, Repository};
use crate::store::ImageRecord;

/// The repository of images without a name: one that nobody can have (RFC 2606).
const UNNAMED: &str = "unnamed.invalid/image";

/// The shortest beginning of an ID that is taken for one, in hexadecimal digits.
const SHORTEST: usize = 4;

/// An image of the local store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LocalImage {
    /// What it is.
    pub record: ImageRecord,
    /// Its configuration; `None` where that cannot be read.
    pub config: Option<ImageConfig>,
    /// Its names with a tag, sorted.
    pub names: Vec<Reference>,
    /// What repositories of registries call it, `NAME@DIGEST`, sorted.
    pub digests: Vec<Reference>,
    /// When it was given one of its names last.
    pub named_at: Option<SystemTime>,
    unnamed: Option<Reference>,
}

/// Whether a name is one of those that images without a name are kept under.
pub(super) fn is_unnamed(name: &Reference) -> bool {
    name.repository().familiar() == UNNAMED
}

impl LocalImage {
    /// The digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.record.config.digest
    }

    /// The bytes that it takes in a registry.
    pub fn size(&self) -> u64 {
        self.record.size()
    }

    /// When it was made, as its configuration says (RFC 3339).
    pub fn created(&self) -> Option<&str> {
        self.config.as_ref()?.created.as_deref()
    }

    /// A name under which the store has it.
    pub fn any_name(&self) -> Option<&Reference> {
        self.names.first().or(self.digests.first()).or(self.unnamed.as_ref())
    }
}

impl Mpimg {
    /// All images of the local store, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: it cannot be read.
    pub fn local_images(&self) -> Result<Vec<LocalImage>> {
        let store = self.store()?;
        let unnamed = Repository::parse(UNNAMED)?;
        let mut images: BTreeMap<Digest, LocalImage> = BTreeMap::new();
        for (name, record) in store.list()? {
            let image = images.entry(record.config.digest).or_insert_with(|| {
                // A configuration that cannot be read is an error of those who use the image; the
                // list stays complete.
                let bytes = store.read_small(&record.config.digest, CONFIG_LIMIT).ok();
                let config = bytes.and_then(|bytes| ImageConfig::from_bytes(&bytes).ok());
                LocalImage { record, config, names: Vec::new(), digests: Vec::new(), named_at: None, unnamed: None }
            });
            image.named_at = image.named_at.max(store.named_at(&name));
            match (name.repository() == &unnamed, name.digest()) {
                (true, _) => image.unnamed = Some(name),
                (false, Some(_)) => image.digests.push(name),
                (false, None) => image.names.push(name),
            }
        }
        let mut images: Vec<LocalImage> = images.into_values().collect();
        images.sort_by(|a, b| b.created().cmp(&a.created()));
        Ok(images)
    }

    /// The image that `text` means: a name, an ID, or the unmistakable beginning of one, with or
    /// without `sha256:`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: more than one ID begins like that. [`ErrorKind::Store`]: the store
    /// cannot be read.
    pub fn local_image(&self, text: &str) -> Result<Option<LocalImage>> {
        let images = self.local_images()?;
        if let Ok(name) = Reference::parse(text) {
            let has = |image: &&LocalImage| match name.digest() {
                Some(digest) => {
                    let mut names = image.names.iter().chain(&image.digests);
                    image.digests.iter().any(|known| known.repository() == name.repository() && known.digest() == Some(digest))
                        || image.record.manifest.digest == *digest && names.any(|known| known.repository() == name.repository())
                }
                None => image.names.contains(&name),
            };
            if let Some(image) = images.iter().find(has) {
                return Ok(Some(image.clone()));
            }
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() < SHORTEST || digits.len() > 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        let mut alike = images.into_iter().filter(|image| image.id().hex().starts_with(digits));
        match (alike.next(), alike.next()) {
            (_, Some(_)) => Err(Error::new(ErrorKind::Usage, format!("more than one image's ID begins with `{digits}`"))
                .with_hint("give more of it: `docker images --no-trunc` lists them")),
            (found, None) => Ok(found),
        }
    }

    /// Keeps an image that has no name. Returns its record.
    ///
    /// # Errors
    /// Those of [`Image::write_to_store`] and [`Store::tag`](crate::store::Store::tag).
    pub async fn keep_unnamed(&self, image: &Image) -> Result<ImageRecord> {
        let store = self.store()?;
        let record = image.write_to_store(store).await?;
        store.tag(&Repository::parse(UNNAMED)?.with_digest(record.manifest.digest), &record)?;
        Ok(record)
    }

    /// Notes that `repository` has the image `record` under `digest`, which is that of its manifest
    /// or of an index with it.
    ///
    /// # Errors
    /// Those of [`Store::tag`](crate::store::Store::tag).
    pub fn note_digest(&self, repository: &Repository, digest: Digest, record: &ImageRecord) -> Result<()> {
        self.store()?.tag(&repository.with_digest(digest), record)
    }

    /// Forgets an image with all its names. The space is freed by [`Mpimg::prune`].
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: a name cannot be removed.
    pub fn forget_image(&self, image: &LocalImage) -> Result<()> {
        let store = self.store()?;
        let names = image.names.iter().chain(&image.digests).chain(&image.unnamed);
        names.map(|name| store.untag(name)).try_for_each(|done| done.map(drop))
    }
}
