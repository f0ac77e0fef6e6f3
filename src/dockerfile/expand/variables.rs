//! Variables in a definite order.
//!
//! Each name occurs once.

/// Names with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::dockerfile) struct Variables(Vec<(String, String)>);

impl Variables {
    /// The value of a name.
    pub(in crate::dockerfile) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets a name; one that is already set moves to the end, as in the environment that BuildKit
    /// gives to RUN.
    pub(in crate::dockerfile) fn set_last(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Sets a name; one that is already set keeps its position, as in the image config's `Env`.
    pub(in crate::dockerfile) fn set_in_place(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// All, in order.
    pub(in crate::dockerfile) fn list(&self) -> &[(String, String)] {
        &self.0
    }

    /// All names, in order.
    pub(in crate::dockerfile) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Bytes of all names and values.
    pub(in crate::dockerfile) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}
