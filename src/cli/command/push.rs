//! `mpimg push`: builds a project and pushes it, or pushes an image that exists; then finds out whether the product can pull it.
//!
//! Refuses to write config.json before the image is in the registry.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde_json::json;

use crate::cli::destination::{Destination, DestinationFlags};
use crate::cli::digest_file::DigestFile;
use crate::cli::flags::{BuildFlags, ConnectionFlags, LoginFlags, parsed};
use crate::cli::image;
use crate::cli::progress::shown_time;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::transfer::Transfer;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::{Digest, Tag};
use crate::project::{Project, ProjectConfig};
use crate::registry::{AnonymousReport, CheckState};
use crate::store::Store;

const EXAMPLES: &str = "\
The three lines on standard output are what <kind>.conf of a management pack wants. The product pulls \
REGISTRY/REPOSITORY@DIGEST without logging in; whether that works is tried at the end of every push.

An upload that is cut off goes on where it was when the same command is run again.

Examples:
  mpimg push                                       The project in this folder
  mpimg push ~/nsx -r harbor.example.com/mp/nsx    Another one, to elsewhere
  mpimg push --no-ttl --json --digest-file digest --require-anonymous-pull
  mpimg push --registry-username me --registry-password-stdin < token.txt
  mpimg push --image app:1 -r localhost:5000/app   An image built before";

/// Build a project and push it; prints REGISTRY, REPOSITORY and DIGEST
///
/// PATH is an Integration SDK project (a folder with manifest.txt), or, with --registry-tag, any folder with a Dockerfile.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Push {
    /// The project's folder [default: .]
    #[arg(value_name = "PATH", conflicts_with = "project")]
    path: Option<PathBuf>,

    /// The same as PATH, as mp-build has it
    #[arg(short = 'p', long = "path", value_name = "PATH")]
    project: Option<PathBuf>,

    #[command(flatten)]
    destination: DestinationFlags,

    /// Push under this tag [default: <version>_<unix time> of a project, else latest]; may be repeated
    #[arg(short, long, value_name = "TAG", value_parser = parsed::<Tag>)]
    tag: Vec<Tag>,

    /// Push this image instead of building one: NAME[:TAG] of the local store, oci:DIR, oci-archive:FILE, …
    #[arg(long, value_name = "IMAGE", value_parser = image::named)]
    image: Option<Transport>,

    /// Fail (exit code 1) if the pushed image cannot be pulled without logging in
    #[arg(long)]
    require_anonymous_pull: bool,

    #[command(flatten)]
    digest_file: DigestFile,

    #[command(flatten)]
    build: BuildFlags,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// A project's folder, as far as there is one.
struct Folder {
    project: Option<Project>,
    config: Option<ProjectConfig>,
}

impl Folder {
    /// Reads the project. Without one, something else must tell what is to be pushed.
    fn read(path: &Path, is_enough: bool) -> Result<Self> {
        if !Project::is_project(path) && is_enough {
            return Ok(Self { project: None, config: None });
        }
        let project = Project::open(path)?;
        Ok(Self { config: Some(ProjectConfig::read(path)?), project: Some(project) })
    }

    fn both(&self) -> Option<(&Project, &ProjectConfig)> {
        self.project.as_ref().zip(self.config.as_ref())
    }
}

impl Push {
    pub(super) async fn run(mut self, terminal: &Terminal) -> Result<()> {
        let started = Instant::now();
        let path = self.path.take().or(self.project.take()).unwrap_or_else(|| ".".into());
        let mut folder = Folder::read(&path, self.image.is_some() || self.build.dockerfile(&path).is_file())?;
        let destination = self.destination.decide(terminal, folder.both())?;
        let tags = self.tags(&folder)?;
        let credential = self.login.credential(terminal, destination.push.repository().registry())?;

        let store = Store::open(Store::default_root()?)?;
        let client = self.connection.client(terminal, Some(&store), credential)?;
        terminal.handle_signals();
        let transfer = Transfer {
            store,
            client: client.clone(),
            repository: destination.push.repository().clone(),
            tags: tags.clone(),
            cancel: terminal.interrupt().token().clone(),
        };
        let (image, pushed) = match self.image {
            Some(transport) => transfer.push_image(transport, self.build.platform()).await?,
            None => {
                let mut request = self.build.request(&path)?;
                request.cancel = terminal.interrupt().build().clone();
                transfer.build_and_push(request, terminal.progress()).await?
            }
        };
        self.digest_file.write(&pushed.digest)?;
        remember(terminal, &destination, folder.config.as_mut());
        let done = Done { destination, tags, image, digest: pushed.digest, time: started.elapsed() };
        done.say(terminal);
        let report = client.check_pushed(done.destination.pull.repository(), &pushed).await;
        let refused = done.tell_anonymous(terminal, &report, self.require_anonymous_pull);
        done.answer(terminal, report.pullable())?;
        refused
    }

