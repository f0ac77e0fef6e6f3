//! Puts things into a tree where nothing can be mounted: what is in the way is moved aside and
//! moved back afterwards.
//!
//! Nothing is copied, so the folder for what is moved aside must be on the same file system as the
//! tree.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::stubs::{Stubs, open_folder, resolve};
use crate::layer::LayerPath;
use crate::layer::unpack;
use crate::sandbox::setup_error::{Cause, SetupError, Step as _};

/// A tree with foreign things in it.
pub(super) struct SubstituteMounts {
    tree: OwnedFd,
    /// Beside the tree.
    aside: OwnedFd,
    stubs: Stubs,
    moved: Vec<Moved>,
}

struct Moved {
    place: LayerPath,
    /// What stands for a mount there.
    substitute: Option<OwnedFd>,
    /// Its name in `aside`, where something was in the way.
    original: Option<String>,
    /// Where what was put there goes back to, for what outlives the step.
    returns_to: Option<PathBuf>,
}

impl SubstituteMounts {
    pub(super) fn new(tree: OwnedFd, aside: OwnedFd) -> Self {
        Self { tree, aside, stubs: Stubs::default(), moved: Vec::new() }
    }

    pub(super) fn tree(&self) -> &OwnedFd {
        &self.tree
    }

    /// Where the last thing was put.
    pub(super) fn last_place(&self) -> Option<&LayerPath> {
        self.moved.last().map(|moved| &moved.place)
    }

    /// Paths whose ctime has changed for reasons that are not the command's.
    pub(super) fn touched(&self) -> Vec<LayerPath> {
        let places = self.moved.iter().flat_map(|moved| [Some(moved.place.clone()), moved.place.parent()]).flatten();
        places.chain(self.stubs.parents()).collect()
    }

    /// Clears the place that `path` leads to and has `put` make something there: it gets the folder
    /// and the name.
    pub(super) fn put(
        &mut self,
        path: &LayerPath,
        put: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), Errno>,
    ) -> Result<(), SetupError> {
        let step = || format!("put `{path}` in place");
        let place = resolve(&self.tree, path)?;
        let Some(name) = place.name() else { return Err(Errno::BUSY).step(step) };
        for folder in place.ancestors() {
            self.stubs.make_folder(&self.tree, &folder).step(step)?;
        }
        let parent = open_folder(&self.tree, &place.parent().unwrap_or_default()).step(step)?;
        self.stubs.keep_time(&place.parent().unwrap_or_default(), &parent).step(step)?;
        let name = OsStr::from_bytes(name);
        let original = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            found => {
                found.step(step)?;
                let aside = self.moved.len().to_string();
                rustix::fs::renameat(&parent, name, &self.aside, aside.as_str()).step(step)?;
                Some(aside)
            }
        };
        self.moved.push(Moved { place: place.clone(), substitute: None, original, returns_to: None });
        put(&parent, name).step(step)?;
        self.stubs.note_time(&place.parent().unwrap_or_default(), &parent).step(step)
    }

    /// As [`put`](Self::put), for what is a mount of its own elsewhere: a command that moves or
    /// links it to another place is an error when the tree is restored, because a mount stays.
    pub(super) fn put_mount(
        &mut self,
        path: &LayerPath,
        put: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), Errno>,
    ) -> Result<(), SetupError> {
        let mut made = None;
        self.put(path, |parent, name| {
            put(parent, name)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            made = Some(rustix::fs::openat(parent, name, flags, Mode::empty())?);
            Ok(())
        })?;
        if let Some(last) = self.moved.last_mut() {
            last.substitute = made;
        }
        Ok(())
    }

    /// As [`put_mount`](Self::put_mount), with a folder of this machine that goes back when the
    /// step has ended.
    pub(super) fn lend(&mut self, path: &LayerPath, folder: &Path) -> Result<(), SetupError> {
        self.put_mount(path, |parent, name| rustix::fs::renameat(rustix::fs::CWD, folder, parent, name))?;
        if let Some(last) = self.moved.last_mut() {
            last.returns_to = Some(folder.to_owned());
        }
        Ok(())
    }

    /// Folders that are lent: where each goes back to, and the folder itself, wherever it is now.
    pub(super) fn lent(&self) -> impl Iterator<Item = (&Path, &OwnedFd)> {
        self.moved.iter().filter_map(|moved| moved.returns_to.as_deref().zip(moved.substitute.as_ref()))
    }

    /// Makes a folder at `path` that holds nothing.
    pub(super) fn put_folder(&mut self, path: &LayerPath, mode: u32) -> Result<OwnedFd, SetupError> {
        self.put_mount(path, |parent, name| {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode))?;
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
        })?;
        let place = self.moved.last().map(|moved| moved.place.clone()).unwrap_or_default();
        open_folder(&self.tree, &place).step(|| format!("open `{path}`"))
    }

    /// Takes everything out again and moves the originals back. Nothing of the step may run any
    /// more.
    pub(super) fn restore(self) -> Result<(), SetupError> {
        let times = self.stubs.times(&self.tree)?;
        let mut result = Ok(());
        for moved in self.moved.iter().rev() {
            // One that fails must not keep the others from being restored.
            result = result.and(self.put_back(moved));
        }
        result?;
        self.stubs.remove_from(&self.tree, times)
    }

    fn put_back(&self, moved: &Moved) -> Result<(), SetupError> {
        let step = || format!("restore `{}`", moved.place);
        let parent = match open_folder(&self.tree, &moved.place.parent().unwrap_or_default()) {
            // The command has removed or replaced the folder: then the original is gone with it,
            // and what was lent is begun anew.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return moved.has_not_left(None),
            parent => parent.step(step)?,
        };
        let name = moved.place.name().unwrap_or_default();
        let has_not_left = moved.has_not_left(Some((&parent, name)));
        match &moved.returns_to {
            // A link that the command has put in its place would be followed by the next step.
            Some(folder) if is_folder(&parent, name) => {
                rustix::fs::renameat(&parent, OsStr::from_bytes(name), rustix::fs::CWD, folder).step(step)?;
            }
            _ => unpack::remove(&parent, name).step(step)?,
        }
        if let Some(original) = &moved.original {
            rustix::fs::renameat(&self.aside, original.as_str(), &parent, OsStr::from_bytes(name)).step(step)?;
        }
        has_not_left
    }
}

