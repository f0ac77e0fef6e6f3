//! What a walk takes: the ignore rules of the context, the pattern of `--parents`, and the patterns of `--exclude`.
//!
//! Refuses to look at files, but for the two that make a folder a virtual environment.

use std::sync::Arc;

use super::Ignore;
use super::pattern::{Patterns, Verdict};
use super::tree::Folder;
use crate::project::VIRTUAL_ENVIRONMENTS;

/// All that decides whether a path is taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) ignore: Arc<Ignore>,
    /// Of `--parents`: only what matches, and the folders above it. Paths relative to the source.
    pub(super) include: Option<Arc<Patterns>>,
    /// Of `--exclude`. Paths relative to the source.
    pub(super) exclude: Arc<Patterns>,
}

/// The verdicts on a folder.
#[derive(Debug, Clone)]
pub(super) struct Verdicts {
    pub(super) ignore: Verdict,
    include: Option<Verdict>,
    exclude: Verdict,
    /// Whether the folder itself is taken, also where nothing in it is.
    pub(super) taken: bool,
}

impl Filter {
    /// The verdicts on a source that is a folder: the ignore rules have been asked about it, the others start in it.
    pub(super) fn source(&self, ignore: Verdict) -> Verdicts {
        let include = self.include.as_ref().map(|include| include.root());
        Verdicts { ignore, include, exclude: self.exclude.root(), taken: true }
    }

    /// The verdicts on the folder `path`, which is `relative` to the source; `None` where nothing in it can be taken.
    pub(super) fn folder(&self, path: &[u8], relative: &[u8], parent: &Verdicts) -> Option<Verdicts> {
        let ignore = self.ignored_folder(path, &parent.ignore)?;
        let include = match (&self.include, &parent.include) {
            (Some(patterns), Some(parent)) => {
                let verdict = patterns.folder(relative, parent);
                if !verdict.is_match() && !patterns.may_match_below(relative) {
                    return None;
                }
                Some(verdict)
            }
            _ => None,
        };
        let exclude = self.exclude.folder(relative, &parent.exclude);
        if exclude.is_match() && !self.exclude.may_take_back_below(relative, &exclude) {
            return None;
        }
        let taken = !ignore.is_match() && !exclude.is_match() && include.as_ref().is_none_or(Verdict::is_match);
        Some(Verdicts { ignore, include, exclude, taken })
    }

    /// The verdict of the ignore rules on the folder `path`; `None` where they leave out all that is in it.
    pub(super) fn ignored_folder(&self, path: &[u8], parent: &Verdict) -> Option<Verdict> {
        if self.ignore.sdk_excludes(path).is_some() {
            return None;
        }
        let patterns = self.ignore.patterns();
        let verdict = patterns.folder(path, parent);
        (!verdict.is_match() || patterns.may_take_back_below(path, &verdict)).then_some(verdict)
    }

    /// Whether `path`, which is no folder, is taken.
    pub(super) fn takes_leaf(&self, path: &[u8], relative: &[u8], parent: &Verdicts) -> bool {
        let included = match (&self.include, &parent.include) {
            (Some(patterns), Some(parent)) => patterns.leaf(relative, parent),
            _ => true,
        };
        included && !self.ignore.patterns().leaf(path, &parent.ignore) && !self.exclude.leaf(relative, &parent.exclude)
    }

    /// Whether a source that is no folder is taken: `--exclude` is asked about its name (Dockerfile reference, `COPY --exclude`,
    /// the example with `hom*`).
    pub(super) fn takes_source(&self, name: &[u8]) -> bool {
        !self.exclude.leaf(name, &self.exclude.root())
    }

    /// Whether the SDK leaves the folder out because it is a virtual environment.
    pub(super) fn is_virtual_environment(&self, folder: &Folder) -> bool {
        self.ignore.sdk() && VIRTUAL_ENVIRONMENTS.iter().any(|files| files.iter().all(|file| folder.holds(file)))
    }
}
