//! One build, from the Dockerfile's text to the image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::runtime::Handle;

use super::base::Bases;
use super::cache::BuildCache;
use super::chosen_isolation::ChosenIsolation;
use super::materials::{BuildMaterials, Downloads};
use super::remote_time;
use super::request::BuildRequest;
use super::schedule::Schedule;
use super::session::Session;
use super::sink::OnLayer;
use super::times::Times;
use crate::context::{BuildContext, ContextOptions, GuardPolicy, IgnoreFile, SecretGuard, existing_dockerfile, read_regular};
use crate::dockerfile::{Dockerfile, EpochSource, PlanOptions, context_name};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::Image;
use crate::oci::{Digest, Platform};
use crate::progress::Progress;
use crate::project::{InstalledSdk, Project};
use crate::registry::Client;
use crate::store::Store;

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

    /// Builds an image; it, and what it was made of. `on_layer` is called with each of its layers
    /// that begins to be written.
    ///
    /// Blocks its thread: call it from [`tokio::task::spawn_blocking`] or from a thread of its own,
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`], [`ErrorKind::Context`] and [`ErrorKind::RunFailed`] carry the
    /// place in the Dockerfile.
    pub fn build(&self, request: &BuildRequest, on_layer: Option<OnLayer>) -> Result<(Image, BuildMaterials)> {
        self.build_under(request, None, on_layer)
    }

    /// As `build`; `heading` is what its steps are shown under, where it is part of another build.
    fn build_under(
        &self,
        request: &BuildRequest,
        heading: Option<&str>,
        on_layer: Option<OnLayer>,
    ) -> Result<(Image, BuildMaterials)> {
        let (session, dockerfile, mut options) = self.prepare(request, on_layer)?;
        let session = Session { heading, ..session };
        dockerfile.warnings.iter().for_each(|warning| self.progress.warn(&warning.message, None));
        let cache = BuildCache::new(&session);
        let build =
            |request: &BuildRequest, heading: &str| self.build_under(request, Some(heading), None).map(|(image, _)| image);
        let (plan, bases) = Bases::plan(&session, &dockerfile, &mut options, &build)?;
        plan.warnings.iter().for_each(|warning| self.progress.warn(&warning.message, None));

        let target = Schedule::new(&session, &cache, &plan, &bases).and_then(Schedule::build);
        if target.is_ok() {
            cache.save_mounts();
        }
        // Also after a step that failed: those before it need not be done again.
        cache.finish();
        let mut materials = BuildMaterials::new(request, &session.dockerfile, &session.context, session.times.epoch());
        materials.images = bases.materials();
        materials.downloads = session.downloads.files();
        materials.repositories = session.downloads.commits();
        let mut target = target?;
        if request.squash {
            target.squash(&session)?;
        }
        let (mut config, layers) = target.into_image(session.times.epoch());
        config.config.labels.extend(request.labels.clone());
        let image = Image::assemble(config, layers, request.annotations.clone(), request.format)?;
        Ok((image, materials))
    }

    /// Reads the Dockerfile and opens what a build needs.
    pub(super) fn prepare<'a>(
        &'a self,
        request: &'a BuildRequest,
        on_layer: Option<OnLayer>,
    ) -> Result<(Session<'a>, Dockerfile, PlanOptions)> {
        expect_buildable(&request.platform)?;
        let path = dockerfile_path(request)?;
        let file = existing_dockerfile(&path);
        // A Dockerfile that was named may be a pipe.
        let read = if request.dockerfile.is_none() { read_regular(&file) } else { std::fs::read(&file) };
        let text = read.map_err(|error| no_dockerfile(&request.context, &path, error))?;
        let dockerfile = Dockerfile::parse_with(&shown(&file), &text, &request.build_args)?;
        let mut options = PlanOptions {
            target: request.target.clone(),
            build_args: request.build_args.clone(),
            platform: request.platform.clone(),
            build_platform: Platform::host(),
            proxies: request.proxies.clone(),
            source_date_epoch: None,
            contexts: request.contexts.keys().map(|name| context_name(name)).collect(),
            triggers: BTreeMap::new(),
        };
        let epoch = match &request.source_date_epoch {
            Some(epoch) => Some(epoch.clone()),
            None => match dockerfile.source_date_epoch(&options)? {
                EpochSource::Context => None,
                EpochSource::Given(epoch) => Some(epoch),
                EpochSource::File(url) => remote_time::of_file(&self.store, &self.client, &url)?.map(|time| time.to_string()),
                EpochSource::Git(address) => {
                    let secrets = &request.secrets;
                    remote_time::of_commit(&self.store, &self.client, &address, secrets)?.map(|time| time.to_string())
                }
            },
        };
        let mut session = self.session(request, &path, epoch.as_deref(), on_layer)?;
        session.dockerfile = (in_context(&file, &request.context), Digest::of(&text));
        options.source_date_epoch = session.times.known_epoch();
        Ok((session, dockerfile, options))
    }

    fn session<'a>(
        &'a self,
        request: &'a BuildRequest,
        dockerfile: &Path,
        epoch: Option<&str>,
        on_layer: Option<OnLayer>,
    ) -> Result<Session<'a>> {
        let runtime = Handle::try_current()
            .map_err(|error| Error::new(ErrorKind::Usage, "a build needs a tokio runtime around it").with_source(error))?;
        let sdk = Project::is_project(&request.context);
        let mut ignore = IgnoreFile::read(&request.context, dockerfile)?;
        // Every installation of an SDK makes the same base image: pip puts the time into bytecode,
        // and the commit around a virtual environment is a project's.
        let is_sdk_base = InstalledSdk::has_folder(&request.context);
        if is_sdk_base {
            ignore.get_or_insert_default().add_line("**/__pycache__");
        }
        let policy = if sdk { GuardPolicy::Stop } else { GuardPolicy::Warn };
        Ok(Session {
            request,
            heading: None,
            store: &self.store,
            client: &self.client,
            runtime,
            progress: &self.progress,
            context: BuildContext::open(&request.context, ContextOptions { ignore, sdk })?,
            guard: SecretGuard::new(policy, request.allowed_secret_files.iter().cloned())?,
            times: match (is_sdk_base, epoch) {
                (true, None) => Times::of_no_commit(),
                _ => Times::of(&request.context, epoch, &self.progress)?,
            },
            on_layer,
            isolation: ChosenIsolation::default(),
            stopped: self.client.options().cancel.child_token(),
            reset_caches: Mutex::default(),
            dockerfile: (String::new(), Digest::of([])),
            downloads: Downloads::default(),
            warned: Mutex::default(),
        })
    }
}

/// Architectures of Linux as Go names them, which is what images call theirs.
const ARCHITECTURES: [&str; 16] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390",
    "s390x", "sparc64", "wasm",
];

/// An image for a system that no step of its build could run on, or that does not exist, helps
/// nobody.
fn expect_buildable(platform: &Platform) -> Result<()> {
    if platform.os == "linux" && ARCHITECTURES.contains(&platform.architecture.as_str()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Usage,
        format!("an image for `{platform}` cannot be built: only Linux is supported, on an architecture that Go names"),
    )
    .with_hint("write the platform as linux/amd64 or linux/arm64"))
}

/// An error if there is no folder to build.
pub(crate) fn expect_folder(context: &Path) -> Result<()> {
    match context.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Error::new(ErrorKind::Usage, format!("`{}` is not a folder", context.display()))
            .with_hint(format!("name the folder of the project; for a Dockerfile elsewhere, use {}", Setting::Dockerfile))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::NotFound, format!("there is no folder `{}`", context.display()))
                .with_hint("name the folder of a project, or one with a Dockerfile"))
        }
        Err(error) => Err(Error::io("open", context, error)),
    }
}

fn dockerfile_path(request: &BuildRequest) -> Result<PathBuf> {
    expect_folder(&request.context)?;
    Ok(request.dockerfile.clone().unwrap_or_else(|| request.context.join("Dockerfile")))
}

fn no_dockerfile(context: &Path, path: &Path, error: std::io::Error) -> Error {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let wrapped = Error::io("read", path, error);
    if !missing {
        return wrapped;
    }
    if context.join("Dockerfile") != path {
        return wrapped
            .with_hint(format!("name the Dockerfile with {}: its path is seen from the current folder", Setting::Dockerfile));
    }
    wrapped.with_hint(match Project::around(context) {
        Some(project) => format!("name the project's folder: `{}`", project.display()),
        None => format!("run it in the project's folder, or name it: `{}` has no Dockerfile", context.display()),
    })
}

/// As a user would name it: without the current folder before it.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Its path below the build context; the name alone of one that is elsewhere: where a machine keeps
/// its files says nothing of an image.
fn in_context(file: &Path, context: &Path) -> String {
    let inside = file.strip_prefix(context).ok().or_else(|| file.file_name().map(Path::new));
    inside.unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::progress::{Event, Reporter};
    use crate::registry::ClientOptions;

    /// Panics where a step of the stage `one` begins.
    struct Panics;

    impl Reporter for Panics {
        fn event(&self, event: Event<'_>) {
            if let Event::Started { name, .. } = event {
                assert!(!name.contains("[one "), "as the test wants");
            }
        }
    }

    #[test]
    fn a_panic_in_a_stage_ends_the_build_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = "FROM scratch AS one\nCOPY Dockerfile /a\nFROM scratch\nCOPY --from=one /a /b\n";
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let (context, root) = (folder.path().to_owned(), folder.path().join("store"));
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let _entered = runtime.enter();
            let client = Client::new(ClientOptions::default());
            let builder = Builder::new(Store::open(root).unwrap(), client, Progress::new(Arc::new(Panics)));
            let built = builder.build(&BuildRequest::new(context), None);
            send.send(built.map(drop).map_err(|error| error.to_string())).unwrap();
        });
        let built = receive.recv_timeout(Duration::from_secs(60)).expect("a stage waits for ever");
        assert!(built.unwrap_err().contains("panicked"));
    }
}
