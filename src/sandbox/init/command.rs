//! The command itself: its environment, user and working directory, and the last steps before it
//! starts.
//!
//! As in a shell, a program that cannot be started ends with 126 or 127 and a line on standard
//! error.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::stubs::{Stubs, Target};
use super::{files, privileges, process};
use crate::dockerfile::DEFAULT_PATH;
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::users::{home_of, lookup_user};
use crate::sandbox::{IsolationKind, RunSpec, Security, Ulimit, User};

/// Everything that is needed once the root file system has been entered.
pub(super) struct Command<'a> {
    argv: Vec<CString>,
    env: Vec<CString>,
    path: Vec<u8>,
    cwd: CString,
    user: User,
    security: Security,
    /// Whether it waits for the disk when it asks to.
    waits: bool,
    isolation: IsolationKind,
    /// Where one id has to do for all.
    fakeroot: Option<&'a UnixStream>,
    terminal: bool,
    data_limit: Option<u64>,
    ulimits: Vec<Ulimit>,
}

pub(super) fn prepare<'a>(
    isolation: IsolationKind,
    spec: &RunSpec,
    root: &OwnedFd,
    fakeroot: Option<&'a UnixStream>,
) -> Result<Command<'a>, SetupError> {
    let argv = spec.argv.clone();
    if argv.is_empty() {
        return Err(SetupError::new("start an empty command", None));
    }
    let passwd = files::read_inside(root, "etc/passwd");
    let user = match &spec.user_name {
        Some(name) => {
            lookup_user(&passwd, &files::read_inside(root, "etc/group"), name).map_err(|error| SetupError::refused(&error))?
        }
        None => spec.user.clone(),
    };
    if spec.make_cwd {
        Stubs::default().target(root, &spec.cwd, Target::Folder)?;
    }
    let mut env: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut set = |name: &str, value: &[u8]| {
        env.retain(|(known, _)| known != name.as_bytes());
        env.push((name.into(), value.to_vec()));
    };
    set("PATH", DEFAULT_PATH.as_bytes());
    set("HOME", &home_of(&passwd, user.uid));
    for (name, value) in &spec.env {
        set(name, value.as_bytes());
    }
    for (name, value) in &spec.secret_env {
        set(name, value.reveal());
    }
    let path = env.iter().find(|(name, _)| name == b"PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let env = env.into_iter().map(|(name, value)| [name, b"=".to_vec(), value].concat());
    Ok(Command {
        argv: argv.into_iter().map(c_string).collect::<Result<_, _>>()?,
        env: env.map(c_string).collect::<Result<_, _>>()?,
        path,
        cwd: c_string([b"/", spec.cwd.as_bytes()].concat())?,
        user,
        security: spec.security,
        waits: !spec.may_skip_fsync(),
        isolation,
        fakeroot,
        terminal: spec.terminal,
        data_limit: spec.data_limit,
        ulimits: spec.ulimits.clone(),
    })
}

fn c_string(bytes: Vec<u8>) -> Result<CString, SetupError> {
    CString::new(bytes).map_err(|_| SetupError::new("start a command with a NUL byte", Some(Errno::INVAL.raw_os_error())))
}

impl Command<'_> {
    /// Whether it waits for the disk when it asks to.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Whose process it is.
    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// The folder that it begins in.
    pub(super) fn folder(&self) -> &CStr {
        &self.cwd
    }

    /// Enters its folder, takes on its rights, and becomes it. Returns an exit status only where
    /// that was impossible.
    pub(super) fn exec(&self) -> i32 {
        match self.enter() {
            Ok(()) => self.exec_program(),
            Err(error) => {
                let cause =
                    error.errno.map(|errno| format!(": {}", std::io::Error::from_raw_os_error(errno))).unwrap_or_default();
                say(&format!("{} failed{cause}", error.step));
                126
            }
        }
    }

    /// Becomes the command in a process that is prepared. Returns an exit status only where that
    /// was impossible.
    pub(super) fn exec_program(&self) -> i32 {
        let errno = self.exec_by_path();
        say(&format!("cannot run `{}`: {}", self.argv[0].to_string_lossy(), std::io::Error::from(errno)));
        if errno == Errno::NOENT { 127 } else { 126 }
    }

    /// All steps but exec; alone, for a probe.
    pub(super) fn enter(&self) -> Result<(), SetupError> {
        self.prepare_process()?;
        rustix::process::chdir(&self.cwd).step(|| format!("enter `{}`", self.cwd.to_string_lossy()))?;
        privileges::drop_to(self.isolation, &self.user, self.security, self.waits, self.fakeroot)
    }

    /// The steps that have nothing to do with files or rights.
    pub(super) fn prepare_process(&self) -> Result<(), SetupError> {
        process::default_signals();
        let _ = rustix::process::setsid();
        if self.terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).step(|| "make the terminal the command's own".into())?;
        }
        if let Some(bytes) = self.data_limit {
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            rustix::process::setrlimit(Resource::Data, limit).step(|| "limit memory".into())?;
        }
        for limit in &self.ulimits {
            process::set_limit(limit).step(|| format!("set the limit {limit}"))?;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    }

    /// As execvp(3): a name without a slash is looked for in PATH, and a file that may not be
    /// executed is no reason to stop looking.
    fn exec_by_path(&self) -> Errno {
        let name = &self.argv[0];
        if name.as_bytes().contains(&b'/') {
            return process::exec(name, &self.argv, &self.env);
        }
        let mut worst = Errno::NOENT;
        for folder in self.path.split(|byte| *byte == b':') {
            let folder = if folder.is_empty() { b"." } else { folder };
            let Ok(program) = c_string([folder, b"/", name.as_bytes()].concat()) else { continue };
            match process::exec(&program, &self.argv, &self.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => worst = Errno::ACCESS,
                errno => return errno,
            }
        }
        worst
    }
}

/// One line on the command's standard error, in the place where a shell would put its own.
pub(super) fn say(message: &str) {
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("mpimg: {message}\n").as_bytes());
}
