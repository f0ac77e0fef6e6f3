//! Where one id has to do for all: answers the system calls of a command that such a process cannot
//! make, and records what they would have done (`layer::owners`), so that the step's layer has it.
//!
//! Chown and mknod of devices are recorded; stat shows what is recorded, because programs copy
//! owners from there (useradd gives a new /etc/shadow the group of the old one); and a user may not
//! change the mode of what is not its own.
//!
//! It is a process of its own outside the command's process namespace, in its mount namespace, and
//! with the rights of the sandbox's root.
//!
//! It does nothing that the command could not do as its user: it follows none of /proc's links and
//! reads no file's content.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use rustix::thread::LinkNameSpaceType;

use super::command;
use super::descriptors::pipe;
use super::notify::{self, Call, Response};
use super::notify_target::{NotifyTarget, name_of};
use super::process::die_with_parent;
use super::process::{Fork, exit_now, fork};
use crate::layer::owners::{CAPABILITY, Device, OWNER, PREFIX, Record};
use crate::layer::{SET_GROUP_ID, open_inside};
use crate::sandbox::User;
use crate::sandbox::channel::receive_file;
use crate::sandbox::kernel::FCHMODAT2;
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;

/// The recording process; it ends when this is dropped.
pub(super) struct Fakeroot {
    process: Pid,
    _keep_alive: File,
    socket: UnixStream,
}

impl Fakeroot {
    /// Starts it for a command of `user`; to be called in the user namespace and outside the
    /// process namespace.
    pub(super) fn start(user: &User) -> Result<Self, SetupError> {
        let (alive, keep_alive) = pipe()?;
        let (socket, theirs) = UnixStream::pair().step(|| "socketpair".into())?;
        match fork().step(|| "fork".into())? {
            Fork::Child => {
                drop((keep_alive, socket));
                if die_with_parent(&alive.into()).is_ok() {
                    let _ = serve(user, &theirs);
                }
                exit_now(0)
            }
            Fork::Parent(process) => Ok(Self { process, _keep_alive: keep_alive, socket }),
        }
    }

    /// Whether it has told a program that it is another user now. To be asked when the command has
    /// ended.
    pub(super) fn has_pretended(&self) -> bool {
        let _ = self.socket.set_nonblocking(true);
        (&self.socket).read(&mut [0; 1]).is_ok_and(|read| read > 0)
    }

    /// Whether it was killed, once its end of the socket is closed: then calls are no longer
    /// answered, and the layer may lack owners.
    pub(super) fn was_killed(&self) -> bool {
        // Its number stays its own.
        let ended = rustix::process::waitid(WaitId::Pid(self.process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        ended.is_ok_and(|ended| ended.is_some_and(|status| status.killed()))
    }

    /// Takes the listener of the command's filter.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

impl Drop for Fakeroot {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.process, Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.process), WaitOptions::empty());
    }
}

