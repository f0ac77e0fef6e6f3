//! Build contexts that are given by name: an image or a folder in place of what FROM and `--from`
//! would find.

use std::path::PathBuf;

use crate::context::ContextAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;

/// What a name stands for (docker's `--build-context NAME=VALUE`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamedContext {
    /// A folder of this machine, through its own `.dockerignore`.
    Folder(PathBuf),
    /// An image: `docker-image://NAME`, `oci-layout://DIR[:TAG]`, and the other forms of
    /// [`Transport`].
    Image(Transport),
    /// An address of a git repository, or of a tar or a Dockerfile on the web: see
    /// [`ContextAddress`].
    Address(String),
}

impl NamedContext {
    /// Parses docker's words.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: an invalid image name, or a scheme that docker does not have
    /// either.
    pub fn parse(text: &str) -> Result<Self> {
        const HINT: &str =
            "write NAME=FOLDER, NAME=docker-image://IMAGE, NAME=oci-layout://DIR[:TAG] or the URL of a git repository or tar";
        let wrong = |why: &str| Error::new(ErrorKind::Usage, format!("`{text}` {why}")).with_hint(HINT);
        match text.split_once("://") {
            Some(("docker-image", name)) => {
                // The store is asked first, as for FROM.
                Ok(Self::Image(Transport::parse(name).map_err(|_| wrong("does not name an image"))?))
            }
            Some(("oci-layout", path)) => {
                let (path, digest) = path.split_once('@').map_or((path, None), |(path, digest)| (path, Some(digest)));
                if let Some(digest) = digest {
                    let message = format!("`{text}` names an image of the layout by digest (`{digest}`)");
                    return Err(Error::new(ErrorKind::Unsupported, message).with_hint("name it by its tag: oci-layout://DIR:TAG"));
                }
                Ok(Self::Image(Transport::parse(&format!("oci:{path}")).map_err(|_| wrong("does not name a layout"))?))
            }
            _ if ContextAddress::parse(text).is_some() => Ok(Self::Address(text.to_owned())),
            Some((scheme, _)) => Err(wrong(&format!("has the scheme `{scheme}`, which a build context cannot have"))),
            None if text.is_empty() => Err(wrong("is empty")),
            None => Ok(Self::Folder(text.into())),
        }
    }
}

impl std::str::FromStr for NamedContext {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_words_name_folders_images_and_addresses() {
        let image = |text| NamedContext::Image(Transport::parse(text).unwrap());
        for (text, expected) in [
            ("../lib", NamedContext::Folder("../lib".into())),
            ("docker-image://alpine:3", image("alpine:3")),
            ("oci-layout://out:v1", image("oci:out:v1")),
            ("https://h/a.git#main", NamedContext::Address("https://h/a.git#main".into())),
        ] {
            assert_eq!(NamedContext::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["", "docker-image://", "ftp://h/a", "oci-layout://x@sha256:00"] {
            assert!(NamedContext::parse(text).unwrap_err().hint().is_some(), "{text}");
        }
    }
}
