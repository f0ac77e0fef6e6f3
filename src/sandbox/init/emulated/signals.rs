//! Signals and other calls on processes: only the command's own processes are there.

use rustix::io::Errno;

use super::super::notify::Call;
use super::ptrace;
use super::state::{Caller, Reply, Result, Supervisor};

impl Supervisor {
    pub(super) fn on_process(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let [first, second, ..] = call.arguments.map(|argument| argument as i32);
        match call.number {
            libc::SYS_kill => self.kill(caller, first, second),
            // The arguments are numbers in registers, which cannot change: the kernel acts on
            // exactly what was checked here.
            libc::SYS_tkill
            | libc::SYS_tgkill
            | libc::SYS_rt_sigqueueinfo
            | libc::SYS_rt_tgsigqueueinfo
            | libc::SYS_pidfd_open => {
                if self.threads.is_known(first) {
                    self.allowed(caller, first)
                } else {
                    Err(Errno::SRCH)
                }
            }
            _ if self.threads.is_known(first) => self.allowed(caller, first),
            _ => Err(Errno::PERM),
        }
    }

    /// kill(2): a process, the caller's group (0), a group (negative), or all of them (-1).
    fn kill(&mut self, caller: &Caller, target: i32, signal: i32) -> Result<Reply> {
        match target {
            // As from process 1 of a namespace, the first process and the caller are spared.
            -1 => {
                let others =
                    self.threads.processes().into_iter().filter(|process| *process != caller.process && *process != self.main);
                let sent = others.filter(|process| ptrace::kill(*process, signal).is_ok()).count();
                if sent == 0 { Err(Errno::SRCH) } else { Ok(Reply::Value(0)) }
            }
            // The command has a session of its own, so all members of its groups are its own.
            0 => Ok(Reply::Kernel),
            group if group < -1 => {
                let leads = |process: &i32| {
                    rustix::process::Pid::from_raw(*process)
                        .and_then(|process| rustix::process::getpgid(Some(process)).ok())
                        .is_some_and(|found| found.as_raw_nonzero().get() == -group)
                };
                if self.threads.processes().iter().any(leads) { Ok(Reply::Kernel) } else { Err(Errno::SRCH) }
            }
            process if self.threads.is_process(process) => self.allowed(caller, process),
            _ => Err(Errno::SRCH),
        }
    }

    /// Whether the caller may send signals to a process: in truth all have the same user.
    fn allowed(&self, caller: &Caller, target: i32) -> Result<Reply> {
        const CAP_KILL: u32 = 5;
        let (own, other) = (&caller.rights, self.threads.thread(target).map(|thread| &thread.rights));
        let same = other.is_none_or(|other| {
            [own.user.real, own.user.effective].iter().any(|id| *id == other.user.real || *id == other.user.saved)
        });
        let own_process = self.threads.thread(target).is_some_and(|thread| thread.process == caller.process);
        if own_process || same || own.can(CAP_KILL) { Ok(Reply::Kernel) } else { Err(Errno::PERM) }
    }
}
