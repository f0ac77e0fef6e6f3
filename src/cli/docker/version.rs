//! `docker version`, and `docker --version`.

use super::command::{Arguments, Command};
use super::session::{Outcome, Session};
use crate::cli::drop_in::{Flag, Parsed};

/// The version of docker whose words and output this is: scripts compare it with what they need.
pub(super) const DOCKER: &str = "28.2.2";

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[Flag::value("format", "Format output using a custom template").short('f')]],
    ..Command::new(&["version"], "[OPTIONS]", "Show the Docker version information", |session, parsed| {
        Box::pin(async move { run(session, parsed) })
    })
};

/// `docker --version`
pub(super) fn line() -> String {
    format!("Docker version {DOCKER}, build mpimg-{}\n", env!("CARGO_PKG_VERSION"))
}

fn run(session: &Session, _parsed: &Parsed) -> Outcome {
    session.print(line())?;
    Ok(0)
}