    fn tags(&self, folder: &Folder) -> Result<Vec<Tag>> {
        if !self.tag.is_empty() {
            return Ok(self.tag.clone());
        }
        let tag = match (&folder.project, &self.image) {
            (Some(project), _) => project.tag_at(SystemTime::now())?,
            (None, Some(Transport::Store(name) | Transport::Registry(name))) if name.tag().is_some() => {
                return Ok(name.tag().cloned().into_iter().collect());
            }
            (None, _) => Tag::parse("latest")?,
        };
        Ok(vec![tag])
    }
}

/// The image is where it should be: a config.json that cannot be written is no reason to fail.
fn remember(terminal: &Terminal, destination: &Destination, config: Option<&mut ProjectConfig>) {
    let Some(config) = config.filter(|_| destination.remember) else { return };
    if let Err(error) = config.set_container_repository(&destination.pull) {
        let hint = format!("set `container_repository` in it to {}", destination.pull);
        let causes: String = error.causes().iter().map(|cause| format!(": {cause}")).collect();
        terminal.warn(&format!("the image is pushed, but {error}{causes}"), Some(&hint));
    }
}

/// A push that succeeded.
struct Done {
    destination: Destination,
    tags: Vec<Tag>,
    image: Image,
    digest: Digest,
    time: Duration,
}

impl Done {
    fn say(&self, terminal: &Terminal) {
        let names: Vec<String> = self.tags.iter().map(|tag| format!("{}:{tag}", self.destination.push)).collect();
        terminal.say(&format!("pushed {}: {} in {}", names.join(", "), image::extent(&self.image), shown_time(self.time)));
    }

    /// Says whether the product will be able to pull. If it must be, "no" is an error.
    fn tell_anonymous(&self, terminal: &Terminal, report: &AnonymousReport, required: bool) -> Result<()> {
        if let Some((left, allowed)) = report.pulls {
            terminal.say(&format!("Docker Hub: {left} of {allowed} pulls are left for this address"));
        }
        if report.pullable() {
            let tick = terminal.error_theme().good("✓");
            terminal.say(&format!("{tick} it can be pulled without logging in, as VMware Aria Operations pulls it"));
            return Ok(());
        }
        let failed = report.items.iter().find(|item| item.state != CheckState::Passed);
        let name = format!("{}@{}", self.destination.pull, self.digest);
        let reason = failed.map_or_else(String::new, |item| format!("{}: {}", item.name, item.detail));
        let message = format!("`{name}` is pushed, but VMware Aria Operations cannot pull it without logging in");
        let hint = report.hint.as_deref().or(failed.and_then(|item| item.hint.as_deref()));
        if required {
            let error = Error::new(ErrorKind::Auth, message).with_source(reason);
            return Err(match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        }
        terminal.warn(&format!("{message}\n{reason}"), hint);
        Ok(())
    }

    fn answer(&self, terminal: &Terminal, anonymous_pull: bool) -> Result<()> {
        let conf = self.destination.pull.conf_entries(&self.digest, self.destination.use_default_registry);
        let tags: Vec<&str> = self.tags.iter().map(Tag::as_str).collect();
        terminal.answer(&Answer {
            text: conf.to_string(),
            quiet: format!("{}\n", self.digest),
            json: json!({
                "repository": self.destination.push.to_string(),
                "tag": tags.first(),
                "tags": tags,
                "digest": self.digest,
                "size": image::size(&self.image),
                "layers": image::layers_json(&self.image),
                "seconds": self.time.as_secs_f64(),
                "conf": { "registry": conf.registry, "repository": conf.repository, "digest": conf.digest },
                "anonymous_pull": anonymous_pull,
            }),
        })
    }
}
