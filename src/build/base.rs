//! The images that a build stands on: from the local store, a layout or archive, or a registry.
//!
//! Layers stay where they are until something needs their bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::materials::ImageMaterial;
use super::named_context::NamedContext;
use super::sdk_base::{self, BuildImage};
use super::session::Session;
use super::{allowed_bases, context_image};
use crate::context::{BuildContext, ContextOptions, IgnoreFile};
use crate::dockerfile::{Base, Dockerfile, Plan, PlanOptions, StageIndex, context_name};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::{Platform, Reference};
use crate::project::{InstalledSdk, SdkBaseImage};
use crate::registry::Client;
use crate::store::Store;

/// Images by name and platform.
#[derive(Default)]
pub(super) struct Bases(BTreeMap<(String, String), Image>);

impl Bases {
    /// Plans the build and looks up all images that it needs. A base image's ONBUILD triggers are
    /// steps of the stage on it. They may need stages and images that nothing else does, with
    /// triggers of their own: so the plan is made again until no new ones appear.
    pub(super) fn plan(
        session: &Session<'_>,
        dockerfile: &Dockerfile,
        options: &mut PlanOptions,
        build: &BuildImage<'_>,
    ) -> Result<(Plan, Self)> {
        let mut bases = Self::default();
        loop {
            let plan = dockerfile.plan(options)?;
            let stands_for = |name: &str| match named(session, name) {
                Some(NamedContext::Image(image)) => image.to_string(),
                _ => name.to_owned(),
            };
            allowed_bases::check(&session.request.allowed_bases, &plan, stands_for)?;
            bases.look_up(session, &plan, build)?;
            let triggers = bases.triggers(&plan);
            if triggers.iter().all(|(stage, _)| options.triggers.contains_key(stage)) {
                return Ok((plan, bases));
            }
            options.triggers.extend(triggers);
        }
    }

    /// The ONBUILD triggers of the images that stages stand on.
    fn triggers(&self, plan: &Plan) -> Vec<(StageIndex, Vec<String>)> {
        let triggers = plan.stages.iter().filter_map(|stage| match &stage.base {
            Base::Image(name) => {
                let image = self.0.get(&(name.clone(), stage.platform.to_string()))?;
                let triggers = &image.config().config.on_build;
                (!triggers.is_empty()).then(|| (stage.index, triggers.clone()))
            }
            _ => None,
        });
        triggers.collect()
    }

    fn look_up(&mut self, session: &Session<'_>, plan: &Plan, build: &BuildImage<'_>) -> Result<()> {
        for stage in &plan.stages {
            if let Base::Image(name) = &stage.base {
                self.add(session, name, &stage.platform, build)
                    .map_err(|error| error.wrap(format!("cannot use base image `{name}`")).with_snippet(stage.from.snippet()))?;
            }
            for name in &stage.images {
                self.add(session, name, &plan.platform, build).map_err(|error| {
                    let error = error.wrap(format!("cannot use image `{name}`"));
                    // The first step that names it; with variables in the name, the stage.
                    let step = stage.steps.iter().find(|step| step.text().contains(name.as_str()));
                    error.with_snippet(step.map_or_else(|| stage.from.snippet(), |step| step.snippet()))
                })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, session: &Session<'_>, name: &str, platform: &Platform, build: &BuildImage<'_>) -> Result<()> {
        if let Entry::Vacant(place) = self.0.entry((name.to_owned(), platform.to_string())) {
            let image = match named(session, name) {
                Some(context) => of_context(session, context, name, platform, build)?,
                None => find(session, name, platform, build)?,
            };
            place.insert(image);
        }
        Ok(())
    }

    /// All of them, in the order of their names.
    pub(super) fn materials(&self) -> Vec<ImageMaterial> {
        let material = |((name, platform), image): (&(String, String), &Image)| ImageMaterial {
            name: name.clone(),
            platform: platform.clone(),
            digest: image.descriptor().digest,
        };
        self.0.iter().map(material).collect()
    }

    /// An image that the plan names.
    pub(super) fn image(&self, name: &str, platform: &Platform) -> Result<&Image> {
        let found = self.0.get(&(name.to_owned(), platform.to_string()));
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("image `{name}` was not looked up for {platform}")))
    }
}

