//! Images outside the store: OCI layouts, OCI archives, docker archives; and the words by which
//! they are named.
//!
//! Everything in them is hostile input: names in archives are only compared, never used as paths,
//! documents have size limits, every byte is checked against its digest. Knows nothing of
//! registries: `registry` reads and writes those.

mod archive;
mod docker;
mod layout;
mod list;
mod tar_index;
mod tree;
mod walk;
mod write;
mod write_archive;

use std::fmt;
use std::path::{Path, PathBuf};

pub use list::Listed;
pub use tree::AttachedTrees;
#[cfg(feature = "sign")]
pub(crate) use tree::DOCUMENT_LIMIT;
pub(super) use walk::TarWalk;
#[cfg(feature = "cli")]
pub(crate) use write::replace_file;
pub(crate) use write::{expect_writable, write_result};

use super::{Image, PackLayer};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Platform, Reference, expect_no_scheme};
use crate::store::{Store, blocking};

/// Where an image is read from or written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A name of the local store: `NAME[:TAG]`.
    Store(Reference),
    /// A registry: `docker://NAME[:TAG]`.
    Registry(Reference),
    /// A folder in OCI's layout: `oci:DIR[:TAG]`.
    OciLayout {
        /// The folder.
        folder: PathBuf,
        /// Which of its images: its name in the index.
        tag: Option<String>,
    },
    /// A tar of such a folder: `oci-archive:FILE[:TAG]`.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// Which of its images: its name in the index.
        tag: Option<String>,
    },
    /// What `docker save` writes: `docker-archive:FILE[:NAME[:TAG]]`.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Which of its images.
        reference: Option<Reference>,
    },
}

const HINT: &str =
    "write NAME[:TAG], docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME[:TAG]]";

impl Transport {
    /// Parses the forms above. As with skopeo, a path ends at its first colon.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: an unknown transport, no path, or no reference where one must be.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::new(ErrorKind::Usage, format!("`{text}` {why}")).with_hint(HINT);
        let path_and_rest = |rest: &str| {
            let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name.to_owned())));
            match (path, name.as_deref()) {
                ("", _) => Err(wrong("has no path")),
                (_, Some("")) => Err(wrong("ends with a colon")),
                _ => Ok((PathBuf::from(path), name)),
            }
        };
        // Its own hint says what to write.
        expect_no_scheme(text)?;
        match text.split_once(':') {
            Some(("oci", rest)) => path_and_rest(rest).map(|(folder, tag)| Self::OciLayout { folder, tag }),
            Some(("oci-archive", rest)) => path_and_rest(rest).map(|(file, tag)| Self::OciArchive { file, tag }),
            Some(("docker-archive", rest)) => {
                let (file, name) = path_and_rest(rest)?;
                let reference = name.as_deref().map(Reference::parse).transpose()?;
                Ok(Self::DockerArchive { file, reference })
            }
            Some(("docker", rest)) if rest.starts_with("//") => Ok(Self::Registry(Reference::parse_remote(&rest[2..])?)),
            Some((other @ ("dir" | "docker-daemon" | "containers-storage" | "ostree" | "sif" | "tarball"), _)) => {
                Err(wrong(&format!("has the transport `{other}`, which mpimg does not support")))
            }
            _ => Reference::parse(text).map(Self::Store).map_err(|error| error.with_hint(HINT)),
        }
    }

    /// Reads the image for `platform`. A layout is read in place: its layers are files there,
    /// checked by the reader. Archives are read into the store. Uncompressed layers of a docker
    /// archive go through `pack` if it is given.
    ///
    /// Blocks; call it off the async threads.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: no such file, tag or platform; the hint lists what is there.
    /// [`ErrorKind::Corrupt`]: damaged or hostile. [`ErrorKind::Unsupported`]: in a registry, or of
    /// a format that mpimg does not read.
    pub fn read(&self, store: &Store, platform: &Platform, pack: Option<&PackLayer<'_>>) -> Result<Image> {
        let cannot = |error: Error| error.wrap(format!("cannot read image `{self}`"));
        match self {
            Self::Store(name) => read_stored(store, name),
            Self::Registry(_) => Err(Error::new(ErrorKind::Unsupported, "it is in a registry").with_hint("pull it first")),
            Self::OciLayout { folder, tag } => layout::read_folder(folder, tag.as_deref(), platform),
            Self::OciArchive { file, tag } => archive::read(store, file, tag.as_deref(), platform),
            Self::DockerArchive { file, reference } => docker::read(store, file, reference.as_ref(), platform, pack),
        }
        .map_err(cannot)
    }

    /// The same place, where a docker archive that has no name has this one.
    pub(crate) fn named(self, name: Option<Reference>) -> Self {
        match self {
            Self::DockerArchive { file, reference: None } => Self::DockerArchive { file, reference: name },
            other => other,
        }
    }

    /// Writes the image there, fetching remote layers into the store first. A layout keeps its
    /// other images; an archive is replaced as a whole when it is complete. The same image gives
    /// the same bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: a registry.
    pub async fn write(&self, store: &Store, image: &Image) -> Result<()> {
        let cannot = |error: Error| error.wrap(format!("cannot write image `{self}`"));
        match self {
            Self::Store(name) => match image.write_to_store(store).await {
                Ok(record) => {
                    let (store, name) = (store.clone(), name.clone());
                    // Waits for the disk.
                    blocking(move || store.tag(&name, &record)).await
                }
                Err(error) => Err(error),
            },
            Self::Registry(_) => Err(Error::new(ErrorKind::Unsupported, "it is in a registry").with_hint("push it instead")),
            Self::OciLayout { .. } | Self::OciArchive { .. } | Self::DockerArchive { .. } => self.write_files(store, image).await,
        }
        .map_err(cannot)
    }

    async fn write_files(&self, store: &Store, image: &Image) -> Result<()> {
        let files = image.layer_files(store).await?;
        let (transport, store, image) = (self.clone(), store.clone(), image.clone());
        blocking(move || match transport {
            Self::OciLayout { folder, tag } => write::layout(&folder, tag.as_deref(), &image, &files),
            Self::OciArchive { file, tag } => write_archive::oci_archive(&file, tag.as_deref(), &image, &files),
            Self::DockerArchive { file, reference } => {
                write_archive::docker_archive(&store, &file, &[(image, reference.into_iter().collect(), files)])
            }
            Self::Store(_) | Self::Registry(_) => Ok(()),
        })
        .await
    }
}