fn serve(user: &User, socket: &UnixStream) -> Result<(), Errno> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", folder, Mode::empty())?;
    let descriptors = rustix::fs::open("/proc/self/fd", folder, Mode::empty())?;
    let listener = receive_file(socket).map_err(|_| Errno::PIPE)?;
    notify::wake_up_here(&listener, true);
    let began = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec;
    let mut inside = false;
    let mut told = false;
    loop {
        let mut fds = [PollFd::new(&listener, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        if !fds[0].revents().contains(PollFlags::IN) {
            // The last process with the filter has gone.
            return Ok(());
        }
        let call = match notify::receive(&listener) {
            Ok(call) => call,
            Err(Errno::NOENT | Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        if !inside {
            enter_mounts_of(&call, &proc)?;
            // Open descriptors are named by their number from here on.
            rustix::process::fchdir(&descriptors)?;
            inside = true;
        }
        let target = NotifyTarget { call: &call, listener: &listener, proc: &proc };
        let recording = FakerootCall { user, began, target };
        // What apt's fetchers make gets its owner from apt itself.
        let told_of = |_: &u32| !told && !recording.target.program().starts_with("/usr/lib/apt/");
        if let Some(other) = recording.becomes().filter(told_of) {
            told = true;
            let _ = (&*socket).write_all(b"u");
            command::say(&format!(
                "a program became user {other}, which one id cannot (--isolation single): what it makes is recorded as root's, and no other build takes this step's result"
            ));
        }
        let answer = recording.answer();
        notify::answer(&listener, &call, answer.unwrap_or_else(Response::Error));
    }
}

fn enter_mounts_of(call: &Call, proc: &OwnedFd) -> Result<(), Errno> {
    use std::os::fd::AsFd as _;
    let path = format!("{}/ns/mnt", call.thread);
    let mounts = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::thread::move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
}

/// One call of a command that runs as `user`.
struct FakerootCall<'a> {
    user: &'a User,
    /// When the step began, in seconds since 1970: what has not changed since then is not a new
    /// file.
    began: i64,
    target: NotifyTarget<'a>,
}

/// An open file as it is on disk, and its record.
struct Seen {
    file: OwnedFd,
    stat: Stat,
    record: Option<Record>,
    /// Whose group a new file is because of its folder's set-group-ID bit.
    group: Option<u32>,
}

impl Seen {
    fn new(file: OwnedFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&file)?;
        let record = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Unknown => None,
            _ => Record::read_descriptor(Path::new(&name_of(&file)), stat.st_mode),
        };
        Ok(Self { file, stat, record, group: None })
    }

    /// The group that a new file has from its folder, if that has the set-group-ID bit.
    fn group_of_folder(&self) -> Option<u32> {
        let path = rustix::fs::readlinkat(rustix::fs::CWD, name_of(&self.file), Vec::new()).ok()?.into_bytes();
        let parent = Path::new(OsStr::from_bytes(&path)).parent()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let root = rustix::fs::open("/", flags, Mode::empty()).ok()?;
        let folder = open_inside(&root, parent, flags, resolve).ok()?;
        let Self { mut stat, record, .. } = Self::new(folder).ok()?;
        let record = record?;
        record.apply(&mut stat);
        (stat.st_mode & SET_GROUP_ID != 0).then_some(record.gid)
    }
}

