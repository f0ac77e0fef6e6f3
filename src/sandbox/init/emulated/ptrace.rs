//! The few calls of ptrace(2) that the supervisor makes, and waiting for what its threads report.
//!
//! Threads are seized, not attached: only then a stopped job stays stopped for its shell
//! (PTRACE_LISTEN).
#![expect(unsafe_code, reason = "ptrace has no safe interface; each call names a thread that this process traces")]

use std::ffi::c_void;
use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::super::process::last_errno;

pub(super) type Registers = libc::user_regs_struct;

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// Until something is to be told.
    Run,
    /// Until its system call has returned, or it makes the next one.
    ToSyscall,
    /// Not at all, until it is told to continue: a stopped job.
    Listen,
}

/// What a thread reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Exited(i32),
    Killed(i32),
    /// A filter has answered TRACE, with its data.
    Seccomp(u32),
    /// It has made a new thread or process of this number.
    Cloned(i32),
    /// A child that it had lent its memory has ended, or has another one now: its first stop since
    /// then.
    HasMemoryBack,
    /// A new thread's first stop, one that was asked for, or one of the whole process by this
    /// signal.
    Stop(i32),
    /// A system call begins or has returned.
    Syscall,
    /// It is to get a signal.
    Signal(i32),
}

/// Makes this process the tracer of `thread` and of all that descends from it; they die with this
/// process.
pub(super) fn seize(thread: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEVFORKDONE
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL;
    call(libc::PTRACE_SEIZE, thread, options as usize as *mut c_void)
}

pub(super) fn registers(thread: i32) -> Result<Registers, Errno> {
    // SAFETY: plain numbers, for which zeros are valid.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    call(libc::PTRACE_GETREGS, thread, (&raw mut registers).cast())?;
    Ok(registers)
}

pub(super) fn set_registers(thread: i32, registers: &Registers) -> Result<(), Errno> {
    call(libc::PTRACE_SETREGS, thread, std::ptr::from_ref(registers).cast_mut().cast())
}

/// Lets a thread go on, with a signal if it is to get one. One that has died meanwhile is not an
/// error.
pub(super) fn resume(thread: i32, how: Resume, signal: i32) {
    let request = match how {
        Resume::Run => libc::PTRACE_CONT,
        Resume::ToSyscall => libc::PTRACE_SYSCALL,
        Resume::Listen => libc::PTRACE_LISTEN,
    };
    let _ = call(request, thread, signal as usize as *mut c_void);
}

/// Asks a thread to stop, and interrupts a call in which it waits. One that stops for another
/// reason first does not stop again.
pub(super) fn interrupt(thread: i32) {
    let _ = call(libc::PTRACE_INTERRUPT, thread, std::ptr::null_mut());
}

/// Number and address's reason of a SIGSYS that a filter has sent: the call that it is about,
/// `None` for another one.
pub(super) fn trapped_call(thread: i32) -> Option<i64> {
    /// `SYS_SECCOMP` of asm-generic/siginfo.h.
    const BY_FILTER: i32 = 1;
    // SAFETY: plain bytes, for which zeros are valid.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    call(libc::PTRACE_GETSIGINFO, thread, (&raw mut information).cast()).ok()?;
    if information.si_signo != libc::SIGSYS || information.si_code != BY_FILTER {
        return None;
    }
    // SAFETY: `siginfo_t` has 128 bytes; of a SIGSYS by a filter the number of the call is at byte
    // 24 (`_sigsys._syscall`).
    Some(i64::from(unsafe { std::ptr::from_ref(&information).cast::<u8>().add(24).cast::<i32>().read_unaligned() }))
}

/// The next report of any thread, if there is one.
pub(super) fn next_event(wait: bool) -> Result<Option<(i32, Event)>, Errno> {
    let mut status = 0;
    let flags = libc::__WALL | if wait { 0 } else { libc::WNOHANG };
    // SAFETY: writes the status, which outlives the call.
    let thread = unsafe { libc::waitpid(-1, &raw mut status, flags) };
    match thread {
        -1 => Err(last_errno()),
        0 => Ok(None),
        thread => Ok(Some((thread, parse(thread, status)))),
    }
}

fn parse(thread: i32, status: i32) -> Event {
    if libc::WIFEXITED(status) {
        return Event::Exited(libc::WEXITSTATUS(status));
    }
    if libc::WIFSIGNALED(status) {
        return Event::Killed(libc::WTERMSIG(status));
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        libc::PTRACE_EVENT_SECCOMP => Event::Seccomp(message(thread) as u32),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Event::Cloned(message(thread) as i32),
        libc::PTRACE_EVENT_VFORK_DONE => Event::HasMemoryBack,
        libc::PTRACE_EVENT_STOP => Event::Stop(signal),
        // PTRACE_O_TRACESYSGOOD.
        0 if signal == libc::SIGTRAP | 0x80 => Event::Syscall,
        _ => Event::Signal(signal),
    }
}

fn message(thread: i32) -> u64 {
    let mut message = 0u64;
    let _ = call(libc::PTRACE_GETEVENTMSG, thread, (&raw mut message).cast());
    message
}

fn call(request: libc::c_uint, thread: i32, data: *mut c_void) -> Result<(), Errno> {
    // SAFETY: `data` is a number, or points to a structure of the type that the request reads or
    // fills and that outlives the call.
    match unsafe { libc::ptrace(request, thread, std::ptr::null_mut::<c_void>(), data) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sends a signal to a process, or to one of its threads.
pub(super) fn kill(process: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    match unsafe { libc::kill(process, signal) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// A descriptor that can be read as soon as a thread has something to report.
pub(super) fn report_descriptor() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is made empty before it is changed and read, and outlives all calls; the
    // descriptor is new and ours alone.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) != 0 {
            return Err(last_errno());
        }
        match libc::signalfd(-1, &raw const signals, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_errno()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Keeps other processes of this user from looking into this one (prctl(2), PR_SET_DUMPABLE).
pub(super) fn hide() -> Result<(), Errno> {
    // SAFETY: takes numbers.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}
