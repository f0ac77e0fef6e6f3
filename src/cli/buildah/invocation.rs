//! What every command works with: the library, names of images as buildah has them, and how a
//! command fails.

use std::path::PathBuf;

use crate::cli::drop_in::{self, Parsed};
use crate::cli::flags::ProgressMode;
use crate::cli::terminal::{Terminal, write_output};
use crate::error::{Error, ErrorKind};
use crate::oci::{Digest, Reference};
use crate::operation::{Mpimg, Options};
use crate::registry::{Credential, CredentialSources};
use crate::store::ImageRecord;

/// buildah's exit code of whatever is wrong but for a command that it ran.
pub(super) const FAILED: u8 = 125;

/// The registry that buildah puts before a name without one.
const LOCAL: &str = "localhost";

/// The repository below [`LOCAL`] that working containers are kept in.
pub(super) const WORKING: &str = "localhost/buildah-working-container";

/// The repository below [`LOCAL`] that images of manifest lists are kept in.
pub(super) const MANIFEST: &str = "localhost/buildah-manifest";

/// The exit code of a command that did what it should, or ran one that ended with this.
pub(super) type CommandResult = Result<u8, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// What buildah says behind `Error: `.
    pub(super) text: String,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { code: FAILED, text: text.into(), hint: None }
    }

    /// The error of a name that no image has.
    pub(super) fn not_known(name: &str) -> Self {
        Self::new(format!("{name}: image not known"))
    }

    /// The failure of a build: buildah ends with the status of the command that failed.
    pub(super) fn of_command(error: Error) -> Self {
        let code = error.exit_status().unwrap_or(FAILED);
        Self { code, ..Self::from(error) }
    }

    /// This failure with a remedy.
    pub(super) fn with_hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    /// This failure with what was tried before it.
    pub(super) fn while_doing(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Scripts look for this word.
        let word = if error.kind() == ErrorKind::Auth { "unauthorized: " } else { "" };
        Self { code: FAILED, text: format!("{word}{}", error.in_one_line()), hint: error.hint().map(str::to_owned) }
    }
}

/// An image of the store.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: Reference,
    pub(super) record: ImageRecord,
}

impl Found {
    /// The image ID: 64 hex digits.
    pub(super) fn id(&self) -> String {
        self.record.config.digest.hex()
    }
}

/// What every command works with.
pub(super) struct Invocation {
    terminal: Terminal,
    mpimg: Mpimg,
    quiet: bool,
    /// The file that logins go to, where one was named.
    pub(super) auth_file: Option<PathBuf>,
}

impl Invocation {
    /// An invocation for a command line that was parsed.
    pub(super) fn new(global: &Parsed, command: &Parsed) -> Self {
        let quiet = command.is("quiet");
        let level = command.value("log-level").or_else(|| global.value("log-level")).unwrap_or_default();
        let debug = global.is("debug") || matches!(level, "debug" | "trace");
        // What happens is said in buildah's words by the commands; transfers of bytes only to who
        // wants to know.
        let progress = if debug { ProgressMode::Plain } else { ProgressMode::None };
        let terminal = drop_in::terminal(false, debug.into(), progress);
        let variable = std::env::var_os("REGISTRY_AUTH_FILE").filter(|path| !path.is_empty());
        let auth_file =
            command.value("authfile").filter(|file| !file.is_empty()).map(PathBuf::from).or(variable.map(PathBuf::from));
        let verify = command.switch("tls-verify").unwrap_or(true);
        let mpimg = Mpimg::new(Options {
            credentials: CredentialSources { auth_file: auth_file.clone(), ..CredentialSources::default() },
            insecure_registries: if verify { Vec::new() } else { vec!["*".into()] },
            progress: terminal.progress().clone(),
            cancel: terminal.interrupt().cancel().clone(),
            ..Options::default()
        });
        Self { terminal, mpimg, quiet, auth_file }
    }

    pub(super) fn mpimg(&self) -> &Mpimg {
        &self.mpimg
    }

    pub(super) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    pub(super) fn quiet(&self) -> bool {
        self.quiet
    }

    /// The library with the `--creds` for this registry.
    pub(super) fn mpimg_for(&self, parsed: &Parsed, registry: &str) -> Mpimg {
        match parsed.value("creds").filter(|creds| !creds.is_empty()) {
            Some(creds) => {
                let (username, password) = creds.split_once(':').unwrap_or((creds, ""));
                self.mpimg.with_credential(registry, Credential::basic(username, password))
            }
            None => self.mpimg.clone(),
        }
    }