impl FakerootCall<'_> {
    fn answer(&self) -> Result<Response, Errno> {
        let target = &self.target;
        let cwd = libc::AT_FDCWD;
        match target.call.number {
            libc::SYS_fchown => self.chown(target.descriptor(target.int(0))?, 1),
            libc::SYS_fchownat => self.chown(self.at(0, 1, 4)?, 2),
            libc::SYS_mknodat => self.mknod(target.int(0), 1),
            libc::SYS_fstat => Ok(self.stat(target.descriptor(target.int(0)), 1)),
            libc::SYS_newfstatat => Ok(self.stat(self.at(0, 1, 3), 2)),
            libc::SYS_statx => Ok(self.statx()),
            libc::SYS_fchmod => self.chmod(target.descriptor(target.int(0))),
            libc::SYS_fchmodat => self.chmod(target.open(target.int(0), &target.path(1)?, true)),
            FCHMODAT2 => self.chmod(self.at(0, 1, 3)),
            libc::SYS_listxattr => self.attributes(target.open(cwd, &target.path(0)?, true)),
            libc::SYS_llistxattr => self.attributes(target.open(cwd, &target.path(0)?, false)),
            libc::SYS_flistxattr => self.attributes(target.descriptor(target.int(0))),
            libc::SYS_getgroups => self.groups(),
            libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid => Ok(Response::Value(0)),
            number => self.answer_old(number),
        }
    }

    /// The other user that this call would make the process, if it is such a call.
    fn becomes(&self) -> Option<u32> {
        let arguments = match self.target.call.number {
            libc::SYS_setuid => 0..1,
            libc::SYS_setreuid => 0..2,
            libc::SYS_setresuid => 0..3,
            _ => return None,
        };
        arguments.filter_map(|index| self.target.id(index)).find(|uid| *uid != self.user.uid)
    }

    /// Calls that newer architectures do not have.
    #[cfg(target_arch = "x86_64")]
    fn answer_old(&self, number: libc::c_long) -> Result<Response, Errno> {
        let target = &self.target;
        let open = |follow| target.open(libc::AT_FDCWD, &target.path(0)?, follow);
        match number {
            libc::SYS_chown => self.chown(open(true)?, 1),
            libc::SYS_lchown => self.chown(open(false)?, 1),
            libc::SYS_mknod => self.mknod(libc::AT_FDCWD, 0),
            libc::SYS_stat => Ok(self.stat(open(true), 1)),
            libc::SYS_lstat => Ok(self.stat(open(false), 1)),
            libc::SYS_chmod => self.chmod(open(true)),
            _ => Ok(Response::Kernel),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn answer_old(&self, _number: libc::c_long) -> Result<Response, Errno> {
        Ok(Response::Kernel)
    }

    /// The file that a descriptor, a path and flags name: those arguments.
    fn at(&self, from: usize, path: usize, flags: usize) -> Result<OwnedFd, Errno> {
        let target = &self.target;
        let flags = target.int(flags);
        // A null pointer is as good as an empty path since Linux 6.11.
        let path = if target.argument(path) == 0 { Default::default() } else { target.path(path)? };
        match path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            true if target.int(from) == libc::AT_FDCWD => target.open(libc::AT_FDCWD, OsStr::new("."), true),
            true => target.descriptor(target.int(from)),
            false => target.open(target.int(from), &path, flags & libc::AT_SYMLINK_NOFOLLOW == 0),
        }
    }

    fn see(&self, file: OwnedFd) -> Result<Seen, Errno> {
        let mut seen = Seen::new(file)?;
        if seen.stat.st_ctime >= self.began {
            seen.group = seen.group_of_folder();
            if let (None, Some(gid)) = (seen.record, seen.group) {
                seen.record = Some(Record { uid: self.user.uid, gid, mode: None, device: None });
            }
        }
        Ok(seen)
    }

    /// `ids`: the first of the two arguments.
    fn chown(&self, file: OwnedFd, ids: usize) -> Result<Response, Errno> {
        let seen = self.see(file)?;
        let owner = (self.user.uid, self.user.gid);
        let now = seen.record.unwrap_or(Record { uid: owner.0, gid: owner.1, mode: None, device: None });
        let (uid, gid) = (self.target.id(ids).unwrap_or(now.uid), self.target.id(ids + 1).unwrap_or(now.gid));
        if self.user.uid != 0 {
            let own = now.uid == self.user.uid && uid == now.uid;
            let member = gid == now.gid || gid == self.user.gid || self.user.groups.contains(&gid);
            if !own || !member {
                return Err(Errno::PERM);
            }
        }
        // What a change of owner does besides: set-id bits and capabilities go, the time of the
        // change comes.
        match rustix::fs::chownat(&seen.file, "", Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::EMPTY_PATH) {
            // Files of the machine itself, such as devices: they are in no layer.
            Err(Errno::PERM | Errno::INVAL) => return Ok(Response::Value(0)),
            changed => changed?,
        }
        let record = Record { uid, gid, ..now };
        // In such a folder no record means the folder's group.
        let unrecorded = if seen.group.is_some() { (u32::MAX, u32::MAX) } else { owner };
        match record.write_descriptor(Path::new(&name_of(&seen.file)), seen.stat.st_mode, unrecorded) {
            // A file system that keeps no attributes is in no layer either.
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => Ok(Response::Value(0)),
            Err(errno) => Err(errno),
        }
    }

    /// An empty file that stands for a device. `path`: the argument that its mode and number
    /// follow.
    fn mknod(&self, from: i32, path: usize) -> Result<Response, Errno> {
        let target = &self.target;
        let mode = target.argument(path + 1) as u32;
        let number = target.argument(path + 2);
        let kind = FileType::from_raw_mode(mode);
        if self.user.uid != 0 || number == 0 || !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            return Err(Errno::PERM);
        }
        let (folder, name) = target.open_parent(from, &target.path(path)?)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let record = Record { uid: 0, gid: 0, mode: None, device: Some(Device { kind, major, minor }) };
        let stat = rustix::fs::fstat(&file)?;
        let written = record.write_descriptor(Path::new(&name_of(&file)), stat.st_mode, (0, 0));
        let dressed = written.and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777 & !target.umask())));
        if let Err(errno) = dressed {
            let _ = rustix::fs::unlinkat(&folder, &name, AtFlags::empty());
            return Err(errno);
        }
        Ok(Response::Value(0))
    }

    /// A user may change the mode of what is its own; the kernel takes everything for that.
    fn chmod(&self, file: Result<OwnedFd, Errno>) -> Result<Response, Errno> {
        let foreign =
            file.and_then(|file| self.see(file)).is_ok_and(|seen| seen.record.is_some_and(|record| record.uid != self.user.uid));
        if foreign { Err(Errno::PERM) } else { Ok(Response::Kernel) }
    }

    fn stat(&self, file: Result<OwnedFd, Errno>, buffer: usize) -> Response {
        self.show(file, buffer, |seen, record| {
            let mut stat = notify::stat(&seen.file)?;
            let mut shown = seen.stat;
            record.apply(&mut shown);
            (stat.st_uid, stat.st_gid, stat.st_mode, stat.st_rdev) = (shown.st_uid, shown.st_gid, shown.st_mode, shown.st_rdev);
            Ok(notify::bytes_of(&stat).to_vec())
        })
    }

    fn statx(&self) -> Response {
        let (flags, mask) = (self.target.int(2) & libc::AT_STATX_SYNC_TYPE, self.target.argument(3) as u32);
        self.show(self.at(0, 1, 2), 4, |seen, record| {
            let mut stat = notify::statx(&seen.file, flags, mask)?;
            let mut shown = seen.stat;
            record.apply(&mut shown);
            (stat.stx_uid, stat.stx_gid, stat.stx_mode) = (shown.st_uid, shown.st_gid, shown.st_mode as u16);
            if let Some(device) = record.device {
                (stat.stx_rdev_major, stat.stx_rdev_minor) = (device.major, device.minor);
            }
            Ok(notify::bytes_of(&stat).to_vec())
        })
    }

    /// Writes into the command's memory what `make` makes of a file with a record. Everything else,
    /// and every error, is the kernel's.
    fn show(
        &self,
        file: Result<OwnedFd, Errno>,
        buffer: usize,
        make: impl FnOnce(&Seen, &Record) -> Result<Vec<u8>, Errno>,
    ) -> Response {
        let shown = file.and_then(|file| self.see(file)).and_then(|seen| match &seen.record {
            None => Ok(None),
            Some(record) => make(&seen, record).map(Some),
        });
        match shown {
            Ok(Some(bytes)) => match self.write(buffer, &bytes) {
                Ok(()) => Response::Value(0),
                Err(errno) => Response::Error(errno),
            },
            Ok(None) | Err(_) => Response::Kernel,
        }
    }

    fn write(&self, buffer: usize, bytes: &[u8]) -> Result<(), Errno> {
        if !notify::still_waits(self.target.listener, self.target.call) {
            return Err(Errno::SRCH);
        }
        notify::write_memory(self.target.call.thread, self.target.argument(buffer), bytes)
    }

    /// The names of attributes, records left out: `cp -a` would copy them to files of another
    /// owner.
    fn attributes(&self, file: Result<OwnedFd, Errno>) -> Result<Response, Errno> {
        let Ok(seen) = file.and_then(|file| self.see(file)) else { return Ok(Response::Kernel) };
        let mut names = vec![0; 64 * 1024];
        let path = name_of(&seen.file);
        let Ok(length) = rustix::fs::listxattr(path.as_str(), &mut names[..]) else { return Ok(Response::Kernel) };
        let special = seen.record.is_some() && rustix::fs::getxattr(path.as_str(), OWNER, &mut [0u8; 96][..]).is_err();
        let hidden = |name: &[u8]| name.starts_with(PREFIX.as_bytes()) || special && name == CAPABILITY.as_bytes();
        let all = names[..length].split_inclusive(|byte| *byte == 0);
        let shown: Vec<u8> = all.filter(|name| !hidden(&name[..name.len() - 1])).flatten().copied().collect();
        if shown.len() == length {
            return Ok(Response::Kernel);
        }
        match usize::try_from(self.target.argument(2)).unwrap_or(usize::MAX) {
            0 => {}
            room if room < shown.len() => return Err(Errno::RANGE),
            _ => self.write(1, &shown)?,
        }
        Ok(Response::Value(shown.len() as i64))
    }

    fn groups(&self) -> Result<Response, Errno> {
        let mut groups: Vec<u32> = self.user.all_groups().collect();
        // The kernel keeps them in order.
        groups.sort_unstable();
        match self.target.int(0) {
            0 => {}
            room if usize::try_from(room).is_ok_and(|room| room >= groups.len()) => {
                self.write(1, &groups.iter().flat_map(|group| group.to_ne_bytes()).collect::<Vec<u8>>())?;
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(Response::Value(groups.len() as i64))
    }
}
