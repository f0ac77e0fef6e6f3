//! The SDK's own base images: `base-adapter:LANGUAGE-VERSION` is in no registry. Where it is missing from the store it is built
//! from the installed SDK's package and named there, as `mp-build` does.
//!
//! It is never built of another version than the Dockerfile asks for.

use super::request::BuildRequest;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::oci::{Platform, Reference};
use crate::project::InstalledSdk;

/// The image's name as the SDK gives it (`CONTAINER_BASE_NAME`), completed as every unqualified name is.
const REGISTRY: &str = "docker.io";
const PATH: &str = "library/base-adapter";

const PACKAGE: &str = "vmware-aria-operations-integration-sdk";

/// Builds another image in the middle of a build.
pub(super) type BuildImage<'a> = dyn Fn(&BuildRequest) -> Result<Image> + 'a;

/// Builds the image that `reference` names and names it in the store; `None` if it is none of the SDK's, or no SDK is there.
pub(super) fn build(
    session: &Session<'_>,
    reference: &Reference,
    platform: &Platform,
    build: &BuildImage<'_>,
) -> Result<Option<Image>> {
    let Some(sdk) = is_sdk_base(reference).then(|| InstalledSdk::find(&session.request.context)).flatten() else {
        return Ok(None);
    };
    let images = sdk.base_images()?;
    let wanted = reference.tag().map(ToString::to_string).unwrap_or_default();
    let Some((_, folder)) = images.iter().find(|(tag, _)| *tag == wanted) else {
        let tags: Vec<&str> = images.iter().map(|(tag, _)| tag.as_str()).collect();
        let message = format!("the installed SDK does not build `{}`, but {}", reference.familiar(), tags.join(", "));
        return Err(Error::new(ErrorKind::NotFound, message)
            .with_hint("name one of these in FROM, or install the SDK's version that the Dockerfile was made for"));
    };
    let name = reference.familiar();
    session.progress.note(&format!("building `{name}` from the SDK in `{}`", folder.display()));
    let request = BuildRequest {
        platform: platform.clone(),
        codec: session.request.codec,
        threads: session.request.threads,
        source_date_epoch: session.request.source_date_epoch.clone(),
        proxies: session.request.proxies.clone(),
        isolation: session.request.isolation,
        ..BuildRequest::new(folder)
    };
    let image = build(&request).map_err(|error| error.wrap(format!("cannot build `{name}` from the SDK")))?;
    let record = session.runtime.block_on(image.write_to_store(session.store))?;
    session.store.tag(reference, &record)?;
    Ok(Some(image))
}

/// Whether the name is one of the SDK's own images.
pub(super) fn is_sdk_base(reference: &Reference) -> bool {
    reference.registry() == REGISTRY && reference.path() == PATH && reference.digest().is_none()
}

/// Registries that had the SDK's base images until 1.2, and are gone: host and path before the image's name.
const SHUT_DOWN: [(&str, &str); 3] = [
    ("projects.packages.broadcom.com", "vmware_aria_operations_integration_sdk/"),
    ("projects.registry.vmware.com", "vmware_aria_operations_integration_sdk/"),
    ("harbor-repo.vmware.com", "tvs/"),
];

/// Releases of the SDK that hold the source of a base image.
const SOURCES: [(&str, &str); 2] = [("python-1.0.0", "1.3.0"), ("python-1.2.0", "1.3.1")];

/// The error of a base image in a registry that was shut down.
fn shut_down(reference: &Reference, error: Error) -> Error {
    let name = reference.familiar();
    let tag = reference.tag().map(ToString::to_string).unwrap_or_default();
    let hint = match SOURCES.iter().find(|(known, _)| *known == tag) {
        Some((_, release)) => format!(
            "its source is in the SDK {release}: install that (`pip install {PACKAGE}=={release}`) and write `FROM base-adapter:{tag}`, \
             which mpimg builds from it"
        ),
        None => format!(
            "no release of the SDK has the source of `{tag}`: install the SDK (`pip install {PACKAGE}`) and write the base image that \
             it builds in FROM, such as `base-adapter:python-1.2.0` of SDK 1.3.1"
        ),
    };
    error.wrap(format!("`{name}` cannot be pulled: the registry `{}` was shut down", reference.registry())).with_hint(hint)
}

/// The error of a base image that no registry gave, with what to do about one of the SDK's.
pub(super) fn not_there(reference: &Reference, error: Error) -> Error {
    if SHUT_DOWN.iter().any(|(host, path)| reference.registry() == *host && reference.path().starts_with(path)) {
        return shut_down(reference, error);
    }
    if !is_sdk_base(reference) {
        return error;
    }
    let name = reference.familiar();
    error.wrap(format!("`{name}` is neither in the local store nor in a registry, and no SDK is installed that builds it")).with_hint(
        format!(
            "install the SDK where mpimg finds it (`pip install {PACKAGE}`; on the PATH, in ~/.local or in a virtual environment of \
             the project), or run `mpimg build -t {name} FOLDER` with the folder of its Dockerfile in the SDK's package"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_was_shut_down_is_named_with_the_release_that_has_the_source() {
        let error = |name: &str| {
            let error = Error::new(ErrorKind::Network, "cannot find the host");
            not_there(&Reference::parse(name).unwrap(), error)
        };
        let broadcom = error("projects.packages.broadcom.com/vmware_aria_operations_integration_sdk/base-adapter:python-1.0.0");
        assert!(broadcom.to_string().ends_with("the registry `projects.packages.broadcom.com` was shut down"), "{broadcom}");
        assert!(
            broadcom.hint().unwrap().contains("==1.3.0`) and write `FROM base-adapter:python-1.0.0`"),
            "{:?}",
            broadcom.hint()
        );
        assert_eq!(broadcom.causes(), ["cannot find the host"]);
        let older = error("harbor-repo.vmware.com/tvs/base-adapter:python-0.12.0");
        assert!(
            older.hint().unwrap().starts_with("no release of the SDK has the source of `python-0.12.0`"),
            "{:?}",
            older.hint()
        );
        assert_eq!(error("harbor.example.com/tvs/base-adapter:python-1.0.0").to_string(), "cannot find the host");
    }
}
