//! What package managers leave in a layer and no container needs: pip's cache, apt's lists and packages.
//!
//! Refuses to remove anything: the image is what the Dockerfile says.

use std::collections::BTreeMap;

use crate::layer::{Entry, LayerPath};
use crate::progress::Progress;

/// Less than this many bytes is not worth a word.
const WORTH_A_WORD: u64 = 1_000_000;

/// Whose files, as a message calls them, and what to do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    PipCache,
    AptLists,
    AptCache,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::PipCache => "pip's cache",
            Self::AptLists => "apt's lists",
            Self::AptCache => "apt's cache",
        }
    }

    fn remedy(self, folder: &LayerPath) -> String {
        match self {
            Self::PipCache => format!("give pip `--no-cache-dir`, or mount a cache: `RUN --mount=type=cache,target={folder}`"),
            Self::AptLists => "end the RUN with `rm -rf /var/lib/apt/lists/*`".into(),
            Self::AptCache => "end the RUN with `apt-get clean`".into(),
        }
    }
}

/// Bytes that one RUN leaves behind, by kind and folder.
#[derive(Debug, Default)]
pub(super) struct Leftovers(BTreeMap<(Kind, LayerPath), u64>);

impl Leftovers {
    /// Counts an entry of the layer.
    pub(super) fn see(&mut self, entry: &Entry) {
        let size = entry.kind.size();
        if let Some(found) = (size > 0).then(|| find(&entry.path)).flatten() {
            *self.0.entry(found).or_insert(0) += size;
        }
    }

    /// Points out what is large.
    pub(super) fn tell(&self, progress: &Progress) {
        for ((kind, folder), bytes) in self.0.iter().filter(|(_, bytes)| **bytes >= WORTH_A_WORD) {
            let (name, size) = (kind.name(), *bytes as f64 / 1e6);
            progress.warn(&format!("RUN leaves {size:.1}MB of {name} in the image, in `{folder}`"), Some(&kind.remedy(folder)));
        }
    }
}

fn find(path: &LayerPath) -> Option<(Kind, LayerPath)> {
    path.ancestors().find_map(|folder| {
        let kind = match folder.as_bytes() {
            b"var/lib/apt/lists" => Kind::AptLists,
            b"var/cache/apt" => Kind::AptCache,
            bytes if bytes.ends_with(b"/.cache/pip") => Kind::PipCache,
            _ => return None,
        };
        Some((kind, folder.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_known_by_their_folders() {
        let found = |path: &str| find(&LayerPath::parse(path).unwrap()).map(|(kind, folder)| (kind.name(), folder.to_string()));
        assert_eq!(found("root/.cache/pip/http/a/b"), Some(("pip's cache", "/root/.cache/pip".into())));
        assert_eq!(found("home/a/.cache/pip/x"), Some(("pip's cache", "/home/a/.cache/pip".into())));
        assert_eq!(found("var/lib/apt/lists/deb_main"), Some(("apt's lists", "/var/lib/apt/lists".into())));
        assert_eq!(found("var/cache/apt/archives/x.deb"), Some(("apt's cache", "/var/cache/apt".into())));
        assert_eq!(found("usr/lib/python3/pip/x"), None);
    }
}
