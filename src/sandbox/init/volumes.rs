//! Volumes where nothing can be mounted: they were copied in, and what the command changed in them is copied back at the end.
//!
//! Links that the command made are not followed: every path is opened beneath the volume's own folder.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::descriptors::fd_path;
use super::descriptors::is_folder;
use super::stubs::{open_folder, resolve};
use super::{copy, sources};
use crate::layer::diff::Baseline;
use crate::layer::{Kind, LayerPath, open_inside, unpack};
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::{Mount, RunSpec};

/// A volume that was copied in.
pub(super) struct Volume {
    source: PathBuf,
    /// Its copy: the folder, or the file's folder and name.
    copy: OwnedFd,
    name: Option<Vec<u8>>,
    before: Option<Baseline>,
}

/// Notes what the copies of all volumes look like before the command.
pub(super) fn note(tree: &OwnedFd, spec: &RunSpec) -> Result<Vec<Volume>, SetupError> {
    let mut volumes = Vec::new();
    for mount in &spec.mounts {
        let Mount::Volume { source, target, readonly: false } = mount else { continue };
        let step = || format!("look at the volume on `{target}`");
        let place = resolve(tree, target)?;
        let folder = is_folder(&sources::open_volume(source)?).step(step)?;
        let opened = if folder { place.clone() } else { place.parent().unwrap_or_default() };
        let copy = open_folder(tree, &opened).step(step)?;
        let before = match folder {
            true => Some(Baseline::scan(fd_path(&copy).as_ref()).map_err(|error| SetupError::new(error.to_string(), None))?),
            false => None,
        };
        let name = place.name().filter(|_| !folder).map(<[u8]>::to_vec);
        volumes.push(Volume { source: source.clone(), copy, name, before });
    }
    Ok(volumes)
}

impl Volume {
    /// Makes the volume what its copy has become.
    pub(super) fn copy_back(&self) -> Result<(), SetupError> {
        let step = || format!("copy `{}` back", self.source.display());
        match (&self.before, &self.name) {
            (Some(before), _) => self.copy_changes(before).step(step),
            (None, Some(name)) => self.copy_file(name).step(step),
            (None, None) => Ok(()),
        }
    }

    fn copy_file(&self, name: &[u8]) -> Result<(), Errno> {
        let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.copy, OsStr::from_bytes(name), flags, Mode::empty())?;
        let mut now = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut now).map_err(failed)?;
        match std::fs::read(&self.source).map_err(failed)? == now {
            true => Ok(()),
            // Not by a new file: what is bound as a file is often watched or held open.
            false => std::fs::write(&self.source, now).map_err(failed),
        }
    }

    fn copy_changes(&self, before: &Baseline) -> Result<(), Errno> {
        let root = rustix::fs::open(&self.source, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let (changes, _) = before
            .changes(fd_path(&self.copy).as_ref(), &Default::default(), &mut |_| Ok(Default::default()))
            .map_err(|_| Errno::IO)?;
        for change in changes {
            self.apply(&root, &change.entry.path, &change.entry.kind)?;
        }
        Ok(())
    }

    fn apply(&self, root: &OwnedFd, path: &LayerPath, kind: &Kind) -> Result<(), Errno> {
        let Some(name) = path.name() else { return Ok(()) };
        let parent = open_folder(root, &path.parent().unwrap_or_default())?;
        let there = rustix::fs::statat(&parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
        if *kind == Kind::Directory && there.as_ref().is_ok_and(unpack::is_folder) {
            return Ok(());
        }
        if there.is_ok() {
            unpack::remove(&parent, name)?;
        }
        match kind {
            Kind::Whiteout | Kind::OpaqueWhiteout => Ok(()),
            Kind::Directory => rustix::fs::mkdirat(&parent, OsStr::from_bytes(name), Mode::from_raw_mode(0o755)),
            _ => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
                let source = open_inside(&self.copy, unpack::relative(path), flags, resolve)?;
                copy::copy(&source, &parent, OsStr::from_bytes(name))
            }
        }
    }
}
