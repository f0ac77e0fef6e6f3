//! The command under another program's name: a folder with links, as a script finds them in PATH.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::home::Home;

/// A command of the program `name`, with the home's environment.
pub(crate) fn command(home: &Home, name: &str) -> Command {
    let own = home.mpimg();
    let link = link(home, name);
    let mut command = Command::new(link);
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null()).current_dir(own.get_current_dir().unwrap());
    command
}

fn link(home: &Home, name: &str) -> PathBuf {
    let folder = home.path().join("links");
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join(name);
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_mpimg"), &link).unwrap();
    }
    link
}