/// Writes several images, each with its names, to one docker archive. What they share is there
/// once.
///
/// # Errors
/// [`ErrorKind::Io`]: it cannot be written; and what fetching layers gives.
pub(crate) async fn write_docker_archive(store: &Store, file: &Path, images: Vec<(Image, Vec<Reference>)>) -> Result<()> {
    let mut with_files = Vec::new();
    for (image, names) in images {
        let files = image.layer_files(store).await?;
        with_files.push((image, names, files));
    }
    let (store, file) = (store.clone(), file.to_owned());
    blocking(move || write_archive::docker_archive(&store, &file, &with_files)).await
}

fn read_stored(store: &Store, name: &Reference) -> Result<Image> {
    let Some(record) = store.resolve(name)? else {
        return Err(Error::new(ErrorKind::NotFound, format!("no image `{}` in the local store", name.familiar()))
            .with_hint("`mpimg images` lists what is there"));
    };
    Image::read_from_store(store, &record, |repository, layer| {
        Err(Error::new(ErrorKind::NotFound, format!("layer `{}` is only in `{repository}`", layer.digest))
            .with_hint("pull the image first"))
    })
}

impl std::str::FromStr for Transport {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, name) = match self {
            Self::Store(name) => return f.write_str(&name.familiar()),
            Self::Registry(name) => return write!(f, "docker://{name}"),
            Self::OciLayout { folder, tag } => (format!("oci:{}", folder.display()), tag.clone()),
            Self::OciArchive { file, tag } => (format!("oci-archive:{}", file.display()), tag.clone()),
            Self::DockerArchive { file, reference } => {
                (format!("docker-archive:{}", file.display()), reference.as_ref().map(Reference::familiar))
            }
        };
        f.write_str(&path)?;
        name.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_can_be_parsed_is_parsed_from_its_own_text_again(text in "((oci|oci-archive|docker-archive|docker):)?[a-z/.:@-]{0,20}") {
            if let Ok(transport) = Transport::parse(&text) {
                prop_assert_eq!(Transport::parse(&transport.to_string()).unwrap(), transport);
            }
        }
    }

    #[test]
    fn every_form_is_parsed_and_shown_as_it_was_written() {
        let name = |text: &str| Reference::parse(text).unwrap();
        for (text, transport) in [
            ("app:1", Transport::Store(name("app:1"))),
            ("localhost:5000/a/b:1", Transport::Store(name("localhost:5000/a/b:1"))),
            ("oci:dir", Transport::OciLayout { folder: "dir".into(), tag: None }),
            ("oci:/a/dir:v1:x", Transport::OciLayout { folder: "/a/dir".into(), tag: Some("v1:x".into()) }),
            ("oci-archive:a.tar:v1", Transport::OciArchive { file: "a.tar".into(), tag: Some("v1".into()) }),
            ("docker-archive:a.tar", Transport::DockerArchive { file: "a.tar".into(), reference: None }),
            ("docker-archive:a.tar:app:1", Transport::DockerArchive { file: "a.tar".into(), reference: Some(name("app:1")) }),
        ] {
            let parsed = Transport::parse(text).unwrap();
            assert_eq!(parsed, transport);
            assert_eq!(parsed.to_string(), text);
        }
        let registry = Transport::parse("docker://ghcr.io/a/b").unwrap();
        assert_eq!(registry.to_string(), "docker://ghcr.io/a/b:latest");
    }

    #[test]
    fn wrong_forms_get_all_right_ones_as_a_hint() {
        for text in
            ["oci:", "oci:dir:", "oci-archive::tag", "docker-daemon:app:1", "dir:x", "docker-archive:", "Not A Name", "./app"]
        {
            let error = Transport::parse(text).unwrap_err();
            assert_eq!((error.kind(), error.hint()), (ErrorKind::Usage, Some(HINT)), "{text}");
        }
    }
}
