//! The SDK's own base images: `base-adapter:LANGUAGE-VERSION` is in no registry. Where it is
//! missing from the store it is built from the installed SDK's package and named there, as
//! `mp-build` does.
//!
//! It is never built of another version than the Dockerfile asks for.

use super::request::{BuildRequest, SdkBase};
use super::session::Session;
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::Image;
use crate::oci::{Platform, Reference, Repository, Tag};
use crate::progress::TaskKind;
use crate::project::{InstalledSdk, SdkBaseImage};

const PACKAGE: &str = "vmware-aria-operations-integration-sdk";

/// Builds another image in the middle of a build; the text is what its steps are shown under.
pub(super) type BuildImage<'a> = dyn Fn(&BuildRequest, &str) -> Result<Image> + 'a;

/// What the build uses in place of an image of the SDK that is not there: that of the installed
/// SDK, if the request wants it.
pub(super) fn replacement(session: &Session<'_>, reference: &Reference) -> Result<Option<Reference>> {
    let Some(base) = SdkBaseImage::of(reference).filter(|_| session.request.sdk_base == SdkBase::Installed) else {
        return Ok(None);
    };
    let Some(sdk) = InstalledSdk::find(&session.request.context) else {
        return Err(InstalledSdk::missing(&session.request.context));
    };
    let Some(name) = base.in_place(&sdk)? else { return Ok(None) };
    let message = format!("the image is built on `{name}` of the installed SDK, not on `{}`", reference.familiar());
    session.progress.warn(&message, Some("`mpimg migrate` writes that into the Dockerfile"));
    Reference::parse(&name).map(Some)
}

/// Builds the image that `reference` names and names it in the store; `None` if it is none of the
/// SDK's, or no SDK is there.
pub(super) fn build(
    session: &Session<'_>,
    reference: &Reference,
    platform: &Platform,
    build: &BuildImage<'_>,
) -> Result<Option<Image>> {
    let base = SdkBaseImage::of(reference).filter(|base| !base.shut_down);
    let Some((base, sdk)) = base.and_then(|base| Some((base, InstalledSdk::find(&session.request.context)?))) else {
        return Ok(None);
    };
    let images = sdk.base_images()?;
    let Some((_, folder)) = images.iter().find(|(tag, _)| tag == base.tag()) else {
        let tags: Vec<&str> = images.iter().map(|(tag, _)| tag.as_str()).collect();
        let message = format!("the installed SDK does not build `{}`, but {}", reference.familiar(), tags.join(", "));
        let hint = match base.in_place(&sdk) {
            Ok(Some(name)) => use_installed(&name),
            _ => "name one of these in FROM".into(),
        };
        return Err(Error::new(ErrorKind::NotFound, message).with_hint(hint));
    };
    let name = reference.familiar();
    let version = sdk.version().map(|version| format!(" {version}")).unwrap_or_default();
    let why = match session.request.sdk_base.repository() {
        Some((repository, _)) => format!("it is not in {repository}"),
        None => "it is in no registry".to_owned(),
    };
    // A step, which every manner of progress shows: the steps below belong to it.
    let task = session.progress.task(TaskKind::Step, &format!("[{name}] build from SDK{version} ({why})"), None);
    let request = BuildRequest {
        platform: platform.clone(),
        codec: session.request.codec,
        threads: session.request.threads,
        source_date_epoch: session.request.source_date_epoch.clone(),
        proxies: session.request.proxies.clone(),
        run: session.request.run.clone(),
        isolation: session.request.isolation,
        no_cache: session.request.no_cache,
        cache_max_age: session.request.cache_max_age,
        cache_repo: session.request.cache_repo.clone(),
        cache_from: session.request.cache_from.clone(),
        cache_to: session.request.cache_to.clone(),
        sdk_base: session.request.sdk_base.clone(),
        ..BuildRequest::new(folder)
    };
    let mut image = build(&request, &name).map_err(|error| error.wrap(format!("cannot build `{name}` from the SDK")))?;
    if let Some((repository, true)) = session.request.sdk_base.repository() {
        // The first one wins: all machines build on the same image.
        image = match pull(session, reference, platform)? {
            Some(theirs) => theirs,
            None => publish(session, repository, base.tag(), image),
        };
    }
    let record = session.runtime.block_on(image.write_to_store(session.store))?;
    session.store.tag(reference, &record)?;
    task.done();
    Ok(Some(image))
}

