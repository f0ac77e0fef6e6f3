//! Builds images: stages and steps over the context, the layer pipeline, the sandbox and the store.
//!
//! Refuses flags and terminals; and it pushes nothing: an image is handed to a destination.

mod add;
mod base;
mod binds;
mod cache;
mod copy;
mod download;
mod filesystem;
mod leftovers;
mod merge;
mod mounts;
mod place;
mod request;
mod reuse;
mod run;
mod sdk_base;
mod session;
mod shared;
mod sink;
mod sources;
mod stage;
mod stages;
mod times;
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock};

use tokio::runtime::Handle;

pub use request::BuildRequest;
pub use session::OnLayer;

use crate::context::{BuildContext, ContextOptions, GuardPolicy, IgnoreFile, SecretGuard};
use crate::dockerfile::{Dockerfile, PlanOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, rfc3339};
use crate::oci::{Platform, Reference};
use crate::progress::Progress;
use crate::project::Project;
use crate::registry::Client;
use crate::store::Store;
use base::Bases;
use session::Session;
use shared::SharedCache;
use stage::HISTORY_COMMENT;
use stages::Stages;
use times::Times;

/// Builds images with one store and one registry client.
#[derive(Debug, Clone)]
pub struct Builder {
    store: Store,
    client: Client,
    progress: Progress,
}

impl Builder {
    /// A builder.
    pub fn new(store: Store, client: Client, progress: Progress) -> Self {
        Self { store, client, progress }
    }

    /// Builds an image. `on_layer` is told of each layer of it that begins to be written.
    ///
    /// Blocks its thread: call it from [`tokio::task::spawn_blocking`] or from a thread of its own, inside a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`], [`ErrorKind::Context`] and [`ErrorKind::RunFailed`] carry the place in the Dockerfile.
    pub fn build(&self, request: &BuildRequest, on_layer: Option<OnLayer>) -> Result<Image> {
        let runtime = Handle::try_current()
            .map_err(|error| Error::new(ErrorKind::Usage, "a build needs a tokio runtime around it").with_source(error))?;
        let path = dockerfile_path(request)?;
        let text = std::fs::read(&path).map_err(|error| no_dockerfile(&request.context, &path, error))?;
        let dockerfile = Dockerfile::parse(&shown(&path), &text)?;
        dockerfile.warnings.iter().for_each(|warning| self.progress.warn(&warning.message, None));

        let sdk = Project::is_project(&request.context);
        let ignore = IgnoreFile::read(&request.context, &path)?;
        let policy = if sdk { GuardPolicy::Stop } else { GuardPolicy::Warn };
        // BuildKit takes it as a build argument, too.
        let epoch = request.source_date_epoch.as_ref().or_else(|| request.build_args.get("SOURCE_DATE_EPOCH"));
        let shared = request.cache_repo.as_ref();
        let shared = shared.map(|repository| SharedCache::new(&self.client, repository, &self.progress, &runtime));
        let session = Session {
            request,
            store: &self.store,
            client: &self.client,
            runtime,
            progress: &self.progress,
            context: BuildContext::open(&request.context, ContextOptions { ignore, sdk })?,
            guard: SecretGuard::new(policy, request.allowed_secret_files.iter().cloned())?,
            times: Times::of(&request.context, epoch.map(String::as_str), &self.store)?,
            on_layer,
            isolation: OnceLock::new(),
            failed: AtomicBool::new(false),
            warned: Mutex::default(),
            shared,
        };
        let mut options = PlanOptions {
            target: request.target.clone(),
            build_args: request.build_args.clone(),
            platform: request.platform.clone(),
            build_platform: Platform::host(),
            proxies: request.proxies.clone(),
            triggers: BTreeMap::new(),
        };
        let (plan, bases) = Bases::plan(&session, &dockerfile, &mut options)?;
        plan.warnings.iter().for_each(|warning| self.progress.warn(&warning.message, None));

        let target = Stages::new(&plan, &bases).build(&session);
        // Also after a step that failed: those before it need not be done again.
        session.shared.iter().for_each(|shared| shared.finish(request.cancel.is_cancelled()));
        let target = target?;
        let mut config = target.config;
        // Only now: the time may have been searched for all the while.
        let created = rfc3339(session.times.epoch());
        let own = config.history.iter_mut().filter(|step| step.created.is_none());
        own.filter(|step| step.comment.as_deref() == Some(HISTORY_COMMENT)).for_each(|step| step.created = Some(created.clone()));
        config.created = Some(created);
        config.config.labels.extend(request.labels.clone());
        Image::assemble(config, target.filesystem.layers().to_vec(), request.annotations.clone(), request.format)
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

fn dockerfile_path(request: &BuildRequest) -> Result<PathBuf> {
    match request.context.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` is not a folder", request.context.display()))
                .with_hint("name the folder of the project; a Dockerfile elsewhere is named with --file"));
        }
        Err(error) => return Err(Error::io("open", &request.context, error)),
    }
    Ok(request.dockerfile.clone().unwrap_or_else(|| request.context.join("Dockerfile")))
}

fn no_dockerfile(context: &Path, path: &Path, error: std::io::Error) -> Error {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let wrapped = Error::io("read", path, error);
    if !missing {
        return wrapped;
    }
    wrapped.with_hint(format!("run it in the project's folder, or name it: `{}` has no Dockerfile", context.display()))
}

/// As a user would name it: without the current folder before it.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
