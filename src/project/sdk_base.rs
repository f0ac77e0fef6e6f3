//! Names of the SDK's base images: which a Dockerfile may hold, which of them nobody can pull any
//! more, and what an installed SDK builds in their place.

use super::InstalledSdk;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;

/// The image's name as the SDK gives it (`CONTAINER_BASE_NAME`), completed as every unqualified
/// name is.
const REGISTRY: &str = "docker.io";
const PATH: &str = "library/base-adapter";

/// Registries that had the SDK's base images until 1.2, and are gone: host and path before the
/// image's name.
const SHUT_DOWN: [(&str, &str); 3] = [
    ("projects.packages.broadcom.com", "vmware_aria_operations_integration_sdk/"),
    ("projects.registry.vmware.com", "vmware_aria_operations_integration_sdk/"),
    ("harbor-repo.vmware.com", "tvs/"),
];

/// The name of a base image of the SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdkBaseImage<'a> {
    reference: &'a Reference,
    /// Whether it names a registry that was shut down; otherwise it is
    /// `base-adapter:LANGUAGE-VERSION`, which no registry has.
    pub shut_down: bool,
}

impl<'a> SdkBaseImage<'a> {
    /// `None` if the name is of another image.
    pub fn of(reference: &'a Reference) -> Option<Self> {
        let (registry, path) = (reference.registry(), reference.path());
        let gone = SHUT_DOWN.iter().any(|(host, before)| registry == *host && path.starts_with(before));
        let local = registry == REGISTRY && path == PATH && reference.digest().is_none();
        (gone || local).then_some(Self { reference, shut_down: gone })
    }

    /// The tag, `python-1.2.0`; empty if there is none.
    pub fn tag(&self) -> &'a str {
        self.reference.tag().map_or("", |tag| tag.as_str())
    }

    /// What the SDK builds in place of this image: the one of the same language, as a Dockerfile
    /// names it. `None` if the SDK builds an image of exactly this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it builds none of this language, or the tag names no language.
    pub fn in_place(&self, sdk: &InstalledSdk) -> Result<Option<String>> {
        let images = sdk.base_images()?;
        if !self.shut_down && images.iter().any(|(tag, _)| tag == self.tag()) {
            return Ok(None);
        }
        let language = |tag: &str| tag.split_once('-').map(|(language, _)| language.to_owned());
        let wanted = language(self.tag());
        let same = images.iter().find(|(tag, _)| *tag == self.tag());
        let found = same.or_else(|| images.iter().find(|(tag, _)| wanted.is_some() && language(tag) == wanted));
        match found {
            Some((tag, _)) => Ok(Some(format!("base-adapter:{tag}"))),
            None => {
                let tags: Vec<&str> = images.iter().map(|(tag, _)| tag.as_str()).collect();
                let name = self.reference.familiar();
                Err(Error::new(ErrorKind::NotFound, format!("the installed SDK has no base image to put in place of `{name}`"))
                    .with_hint(format!("it builds {}: name the one that suits the adapter in FROM", tags.join(", "))))
            }
        }
    }
}
