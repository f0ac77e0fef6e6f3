//! What every command works with: the library, standard output and standard error; and how it
//! fails.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::drop_in::{self, Parsed, look_at_flags};
use crate::cli::flags::ProgressMode;
use crate::cli::message::draw_error;
use crate::cli::terminal::{Terminal, write_output};
use crate::cli::visible::visible;
use crate::error::{Error, ErrorKind};
use crate::operation::{Mpimg, Options};
use crate::project::variable;
use crate::registry::CredentialSources;

/// The exit code of a command that did what it should, or was asked to run something that ended
/// with this one.
pub(super) type CommandResult = Result<u8, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    code: u8,
    /// What docker says, on standard error.
    text: String,
    /// What mpimg says, behind that.
    error: Option<Error>,
    /// Whether text and code stay as they are, whatever command it belongs to.
    stands: bool,
}

impl Failure {
    /// A failure that docker has words for, with exit code 1.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into(), error: None, stands: false }
    }

    /// One that docker's daemon reports.
    pub(super) fn daemon(text: impl AsRef<str>) -> Self {
        Self::new(format!("Error response from daemon: {}", text.as_ref()))
    }

    /// This failure with another exit code.
    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// This failure as one to which no command gives other words or another code.
    pub(super) fn unchanged_by_commands(self) -> Self {
        Self { stands: true, ..self }
    }

    /// Whether it is to be shown as it is.
    pub(super) fn stands(&self) -> bool {
        self.stands
    }

    /// This failure with other words of docker's.
    pub(super) fn with_text(self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self }
    }

    /// This failure with something before docker's words, where there are any.
    pub(super) fn with_text_before(self, before: &str) -> Self {
        let text = if self.text.is_empty() { self.text } else { format!("{before}{}", self.text) };
        Self { text, ..self }
    }

    /// This failure with what mpimg has to say.
    pub(super) fn with_error(self, error: Error) -> Self {
        Self { error: Some(error), ..self }
    }

    /// Whether docker has words for it, and mpimg has nothing to add.
    pub(super) fn is_of_docker(&self) -> bool {
        self.error.is_none()
    }

    /// What docker says.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Scripts look for this word.
        let text = if error.kind() == ErrorKind::Auth { "unauthorized: authentication required" } else { "" };
        Self::new(text).with_error(error)
    }
}

/// What every command works with.
pub(super) struct Invocation {
    terminal: Terminal,
    mpimg: Mpimg,
    /// The folder of docker's configuration that was given.
    config: Option<PathBuf>,
}

impl Invocation {
    /// An invocation for a command line that was parsed. `--quiet` and `--progress` mean the same
    /// to all commands that have them. Without a terminal, docker's progress is on standard error
    /// where it `builds` or runs, and all others leave that to errors.
    pub(super) fn new(global: &Parsed, command: &Parsed, builds: bool) -> Self {
        let progress = match command.value("progress") {
            _ if command.is("quiet") => ProgressMode::None,
            Some("quiet" | "none") => ProgressMode::None,
            Some("plain" | "rawjson") => ProgressMode::Plain,
            _ if !builds && !std::io::stderr().is_terminal() && !global.is("debug") => ProgressMode::None,
            _ => ProgressMode::Auto,
        };
        let terminal = drop_in::terminal(false, global.is("debug").into(), progress);
        let config = global.value("config").map(PathBuf::from);
        let mpimg = Mpimg::new(Options {
            credentials: CredentialSources { docker_config_dir: config.clone(), ..CredentialSources::default() },
            progress: terminal.progress().clone(),
            cancel: terminal.interrupt().cancel().clone(),
            ..Options::default()
        });
        Self { terminal, mpimg, config }
    }

    /// The library.
    pub(super) fn mpimg(&self) -> &Mpimg {
        &self.mpimg
    }

    /// What Ctrl-C does, and where progress is shown.
    pub(super) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// The folder of docker's configuration, where the command line names it.
    pub(super) fn config_folder_given(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The folder of docker's configuration.
    pub(super) fn config_folder(&self) -> Result<PathBuf, Failure> {
        let variable = |name: &str| variable(name).map(PathBuf::from);
        let folder = self.config.clone().or_else(|| variable("DOCKER_CONFIG"));
        folder.or_else(|| Some(variable("HOME")?.join(".docker"))).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "no folder for docker's configuration is known")
                .with_hint("set DOCKER_CONFIG or HOME")
                .into()
        })
    }

    /// Writes to standard output. On a terminal, what images say of themselves does not move its
    /// cursor.
    pub(super) fn print(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.terminal.display().end();
        let text = text.as_ref();
        match std::io::stdout().is_terminal() {
            true => Ok(write_output(visible(text).as_bytes())?),
            false => Ok(write_output(text.as_bytes())?),
        }
    }

    /// Writes a line to standard error.
    pub(super) fn tell(&self, line: impl AsRef<str>) {
        self.terminal.display().print(line.as_ref());
    }

    /// Says of each flag that changes nothing that it does so; refuses those that mpimg does not
    /// have.
    pub(super) fn look_at_flags(&self, parsed: &Parsed) -> Result<(), Error> {
        look_at_flags(&self.terminal, parsed, "docker")
    }

    /// Shows why the command failed; its exit code.
    pub(super) fn fail(&self, failure: &Failure) -> ExitCode {
        self.terminal.display().end();
        let Failure { code, text, error, .. } = failure;
        let mut shown = if text.is_empty() { String::new() } else { format!("{text}\n") };
        if let Some(error) = error {
            shown += &draw_error(error, self.terminal.error_theme(), None);
        }
        // Standard error is gone: the exit code says it.
        let _ = std::io::stderr().lock().write_all(shown.as_bytes());
        self.terminal.interrupt().exit_code().unwrap_or(*code).into()
    }
}
