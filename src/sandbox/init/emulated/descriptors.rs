//! Hands descriptors to a thread whose system call waits (seccomp_unotify(2),
//! SECCOMP_IOCTL_NOTIF_ADDFD).
#![expect(unsafe_code, reason = "an ioctl that rustix does not have")]

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::super::notify::Call;
use super::super::process::last_errno;

/// `SECCOMP_IOCTL_NOTIF_ADDFD`: `_IOW('!', 3, struct seccomp_notif_addfd)`.
const ADD: libc::Ioctl = 0x4018_2103;
/// Since Linux 5.14: the call returns the descriptor's number, in one step.
const SEND: u32 = 1 << 1;

/// `struct seccomp_notif_addfd` of linux/seccomp.h.
#[repr(C)]
struct AddDescriptor {
    id: u64,
    flags: u32,
    source: u32,
    new: u32,
    new_flags: u32,
}

/// Gives the thread a copy of `descriptor`. Returns its number there.
pub(super) fn give(listener: &OwnedFd, call: &Call, descriptor: BorrowedFd<'_>) -> Result<i32, Errno> {
    add(listener, call, descriptor, 0, false)
}

/// Lets the call return a copy of `descriptor`.
pub(super) fn give_and_return(
    listener: &OwnedFd,
    call: &Call,
    descriptor: BorrowedFd<'_>,
    close_on_exec: bool,
) -> Result<(), Errno> {
    add(listener, call, descriptor, SEND, close_on_exec).map(drop)
}

/// Whether the kernel knows how to do that.
pub(super) fn can_give_and_return(listener: &OwnedFd) -> Result<(), Errno> {
    let to_no_call = AddDescriptor { id: 0, flags: SEND, source: listener.as_raw_fd().unsigned_abs(), new: 0, new_flags: 0 };
    match request(listener, &to_no_call) {
        // It looks for the call last.
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn add(listener: &OwnedFd, call: &Call, descriptor: BorrowedFd<'_>, flags: u32, close_on_exec: bool) -> Result<i32, Errno> {
    let new_flags = if close_on_exec { libc::O_CLOEXEC.unsigned_abs() } else { 0 };
    let source = descriptor.as_raw_fd().unsigned_abs();
    request(listener, &AddDescriptor { id: call.id(), flags, source, new: 0, new_flags })
}

fn request(listener: &OwnedFd, request: &AddDescriptor) -> Result<i32, Errno> {
    // SAFETY: the structure is of the type that this request reads, and outlives the call.
    match unsafe { libc::ioctl(listener.as_raw_fd(), ADD, std::ptr::from_ref(request)) } {
        -1 => Err(last_errno()),
        number => Ok(number),
    }
}
