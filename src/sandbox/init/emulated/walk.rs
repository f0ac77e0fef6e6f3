//! Finds what a path means to a thread of the command.
//!
//! The kernel does it in one step where it can (openat2(2)). Where a link leads out of the folder
//! that the path starts from, where a place of this machine's files is on the way, or where the
//! thread is not root and each folder's mode counts, it is done here, one component at a time. Each
//! component is opened from the folder before and never followed, so that whatever is renamed
//! meanwhile, no step leaves the tree.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::credentials::CAP_DAC_OVERRIDE;
use super::state::{Caller, Result, Supervisor};
use super::view::{PATH_ONLY, kind, os, reopen};

/// As many links on the way as the kernel follows.
const MAX_LINKS: usize = 40;

/// What is at a path.
pub(super) struct Found {
    /// An O_PATH descriptor.
    pub(super) file: OwnedFd,
    /// As on disk.
    pub(super) stat: Stat,
}

/// Where a walk has ended.
pub(super) enum Walked {
    /// Its place, and its path inside.
    There(Found, Vec<u8>),
    /// Nothing has this name in this folder. With a slash, it would have to be a folder.
    Missing(OwnedFd, Vec<u8>),
}

impl Walked {
    fn found(self) -> Result<Found> {
        match self {
            Self::There(found, _) => Ok(found),
            Self::Missing(..) => Err(Errno::NOENT),
        }
    }
}

/// The means to walk from one folder to the next.
struct Step {
    file: OwnedFd,
    path: Vec<u8>,
}

impl Supervisor {
    /// What is at `path`, links at its end followed or not.
    pub(super) fn look_up(&self, caller: &Caller, from: i32, path: &[u8], follow: bool) -> Result<Found> {
        let flags = if follow { PATH_ONLY } else { PATH_ONLY | OFlags::NOFOLLOW };
        if let Some(file) = self.open_at_once(caller, from, path, flags)? {
            let stat = rustix::fs::fstat(&file)?;
            if !self.view.is_stand_in(&stat) {
                return Ok(Found { file, stat });
            }
        }
        self.walk(caller, from, path, follow)?.found()
    }