impl Moved {
    /// An error if the substitute of a mount has a name besides this one: it would be in the image,
    /// with what this machine or a secret has in it. Also if a file of the image was moved over it,
    /// which would be lost.
    fn has_not_left(&self, place: Option<(&OwnedFd, &[u8])>) -> Result<(), SetupError> {
        let Some(substitute) = &self.substitute else { return Ok(()) };
        let stat = rustix::fs::fstat(substitute).step(|| format!("read `{}`", self.place))?;
        let here =
            place.and_then(|(parent, name)| rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).ok());
        let stays = here.is_some_and(|here| (here.st_dev, here.st_ino) == (stat.st_dev, stat.st_ino));
        // A folder has one name, whatever its number of links.
        let names = if unpack::is_folder(&stat) { stat.st_nlink.min(1) } else { stat.st_nlink };
        if names == u64::from(stays) {
            let is_older = || match place.and_then(|(parent, name)| born(parent, name)).zip(born(substitute, b"")) {
                Some((here, substitute)) => here < substitute,
                None => false,
            };
            if here.is_none() || stays || !is_older() {
                return Ok(());
            }
            let step = format!("the command moved a file of the image over `{}`, which is not the image's", self.place);
            let remedy = "leave it where it is: with other isolations this fails with EBUSY".to_owned();
            return Err(SetupError::new(step, None).with_cause(Cause::Request(remedy)));
        }
        let remedy =
            format!("copy `{}` instead: with other isolations it is a mount, which cannot be moved or linked", self.place);
        let step = format!("the command moved or linked `{}`, which is not the image's", self.place);
        Err(SetupError::new(step, None).with_cause(Cause::Request(remedy)))
    }
}

/// When a file was made, or `file` itself without a name; `None` where its file system does not
/// tell.
fn born(file: &OwnedFd, name: &[u8]) -> Option<(i64, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let found = rustix::fs::statx(file, OsStr::from_bytes(name), flags, StatxFlags::BTIME).ok()?;
    let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    told.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec))
}

fn is_folder(parent: &OwnedFd, name: &[u8]) -> bool {
    let stat = rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| unpack::is_folder(&stat))
}