    /// Writes to standard output.
    pub(super) fn print(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        Ok(write_output(text.as_ref().as_bytes())?)
    }

    /// Writes a line to standard error, unless `--quiet` is given.
    pub(super) fn tell(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.terminal.display().print(line.as_ref());
        }
    }

    /// The images of the store but for working containers, in the order of their names.
    pub(super) fn images(&self) -> Result<Vec<Found>, Failure> {
        let store = self.mpimg.store()?;
        let all = store.list()?.into_iter().map(|(name, record)| Found { name, record });
        let own = |name: &Reference| [WORKING, MANIFEST].iter().any(|prefix| name.repository().to_string().starts_with(prefix));
        Ok(all.filter(|found| !own(&found.name)).collect())
    }

    /// The image that `text` names: by an ID of at least 3 digits, or by a name, a local one first.
    pub(super) fn find(&self, text: &str) -> Result<Option<Found>, Failure> {
        let store = self.mpimg.store()?;
        for name in candidates(text) {
            if let Some(record) = store.resolve(&name)? {
                return Ok(Some(Found { name, record }));
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_id = (3..=64).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(self.images()?.into_iter().find(|found| is_id && found.id().starts_with(hex)))
    }

    /// As `find`; an error where there is none.
    pub(super) fn must_find(&self, text: &str) -> Result<Found, Failure> {
        self.find(text)?.ok_or_else(|| Failure::not_known(text))
    }

    /// A working container.
    pub(super) fn find_working(&self, container: &str) -> Result<Option<Found>, Failure> {
        let Ok(name) = working_name(container) else { return Ok(None) };
        Ok(self.mpimg.store()?.resolve(&name)?.map(|record| Found { name, record }))
    }

    /// As `find_working`; an error where there is none.
    pub(super) fn must_find_working(&self, container: &str) -> Result<Found, Failure> {
        let not_known = || Failure::new("container not known").while_doing(&format!("reading build container \"{container}\""));
        self.find_working(container)?.ok_or_else(not_known)
    }

    /// The names of an image.
    pub(super) fn names_of(&self, config: &Digest) -> Result<Vec<Reference>, Failure> {
        Ok(self.images()?.into_iter().filter(|found| found.record.config.digest == *config).map(|found| found.name).collect())
    }
}

/// The name of a working container in the store.
pub(super) fn working_name(container: &str) -> Result<Reference, Failure> {
    let not_known = |_| Failure::new("container not known").while_doing(&format!("reading build container \"{container}\""));
    Reference::parse(&format!("{WORKING}/{container}")).map_err(not_known)
}

/// The name that a new image gets: one without a registry is a local one.
pub(super) fn new_name(text: &str) -> Result<Reference, Failure> {
    let text = text.strip_prefix("containers-storage:").unwrap_or(text);
    let wrong = |error: Error| Failure::from(error).while_doing(&format!("tag {text}"));
    if is_qualified(text) { Reference::parse(text) } else { Reference::parse(&format!("{LOCAL}/{text}")) }.map_err(wrong)
}

/// What a name may mean in the store, in the order to look: a local image, then one of Docker Hub.
pub(super) fn candidates(text: &str) -> Vec<Reference> {
    let text = text.strip_prefix("containers-storage:").unwrap_or(text);
    let local = (!is_qualified(text)).then(|| Reference::parse(&format!("{LOCAL}/{text}")).ok()).flatten();
    local.into_iter().chain(Reference::parse(text).ok()).collect()
}

/// Whether a name begins with a registry.
fn is_qualified(text: &str) -> bool {
    text.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_registry_is_local_first() {
        let shown = |text: &str| candidates(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown("app:1"), ["localhost/app:1", "docker.io/library/app:1"]);
        assert_eq!(shown("team/app"), ["localhost/team/app:latest", "docker.io/team/app:latest"]);
        assert_eq!(shown("localhost/app"), ["localhost/app:latest"]);
        assert_eq!(shown("h:5000/app:1"), ["h:5000/app:1"]);
        assert_eq!(new_name("app").unwrap().to_string(), "localhost/app:latest");
        assert_eq!(new_name("q.example.com/app:2").unwrap().to_string(), "q.example.com/app:2");
    }
}