    /// Opens what is at `path` by the kernel alone; `None` where it cannot find the way.
    pub(super) fn open_at_once(&self, caller: &Caller, from: i32, path: &[u8], flags: OFlags) -> Result<Option<OwnedFd>> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if !caller.rights.can(CAP_DAC_OVERRIDE) {
            return Ok(None);
        }
        let opened = if path[0] == b'/' {
            // Not even tried where it would be refused.
            if path.starts_with(b"/proc") || path.starts_with(b"/dev/") {
                return Ok(None);
            }
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            rustix::fs::openat2(&*caller.root, os(path), flags, Mode::empty(), resolve)
        } else {
            let folder = self.folder(caller, from)?;
            // `self` is a link whose text is this process's number.
            if self.view.is_proc(&rustix::fs::fstat(&*folder)?) {
                return Ok(None);
            }
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&*folder, os(path), flags, Mode::empty(), resolve) {
                // A folder's own path has no links, so the same is found from the root.
                Err(Errno::XDEV) if self.at_root(caller) => {
                    let inside = [&self.view.inside(&*folder)?[..], b"/", path].concat();
                    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                    match rustix::fs::openat2(self.view.root(), os(&inside), flags, Mode::empty(), resolve) {
                        // The folder may have gone.
                        Err(Errno::NOENT) => Err(Errno::XDEV),
                        opened => opened,
                    }
                }
                opened => opened,
            }
        };
        match opened {
            Ok(file) => Ok(Some(file)),
            // A place, a link that leads out, a rename under way, a link of /proc.
            Err(Errno::ACCESS | Errno::XDEV | Errno::AGAIN | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the caller's root is that of the tree.
    fn at_root(&self, caller: &Caller) -> bool {
        self.view.inside(&*caller.root).is_ok_and(|path| path == b"/")
    }

    /// Walks along `path`, one component at a time.
    pub(super) fn walk(&self, caller: &Caller, from: i32, path: &[u8], follow: bool) -> Result<Walked> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let root = self.view.inside(&*caller.root)?;
        let begin = if path[0] == b'/' { Rc::clone(&caller.root) } else { self.folder(caller, from)? };
        let mut at = self.start(&begin)?;
        let mut rest = components(path);
        let mut wants_folder = ends_in_folder(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            self.may_search(caller, &at.file)?;
            if name == b"." {
                continue;
            }
            if name == b".." {
                if at.path != root && at.path != b"/" {
                    at = self.up(at)?;
                }
                continue;
            }
            let last = rest.is_empty();
            let Some(next) = self.down(&at, &name)? else {
                if !last {
                    return Err(Errno::NOENT);
                }
                let slash: &[u8] = if wants_folder { b"/" } else { b"" };
                return Ok(Walked::Missing(at.file, [&name[..], slash].concat()));
            };
            let stat = rustix::fs::fstat(&next.file)?;
            if kind(&stat) == FileType::Symlink && (!last || follow || wants_folder) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let text = match self.proc_link(caller, &at.path, &name, &stat)? {
                    super::proc::Link::To(text) => text,
                    super::proc::Link::Open => {
                        at = self.through_descriptor(at, &name)?;
                        continue;
                    }
                    super::proc::Link::Plain => rustix::fs::readlinkat(&next.file, "", Vec::new())?.into_bytes(),
                };
                if text.is_empty() {
                    return Err(Errno::NOENT);
                }
                if text[0] == b'/' {
                    at = self.start(&caller.root)?;
                }
                wants_folder |= last && ends_in_folder(&text);
                rest.extend(components(&text));
                continue;
            }
            if (!last || wants_folder) && kind(&stat) != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
            at = next;
        }
        let stat = rustix::fs::fstat(&at.file)?;
        if wants_folder && kind(&stat) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(Walked::There(Found { file: at.file, stat }, at.path))
    }

    fn start(&self, folder: &OwnedFd) -> Result<Step> {
        Ok(Step { file: reopen(folder, PATH_ONLY)?, path: self.view.inside(folder)? })
    }

    fn up(&self, at: Step) -> Result<Step> {
        let end = at.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let path = if end == 0 { b"/".to_vec() } else { at.path[..end].to_vec() };
        Ok(Step { file: self.view.open(&path)?, path })
    }

    /// What `name` is in a folder; `None` where it is not there.
    fn down(&self, at: &Step, name: &[u8]) -> Result<Option<Step>> {
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        if at.path == b"/proc" && self.is_foreign_process(name) {
            return Ok(None);
        }
        let path = [if at.path == b"/" { b"" } else { &at.path[..] }, b"/", name].concat();
        let opened = match self.view.substitute_at(&path) {
            Some(file) => reopen(file, PATH_ONLY),
            None => rustix::fs::openat(&at.file, os(name), PATH_ONLY | OFlags::NOFOLLOW, Mode::empty()),
        };
        match opened {
            Ok(file) => Ok(Some(Step { file, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// What a descriptor's link in /proc leads to: the open file itself, which may have no path.
    fn through_descriptor(&self, at: Step, name: &[u8]) -> Result<Step> {
        let file = rustix::fs::openat(&at.file, os(name), PATH_ONLY, Mode::empty())?;
        if !self.view.holds(&file) {
            let folder = kind(&rustix::fs::fstat(&file)?) == FileType::Directory;
            // A file from elsewhere was opened by who started the command. An O_PATH descriptor of
            // one comes from a race (`traced`).
            if folder || was_opened_path_only(&at.path, name)? {
                return Err(Errno::ACCESS);
            }
        }
        let path = self.view.inside(&file)?;
        Ok(Step { file, path })
    }

    /// The folder that `path` is in, and its last component, with a slash where the path ends with
    /// one: that is never followed.
    pub(super) fn parent(&self, caller: &Caller, from: i32, path: &[u8]) -> Result<(Rc<OwnedFd>, Vec<u8>)> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let Some(end) = path.iter().rposition(|byte| *byte != b'/') else {
            return Ok((Rc::clone(&caller.root), b".".to_vec()));
        };
        let begin = path[..=end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let mut name = path[begin..=end].to_vec();
        if end + 1 < path.len() {
            name.push(b'/');
        }
        let folder = match begin {
            0 => self.folder(caller, from)?,
            _ => {
                let found = self.look_up(caller, from, &path[..begin], true)?;
                Rc::new(found.file)
            }
        };
        Ok((folder, name))
    }
}

/// Whether the descriptor `name` in `folder`, one of /proc/PID/fd, was opened with O_PATH.
fn was_opened_path_only(folder: &[u8], name: &[u8]) -> Result<bool> {
    let number: u32 = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Errno::NOENT)?;
    let process = folder.strip_suffix(b"/fd").ok_or(Errno::NOENT)?;
    let path = [process, format!("/fdinfo/{number}").as_bytes()].concat();
    let text = std::fs::read_to_string(os(&path)).map_err(|_| Errno::NOENT)?;
    let flags = text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    Ok(flags.is_none_or(|flags| flags & libc::O_PATH as u32 != 0))
}

/// The components of a path, the last one first. One that is `.` stays: its folder must be one that
/// may be searched.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).rev().map(<[u8]>::to_vec).collect()
}

fn ends_in_folder(path: &[u8]) -> bool {
    path.ends_with(b"/") || path.ends_with(b"/.") || path == b"."
}
