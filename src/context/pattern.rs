//! Lists of patterns by moby's rules: the order decides, `!` re-includes, and what is in a folder
//! inherits the folder's match.
//!
//! A pattern that Go's `filepath.Match` calls bad is an error.
//!
//! Source: github.com/moby/patternmatcher, `New` and `MatchesUsingParentResults`, which BuildKit's
//! walk of a build context (fsutil, `filter.go`) and its `--exclude` and `--parents` (fsutil,
//! `copy.go`) use.

use super::glob::{Glob, clean};
use super::regexp::Matcher;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::LayerPath;

/// A list of patterns: those of an ignore file, or the values of `--exclude`.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<Pattern>);

/// One pattern.
#[derive(Debug, Clone)]
struct Pattern {
    /// Which of the list it was, from 0.
    index: usize,
    negated: bool,
    /// Without `!`.
    cleaned: Vec<u8>,
    matcher: Matcher,
    /// How much of `cleaned` is components without wildcards; all of it where there are none.
    literal: usize,
}

/// Which patterns matched a folder: what is in the folder inherits that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolderMatch {
    matched: Vec<bool>,
    excluded: bool,
}

impl FolderMatch {
    /// Whether the list as a whole matched.
    pub(super) fn is_match(&self) -> bool {
        self.excluded
    }
}

/// What is wrong with a pattern, and which of the list it is.
#[derive(Debug)]
pub(super) struct PatternError {
    pub(super) index: usize,
    pub(super) reason: String,
}

impl Patterns {
    /// Parses the values of `--exclude`, by the same rules as the lines of an ignore file but for a
    /// leading `/`, which is kept.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let patterns: Vec<&str> = patterns.into_iter().collect();
        Self::compile(patterns.iter().map(|pattern| pattern.as_bytes())).map_err(|error| {
            let pattern = patterns[error.index];
            Error::new(ErrorKind::Usage, format!("`{pattern}` is not a pattern: {}", error.reason))
                .with_hint("patterns are those of .dockerignore: `*`, `?`, `[a-z]`, `**` and a leading `!`")
        })
    }

    /// Compiles a list. Empty patterns are skipped.
    pub(super) fn compile<'a>(patterns: impl IntoIterator<Item = &'a [u8]>) -> std::result::Result<Self, PatternError> {
        let mut list = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            list.extend(Pattern::compile(index, pattern).map_err(|reason| PatternError { index, reason })?);
        }
        Ok(Self(list))
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `path` matches, by itself or with a folder above it.
    pub fn matches(&self, path: &LayerPath) -> bool {
        let folders = path.ancestors().fold(self.root(), |folder_match, folder| self.folder(folder.as_bytes(), &folder_match));
        self.leaf(path.as_bytes(), &folders)
    }

    /// The match of the root folder: nothing matched.
    pub(super) fn root(&self) -> FolderMatch {
        FolderMatch { matched: vec![false; self.0.len()], excluded: false }
    }

    /// The match of the folder `path`, given its parent's.
    pub(super) fn folder(&self, path: &[u8], parent: &FolderMatch) -> FolderMatch {
        let mut folder_match = self.root();
        folder_match.excluded = self.evaluate(path, parent, |at| folder_match.matched[at] = true).is_some_and(|by| !by.negated);
        folder_match
    }

    /// Whether `path`, which holds nothing, matches, given the match of the folder that holds
    /// it.
    pub(super) fn leaf(&self, path: &[u8], parent: &FolderMatch) -> bool {
        self.evaluate(path, parent, |_| {}).is_some_and(|by| !by.negated)
    }

    /// Which of the list decides on `path`, from 0; `None` where none matches.
    pub(super) fn decisive(&self, path: &[u8], parent: &FolderMatch) -> Option<usize> {
        self.evaluate(path, parent, |_| {}).map(|by| by.index)
    }

    /// The last pattern that applies to `path`.
    ///
    /// A pattern that could change nothing when its turn comes is skipped and counts as not matched
    /// further down too: that is moby's way, and visible where `!a` stands before `a/b`.
    fn evaluate(&self, path: &[u8], parent: &FolderMatch, mut matched: impl FnMut(usize)) -> Option<&Pattern> {
        let mut decisive: Option<&Pattern> = None;
        for (at, pattern) in self.0.iter().enumerate() {
            let excluded = decisive.is_some_and(|by| !by.negated);
            if parent.matched[at] || (pattern.negated == excluded && pattern.matcher.matches(&pattern.cleaned, path)) {
                matched(at);
                decisive = Some(pattern);
            }
        }
        decisive
    }

    /// Whether a `!` pattern can re-include something in the folder `path`, which itself matches.
    ///
    /// moby's check is coarser (after one `!` pattern with a wildcard it skips no folder); the
    /// result is the same.
    pub(super) fn may_reinclude_below(&self, path: &[u8], folder_match: &FolderMatch) -> bool {
        let last = (0..self.0.len()).rev().find(|at| folder_match.matched[*at] && !self.0[*at].negated);
        self.0.iter().skip(last.map_or(0, |at| at + 1)).any(|pattern| pattern.negated && pattern.may_match_below(path))
    }

    /// Whether something in the folder `path`, which does not match, can match.
    pub(super) fn may_match_below(&self, path: &[u8]) -> bool {
        self.0.iter().any(|pattern| !pattern.negated && pattern.may_match_below(path))
    }
}

