//! The command under test, run as a user with an empty home: nothing of this machine's user is read
//! or written.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::judge;

/// A home folder that goes with the test.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        ["home", "store", "tmp", "run"].iter().for_each(|name| std::fs::create_dir(folder.path().join(name)).unwrap());
        Self { folder }
    }

    /// The home folder itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The local store's folder.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What commands that have ended left in the store's work folder.
    pub(crate) fn work_files(&self) -> Vec<PathBuf> {
        self.store().join("tmp").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The command, with this home, a store of its own and no terminal.
    pub(crate) fn mpimg(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_mpimg")));
        let at = |name: &str| self.folder.path().join(name);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", at("home")).env("TMPDIR", at("tmp")).env("XDG_RUNTIME_DIR", at("run")).env("MPIMG_HOME", at("store"));
        // A machine's mirrors and logins are not part of a test.
        command.env("CONTAINERS_REGISTRIES_CONF", "/dev/null").env("DOCKER_CONFIG", at("home"));
        command.stdin(std::process::Stdio::null()).current_dir(at("home"));
        command
    }
}

/// Runs a shell script that may mount, with the command's environment; its mounts go with it.
pub(crate) fn in_own_mounts(command: Command, script: &str) -> Command {
    let mut shell = judge("unshare");
    shell.args(["--mount", "--propagation", "private", "sh", "-euc", &format!("{script}\nexec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}
