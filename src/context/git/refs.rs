//! Where a repository is, and which commit its HEAD names.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::file::{corrupt, open, read_text};

/// How many symbolic references are followed, as in git (SYMREF_MAXDEPTH).
const MAX_SYMBOLIC_REFS: usize = 5;

/// A repository with a work tree.
pub(super) struct Repository {
    /// The folder that holds `.git`.
    pub(super) worktree: PathBuf,
    /// HEAD and the work tree's own references.
    git_dir: PathBuf,
    /// Objects and shared references: another folder for a work tree that `git worktree` added.
    common_dir: PathBuf,
}

impl Repository {
    /// The repository that `folder` is in: the nearest folder with a `.git` that has a HEAD, or
    /// that names another folder, which may be gone (a work tree that was copied alone).
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let folder = std::path::absolute(folder).ok()?;
        folder.ancestors().find_map(|worktree| {
            let dot_git = worktree.join(".git");
            // In a submodule and in an added work tree it is a file that names the folder.
            let git_dir = match read_text(&dot_git) {
                Ok(Some(text)) => worktree.join(text.strip_prefix("gitdir: ")?.trim_end()),
                Ok(None) => return None,
                Err(_) => {
                    dot_git.join("HEAD").symlink_metadata().ok()?;
                    dot_git
                }
            };
            let common_dir = match read_text(&git_dir.join("commondir")) {
                Ok(Some(text)) => git_dir.join(text.trim_end()),
                _ => git_dir.clone(),
            };
            Some(Self { worktree: worktree.to_owned(), git_dir, common_dir })
        })
    }

    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    pub(super) fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.common_dir.join("objects")
    }

    /// The commit that HEAD names; `None` before the first commit.
    pub(super) fn head(&self) -> io::Result<Option<String>> {
        let mut name = "HEAD".to_owned();
        for _ in 0..=MAX_SYMBOLIC_REFS {
            let Some(text) = self.reference(&name)? else {
                if name == "HEAD" {
                    return Err(corrupt(format!("`{}` is not there", self.git_dir.join(name).display())));
                }
                return self.packed(&name);
            };
            match text.strip_prefix("ref:") {
                Some(target) => name = target.trim().to_owned(),
                None => return commit_id(&text).map(Some).ok_or_else(|| corrupt(format!("`{name}` does not name a commit"))),
            }
            // What git writes for a repository whose references are in a table (reftable).
            if name == "refs/heads/.invalid" {
                return Err(corrupt("its references are in the format `reftable`, which mpimg does not read"));
            }
            if !is_safe(&name) {
                return Err(corrupt(format!("`{name}` is not the name of a reference")));
            }
        }
        Err(corrupt("too many symbolic references"))
    }

    /// The text of a reference that has a file of its own.
    fn reference(&self, name: &str) -> io::Result<Option<String>> {
        match read_text(&self.git_dir.join(name))? {
            Some(text) => Ok(Some(text)),
            None => read_text(&self.common_dir.join(name)),
        }
    }

    /// The commit of a reference in `packed-refs`: lines of an id, a space and a name.
    fn packed(&self, name: &str) -> io::Result<Option<String>> {
        let file = match open(&self.common_dir.join("packed-refs")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            let id = line.strip_suffix(name.as_bytes()).and_then(|line| line.strip_suffix(b" "));
            if let Some(id) = id.and_then(|id| commit_id(std::str::from_utf8(id).ok()?)) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// Whether a reference stays inside the repository.
fn is_safe(name: &str) -> bool {
    name.starts_with("refs/") && !name.split('/').any(|part| matches!(part, "" | "." | ".."))
}

/// An object id: SHA-1 or SHA-256 in hexadecimal.
fn commit_id(text: &str) -> Option<String> {
    let text = text.trim_end();
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}
