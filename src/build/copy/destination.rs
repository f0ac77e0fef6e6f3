//! The destination of one COPY or ADD, as its sources change it one after the other (fsutil,
//! `prepareTargetDir`).
//!
//! It is a folder if it is one already, if it is written with a slash at its end, or once a folder
//! was copied to it. Otherwise a file becomes the destination itself, and the last of several files
//! wins.

use super::merge::conflict;
use crate::build::inputs::StepInputs;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Kind, LayerPath, Node, Tree};

/// The destination of one step.
pub(super) struct ResolvedDestination {
    /// Links followed.
    path: LayerPath,
    /// Whether the folder is in the layers below.
    exists: bool,
    state: State,
    /// How many files became the destination itself.
    files: usize,
    /// Why nothing can be copied there: an error of the first source. Patterns that match nothing
    /// copy nothing, and the step succeeds.
    failure: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Folder,
    /// Of the layers below, or copied by an earlier source.
    File,
}

/// Where a source goes.
pub(super) struct CopyTarget {
    /// The path in the image, links followed.
    pub(super) path: LayerPath,
    /// Whether `path` is a folder that has to be made.
    pub(super) new_folder: bool,
}

impl ResolvedDestination {
    /// Finds `written` (absolute) in `tree`.
    pub(super) fn find(tree: &Tree, written: &str) -> Self {
        Self::resolve(tree, written).unwrap_or_else(|failure| Self {
            path: LayerPath::default(),
            exists: false,
            state: State::Missing,
            files: 0,
            failure: Some(failure),
        })
    }

    fn resolve(tree: &Tree, written: &str) -> Result<Self> {
        let resolved = tree.resolve(written, true)?;
        let exists = resolved.node.is_some_and(Node::is_dir);
        let must_be_folder = written.ends_with('/');
        let state = match resolved.node {
            Some(_) if exists => State::Folder,
            Some(_) if must_be_folder => return Err(conflict(&resolved.path, "a folder", "is not a folder")),
            Some(_) => State::File,
            None if must_be_folder => State::Folder,
            None => State::Missing,
        };
        Ok(Self { path: resolved.path, exists, state, files: 0, failure: None })
    }

    /// Where the next source goes: the entries of a folder into the destination, a file named
    /// `name` into it or in its place.
    pub(super) fn target(&mut self, kind: &Kind, name: Option<&[u8]>) -> Result<CopyTarget> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if *kind == Kind::Directory {
            if self.files > 0 {
                return Err(conflict(&self.path, "a folder", "comes from an earlier source"));
            }
            self.state = State::Folder;
            return Ok(CopyTarget { path: self.path.clone(), new_folder: !self.exists });
        }
        if self.state == State::Folder {
            return Ok(CopyTarget { path: self.path.child(name.unwrap_or_default())?, new_folder: false });
        }
        self.state = State::File;
        self.files += 1;
        Ok(CopyTarget { path: self.path.clone(), new_folder: false })
    }

    /// Warns where files were copied over each other: hardly ever is that meant.
    pub(super) fn warn(&self, inputs: &StepInputs<'_>) {
        if self.files > 1 {
            let message = format!("{} files are copied to `{}`, one over the other: only the last stays", self.files, self.path);
            let warning =
                Error::new(ErrorKind::Context, message).with_hint("end the destination with `/` to copy them into a folder");
            inputs.session.warn_once(&warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where sources go; a name that ends with `/` is a folder's.
    fn targets(destination: &str, sources: &[&str]) -> Result<Vec<String>> {
        let mut destination = ResolvedDestination::find(&Tree::default(), destination);
        let target = |source: &&str| {
            let name = source.trim_end_matches('/');
            let kind = if name == *source { Kind::File { size: 0 } } else { Kind::Directory };
            destination.target(&kind, Some(name.as_bytes())).map(|target| target.path.to_string())
        };
        sources.iter().map(target).collect()
    }

    #[test]
    fn the_last_of_several_files_wins_unless_the_destination_is_a_folder() {
        assert_eq!(targets("/app.jar", &["a.jar", "b.jar"]).unwrap(), ["/app.jar", "/app.jar"]);
        assert_eq!(targets("/app/", &["a.jar", "b.jar"]).unwrap(), ["/app/a.jar", "/app/b.jar"]);
        assert_eq!(targets("/app", &["folder/", "a.jar"]).unwrap(), ["/app", "/app/a.jar"]);
        assert!(targets("/app", &["a.jar", "folder/"]).is_err());
    }
}
