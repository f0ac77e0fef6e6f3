//! Ignore.
use crate::error::{Error, ErrorKind, Result};

/// An ignore file: its name for messages, and its text.
#[derive(Debug, Clone)]
pub struct IgnoreFile {
    /// As the user would name it.
    pub name: String,
    /// What it holds.
    pub text: Vec<u8>,
}

impl IgnoreFile {
    /// Reads `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` of the context's root; `None` without either.
    pub fn read(_root: &std::path::Path, _dockerfile: &std::path::Path) -> Result<Option<Self>> {
        Err(Error::new(ErrorKind::Unsupported, "patterns"))
    }
}

/// Which paths of a build context are left out.
#[derive(Debug, Clone, Default)]
pub struct Ignore {}
