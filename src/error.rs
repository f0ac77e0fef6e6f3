//! The one error type of the library: a kind, a message, its causes in order, and one remedy.
//!
//! Nothing is printed: the command line draws errors, the library only returns them.

mod setting;

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use setting::{Setting, Wording, set_wording};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words a caller can act on. Each kind is one exception class in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A flag, argument or API parameter is not of the expected form.
    Usage,
    /// The Dockerfile cannot be read as BuildKit would read it, or cannot be planned.
    Dockerfile,
    /// manifest.txt, config.json or another file of the adapter project is missing or wrong.
    Project,
    /// A source of COPY or ADD is missing, unreadable or outside the build context.
    Context,
    /// A file that holds secrets was about to enter an image.
    Secret,
    /// An image, name, blob or file that was asked for is not there.
    NotFound,
    /// Bytes do not match the digest, size or format that they must have.
    Corrupt,
    /// The local store cannot be read or written.
    Store,
    /// A RUN step could not be started on this machine.
    Sandbox,
    /// A RUN step ended with a status other than 0.
    RunFailed,
    /// The registry refused the credentials, or asks for some.
    Auth,
    /// The registry answered with an error.
    Registry,
    /// The registry cannot be reached: name, TLS, connection or time-out.
    Network,
    /// A file or folder of this machine cannot be read or written.
    Io,
    /// Stopped by Ctrl-C, SIGTERM, SIGHUP or a cancelled token.
    Interrupted,
    /// Understood, but not something that this version does.
    Unsupported,
    /// What a site demands of its images would be left out.
    Policy,
}

impl ErrorKind {
    /// Its name in `--json` and in Python: part of the interface, never changed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Dockerfile => "dockerfile",
            Self::Project => "project",
            Self::Context => "context",
            Self::Secret => "secret",
            Self::NotFound => "not_found",
            Self::Corrupt => "corrupt",
            Self::Store => "store",
            Self::Sandbox => "sandbox",
            Self::RunFailed => "run_failed",
            Self::Auth => "auth",
            Self::Registry => "registry",
            Self::Network => "network",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::Unsupported => "unsupported",
            Self::Policy => "policy",
        }
    }
}

/// A place in a text file, shown with the line itself and a caret under the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// First character in question, from 0, in characters of `text`.
    pub column: usize,
    /// How many characters are in question; at least 1 is drawn.
    pub length: usize,
    /// The line without its end.
    pub text: String,
}

/// An error of this crate. One pointer wide; `Display` is the message alone, `source()` the next
/// cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    snippet: Option<Snippet>,
    exit_status: Option<u8>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error. The message is lower case, without a full stop, its subject in backticks.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, snippet: None, exit_status: None, source: None }))
    }

    /// An input or output error on `path`: "cannot {verb} `{path}`".
    pub fn io(verb: &str, path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        let path = path.as_ref().display();
        let error = Self::new(ErrorKind::Io, format!("cannot {verb} `{path}`"));
        match source.kind() {
            std::io::ErrorKind::StorageFull => error.with_hint(
                "free some space on that disk, then run the same command again; `mpimg prune` frees what the local store can spare",
            ),
            _ => error,
        }
        .with_source(source)
    }

    /// Adds the remedy: one sentence that says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause, and the remedy if it is a limit that this process has met.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        if self.0.hint.is_none() {
            self.0.hint = os_error(&*source).and_then(limit_hint).map(str::to_owned);
        }
        self.0.source = Some(source);
        self
    }

    /// Adds the place in a text file.
    #[must_use]
    pub fn with_snippet(mut self, snippet: Snippet) -> Self {
        self.0.snippet = Some(snippet);
        self
    }

    /// Adds the exit status of the command that failed.
    #[must_use]
    pub(crate) fn with_exit_status(mut self, status: u8) -> Self {
        self.0.exit_status = Some(status);
        self
    }

    /// Wraps this error as the cause of a wider one of the same kind; hint and snippet stay
    /// reachable.
    #[must_use]
    pub fn wrap(self, message: impl Into<String>) -> Self {
        Self::new(self.kind(), message).with_source(self)
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The remedy: this error's own, else that of the nearest cause that has one.
    pub fn hint(&self) -> Option<&str> {
        self.nearest(|inner| inner.hint.as_deref())
    }

    /// The number of the system call's error that is the cause, if it is one (errno(3)).
    pub(crate) fn os_error(&self) -> Option<i32> {
        std::iter::successors(self.source(), |cause| (*cause).source()).find_map(os_error)
    }

    /// The place in a text file: this error's own, else that of the nearest cause that has one.
    pub fn snippet(&self) -> Option<&Snippet> {
        self.nearest(|inner| inner.snippet.as_ref())
    }

    /// The exit status of the command that failed, if a command that ended is the cause.
    pub fn exit_status(&self) -> Option<u8> {
        self.nearest(|inner| inner.exit_status)
    }

    fn nearest<'a, T>(&'a self, pick: impl Fn(&'a Inner) -> Option<T>) -> Option<T> {
        let mut error = self;
        loop {
            if let Some(found) = pick(&error.0) {
                return Some(found);
            }
            error = error.0.source.as_deref()?.downcast_ref::<Error>()?;
        }
    }

    /// The messages of all causes, outermost first, this error's own message not included.
    ///
    /// A cause whose text its parent already ends with is left out: some libraries repeat
    /// themselves.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut last = self.0.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !last.ends_with(&text) {
                causes.push(text.clone());
                last = text;
            }
            next = cause.source();
        }
        causes
    }

    /// The message and those of all causes in one line, parted by colons.
    pub fn in_one_line(&self) -> String {
        let causes = self.causes().into_iter().map(|cause| format!(": {cause}"));
        std::iter::once(self.to_string()).chain(causes).collect()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, hint, snippet, exit_status, source } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("hint", hint)
            .field("snippet", snippet)
            .field("exit_status", exit_status)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Says what was being done when something failed.
pub trait ResultExt<T> {
    /// Wraps the error as the cause of "`message`", of kind `kind`.
    fn context(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::new(kind, message()).with_source(source))
    }
}

fn os_error(error: &(dyn StdError + 'static)) -> Option<i32> {
    let number = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    number.or_else(|| error.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error()))
}

/// The remedy for a limit of this process that a system call has met (setrlimit(2)).
pub(crate) fn limit_hint(errno: i32) -> Option<&'static str> {
    match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::MFILE => Some("raise the limit of open files (`ulimit -n`)"),
        rustix::io::Errno::NFILE => Some("raise the limit of open files of this machine (`sysctl fs.file-max`)"),
        rustix::io::Errno::FBIG => Some("raise the limit of a file's size (`ulimit -f`)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_and_snippet_of_a_cause_are_found_through_wrapping() {
        let inner = Error::new(ErrorKind::Registry, "registry answered 401").with_hint("log in");
        let outer = inner.wrap("cannot push `a/b`");
        assert_eq!(outer.hint(), Some("log in"));
        assert_eq!(outer.kind(), ErrorKind::Registry);
        assert_eq!(outer.to_string(), "cannot push `a/b`");
        assert_eq!(outer.causes(), ["registry answered 401"]);
        assert_eq!(outer.in_one_line(), format!("{outer}: registry answered 401"));
    }

    #[test]
    fn a_cause_that_repeats_its_parent_is_shown_once() {
        let low = std::io::Error::other("no route");
        let error = Error::new(ErrorKind::Network, "cannot connect: no route").with_source(low);
        assert!(error.causes().is_empty());
    }

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
