//! Reading OCI layouts (image specification, image-layout.md): folders, and by the same rules the
//! tars of such folders.
//!
//! Refuses a layout version other than 1.0.0, and to guess between several images.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::attachment::is_attachment_tag;
use super::super::choice::{Choice, platform_of_config};
use super::super::{CONFIG_LIMIT, Image, Index, MANIFEST_LIMIT, Manifest, ManifestOrIndex, Names, media_type_of};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, MediaType, Platform};
use crate::store::BlobSource;

pub(super) const INDEX_FILE: &str = "index.json";
pub(super) const LAYOUT_FILE: &str = "oci-layout";
pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The image's name in the index of a layout (image specification, annotations.md).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The image's whole name, as docker and containerd write it.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// What an entry is, in the layouts of `cosign save`: `dev.cosignproject.cosign/image`, `…/sigs`,
/// `…/atts`.
const KIND: &str = "kind";

/// What an entry that `cosign save` has put beside its image is: the suffix of its tag in a
/// registry.
pub(super) fn attached_as(entry: &Descriptor) -> Option<&'static str> {
    match entry.annotations.get(KIND)?.strip_prefix("dev.cosignproject.cosign/")? {
        "sigs" => Some("sig"),
        "atts" => Some("att"),
        "sboms" => Some("sbom"),
        _ => None,
    }
}

/// How deep indexes may lie in indexes.
pub(super) const NESTING: usize = 4;

/// The files of a layout, wherever they are.
pub(super) trait LayoutFiles {
    /// Opens a file by its name in the layout. Missing is [`ErrorKind::NotFound`].
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>>;

    /// The whole of a small file.
    fn read_small(&self, name: &str, limit: u64) -> Result<Bytes> {
        let mut bytes = Vec::new();
        let read = self.open(name)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::new(ErrorKind::Io, format!("cannot read `{name}`")).with_source(error))?;
        match bytes.len() as u64 > limit {
            true => Err(Error::new(ErrorKind::Corrupt, format!("`{name}` is larger than {limit} bytes"))),
            false => Ok(bytes.into()),
        }
    }

    /// The whole of a small blob, checked.
    fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes> {
        let bytes = self.read_small(&blob_name(&descriptor.digest), limit)?;
        descriptor.digest.verify(&bytes).map_err(|error| error.wrap(format!("blob `{}` is damaged", descriptor.digest)))?;
        Ok(bytes)
    }
}

/// A blob's name in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// A layout that is a folder.
pub(super) struct LayoutFolder<'a>(pub(super) &'a Path);

impl LayoutFiles for LayoutFolder<'_> {
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(open_file(&self.0.join(name))?))
    }
}

/// Opens a regular file; a pipe would block, a device is nobody's image.
fn open_file(path: &Path) -> Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt as _;
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("`{}` is missing", path.display())),
        _ => Error::io("open", path, error),
    };
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    match file.metadata().map_err(cannot)?.is_file() {
        true => Ok(file),
        false => Err(Error::new(ErrorKind::Corrupt, format!("`{}` is not a file", path.display()))),
    }
}

/// An image of a folder; its layers stay there.
pub(super) fn read_folder(folder: &Path, tag: Option<&str>, platform: &Platform) -> Result<Image> {
    let files = LayoutFolder(folder);
    let document = read_document(&files, tag, platform)?;
    let sources = document.manifest.layers.iter().map(|layer| folder_source(folder, layer)).collect::<Result<_>>()?;
    Image::from_parts(document.manifest_bytes, Some(&document.media_type), document.config_bytes, sources)
}

/// A blob's file in a folder, if it has the right size; the reader checks the digest.
pub(super) fn folder_source(folder: &Path, blob: &Descriptor) -> Result<BlobSource> {
    let path: PathBuf = folder.join(blob_name(&blob.digest));
    let file = open_file(&path)?;
    let length = file.metadata().map_err(|error| Error::io("read", &path, error))?.len();
    match length == blob.size {
        true => Ok(BlobSource::File(path)),
        false => {
            let message = format!("blob `{}` has {length} bytes, {} expected", blob.digest, blob.size);
            Err(Error::new(ErrorKind::Corrupt, message))
        }
    }
}

/// What a layout says of one image.
pub(super) struct Document {
    pub(super) manifest: Manifest,
    pub(super) manifest_bytes: Bytes,
    pub(super) media_type: MediaType,
    pub(super) config_bytes: Bytes,
}

