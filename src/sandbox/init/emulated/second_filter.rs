//! fgetxattr and flistxattr are left to the kernel as long as no file has a capability, which is
//! the only attribute that it does not know: cp(1) makes three such calls for each file, of ten
//! that the supervisor would answer.
//!
//! A filter cannot be taken back, but a second one can be added. Before the first file gets a
//! capability, each thread is stopped and made to install one that reports both calls to the
//! tracer (`traced`); what it starts later inherits it. A thread that has a filter of its own is
//! left alone: that could kill it for the call. Only one filter of a thread can have a listener
//! (seccomp(2), EBUSY), so these calls cannot wait as all others do.

use super::super::notify::Call;
use super::loader::{SYSCALL, second_filter, system_call};
use super::ptrace::{self, Registers, Resume};
use super::state::{Caller, Reply, Result, Supervisor};
use super::threads::{Pending, Progress};
use rustix::io::Errno;

/// `ERESTARTNOINTR` of linux/errno.h: the kernel makes the call again after the stop.
const MAKE_AGAIN: i32 = 513;
/// `ERESTARTNOHAND`: as well, unless a signal handler runs before; then it is EINTR.
const MAKE_AGAIN_UNLESS_HANDLED: i64 = 514;

impl Supervisor {
    /// To be called before a file gets a capability. `ERESTARTNOINTR` where the thread has no
    /// second filter yet: it stops, installs it, and the kernel makes the call again. Without a
    /// stop to come, the program would see that number.
    pub(super) fn expect_capabilities(&mut self, thread: i32) -> Result<()> {
        if !std::mem::replace(&mut self.has_capabilities, true) {
            self.threads.numbers().filter(|thread| self.lacks_filter(*thread)).for_each(ptrace::interrupt);
        }
        if self.lacks_filter(thread) {
            ptrace::interrupt(thread);
            return Err(Errno::from_raw_os_error(MAKE_AGAIN));
        }
        Ok(())
    }

    fn lacks_filter(&self, thread: i32) -> bool {
        self.has_capabilities && self.threads.thread(thread).is_some_and(|thread| !thread.attributes_answered)
    }

    /// Lets a stopped thread go on. One that is to have the second filter stops once more: any stop
    /// takes the place of one that it was asked for.
    pub(super) fn go_on(&self, thread: i32, signal: i32) {
        if self.lacks_filter(thread) {
            ptrace::interrupt(thread);
        }
        ptrace::resume(thread, Resume::Run, signal);
    }

    /// A thread has stopped because it was asked to, or for the first time.
    pub(super) fn on_stop(&mut self, thread: i32) {
        let lacks_filter = self.lacks_filter(thread);
        let installs = lacks_filter && self.can_install(thread);
        let Some(known) = self.threads.thread_mut(thread) else { return };
        match known.pending.take() {
            Some(Pending::Filter(before, Progress::Returned)) => {
                known.attributes_answered = true;
                let _ = ptrace::set_registers(thread, &before);
                ptrace::resume(thread, Resume::Run, 0);
            }
            Some(Pending::Filter(before, progress)) => {
                known.pending = Some(Pending::Filter(before, progress));
                ptrace::resume(thread, Resume::ToSyscall, 0);
            }
            None if installs => {
                if let Ok(before) = ptrace::registers(thread).map(waits_on)
                    && ptrace::set_registers(thread, &to_install(&before)).is_ok()
                {
                    known.pending = Some(Pending::Filter(Box::new(before), Progress::Prepared));
                }
                ptrace::resume(thread, Resume::ToSyscall, 0);
            }
            pending => {
                // One that cannot be made to install it is not asked again.
                known.attributes_answered |= lacks_filter && pending.is_none();
                known.pending = pending;
                ptrace::resume(thread, Resume::Run, 0);
            }
        }
    }

    /// Not where the program has unmapped the loader, or has a filter of its own.
    fn can_install(&self, thread: i32) -> bool {
        let mut instruction = [0; 2];
        let read = self.memory.read(thread, system_call(), &mut instruction);
        read.is_ok() && instruction == SYSCALL && number_of_filters(thread) == self.filters
    }

    /// A thread is about to get a signal: what it was to do for the supervisor before is put off.
    pub(super) fn put_filter_off(&mut self, thread: i32) {
        if let Some(known) = self.threads.thread_mut(thread)
            && let Some(Pending::Filter(before, _)) = known.pending.take_if(|pending| matches!(pending, Pending::Filter(..)))
        {
            let _ = ptrace::set_registers(thread, &before);
        }
    }

    /// The call that installs the filter has begun or returned.
    pub(super) fn on_installing(&mut self, thread: i32, before: Box<Registers>, progress: Progress) {
        let next = if progress == Progress::Prepared { Progress::Entered } else { Progress::Returned };
        if let Some(known) = self.threads.thread_mut(thread) {
            known.pending = Some(Pending::Filter(before, next));
        }
        if next == Progress::Entered {
            ptrace::resume(thread, Resume::ToSyscall, 0);
        } else {
            // Its registers are put back where it stops as before: only there the kernel looks
            // whether a call is to be made again.
            ptrace::interrupt(thread);
            ptrace::resume(thread, Resume::Run, 0);
        }
    }

    /// What a call of which the second filter has told returns; `None` where the kernel knows it.
    pub(super) fn attribute_of_open_file(&mut self, caller: &Caller, registers: &Registers) -> Result<Option<i64>> {
        let Registers { rdi, rsi, rdx, r10, .. } = *registers;
        let call = Call::of_stopped(caller.thread as u32, registers.orig_rax as i64, [rdi, rsi, rdx, r10, 0, 0]);
        match self.dispatch(&call, caller)? {
            Reply::Value(value) => Ok(Some(value)),
            Reply::Kernel | Reply::Sent => Ok(None),
        }
    }
}

/// Registers of a thread that was woken in a call which waits. Most calls go on by themselves then;
/// these would return EINTR, also without a signal (signal(7)).
fn waits_on(registers: Registers) -> Registers {
    const FAIL: [libc::c_long; 7] = [
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_io_getevents,
    ];
    let failed = registers.rax as i64 == -i64::from(libc::EINTR) && FAIL.contains(&(registers.orig_rax as i64));
    Registers { rax: if failed { -MAKE_AGAIN_UNLESS_HANDLED as u64 } else { registers.rax }, ..registers }
}

/// The registers with which a thread installs the second filter.
fn to_install(before: &Registers) -> Registers {
    Registers {
        rip: system_call(),
        rax: libc::SYS_seccomp as u64,
        rdi: u64::from(libc::SECCOMP_SET_MODE_FILTER),
        rsi: 0,
        rdx: second_filter(),
        // No call that the kernel could make again.
        orig_rax: u64::MAX,
        ..*before
    }
}

/// How many filters a thread has (proc_pid_status(5)), since Linux 5.9.
pub(super) fn number_of_filters(thread: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"))?.trim().to_owned())
}
