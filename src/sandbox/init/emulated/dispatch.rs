//! Which function answers which call.

use super::super::notify::{self, Call, Response};
use super::open::Request;
use super::state::{Caller, Reply, Result, Supervisor};
use crate::sandbox::kernel::FCHMODAT2;
use rustix::io::Errno;

const CWD: i32 = libc::AT_FDCWD;
const NOFOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;

/// Answers one call.
pub(super) fn answer(supervisor: &mut Supervisor, call: &Call) {
    let reply = supervisor.caller(call.thread as i32).and_then(|caller| supervisor.dispatch(call, &caller));
    let answer = match reply {
        Ok(Reply::Sent) => return,
        Ok(Reply::Value(value)) => Response::Value(value),
        Ok(Reply::Kernel) => Response::Kernel,
        Err(errno) => Response::Error(errno),
    };
    notify::answer(&supervisor.listener, call, answer);
}

impl Supervisor {
    pub(super) fn dispatch(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let [a, b, c, d, e, _] = call.arguments;
        let int = |argument: u64| argument as u32 as i32;
        match call.number {
            libc::SYS_openat if a as u32 == super::filter::LOADER_CALL => self.load(call, caller),
            libc::SYS_open => self.open_path(call, caller, a, Request::new(CWD, int(b), c as u32)),
            libc::SYS_openat => self.open_path(call, caller, b, Request::new(int(a), int(c), d as u32)),
            libc::SYS_creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                self.open_path(call, caller, a, Request::new(CWD, flags, b as u32))
            }
            libc::SYS_openat2 => self.openat2(call, caller),
            libc::SYS_fstat => self.fstat(call, caller, int(a), b),
            libc::SYS_stat => self.stat(call, caller, (CWD, a), 0, b),
            libc::SYS_lstat => self.stat(call, caller, (CWD, a), NOFOLLOW, b),
            libc::SYS_newfstatat => self.stat(call, caller, (int(a), b), int(d), c),
            libc::SYS_statx => self.statx(call, caller, (int(a), b), int(c), d, e),
            libc::SYS_access => self.access(call, caller, (CWD, a), b, 0),
            libc::SYS_faccessat => self.access(call, caller, (int(a), b), c, 0),
            libc::SYS_faccessat2 => self.access(call, caller, (int(a), b), c, int(d)),
            libc::SYS_readlink => self.readlink(call, caller, (CWD, a), b, c),
            libc::SYS_readlinkat => self.readlink(call, caller, (int(a), b), c, d),
            libc::SYS_statfs => self.statfs(call, caller),
            libc::SYS_getcwd => self.getcwd(call, caller),
            libc::SYS_chdir => {
                let found = self.at(call, caller, (CWD, a), 0);
                self.chdir(caller, found)
            }
            libc::SYS_fchdir => {
                let found = self.of_descriptor(caller, int(a));
                self.chdir(caller, found)
            }
            libc::SYS_umask => self.umask(caller, a),
            libc::SYS_truncate => self.truncate(call, caller),
            libc::SYS_mkdir => self.mkdir(call, caller, (CWD, a), b),
            libc::SYS_mkdirat => self.mkdir(call, caller, (int(a), b), c),
            libc::SYS_mknod => self.mknod(call, caller, (CWD, a), b, c),
            libc::SYS_mknodat => self.mknod(call, caller, (int(a), b), c, d),
            libc::SYS_symlink => self.symlink(call, caller, a, (CWD, b)),
            libc::SYS_symlinkat => self.symlink(call, caller, a, (int(b), c)),
            libc::SYS_link => self.link(call, caller, (CWD, a), (CWD, b), 0),
            libc::SYS_linkat => self.link(call, caller, (int(a), b), (int(c), d), int(e)),
            libc::SYS_unlink => self.unlink(call, caller, (CWD, a), false),
            libc::SYS_rmdir => self.unlink(call, caller, (CWD, a), true),
            libc::SYS_unlinkat if int(c) & !libc::AT_REMOVEDIR != 0 => Err(Errno::INVAL),
            libc::SYS_unlinkat => self.unlink(call, caller, (int(a), b), int(c) != 0),
            libc::SYS_rename => self.rename(call, caller, (CWD, a), (CWD, b), 0),
            libc::SYS_renameat => self.rename(call, caller, (int(a), b), (int(c), d), 0),
            libc::SYS_renameat2 => self.rename(call, caller, (int(a), b), (int(c), d), e),
            libc::SYS_kill
            | libc::SYS_tkill
            | libc::SYS_tgkill
            | libc::SYS_rt_sigqueueinfo
            | libc::SYS_rt_tgsigqueueinfo
            | libc::SYS_pidfd_open
            | libc::SYS_process_vm_readv
            | libc::SYS_process_vm_writev => self.on_process(call, caller),
            libc::SYS_prctl => self.prctl(call, caller),
            // See `placement`.
            libc::SYS_sched_getaffinity | libc::SYS_sched_setaffinity => Ok(Reply::Kernel),
            _ => self.dispatch_attributes(call, caller),
        }
    }

    fn dispatch_attributes(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let [a, b, c, d, e, _] = call.arguments;
        let int = |argument: u64| argument as u32 as i32;
        match call.number {
            libc::SYS_chmod => {
                let found = self.at_to_change(call, caller, (CWD, a), 0);
                self.chmod(caller, found, b)
            }
            libc::SYS_fchmod => {
                let found = self.of_descriptor(caller, int(a));
                self.chmod(caller, found, b)
            }
            libc::SYS_fchmodat => {
                let found = self.at_to_change(call, caller, (int(a), b), 0);
                self.chmod(caller, found, c)
            }
            FCHMODAT2 => {
                let found = self.at_to_change(call, caller, (int(a), b), int(d));
                self.chmod(caller, found, c)
            }
            libc::SYS_chown | libc::SYS_lchown => {
                let flags = if call.number == libc::SYS_lchown { NOFOLLOW } else { 0 };
                let found = self.at_to_change(call, caller, (CWD, a), flags);
                self.chown(caller, found, b, c)
            }
            libc::SYS_fchown => {
                let found = self.of_descriptor(caller, int(a));
                self.chown(caller, found, b, c)
            }
            libc::SYS_fchownat => {
                let found = self.at_to_change(call, caller, (int(a), b), int(e));
                self.chown(caller, found, c, d)
            }
            libc::SYS_utimensat => {
                let times = self.times(call, c, 1)?;
                let found = self.at_to_change(call, caller, (int(a), b), int(d));
                self.set_times(caller, found, times)
            }
            libc::SYS_utimes | libc::SYS_futimesat => {
                let (at, address) = if call.number == libc::SYS_utimes { ((CWD, a), b) } else { ((int(a), b), c) };
                let times = self.times(call, address, 1000)?;
                let found = self.at_to_change(call, caller, at, 0);
                self.set_times(caller, found, times)
            }
            libc::SYS_utime => {
                let times = match b {
                    0 => None,
                    address => {
                        let seconds = self.memory.read_words(call.thread as i32, address, 2)?;
                        Some([(seconds[0] as i64, 0), (seconds[1] as i64, 0)])
                    }
                };
                let found = self.at_to_change(call, caller, (CWD, a), 0);
                self.set_times(caller, found, times)
            }
            libc::SYS_getxattr | libc::SYS_listxattr => {
                let found = self.at(call, caller, (CWD, a), 0);
                self.dispatch_xattr(call, caller, found)
            }
            libc::SYS_lgetxattr | libc::SYS_llistxattr => {
                let found = self.at(call, caller, (CWD, a), NOFOLLOW);
                self.dispatch_xattr(call, caller, found)
            }
            libc::SYS_setxattr | libc::SYS_removexattr => {
                let found = self.at_to_change(call, caller, (CWD, a), 0);
                self.dispatch_xattr(call, caller, found)
            }
            libc::SYS_lsetxattr | libc::SYS_lremovexattr => {
                let found = self.at_to_change(call, caller, (CWD, a), NOFOLLOW);
                self.dispatch_xattr(call, caller, found)
            }
            libc::SYS_fgetxattr if !self.may_be_capability(call, caller)? => Ok(Reply::Kernel),
            libc::SYS_flistxattr if !self.has_capabilities => Ok(Reply::Kernel),
            libc::SYS_fsetxattr | libc::SYS_fgetxattr | libc::SYS_flistxattr | libc::SYS_fremovexattr => {
                let found = self.of_descriptor(caller, int(a));
                self.dispatch_xattr(call, caller, found)
            }
            _ => self.identity(call, caller),
        }
    }

    fn dispatch_xattr(&mut self, call: &Call, caller: &Caller, found: Result<super::walk::Found>) -> Result<Reply> {
        match call.number {
            libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr => self.set_attribute(call, caller, found),
            libc::SYS_getxattr | libc::SYS_lgetxattr | libc::SYS_fgetxattr => self.attribute(call, caller, found),
            libc::SYS_listxattr | libc::SYS_llistxattr | libc::SYS_flistxattr => self.attribute_names(call, found),
            _ => self.remove_attribute(call, caller, found),
        }
    }

    fn open_path(&mut self, call: &Call, caller: &Caller, address: u64, request: Request) -> Result<Reply> {
        let path = self.path(call, address)?;
        self.open(call, caller, &path, request)
    }

    fn openat2(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let [from, address, how, size, ..] = call.arguments;
        // `struct open_how` of linux/openat2.h: flags, mode, resolve.
        if size != 24 {
            return Err(if size < 24 { Errno::INVAL } else { Errno::TOOBIG });
        }
        let words = self.memory.read_words(call.thread as i32, how, 3)?;
        let request = Request::new(from as u32 as i32, words[0] as i32, words[1] as u32);
        let path = self.path(call, address)?;
        match words[2] {
            0 => self.open(call, caller, &path, request),
            resolve => self.open_scoped(call, caller, &path, request, resolve),
        }
    }
}
