//! A lint of layers that RUN makes: caches of package managers that no container needs (pip's
//! cache, apt's lists and packages).
//!
//! It only warns: the image is what the Dockerfile says.

use std::collections::BTreeMap;

use crate::layer::{Entry, LayerPath};
use crate::progress::Progress;

/// From how many bytes on it warns.
const WARN_FROM: u64 = 1_000_000;

/// A kind of package cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PackageCache {
    Pip,
    AptLists,
    AptArchives,
}

impl PackageCache {
    /// As messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip's cache",
            Self::AptLists => "apt's lists",
            Self::AptArchives => "apt's cache",
        }
    }

    /// How to keep it out of the image.
    fn remedy(self) -> String {
        match self {
            // A cache mount belongs to root unless told otherwise, and docker's classic builder has
            // none.
            Self::Pip => "give pip `--no-cache-dir`".into(),
            Self::AptLists => "end the RUN with `rm -rf /var/lib/apt/lists/*`".into(),
            Self::AptArchives => "end the RUN with `apt-get clean`".into(),
        }
    }
}

/// Bytes of package caches in one layer, by kind and folder.
#[derive(Debug, Default)]
pub(super) struct PackageCacheLint(BTreeMap<(PackageCache, LayerPath), u64>);

impl PackageCacheLint {
    /// Counts an entry of the layer.
    pub(super) fn count(&mut self, entry: &Entry) {
        let size = entry.kind.size();
        if let Some(found) = (size > 0).then(|| find(&entry.path)).flatten() {
            *self.0.entry(found).or_insert(0) += size;
        }
    }

    /// Warns of what is large.
    pub(super) fn warn(&self, progress: &Progress) {
        for ((kind, folder), bytes) in self.0.iter().filter(|(_, bytes)| **bytes >= WARN_FROM) {
            let (name, size) = (kind.name(), *bytes as f64 / 1e6);
            progress.warn(&format!("RUN leaves {size:.1}MB of {name} in the image, in `{folder}`"), Some(&kind.remedy()));
        }
    }
}

fn find(path: &LayerPath) -> Option<(PackageCache, LayerPath)> {
    path.ancestors().find_map(|folder| {
        let kind = match folder.as_bytes() {
            b"var/lib/apt/lists" => PackageCache::AptLists,
            b"var/cache/apt" => PackageCache::AptArchives,
            bytes if bytes.ends_with(b"/.cache/pip") => PackageCache::Pip,
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
