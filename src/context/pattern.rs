//! Patterns.
use crate::error::{Error, ErrorKind, Result};

/// A list of patterns by moby's rules.
#[derive(Debug, Clone, Default)]
pub struct Patterns {}

impl Patterns {
    /// Parses the values of `--exclude`.
    pub fn parse<'a>(_patterns: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "patterns"))
    }
}
