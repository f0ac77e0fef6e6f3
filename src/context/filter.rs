//! What a walk takes: the ignore rules of the context, the pattern of `--parents`, and the patterns
//! of `--exclude`. Stages have no ignore rules.
//!
//! It looks at no files except the two that mark a Python virtual environment.

use std::sync::Arc;

use super::Ignore;
use super::pattern::{FolderMatch, Patterns};
use super::tree::Folder;
use crate::project::VIRTUAL_ENVIRONMENTS;

/// Everything that decides whether a path is included.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(super) ignore: Arc<Ignore>,
    /// Of `--parents`: only what matches, and the folders above it. Paths relative to the source.
    pub(super) include: Option<Arc<Patterns>>,
    /// Of `--exclude`. Paths relative to the source.
    pub(super) exclude: Arc<Patterns>,
}

/// What matches a folder.
#[derive(Debug, Clone)]
pub(crate) struct FolderMatches {
    pub(super) ignore: FolderMatch,
    include: Option<FolderMatch>,
    exclude: FolderMatch,
    /// Whether the folder itself is taken, also where nothing in it is.
    pub(crate) taken: bool,
}

impl FolderMatches {
    /// Whether `--parents` or `--exclude` leave the folder itself out.
    pub(super) fn left_out(&self) -> bool {
        self.exclude.is_match() || self.include.as_ref().is_some_and(|include| !include.is_match())
    }
}

impl Filter {
    /// Takes what matches `include`, if there is one, and not `exclude`.
    pub(crate) fn new(include: Option<Patterns>, exclude: &Patterns) -> Self {
        Self { include: include.map(Arc::new), exclude: Arc::new(exclude.clone()), ignore: Arc::default() }
    }

    /// The matches of a source that is a folder, without ignore rules.
    pub(crate) fn root(&self) -> FolderMatches {
        self.source(self.ignore.patterns().root())
    }

    /// The matches of a source that is a folder: the ignore rules were applied to it, the others
    /// start inside it.
    pub(super) fn source(&self, ignore: FolderMatch) -> FolderMatches {
        let include = self.include.as_ref().map(|include| include.root());
        FolderMatches { ignore, include, exclude: self.exclude.root(), taken: true }
    }

    /// What matches the folder `path`, which is `relative` to the source; `None` where
    /// nothing in it can be taken.
    pub(crate) fn folder(&self, path: &[u8], relative: &[u8], parent: &FolderMatches) -> Option<FolderMatches> {
        let ignore = self.ignored_folder(path, &parent.ignore)?;
        let include = match (&self.include, &parent.include) {
            (Some(patterns), Some(parent)) => {
                let folder_match = patterns.folder(relative, parent);
                if !folder_match.is_match() && !patterns.may_match_below(relative) {
                    return None;
                }
                Some(folder_match)
            }
            _ => None,
        };
        let exclude = self.exclude.folder(relative, &parent.exclude);
        if exclude.is_match() && !self.exclude.may_reinclude_below(relative, &exclude) {
            return None;
        }
        let taken = !ignore.is_match() && !exclude.is_match() && include.as_ref().is_none_or(FolderMatch::is_match);
        Some(FolderMatches { ignore, include, exclude, taken })
    }

    /// What the ignore rules say of the folder `path`; `None` where they leave out all that is in
    /// it.
    pub(super) fn ignored_folder(&self, path: &[u8], parent: &FolderMatch) -> Option<FolderMatch> {
        if self.ignore.sdk_excludes(path).is_some() {
            return None;
        }
        let patterns = self.ignore.patterns();
        let folder_match = patterns.folder(path, parent);
        (!folder_match.is_match() || patterns.may_reinclude_below(path, &folder_match)).then_some(folder_match)
    }

    /// Whether `path`, which is not a folder, is taken.
    pub(crate) fn takes_leaf(&self, path: &[u8], relative: &[u8], parent: &FolderMatches) -> bool {
        let included = match (&self.include, &parent.include) {
            (Some(patterns), Some(parent)) => patterns.leaf(relative, parent),
            _ => true,
        };
        included && !self.ignore.patterns().leaf(path, &parent.ignore) && !self.exclude.leaf(relative, &parent.exclude)
    }

    /// Whether the SDK leaves the folder out because it is a virtual environment.
    pub(super) fn is_virtual_environment(&self, folder: &Folder) -> bool {
        self.ignore.sdk() && VIRTUAL_ENVIRONMENTS.iter().any(|files| files.iter().all(|file| folder.holds(file)))
    }
}