/// Finds one image in a layout and reads its manifest and config.
pub(super) fn read_document(files: &impl LayoutFiles, tag: Option<&str>, platform: &Platform) -> Result<Document> {
    let index = read_checked_index(files)?;
    read_manifest(files, &select(files, &index, tag, platform)?, platform)
}

/// The index of a layout whose version is known.
pub(super) fn read_checked_index(files: &impl LayoutFiles) -> Result<Index> {
    check_version(files)?;
    read_index(files)
}

fn check_version(files: &impl LayoutFiles) -> Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let bytes = files.read_small(LAYOUT_FILE, MANIFEST_LIMIT)?;
    let layout: Layout = serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("`{LAYOUT_FILE}` cannot be read")).with_source(error))?;
    match layout.image_layout_version.as_str() {
        "1.0.0" => Ok(()),
        other => Err(Error::new(ErrorKind::Unsupported, format!("the layout's version is `{other}`, not `1.0.0`"))),
    }
}

pub(super) fn read_index(files: &impl LayoutFiles) -> Result<Index> {
    match ManifestOrIndex::parse(&files.read_small(INDEX_FILE, MANIFEST_LIMIT)?, Some(&MediaType::Index))? {
        ManifestOrIndex::Index(index) => Ok(index),
        ManifestOrIndex::Manifest(_) => Err(Error::new(ErrorKind::Corrupt, format!("`{INDEX_FILE}` is not an index"))),
    }
}

/// Reads the manifest of a descriptor, through nested indexes if it is one, and the config.
pub(super) fn read_manifest(files: &impl LayoutFiles, descriptor: &Descriptor, platform: &Platform) -> Result<Document> {
    let mut descriptor = descriptor.clone();
    for depth in 0..NESTING {
        let manifest_bytes = files.read_blob(&descriptor, MANIFEST_LIMIT)?;
        match ManifestOrIndex::parse(&manifest_bytes, Some(&descriptor.media_type))? {
            ManifestOrIndex::Index(index) => descriptor = choose(files, &index, platform, depth)?,
            ManifestOrIndex::Manifest(manifest) => {
                let config_bytes = files.read_blob(&manifest.config, CONFIG_LIMIT)?;
                let media_type = manifest.media_type.clone();
                return Ok(Document { manifest, manifest_bytes, media_type, config_bytes });
            }
        }
    }
    Err(Error::new(ErrorKind::Corrupt, format!("indexes lie more than {NESTING} deep in indexes")))
}

/// The entry of a layout's index that is meant.
pub(super) fn select(files: &impl LayoutFiles, index: &Index, tag: Option<&str>, platform: &Platform) -> Result<Descriptor> {
    let is_named = |entry: &Descriptor, tag: &str| [REF_NAME, IMAGE_NAME].iter().any(|key| named(entry, key) == Some(tag));
    let meant: Vec<&Descriptor> = match tag {
        Some(tag) => index.manifests.iter().filter(|entry| is_named(entry, tag)).collect(),
        // `cosign save` puts signatures beside the image, and marks each. What belongs to an image
        // is not one: `cosign save` marks it, others name it by the image's digest.
        None => index
            .manifests
            .iter()
            .filter(|entry| attached_as(entry).is_none() && !named(entry, REF_NAME).is_some_and(is_attachment_tag))
            .collect(),
    };
    let mut names: Vec<&str> = index.manifests.iter().filter_map(|entry| named(entry, REF_NAME)).collect();
    names.sort_unstable();
    names.dedup();
    let hint = |error: Error| match names.is_empty() {
        true => error,
        false => error.with_hint(format!("add one of these tags: {}", names.join(", "))),
    };
    match (&meant[..], tag) {
        ([only], _) => Ok((*only).clone()),
        ([], Some(tag)) => Err(hint(Error::new(ErrorKind::NotFound, format!("no image has the tag `{tag}`")))),
        ([], None) => Err(Error::new(ErrorKind::NotFound, "there is no image in it")),
        // One name for several platforms.
        (several, _) if several.iter().all(|entry| named(entry, REF_NAME) == named(several[0], REF_NAME)) => {
            let index = Index { manifests: several.iter().map(|entry| (*entry).clone()).collect() };
            let chosen = choose(files, &index, platform, 0)?;
            match named(&chosen, REF_NAME).is_none() && chosen.platform.is_none() && fits_two(files, &index, platform)? {
                true => Err(hint(count(several.len()))),
                false => Ok(chosen),
            }
        }
        (several, _) => Err(hint(count(several.len()))),
    }
}

