//! Checks: can this machine push, can anybody pull.
//!
//! Refuses to use credentials for the anonymous check.

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckState {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// It could not be found out.
    Unknown,
}

/// One line of a check's list.
#[derive(Debug, Clone)]
pub struct CheckItem {
    /// What was checked: `name resolves`.
    pub name: String,
    /// How it went.
    pub state: CheckState,
    /// What was found, or why it failed.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Whether an image can be pulled without credentials.
#[derive(Debug, Clone)]
pub struct AnonymousReport {
    /// Manifest, config and layers, in this order.
    pub items: Vec<CheckItem>,
    /// Docker Hub: pulls left and allowed, for this source address.
    pub pulls: Option<(u64, u64)>,
}

impl AnonymousReport {
    /// Whether everything can be pulled.
    pub fn pullable(&self) -> bool {
        !self.items.is_empty() && self.items.iter().all(|item| item.state == CheckState::Passed)
    }
}
