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
        cancel: session.request.cancel.clone(),
        ..BuildRequest::new(folder)
    };
    let image = build(&request).map_err(|error| error.wrap(format!("cannot build `{name}` from the SDK")))?;
    let record = session.runtime.block_on(image.write_to_store(session.store))?;
    session.store.tag(reference, &record)?;
    Ok(Some(image))
}

fn is_sdk_base(reference: &Reference) -> bool {
    reference.registry() == REGISTRY && reference.path() == PATH && reference.digest().is_none()
}

/// The error of a base image that no registry gave, with what to do about one of the SDK's.
pub(super) fn not_there(reference: &Reference, error: Error) -> Error {
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
