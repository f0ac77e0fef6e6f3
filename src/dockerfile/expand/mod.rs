//! Variables: the reading of words, patterns, and the scope of a stage.
//!
//! Refuses to touch what BuildKit hands on unexpanded: the commands of RUN, CMD, ENTRYPOINT and HEALTHCHECK.

mod config;
mod files;
mod lexer;
mod pattern;
mod predefined;
mod run;
mod scope;
mod shared;
mod variables;

pub(super) use lexer::{Fault, Lexed, Lexer};
pub(super) use predefined::{is_predefined, platform_variables, proxy_variables};
pub use scope::{InheritedConfig, StageScope};
pub(super) use shared::Shared;
pub(super) use variables::Variables;
