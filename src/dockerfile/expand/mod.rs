//! Variables: the reading of words, patterns, and the scope of a stage.
//!
//! The commands of RUN, CMD, ENTRYPOINT and HEALTHCHECK are not expanded, as in BuildKit.

mod config;
mod files;
mod lexer;
mod pattern;
mod predefined;
mod run;
mod scope;
mod shared;
mod variables;

pub(super) use files::source_kind;
pub(super) use lexer::{Lexed, Lexer, WordError};
pub(super) use predefined::{SOURCE_DATE_EPOCH, is_predefined, platform_variables, proxy_variables};
pub(crate) use scope::DEFAULT_PATH;
pub use scope::{InheritedConfig, StageScope};
pub(super) use shared::Shared;
pub(super) use variables::Variables;
