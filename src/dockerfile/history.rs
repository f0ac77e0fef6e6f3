//! The text of a step in the image's history, in BuildKit's form.
//!
//! Refuses proxies: they never enter the image.

use super::Expanded;

impl Expanded {
    /// `created_by` of the step's history entry; `None` for ONBUILD, of which BuildKit keeps no entry.
    pub fn history_text(&self) -> Option<String> {
        None
    }

    /// Whether the step makes a layer; without one, its history entry has `empty_layer`.
    pub fn makes_layer(&self) -> bool {
        match self {
            Self::Add(_) | Self::Copy(_) | Self::Run(_) => true,
            Self::Workdir(path) => path != "/",
            _ => false,
        }
    }
}
