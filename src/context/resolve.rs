//! From a path to a file, as `chroot` would resolve it: the context's root is `/`, and links stay
//! below it.
//!
//! Paths that the ignore rules exclude, and more than 255 links (containerd's `fs.RootPath`), do
//! not resolve.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::filter::Filter;
use super::ignore::Reason;
use super::pattern::FolderMatch;
use super::tree::{Folder, Form, Status};
use super::{Ignore, unreadable};
use crate::error::Error;
use crate::layer::LayerPath;

const MAX_LINKS: usize = 255;

/// An open folder of the build context.
#[derive(Debug, Clone)]
pub(super) struct ContextFolder {
    pub(super) folder: Arc<Folder>,
    /// Without links.
    pub(super) path: LayerPath,
    pub(super) folder_match: FolderMatch,
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Found {
    Folder(ContextFolder),
    /// A file, device, pipe or socket, with the folder that holds it.
    Leaf {
        folder: Arc<Folder>,
        path: LayerPath,
        status: Status,
    },
}

/// Why nothing is at a path.
#[derive(Debug)]
pub(super) enum Missing {
    /// The folder has no such name.
    NotThere {
        here: ContextFolder,
        name: Vec<u8>,
        link: Option<LayerPath>,
    },
    Excluded {
        path: LayerPath,
        reason: Reason,
    },
    /// What should hold the rest of the path is not a folder.
    NotAFolder(LayerPath),
    TooManyLinks,
    Failed(Error),
}

impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Resolves paths below one root.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    root: &'a Arc<Folder>,
    filter: Filter,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(root: &'a Arc<Folder>, ignore: &Arc<Ignore>) -> Self {
        Self { root, filter: Filter { ignore: ignore.clone(), ..Filter::default() } }
    }

    fn ignore(&self) -> &Ignore {
        &self.filter.ignore
    }

    /// The context's root.
    fn top(&self) -> ContextFolder {
        ContextFolder { folder: self.root.clone(), path: LayerPath::root(), folder_match: self.ignore().patterns().root() }
    }

    /// What is at `path`, links followed.
    pub(super) fn resolve(&self, path: &LayerPath) -> Result<Found, Missing> {
        let mut ahead: VecDeque<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        let mut folders = vec![self.top()];
        let mut links = 0;
        let mut last_link = None;
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                folders.truncate((folders.len() - 1).max(1));
                continue;
            }
            let Some(here) = folders.last() else { break };
            let found = self.look(here, &name).map_err(|why| match why {
                Missing::NotThere { here, name, .. } => Missing::NotThere { here, name, link: last_link.clone() },
                other => other,
            })?;
            match found {
                Some(Found::Folder(here)) => folders.push(here),
                Some(Found::Leaf { path, .. }) if ahead.iter().any(|name| name != b"..") => {
                    return Err(Missing::NotAFolder(path));
                }
                Some(leaf) => return Ok(leaf),
                None => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Missing::TooManyLinks);
                    }
                    let link = here.path.child(&name)?;
                    let text = here.folder.link_text(&name).map_err(|error| unreadable(link.as_bytes(), error))?;
                    last_link = Some(link);
                    if text.starts_with(b"/") {
                        folders.truncate(1);
                    }
                    let components = text.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
                    for name in components.rev() {
                        ahead.push_front(name.to_vec());
                    }
                }
            }
        }
        Ok(Found::Folder(folders.pop().unwrap_or_else(|| self.top())))
    }

    /// What `name` is in the folder `here`; `None` for a link that is not excluded.
    pub(super) fn look(&self, here: &ContextFolder, name: &[u8]) -> Result<Option<Found>, Missing> {
        let path = here.path.child(name)?;
        let status = match here.folder.status(name) {
            Ok(status) => status,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) => {
                return Err(Missing::NotThere { here: here.clone(), name: name.to_vec(), link: None });
            }
            Err(error) => return Err(unreadable(path.as_bytes(), error).into()),
        };
        if status.form == Form::Folder {
            return self.enter(here, name, path).map(Found::Folder).map(Some);
        }
        if self.ignore().patterns().leaf(path.as_bytes(), &here.folder_match)
            && let Some(reason) = self.ignore().line_for(path.as_bytes(), &here.folder_match)
        {
            return Err(Missing::Excluded { path, reason });
        }
        if status.form == Form::Symlink {
            return Ok(None);
        }
        Ok(Some(Found::Leaf { folder: here.folder.clone(), path, status }))
    }

    fn enter(&self, here: &ContextFolder, name: &[u8], path: LayerPath) -> Result<ContextFolder, Missing> {
        if let Some(reason) = self.ignore().sdk_excludes(path.as_bytes()) {
            return Err(Missing::Excluded { path, reason });
        }
        let Some(folder_match) = self.filter.ignored_folder(path.as_bytes(), &here.folder_match) else {
            return Err(match self.ignore().line_for(path.as_bytes(), &here.folder_match) {
                Some(reason) => Missing::Excluded { path, reason },
                None => Missing::NotThere { here: here.clone(), name: name.to_vec(), link: None },
            });
        };
        let folder = here.folder.open_child(name).map_err(|error| unreadable(path.as_bytes(), error))?;
        if self.filter.is_virtual_environment(&folder) {
            let reason = Reason::Sdk("the SDK leaves virtual environments out of the image");
            return Err(Missing::Excluded { path, reason });
        }
        Ok(ContextFolder { folder: Arc::new(folder), path, folder_match })
    }
}
