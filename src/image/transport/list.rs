//! Which images an archive or layout holds, and by what names: for loading all of them, as
//! `docker load` does.
//!
//! Invents no name: an image that has a tag alone, and no repository, has none here.

use std::path::Path;

use super::Transport;
use super::docker::{self, MANIFEST_FILE};
use super::layout::{self, IMAGE_NAME, INDEX_FILE, LayoutFolder, REF_NAME};
use super::tar_index::TarIndex;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Index;
use crate::oci::{Descriptor, Reference};
use crate::store::Store;

/// An image of an archive or layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Reads this image and no other.
    pub transport: Transport,
    /// What it is called.
    pub names: Vec<Reference>,
}

impl Transport {
    /// The images in `path`, in its own order: a docker archive, an OCI archive or the folder of an
    /// OCI layout, told apart by what is in it. One image for several platforms is listed once.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: it cannot be read. [`ErrorKind::Unsupported`]: it
    /// is none of these.
    pub fn list(store: &Store, path: &Path) -> Result<Vec<Listed>> {
        let cannot = |error: Error| error.wrap(format!("cannot read `{}`", path.display()));
        if path.is_dir() {
            let layout = |tag| Self::OciLayout { folder: path.to_owned(), tag };
            return Ok(in_index(&layout::read_index(&LayoutFolder(path)).map_err(cannot)?, layout));
        }
        let archive = TarIndex::open(store, path).map_err(cannot)?;
        if archive.has(MANIFEST_FILE) {
            let names = docker::names(&archive).map_err(cannot)?;
            let listed = |names: Vec<Reference>| Listed {
                transport: Self::DockerArchive { file: path.to_owned(), reference: names.first().cloned() },
                names,
            };
            return Ok(names.into_iter().map(listed).collect());
        }
        if archive.has(INDEX_FILE) {
            let index = layout::read_index(&archive).map_err(cannot)?;
            return Ok(in_index(&index, |tag| Self::OciArchive { file: path.to_owned(), tag }));
        }
        Err(cannot(
            Error::new(ErrorKind::Unsupported, format!("it has neither `{MANIFEST_FILE}` nor `{INDEX_FILE}`"))
                .with_hint("a tar of a root file system is taken by `mpimg import`"),
        ))
    }
}

fn in_index(index: &Index, transport: impl Fn(Option<String>) -> Transport) -> Vec<Listed> {
    let mut images: Vec<Listed> = Vec::new();
    for entry in &index.manifests {
        let annotation = |key: &str| entry.annotations.get(key).cloned();
        let transport = transport(annotation(REF_NAME).or_else(|| annotation(IMAGE_NAME)));
        if !images.iter().any(|image| image.transport == transport) {
            images.push(Listed { transport, names: whole_name(entry).into_iter().collect() });
        }
    }
    images
}

/// containerd has an annotation for the whole name; podman and skopeo write it where the
/// specification has a tag.
fn whole_name(entry: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| entry.annotations.get(key);
    let name = annotation(IMAGE_NAME).or_else(|| annotation(REF_NAME).filter(|name| name.contains([':', '/'])))?;
    Reference::parse(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    fn entry(annotations: &[(&str, &str)]) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::Manifest, annotations.len().to_string().as_bytes());
        entry.annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        entry
    }

    #[test]
    fn names_are_whole_or_none() {
        let name = |annotations: &[_]| whole_name(&entry(annotations)).map(|name| name.familiar());
        assert_eq!(name(&[(IMAGE_NAME, "docker.io/library/app:1"), (REF_NAME, "1")]).as_deref(), Some("app:1"));
        assert_eq!(name(&[(REF_NAME, "localhost/app:1")]).as_deref(), Some("localhost/app:1"));
        assert_eq!(name(&[(REF_NAME, "v1")]), None);
        assert_eq!(name(&[]), None);
    }

    #[test]
    fn platforms_of_one_image_are_one() {
        let index = Index { manifests: vec![entry(&[(REF_NAME, "a")]), entry(&[(REF_NAME, "a")]), entry(&[])] };
        let listed = in_index(&index, |tag| Transport::OciLayout { folder: "x".into(), tag });
        let tags: Vec<_> = listed.iter().map(|image| image.transport.to_string()).collect();
        assert_eq!(tags, ["oci:x:a", "oci:x"]);
    }
}