/// The image in the repository that the request names for base images, if it is there.
pub(super) fn pull(session: &Session<'_>, reference: &Reference, platform: &Platform) -> Result<Option<Image>> {
    let (Some(base), Some((repository, _))) = (SdkBaseImage::of(reference), session.request.sdk_base.repository()) else {
        return Ok(None);
    };
    let Ok(tag) = Tag::parse(base.tag()) else { return Ok(None) };
    let name = repository.with_tag(tag);
    match session.runtime.block_on(session.client.pull_image(&name, platform)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.wrap(format!("cannot look for the SDK's base image in `{repository}`"))),
        Ok(image) => {
            session.progress.note(&format!("`{}` comes from `{}`", reference.familiar(), name.familiar()));
            let sources = image.layers.into_iter().map(|layer| layer.source).collect();
            Image::from_parts(image.manifest, Some(&image.media_type), image.config, sources).map(Some)
        }
    }
}

/// Puts an image there; that it cannot be put there is a warning.
fn publish(session: &Session<'_>, repository: &Repository, tag: &str, image: Image) -> Image {
    let push = || {
        let tags = [Tag::parse(tag)?];
        let push = session.client.push(repository)?;
        image.layers().iter().for_each(|layer| push.offer(layer));
        let (config, manifest) = (image.config_bytes().clone(), image.manifest_bytes().clone());
        session.runtime.block_on(push.finish(config, manifest, image.descriptor().media_type.clone(), &tags))
    };
    if let Err(error) = push() {
        let causes: String = error.causes().iter().map(|cause| format!(": {cause}")).collect();
        let message = format!("the SDK's base image is not published as `{repository}:{tag}`: {error}{causes}");
        session.progress.warn(&message, error.hint());
    }
    image
}

/// The remedy where the installed SDK has another version.
fn use_installed(name: &str) -> String {
    format!(
        "build on `{name}` of the installed SDK with {}, or let `mpimg migrate` write it into the Dockerfile",
        Setting::SdkBase.with(SdkBase::Installed)
    )
}

/// Releases of the SDK that hold the source of a base image.
const SOURCES: [(&str, &str); 2] = [("python-1.0.0", "1.3.0"), ("python-1.2.0", "1.3.1")];

/// The error of a base image in a registry that was shut down.
fn shut_down(base: SdkBaseImage<'_>, reference: &Reference, sdk: Option<&InstalledSdk>, error: Error) -> Error {
    let (name, tag) = (reference.familiar(), base.tag());
    let installed = sdk.and_then(|sdk| base.in_place(sdk).ok().flatten());
    let hint = match (installed, SOURCES.iter().find(|(known, _)| *known == tag)) {
        (Some(installed), None) => use_installed(&installed),
        (Some(installed), Some((_, release))) => {
            format!(
                "{}; SDK {release} has the source of `{tag}` itself (`pip install {PACKAGE}=={release}`)",
                use_installed(&installed)
            )
        }
        (None, Some((_, release))) => format!(
            "its source is in the SDK {release}: install that (`pip install {PACKAGE}=={release}`) and write `FROM base-adapter:{tag}`, \
             which mpimg builds from it"
        ),
        (None, None) => format!(
            "no release of the SDK has the source of `{tag}`: install the SDK (`pip install {PACKAGE}`) and write the base image that \
             it builds in FROM, such as `base-adapter:python-1.2.0` of SDK 1.3.1"
        ),
    };
    error.wrap(format!("`{name}` cannot be pulled: the registry `{}` was shut down", reference.registry())).with_hint(hint)
}

/// The error of a base image that no registry gave, with what to do about one of the SDK's. `sdk`:
/// the installed one.
pub(super) fn not_there(reference: &Reference, sdk: impl FnOnce() -> Option<InstalledSdk>, error: Error) -> Error {
    let Some(base) = SdkBaseImage::of(reference) else { return error };
    if base.shut_down {
        return shut_down(base, reference, sdk().as_ref(), error);
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
            not_there(&Reference::parse(name).unwrap(), || None, error)
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
