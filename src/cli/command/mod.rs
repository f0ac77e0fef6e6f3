//! The commands, one file each.
//!
//! Commands do not know each other: what two of them share is in the folder above this one. One
//! exception: `mp-test` starts Python as `mp-build` does.

mod build;
mod check;
mod completions;
mod copy;
mod diff;
mod doctor;
mod images;
mod import;
mod inspect;
mod key;
mod load;
mod login;
mod logout;
mod logs;
mod man;
mod migrate;
mod mp_build;
mod mp_test;
mod pak;
mod prune;
mod ps;
mod pull;
mod push;
mod rm;
mod run;
mod save;
mod sbom;
mod serve;
mod sign;
mod stats;
mod stop;
mod tag;
mod tags;
mod verify;

use clap::Subcommand;

pub(super) use build::metadata;
pub(super) use logs::Lines;
pub(super) use run::{NOT_STARTED, attached, read_env_file};

use super::terminal::Terminal;
use crate::error::Result;

/// What `mpimg` can do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Push(Box<push::Push>),
    Pull(pull::Pull),
    MpBuild(mp_build::MpBuild),
    MpTest(mp_test::MpTest),
    Build(Box<build::Build>),
    Migrate(migrate::Migrate),
    Pak(pak::PakCommand),
    Check(check::Check),
    Run(Box<run::Run>),
    Ps(ps::Ps),
    Logs(logs::Logs),
    Stats(stats::StatsCommand),
    Stop(stop::Stop),
    Images(images::Images),
    Inspect(inspect::Inspect),
    Diff(diff::Diff),
    Tag(tag::Tag),
    Tags(tags::Tags),
    Rm(rm::Rm),
    Prune(prune::Prune),
    Import(import::Import),
    Load(load::Load),
    Save(save::Save),
    Sbom(sbom::Sbom),
    Copy(Box<copy::Copy>),
    Sign(Box<sign::Sign>),
    Verify(verify::Verify),
    Key(key::Key),
    Login(login::Login),
    Logout(logout::Logout),
    Serve(serve::Serve),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    /// Its name on the command line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Push(_) => "push",
            Self::Pull(_) => "pull",
            Self::MpBuild(_) => "mp-build",
            Self::MpTest(_) => "mp-test",
            Self::Build(_) => "build",
            Self::Migrate(_) => "migrate",
            Self::Pak(_) => "pak",
            Self::Check(_) => "check",
            Self::Run(_) => "run",
            Self::Ps(_) => "ps",
            Self::Logs(_) => "logs",
            Self::Stats(_) => "stats",
            Self::Stop(_) => "stop",
            Self::Images(_) => "images",
            Self::Inspect(_) => "inspect",
            Self::Diff(_) => "diff",
            Self::Tag(_) => "tag",
            Self::Tags(_) => "tags",
            Self::Rm(_) => "rm",
            Self::Prune(_) => "prune",
            Self::Import(_) => "import",
            Self::Load(_) => "load",
            Self::Save(_) => "save",
            Self::Sbom(_) => "sbom",
            Self::Copy(_) => "copy",
            Self::Sign(_) => "sign",
            Self::Verify(_) => "verify",
            Self::Key(_) => "key",
            Self::Login(_) => "login",
            Self::Logout(_) => "logout",
            Self::Serve(_) => "serve",
            Self::Doctor(_) => "doctor",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }

    /// Runs it. `grammar` gives the whole command line, for completions and manual pages.
    pub(super) async fn run(self, terminal: &Terminal, grammar: fn() -> clap::Command) -> Result<()> {
        match self {
            Self::Push(command) => command.run(terminal).await,
            Self::Pull(command) => command.run(terminal).await,
            Self::MpBuild(command) => command.run(terminal),
            Self::MpTest(command) => command.run(terminal),
            Self::Build(command) => command.run(terminal).await,
            Self::Migrate(command) => command.run(terminal).await,
            Self::Pak(command) => command.run(terminal).await,
            Self::Check(command) => command.run(terminal).await,
            Self::Run(command) => command.run(terminal).await,
            Self::Ps(command) => command.run(terminal),
            Self::Logs(command) => command.run(terminal).await,
            Self::Stats(command) => command.run(terminal),
            Self::Stop(command) => command.run(terminal).await,
            Self::Images(command) => command.run(terminal),
            Self::Inspect(command) => command.run(terminal).await,
            Self::Diff(command) => command.run(terminal).await,
            Self::Tag(command) => command.run(terminal),
            Self::Tags(command) => command.run(terminal).await,
            Self::Rm(command) => command.run(terminal).await,
            Self::Prune(command) => command.run(terminal).await,
            Self::Import(command) => command.run(terminal).await,
            Self::Load(command) => command.run(terminal).await,
            Self::Save(command) => command.run(terminal).await,
            Self::Sbom(command) => command.run(terminal).await,
            Self::Copy(command) => command.run(terminal).await,
            Self::Sign(command) => command.run(terminal).await,
            Self::Verify(command) => command.run(terminal).await,
            Self::Key(command) => command.run(terminal),
            Self::Login(command) => command.run(terminal).await,
            Self::Logout(command) => command.run(terminal).await,
            Self::Serve(command) => command.run(terminal).await,
            Self::Doctor(command) => command.run(terminal).await,
            Self::Completions(command) => command.run(terminal, grammar()),
            Self::Man(command) => command.run(terminal, grammar()),
        }
    }
}