impl Pattern {
    /// `None` for an empty pattern.
    fn compile(index: usize, pattern: &[u8]) -> std::result::Result<Option<Self>, String> {
        let pattern = trim(pattern);
        if pattern.is_empty() {
            return Ok(None);
        }
        let mut cleaned = clean(pattern);
        let negated = cleaned.first() == Some(&b'!');
        if negated {
            cleaned.remove(0);
            if cleaned.is_empty() {
                return Err("nothing follows its `!`".into());
            }
        }
        Glob::parse(&cleaned).map_err(|_| "a `[` or a backslash in it does not end".to_owned())?;
        let matcher = Matcher::compile(&cleaned)?;
        let literal = match cleaned.iter().position(|byte| b"*?[]\\^".contains(byte)) {
            Some(wildcard) => cleaned[..wildcard].iter().rposition(|byte| *byte == b'/').unwrap_or(0),
            None => cleaned.len(),
        };
        Ok(Some(Self { index, negated, cleaned, matcher, literal }))
    }

    /// Whether a path below the folder `path` can match. May say yes where none does.
    fn may_match_below(&self, path: &[u8]) -> bool {
        let literal = &self.cleaned[..self.literal];
        let below = |longer: &[u8], shorter: &[u8]| {
            shorter.is_empty() || longer.strip_prefix(shorter).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        let wild = self.literal < self.cleaned.len();
        below(literal, path) || (wild && (literal == path || below(path, literal)))
    }
}

/// Without white space at both ends, as Go's `strings.TrimSpace`.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => bytes.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(patterns: &[&str]) -> Patterns {
        Patterns::parse(patterns.iter().copied()).unwrap()
    }

    /// Walks down to `path` as the walk of a context does.
    fn matches(patterns: &Patterns, path: &str) -> bool {
        let mut folder_match = patterns.root();
        for (slash, _) in path.match_indices('/') {
            folder_match = patterns.folder(&path.as_bytes()[..slash], &folder_match);
        }
        patterns.leaf(path.as_bytes(), &folder_match)
    }

    #[test]
    fn lists_match_as_moby_does() {
        for (patterns, path, expected) in [
            (&["docs"][..], "docs/README.md", true),
            (&["docs/"], "docs/README.md", true),
            (&["!docs", "docs"], "docs/README.md", true),
            (&["docs", "!docs/README.md"], "docs/README.md", false),
            (&["docs", "!docs/README.md"], "docs/other", true),
            (&["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true),
            (&["*.md", "!README*.md", "README-secret.md"], "README.md", false),
            (&["**", "!util/docker/web"], "util/docker/web/foo", false),
            (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
            (&["**", "!dist/*.whl"], "dist/a.whl", false),
            (&["parent/dir"], "parent/dir/x/y", true),
            (&["a", "!a/b", "a/b/c"], "a/b/c/d", true),
            (&["a", "!a/b", "a/b/c"], "a/b/x", false),
            // `!a` comes too early to matter, and is not asked again below `a`.
            (&["!a", "a/b"], "a/b/c", true),
            (&["a/b", "!a"], "a/b", true),
            (&[" spaced ", "", "!  "], "spaced", true),
            (&["/a"], "a", false),
            (&["."], "a", false),
            (&["../a"], "a", false),
        ] {
            let patterns: Vec<&str> = patterns.iter().copied().filter(|pattern| *pattern != "!  ").collect();
            assert_eq!(matches(&list(&patterns), path), expected, "{patterns:?} {path}");
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        for (pattern, message) in [
            ("!", "`!` is not a pattern: nothing follows its `!`"),
            ("a[", "`a[` is not a pattern: a `[` or a backslash in it does not end"),
            ("a\\", "`a\\` is not a pattern: a `[` or a backslash in it does not end"),
            ("src\\out", "`src\\out` is not a pattern: `\\o` is not an escape; folders are separated by `/`"),
        ] {
            assert_eq!(Patterns::parse(["fine", pattern]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_folder_is_skipped_unless_a_later_pattern_can_take_something_back() {
        for (patterns, folder, may) in [
            (&["a"][..], "a", false),
            (&["a", "!a/b"], "a", true),
            (&["a", "!b/c"], "a", false),
            (&["!a/b", "a"], "a", false),
            (&["*", "!a/**/x"], "b", false),
            (&["*", "!a/**/x"], "a", true),
            (&["**", "!**/x"], "a/b", true),
            (&["*", "!a/b*"], "a", true),
            (&["*", "!a/b/*"], "a/c", false),
        ] {
            let patterns = list(patterns);
            let mut folder_match = patterns.root();
            for end in folder.match_indices('/').map(|(slash, _)| slash).chain([folder.len()]) {
                folder_match = patterns.folder(&folder.as_bytes()[..end], &folder_match);
            }
            assert!(folder_match.is_match(), "{patterns:?} {folder}");
            assert_eq!(patterns.may_reinclude_below(folder.as_bytes(), &folder_match), may, "{patterns:?} {folder}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn skipping_a_folder_never_loses_a_path(
            patterns in proptest::collection::vec("!?(a|b|\\*|\\*\\*|a\\*|\\?)(/(a|b|\\*|\\*\\*)){0,2}", 1..5),
            path in "(a|b|ab)(/(a|b|ab)){0,3}",
        ) {
            let patterns = list(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
            let taken = !matches(&patterns, &path);
            let mut folder_match = patterns.root();
            for (slash, _) in path.match_indices('/') {
                let folder = &path.as_bytes()[..slash];
                folder_match = patterns.folder(folder, &folder_match);
                if folder_match.is_match() && !patterns.may_reinclude_below(folder, &folder_match) {
                    prop_assert!(!taken, "{path} was lost at {}", String::from_utf8_lossy(folder));
                    break;
                }
                let positive = folder_match.is_match() || patterns.may_match_below(folder);
                prop_assert!(positive || taken, "{path} matches, and {} could not", String::from_utf8_lossy(folder));
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(pattern: Vec<u8>, path: Vec<u8>) {
            if let Ok(patterns) = Patterns::compile([pattern.as_slice()]) {
                patterns.leaf(&path, &patterns.root());
            }
        }
    }
}
