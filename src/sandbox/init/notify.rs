//! System calls of a command that wait for an answer (seccomp_unotify(2)): the listener, its
//! messages, the command's memory.
//!
//! What the calls mean is not known here.
#![expect(unsafe_code, reason = "seccomp notifications and another process's memory; the helper has one thread")]

use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::process::last_errno;

/// Since Linux 6.6: the answering process runs where the asking one did, which saves waking another
/// processor.
const SET_FLAGS: libc::Ioctl = 0x4008_2104;
const SYNC_WAKE_UP: libc::c_ulong = 1;

const PAGE: usize = 4096;

/// A system call that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// `None` where its thread is stopped by ptrace.
    id: Option<u64>,
    /// The thread that made it, by its number in this process's namespace.
    pub(super) thread: u32,
    pub(super) number: libc::c_long,
    pub(super) arguments: [u64; 6],
}

impl Call {
    /// A call that a tracer has stopped.
    pub(super) fn of_stopped(thread: u32, number: libc::c_long, arguments: [u64; 6]) -> Self {
        Self { id: None, thread, number, arguments }
    }

    /// By which the kernel knows it; nothing waits for the answer of 0.
    pub(super) fn id(&self) -> u64 {
        self.id.unwrap_or(0)
    }
}

/// What a system call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Response {
    /// Whatever the kernel makes of it.
    Kernel,
    Value(i64),
    Error(Errno),
}

/// Installs a filter on this thread and returns the descriptor on which its notifications arrive.
pub(super) fn install_listener(program: &[seccompiler::sock_filter]) -> Result<OwnedFd, Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // `seccompiler::sock_filter` has the kernel's layout; `sock_fprog` wants a pointer that it does
    // not write to.
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // Linux 5.19: no signal makes a call that is being answered start again.
    for flags in [
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    ] {
        // SAFETY: pointer and length describe `program`, which outlives the call.
        let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &filter) };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor, closed on exec, for us alone.
            Ok(fd) if fd >= 0 => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ if last_errno() == Errno::INVAL => {}
            _ => return Err(last_errno()),
        }
    }
    Err(Errno::INVAL)
}

/// Whether the answering and the asking process are woken on each other's processor.
pub(super) fn wake_up_here(listener: &OwnedFd, here: bool) {
    let flags = if here { SYNC_WAKE_UP } else { 0 };
    // SAFETY: takes a number. A kernel that does not know it says so, and only time is lost.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, flags) };
}

/// The next waiting call; `ENOENT` where it has been given up meanwhile.
pub(super) fn receive(listener: &OwnedFd) -> Result<Call, Errno> {
    // SAFETY: plain numbers, for which zeros are valid; the kernel wants zeros.
    let mut message: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: the message is of the type that this request fills, and outlives the call.
    match unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut message) } {
        0 => Ok(Call {
            id: Some(message.id),
            thread: message.pid,
            number: libc::c_long::from(message.data.nr),
            arguments: message.data.args,
        }),
        _ => Err(last_errno()),
    }
}

/// Lets the call return. One that has been given up is not an error.
pub(super) fn answer(listener: &OwnedFd, call: &Call, answer: Response) {
    let (value, error, flags) = match answer {
        Response::Kernel => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Response::Value(value) => (value, 0, 0),
        Response::Error(errno) => (0, -errno.raw_os_error(), 0),
    };
    let mut message = libc::seccomp_notif_resp { id: call.id(), val: value, error, flags };
    // SAFETY: the message is of the type that this request reads, and outlives the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut message) };
}

/// Whether the call still waits: only then its thread's number is that of no other process.
pub(super) fn still_waits(listener: &OwnedFd, call: &Call) -> bool {
    // One that is stopped waits until it is resumed.
    let Some(id) = call.id else { return true };
    // SAFETY: reads the number, which outlives the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Reads as much of `buffer` as there is at `address`.
pub(super) fn read_memory(thread: u32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // Whole pieces are read or none: what lies in a page that is not there must be a piece of its
    // own.
    let first = (PAGE - address % PAGE).min(buffer.len());
    let piece = |from: usize, length: usize| libc::iovec { iov_base: from as *mut libc::c_void, iov_len: length };
    let remote = [piece(address, first), piece(address.wrapping_add(first), buffer.len() - first)];
    let count = if first < buffer.len() { 2 } else { 1 };
    // SAFETY: the local piece is `buffer`; addresses of the other process are checked by the
    // kernel.
    let read = unsafe { libc::process_vm_readv(thread as libc::pid_t, &local, 1, remote.as_ptr(), count, 0) };
    usize::try_from(read).map_err(|_| last_errno())
}

/// Writes all of `bytes` at `address`.
pub(super) fn write_memory(thread: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: the local piece is `bytes`, which is only read; addresses of the other process are
    // checked by the kernel.
    match unsafe { libc::process_vm_writev(thread as libc::pid_t, &local, 1, &remote, 1, 0) } {
        written if usize::try_from(written) == Ok(bytes.len()) => Ok(()),
        -1 => Err(last_errno()),
        _ => Err(Errno::FAULT),
    }
}

/// What the kernel writes for `stat`, to be changed before it is handed on.
pub(super) fn stat(file: &OwnedFd) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the call fills the structure, for which zeros are valid as well.
    match unsafe { libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()) } {
        // SAFETY: filled above.
        0 => Ok(unsafe { stat.assume_init() }),
        _ => Err(last_errno()),
    }
}

/// As `stat`, for `statx`.
pub(super) fn statx(file: &OwnedFd, flags: i32, mask: u32) -> Result<libc::statx, Errno> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the call fills the structure, for which zeros are valid as well; the path is empty
    // and ends with NUL.
    match unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags | libc::AT_EMPTY_PATH, mask, stat.as_mut_ptr()) } {
        // SAFETY: filled above.
        0 => Ok(unsafe { stat.assume_init() }),
        _ => Err(last_errno()),
    }
}

/// The bytes of a structure that the kernel has filled.
pub(super) fn bytes_of<T: Copy>(structure: &T) -> &[u8] {
    // SAFETY: the two structures above are made of zeros before they are filled, so their padding
    // is initialised, too.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(structure).cast(), size_of::<T>()) }
}