fn count(images: usize) -> Error {
    Error::new(ErrorKind::NotFound, format!("there are {images} images in it"))
}

fn named<'a>(entry: &'a Descriptor, key: &str) -> Option<&'a str> {
    entry.annotations.get(key).map(String::as_str)
}

/// Whether the configs of two images say that they are for `platform`: without a name, the one is
/// as much meant as the other.
fn fits_two(files: &impl LayoutFiles, index: &Index, platform: &Platform) -> Result<bool> {
    let mut fitting = 0;
    for entry in &index.manifests {
        fitting += usize::from(platform_of(files, entry, platform, 0)?.is_some_and(|own| own.fits(platform)));
    }
    Ok(fitting > 1)
}

/// The entry of an index for `platform`.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is none.
pub(super) fn choose(files: &impl LayoutFiles, index: &Index, platform: &Platform, depth: usize) -> Result<Descriptor> {
    let (entries, mut by_config) = match index.choose(platform) {
        Choice::Entry(entry) => return Ok(entry.clone()),
        Choice::ByConfig(entries, by_config) => (entries, by_config),
    };
    for entry in entries {
        if let Some(own) = platform_of(files, entry, platform, depth)? {
            by_config.offer(own, entry.clone());
        }
    }
    by_config.chosen()
}

/// What an entry's image runs on, as its config says; of an index `wanted`, if it has an image for
/// it. `None`: it is no image, or is not there.
fn platform_of(files: &impl LayoutFiles, entry: &Descriptor, wanted: &Platform, depth: usize) -> Result<Option<Platform>> {
    let bytes = match files.read_blob(entry, MANIFEST_LIMIT) {
        Ok(bytes) if depth < NESTING => bytes,
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => return Ok(None),
    };
    let Names { config, manifests, .. } = Names::parse(&bytes)?;
    if media_type_of(&bytes, entry.media_type.clone())?.is_index() {
        return match choose(files, &Index { manifests }, wanted, depth + 1) {
            Ok(_) => Ok(Some(wanted.clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
    }
    match config.filter(|config| config.media_type.may_be_config()) {
        Some(config) => platform_of_config(&files.read_blob(&config, CONFIG_LIMIT)?).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing need be read.
    struct NoFiles;

    impl LayoutFiles for NoFiles {
        fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
            panic!("`{name}` is read")
        }
    }

    fn entry(name: Option<&str>, platform: &str) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::Manifest, format!("{name:?}{platform}").as_bytes());
        entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
        entry.platform = Some(Platform::parse(platform).unwrap());
        entry
    }

    #[test]
    fn the_tag_decides_and_then_the_platform() {
        let manifests = vec![entry(Some("a"), "amd64"), entry(Some("a"), "arm64"), entry(Some("b"), "amd64")];
        let index = Index { manifests: manifests.clone() };
        let arm = Platform::parse("arm64").unwrap();
        assert_eq!(select(&NoFiles, &index, Some("a"), &arm).unwrap(), manifests[1]);
        assert_eq!(select(&NoFiles, &index, Some("b"), &arm).unwrap(), manifests[2]);
        let error = select(&NoFiles, &index, None, &arm).unwrap_err();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("add one of these tags: a, b")));
        assert_eq!(select(&NoFiles, &index, Some("c"), &arm).unwrap_err().hint(), Some("add one of these tags: a, b"));
    }

    #[test]
    fn signatures_that_cosign_saved_are_no_images() {
        let kinds = ["image", "sigs", "atts"];
        let manifests = kinds.map(|kind| {
            let mut entry = Descriptor::of(MediaType::Manifest, kind.as_bytes());
            entry.annotations.insert(KIND.to_owned(), format!("dev.cosignproject.cosign/{kind}"));
            entry
        });
        let index = Index { manifests: manifests.to_vec() };
        assert_eq!(select(&NoFiles, &index, None, &Platform::default()).unwrap(), manifests[0]);
    }

    #[test]
    fn a_single_image_needs_no_tag() {
        let index = Index { manifests: vec![entry(None, "amd64")] };
        assert!(select(&NoFiles, &index, None, &Platform::default()).is_ok());
        assert!(select(&NoFiles, &Index { manifests: vec![] }, None, &Platform::default()).is_err());
    }
}
