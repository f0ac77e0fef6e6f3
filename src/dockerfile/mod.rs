//! The Dockerfile front end: from text to a [`Plan`], whose steps a [`StageScope`] expands one by
//! one. The language is that of BuildKit's Dockerfile front end 1.x, with every instruction and
//! flag.
//!
//! This room does not look at the file system, the network or the machine: callers pass in what it
//! needs to know.

mod base;
mod chmod;
mod context_name;
mod duration;
mod epoch;
mod expand;
mod graph;
mod history;
mod instruction;
mod mount;
mod parse;
mod path;
mod plan;
mod planner;
mod port;
mod signal;
mod source;
mod step;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod warning;

pub use base::{Base, PlanOptions, StageIndex};
pub use chmod::Chmod;
pub use context_name::context_name;
pub use epoch::EpochSource;
pub(crate) use expand::DEFAULT_PATH;
pub use expand::{InheritedConfig, StageScope};
pub use instruction::{
    AddInstruction, ArgDeclaration, CommandLine, CopyInstruction, Device, Healthcheck, InlineFile, Instruction, KeyValue,
    Network, RunForm, RunInstruction, Security,
};
pub use mount::{MountRequest, Sharing};
pub use parse::{mount_from, parse_trigger};
pub use plan::{Plan, PlannedStage};
#[cfg(feature = "run")]
pub(crate) use signal::named_signal;
pub use source::{Located, hide_credentials};
pub use step::{AddSource, AddStep, CopyStep, Destination, Port, Protocol, RunStep, Step};
pub use warning::{Rule, Warning};

/// A parsed Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// ARGs before the first FROM.
    pub global_args: Vec<Located<Vec<ArgDeclaration>>>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Warnings found while parsing.
    pub warnings: Vec<Warning>,
    check: text::Check,
}

/// A stage as written.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The name after AS, in lower case.
    pub name: Option<String>,
    /// The word after FROM, variables not expanded.
    pub base: Located<String>,
    /// `--platform`, variables not expanded.
    pub platform: Option<String>,
    /// The instructions up to the next FROM.
    pub instructions: Vec<Located<Instruction>>,
}
