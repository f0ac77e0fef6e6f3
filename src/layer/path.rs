//! The path of an entry inside an image: relative to the image's root, without `.`, `..` or empty
//! components.
//!
//! Refuses a path that would leave the root, and NUL bytes: what is hostile stops here.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The kernel's limit (`limits.h`): what is longer cannot be used in a container. It also bounds
/// the depth of trees.
const PATH_MAX: usize = 4096;

/// A path below an image's root, as bytes. The root itself is the empty path.
///
/// Ordered so that a folder comes before what it holds and siblings are in byte order: the order of
/// entries in a layer.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct LayerPath(#[serde(with = "super::path_bytes")] Vec<u8>);

impl LayerPath {
    /// The root of the image.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a path as it stands in a tar or after a Dockerfile's expansion: a leading `/` or
    /// `./`, doubled and trailing slashes are dropped. `..` is an error, also where it would stay
    /// inside.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = bytes.as_ref();
        let wrong = |why| Error::new(ErrorKind::Corrupt, format!("path `{}` {why}", String::from_utf8_lossy(bytes)));
        if bytes.contains(&0) {
            return Err(wrong("has a NUL byte"));
        }
        if bytes.len() > PATH_MAX {
            return Err(wrong("is longer than 4096 bytes"));
        }
        let mut path = Self(Vec::with_capacity(bytes.len()));
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(wrong("has a `..` component")),
                name => path.push_unchecked(name),
            }
        }
        Ok(path)
    }

    /// Like [`parse`](Self::parse), but `..` removes the component before it and stops at the root,
    /// as in `chroot`.
    pub fn clean(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let mut names: Vec<&[u8]> = Vec::new();
        for component in bytes.as_ref().split(|byte| *byte == b'/') {
            match component {
                b".." => _ = names.pop(),
                b"" | b"." => {}
                name => {
                    // For its checks.
                    Self::parse(name)?;
                    names.push(name);
                }
            }
        }
        let mut path = Self::root();
        names.into_iter().for_each(|name| path.push_unchecked(name));
        Ok(path)
    }

    fn push_unchecked(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path relative to the root, for the file system.
    pub fn as_path(&self) -> &Path {
        use std::os::unix::ffi::OsStrExt;
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// How many bytes at its beginning are those of `other`, and the rest, which is no path alone.
    pub(super) fn shortened(&self, other: &Self) -> (usize, Self) {
        let same = common_prefix(&self.0, &other.0);
        (same, Self(self.0[same..].to_vec()))
    }

    /// What [`shortened`](Self::shortened) has made this of; `None` if `other` was another.
    pub(super) fn lengthened(&self, same: usize, other: &Self) -> Option<Self> {
        Some(Self([other.0.get(..same)?, &self.0].concat()))
    }

    /// Whether this is the image's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// The last component; `None` of the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The folder that holds this path; `None` of the root.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(folder, _)| Self(folder.to_vec()))
    }

    /// The bytes of the folder that holds this path, and its name there; `None` of the root.
    pub(super) fn split(&self) -> Option<(&[u8], &[u8])> {
        let name = self.name()?;
        let end = self.0.len() - name.len();
        Some((&self.0[..end.saturating_sub(1)], name))
    }

    /// All folders above this path, outermost first, the root left out.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| Self(self.0[..end].to_vec()))
    }

    /// `below` seen from this folder.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        let mut path = self.clone();
        if !below.is_root() {
            path.push_unchecked(&below.0);
        }
        path
    }

    /// The entry `name` of this folder; `name` must be one component.
    pub fn child(&self, name: &[u8]) -> Result<Self> {
        if name.contains(&b'/') || name == b".." {
            return Err(Error::new(ErrorKind::Corrupt, format!("`{}` is not a file name", String::from_utf8_lossy(name))));
        }
        Ok(self.join(&Self::parse(name)?))
    }

    /// Whether this path is `folder` or below it.
    pub fn starts_with(&self, folder: &Self) -> bool {
        folder.is_root() || self.0.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

impl PartialOrd for LayerPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LayerPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // By components, and so with the slash before all other bytes.
        let same = common_prefix(&self.0, &other.0);
        let next = |path: &Self| path.0.get(same).map(|byte| (*byte != b'/', *byte));
        next(self).cmp(&next(other))
    }
}

/// How many bytes at the beginning are the same. Eight at a time: byte by byte, the comparing of
/// paths took an eighth of the time of a RUN that changes little in a large tree.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = std::iter::zip(a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let difference = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
    let mut same = 0;
    for difference in words.map(difference) {
        if difference != 0 {
            return same + difference.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + std::iter::zip(&a[same..], &b[same..]).take_while(|(a, b)| a == b).count()
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> LayerPath {
        LayerPath::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_path_are_equal() {
        for text in ["a/b", "/a/b", "./a/b/", "a//b", "a/./b"] {
            assert_eq!(path(text).as_bytes(), b"a/b", "{text}");
        }
        assert!(path("/").is_root() && path(".").is_root() && path("").is_root());
    }

    #[test]
    fn paths_that_leave_the_root_are_refused_and_clean_stops_there() {
        assert!(LayerPath::parse("a/../b").is_err());
        assert!(LayerPath::parse("a\0b").is_err());
        assert_eq!(LayerPath::clean("../../a/../b").unwrap().as_bytes(), b"b");
    }

    #[test]
    fn a_folder_sorts_before_its_entries_and_they_before_its_longer_namesakes() {
        let mut paths = [path("a.b"), path("a/c"), path("a"), path("a-b")];
        paths.sort();
        assert_eq!(paths, [path("a"), path("a/c"), path("a-b"), path("a.b")]);
    }

    #[test]
    fn paths_are_ordered_as_their_components_are() {
        let names =
            ["a", "b", "a-", "a/", "abcdefgh", "abcdefg/", "abcdefghabcdefgh", "abcdefghabcdef/h", "abcdefghabcdefgi/abcdefgh0"];
        for (one, other) in names.iter().flat_map(|one| names.iter().map(move |other| (one, other))) {
            let (one, other) = (path(&format!("{one}/x")), path(&format!("{other}/x")));
            assert_eq!(one.cmp(&other), one.components().cmp(other.components()), "{one} {other}");
        }
    }

    #[test]
    fn ancestors_come_outermost_first_without_the_root() {
        let all: Vec<_> = path("a/b/c").ancestors().collect();
        assert_eq!(all, [path("a"), path("a/b")]);
        assert_eq!(path("a").parent(), Some(LayerPath::root()));
        assert_eq!(LayerPath::root().parent(), None);
    }

    #[test]
    fn only_whole_components_count_as_a_prefix() {
        assert!(path("a/b").starts_with(&path("a")));
        assert!(!path("ab").starts_with(&path("a")));
        assert!(path("a").starts_with(&LayerPath::root()));
    }
}
