//! The paths that packages own: one after the other in one piece of memory, because an image has
//! some 100,000.

use serde::{Deserialize, Serialize};

use crate::layer::path_bytes;

/// Paths from the root of the image; a folder with all that it holds ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct OwnedPaths {
    /// Each followed by NUL, which no path has.
    #[serde(with = "path_bytes")]
    bytes: Vec<u8>,
}

impl OwnedPaths {
    pub(super) fn push(&mut self, path: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(path.as_ref());
        self.bytes.push(0);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.strip_suffix(&[0]).into_iter().flat_map(|paths| paths.split(|byte| *byte == 0))
    }
}

impl<P: AsRef<[u8]>> FromIterator<P> for OwnedPaths {
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Self {
        let mut all = Self::default();
        paths.into_iter().for_each(|path| all.push(path));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back_as_they_were_put_in() {
        for paths in [vec![], vec!["a"], vec!["usr/bin/a", "usr/lib/b/", ""]] {
            assert_eq!(
                paths.iter().collect::<OwnedPaths>().iter().collect::<Vec<_>>(),
                paths.iter().map(|path| path.as_bytes()).collect::<Vec<_>>()
            );
        }
    }
}