/// The build context that was given under this name.
fn named<'s>(session: &Session<'s>, name: &str) -> Option<&'s NamedContext> {
    session.request.contexts.iter().find(|(given, _)| context_name(given) == name).map(|(_, context)| context)
}

/// The image that a build context stands for. A folder becomes an image of one layer.
fn of_context(
    session: &Session<'_>,
    context: &NamedContext,
    name: &str,
    platform: &Platform,
    build: &BuildImage<'_>,
) -> Result<Image> {
    match context {
        NamedContext::Image(image) => find(session, &image.to_string(), platform, build),
        NamedContext::Folder(folder) => {
            let ignore = IgnoreFile::read(folder, &folder.join("Dockerfile"))?;
            let context = BuildContext::open(folder, ContextOptions { ignore, sdk: false })?;
            context_image::of_context(session, &context, name, platform)
        }
        NamedContext::Address(address) => {
            Err(Error::new(ErrorKind::Usage, format!("the build context `{address}` was not fetched")))
        }
    }
}

/// An image that the store has a name for, if it is there for `platform`.
pub fn stored_image(store: &Store, client: &Client, reference: &Reference, platform: &Platform) -> Result<Option<Image>> {
    match store.resolve(reference)? {
        Some(record) if record.platform.fits(platform) => {
            Image::read_from_store(store, &record, |repository, descriptor| client.blob(repository, descriptor)).map(Some)
        }
        _ => Ok(None),
    }
}

/// `oci:`, `oci-archive:` and `docker-archive:` name files; anything else is a name of the store
/// or, failing that, of a registry.
pub(super) fn find(session: &Session<'_>, name: &str, platform: &Platform, build: &BuildImage<'_>) -> Result<Image> {
    let runtime = &session.runtime;
    // The mistake is in the Dockerfile, not in how the command was called.
    let wrong =
        |error: Error| Error::new(ErrorKind::Dockerfile, error.to_string()).with_hint("name it as [HOST[:PORT]/]PATH[:TAG]");
    let reference = match Transport::parse(name).map_err(wrong)? {
        // Asked again: only what no registry can have, the SDK's own images, comes from here.
        Transport::Store(reference) if session.request.pull && SdkBaseImage::of(&reference).is_none() => reference,
        Transport::Store(written) => {
            // Before the store: a team's machines build on the same image.
            if let Some(image) = sdk_base::pull(session, &written, platform)? {
                return Ok(image);
            }
            if let Some(image) = stored_image(session.store, session.client, &written, platform)? {
                return Ok(image);
            }
            let replacement = sdk_base::replacement(session, &written)?;
            if let Some(reference) = &replacement
                && let Some(image) = stored_image(session.store, session.client, reference, platform)?
            {
                return Ok(image);
            }
            let reference = replacement.unwrap_or(written);
            match sdk_base::build(session, &reference, platform, build)? {
                Some(image) => return Ok(image),
                None => reference,
            }
        }
        Transport::Registry(reference) => reference,
        archive => return archive.read(session.store, platform, None),
    };
    let task = session.progress.task(crate::progress::TaskKind::Work, &format!("look up {}", reference.familiar()), None);
    let image = runtime
        .block_on(session.client.pull_image_beside(Some(session.store), &reference, platform))
        .map_err(|error| sdk_base::not_there(&reference, || InstalledSdk::find(&session.request.context), error))?;
    // What has a digest is not fetched again. Only time is lost if it cannot be kept.
    let manifest = image.index.is_some().then_some((&image.media_type, &image.manifest));
    for (media_type, bytes) in manifest.into_iter().chain([(&image.config_descriptor.media_type, &image.config)]) {
        let _ = session.store.put(media_type.clone(), bytes);
    }
    task.done();
    let sources = image.layers.into_iter().map(|layer| layer.source).collect();
    Image::from_parts(image.manifest, Some(&image.media_type), image.config, sources)
}
