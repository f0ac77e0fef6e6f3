//! Starts the command under its filter and answers its calls until it has ended.
//!
//! One thread does everything: to answer a call on another processor costs more than the call
//! itself.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;

use super::super::command::Command;
use super::super::descriptors::pipe;
use super::super::process::{Fork, die_with_parent, exit_now, fork};
use super::super::{attended, notify, orphans, seccomp, ssh};
use super::credentials::{CAP_DAC_OVERRIDE, Credentials};
use super::memory::Memory;
use super::placement::{PAUSE_MS, Placement};
use super::ptrace::{self, Event, Resume};
use super::second_filter::number_of_filters;
use super::state::Supervisor;
use super::threads::{FileSystem, Threads};
use super::view::{PATH_ONLY, View, reopen};
use super::{descriptors, dispatch, filter};
use crate::layer::owner_table::{Inode, OwnerTable};
use crate::sandbox::channel::{read_message, receive_file, send_file, write_message};
use crate::sandbox::setup_error::{BecauseOf as _, Cause, SetupError, Step as _};
use crate::sandbox::{Exit, User};

/// What the supervisor answers a command's calls from.
pub(super) struct Setup {
    pub(super) view: View,
    pub(super) table: OwnerTable,
    /// Inodes of several names that the step has not made.
    pub(super) linked: HashSet<Inode>,
    /// The path of the loader on this machine.
    pub(super) loader: Vec<u8>,
}

/// Runs the command until it has ended and nothing of it runs any more. Returns the table of owners
/// as well.
pub(super) fn run(
    command: &Command<'_>,
    setup: Setup,
    agents: ssh::Server,
    control: &UnixStream,
) -> Result<(Exit, OwnerTable), SetupError> {
    // Orphans are reparented to this process.
    orphans::adopt().step(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())?;
    // Before there is a child whose end it reports.
    let reports = ptrace::report_descriptor().step(|| "signalfd".into())?;
    let has_capabilities = setup.table.has_capabilities();
    let answered = has_capabilities || !Credentials::of(command.user()).can(CAP_DAC_OVERRIDE);
    let Started { main, listener, keep_alive, errors } = start(command, answered)?;
    let mut running = Running {
        supervisor: supervisor(setup, main, listener, has_capabilities)?,
        reports,
        errors,
        told: false,
        wakes_up_here: false,
    };
    let entered = running.enter(command, answered);
    // Nothing of the same user may look into this process.
    let hidden = ptrace::hide().step(|| "prctl(PR_SET_DUMPABLE)".into());
    let exit = entered.and(hidden).and_then(|()| running.until_end(control));
    running.supervisor.placement.let_go();
    drop(agents);
    running.kill_all();
    running.supervisor.forget_gone(0);
    drop(keep_alive);
    match read_message::<SetupError>(&running.errors).step(|| "start the command".into())? {
        Some(error) => Err(error),
        None => exit.map(|exit| (exit, running.supervisor.table)),
    }
}

struct Started {
    main: i32,
    listener: OwnedFd,
    /// As long as it is open the child knows that its parent lives.
    keep_alive: File,
    /// Says what has failed before the command was executed.
    errors: File,
}

/// Makes the command's process, traced and under the filter, about to execute.
fn start(command: &Command<'_>, attributes_answered: bool) -> Result<Started, SetupError> {
    let program = filter::program(command.waits(), attributes_answered);
    let (alive, keep_alive) = pipe()?;
    let (errors, error) = pipe()?;
    let (go, let_go) = pipe()?;
    let (ours, theirs) = UnixStream::pair().step(|| "socketpair".into())?;
    let main = match fork().step(|| "fork".into())? {
        Fork::Child => {
            drop((keep_alive, errors, let_go, ours));
            let prepared = die_with_parent(&OwnedFd::from(alive)).and_then(|()| {
                // Until it is traced.
                std::io::copy(&mut &go, &mut std::io::sink()).step(|| "wait for the supervisor".into())?;
                command.prepare_process()?;
                rustix::thread::set_no_new_privs(true).step(|| "prctl(PR_SET_NO_NEW_PRIVS)".into())?;
                seccomp::install_as_missing()?;
                let listener = notify::install_listener(&program).step(|| "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)".into())?;
                send_file(&theirs, listener).step(|| "hand over the system-call filter".into())
            });
            exit_now(match prepared {
                Ok(()) => command.exec_program(),
                Err(fault) => i32::from(write_message(&error, &fault).is_err()),
            })
        }
        Fork::Parent(pid) => pid.as_raw_nonzero().get(),
    };
    drop((alive, error, go, theirs));
    let seized = ptrace::seize(main).step(|| "ptrace(PTRACE_SEIZE)".into()).because_of(Cause::Trace);
    drop(let_go);
    let received = seized.and_then(|()| {
        let_it_send(main);
        let listener = receive_file(&ours).step(|| "receive the system-call filter".into())?;
        let known = descriptors::can_give_and_return(&listener).step(|| "ioctl(SECCOMP_ADDFD_FLAG_SEND)".into());
        known.map(|()| listener)
    });
    match received {
        Ok(listener) => Ok(Started { main, listener, keep_alive, errors }),
        Err(fault) => {
            let _ = ptrace::kill(main, libc::SIGKILL);
            orphans::kill_descendants();
            // The child's own error, if there is one, is more specific.
            Err(read_message::<SetupError>(errors).ok().flatten().unwrap_or(fault))
        }
    }
}

/// The first call under the filter is the one that hands the filter over: sendmsg, which the filter
/// answers with TRACE.
fn let_it_send(main: i32) {
    loop {
        match ptrace::next_event(true) {
            Ok(Some((_, Event::Exited(_) | Event::Killed(_)))) => return,
            Ok(Some((thread, event))) => {
                ptrace::resume(thread, Resume::Run, 0);
                if event == Event::Seccomp(filter::TRACE_DATA) && thread == main {
                    return;
                }
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn supervisor(setup: Setup, main: i32, listener: OwnedFd, has_capabilities: bool) -> Result<Supervisor, SetupError> {
    let Setup { view, table, linked, loader } = setup;
    let uid = rustix::process::geteuid().as_raw();
    let (memory, threads) = (Memory::of(main), Threads::default());
    let (gone, gone_in_order) = Default::default();
    Ok(Supervisor {
        listener,
        view,
        table,
        threads,
        memory,
        main,
        loader,
        uid,
        gone,
        gone_in_order,
        linked,
        has_fifos: false,
        has_capabilities,
        filters: number_of_filters(main),
        placement: Placement::new(),
    })
}

struct Running {
    supervisor: Supervisor,
    /// Readable when a thread has stopped or ended.
    reports: OwnedFd,
    /// What has failed before the command was executed; at its end from then on.
    errors: File,
    /// Whether the caller knows that it was executed.
    told: bool,
    /// What the kernel was told of `notify::wake_up_here`.
    wakes_up_here: bool,
}

impl Running {
    /// Gives the first process the command's user and working directory.
    fn enter(&mut self, command: &Command<'_>, attributes_answered: bool) -> Result<(), SetupError> {
        let supervisor = &mut self.supervisor;
        let main = supervisor.main;
        let step = || format!("enter `{}`", command.folder().to_string_lossy());
        let root = Rc::new(reopen(supervisor.view.root(), PATH_ONLY).step(step)?);
        let files = FileSystem::new(Rc::clone(&root), root);
        supervisor.threads.insert_first(main, files, Credentials::of(&User::default()), attributes_answered);
        // The folder is entered before the user is taken on, as runc does.
        let caller = supervisor.caller(main).step(step)?;
        let found = supervisor.look_up(&caller, libc::AT_FDCWD, command.folder().to_bytes(), true);
        supervisor.chdir(&caller, found).step(step)?;
        if let Some(thread) = supervisor.threads.thread_mut(main) {
            thread.rights = Credentials::of(command.user());
        }
        Ok(())
    }

    /// Until the first process has ended, or the caller has hung up.
    fn until_end(&mut self, control: &UnixStream) -> Result<Exit, SetupError> {
        let main = self.supervisor.main;
        loop {
            // Not by epoll(7), which wakes up on any processor: `pip install` took 1.45 times as
            // long. Nor by waiting for calls alone, with signals for the rest, which takes 0.7 µs
            // less: a signal that interrupts `descriptors::give_and_return` makes the call return
            // 0, without a descriptor.
            let mut fds = [
                PollFd::new(&self.supervisor.listener, PollFlags::IN),
                PollFd::new(&self.reports, PollFlags::IN),
                PollFd::new(control, PollFlags::IN),
                PollFd::new(&self.errors, PollFlags::IN),
            ];
            let awaited = if self.told { 3 } else { 4 };
            let pause = self.supervisor.placement.keeps().then_some(Timespec { tv_sec: 0, tv_nsec: PAUSE_MS * 1_000_000 });
            match poll(&mut fds[..awaited], pause.as_ref()) {
                Err(Errno::INTR) => continue,
                Ok(0) => {
                    self.supervisor.placement.let_go();
                    continue;
                }
                polled => polled.step(|| "wait for the command".into())?,
            };
            let [call, report, order, executed] = fds.map(|fd| fd.revents());
            if !executed.is_empty() {
                self.tell_start(control)?;
            }
            if call.contains(PollFlags::IN) {
                self.answer_call();
            }
            if !report.is_empty()
                && let Some(exit) = self.hear_reports()
            {
                // It may have been executed since the call that waited.
                return self.tell_start(control).map(|()| exit);
            }
            let signal = |signal: rustix::process::Signal| {
                let _ = ptrace::kill(main, signal.as_raw());
            };
            if !order.is_empty() && !attended::obey(control, signal) {
                return Err(SetupError::new("wait for the command (the caller is gone)", None));
            }
        }
    }

    /// Tells the caller once that the command was executed.
    fn tell_start(&mut self, control: &UnixStream) -> Result<(), SetupError> {
        let first = !std::mem::replace(&mut self.told, true);
        let main = Pid::from_raw(self.supervisor.main).filter(|_| first);
        main.map_or(Ok(()), |pid| attended::tell_start(control, pid))
    }

    fn answer_call(&mut self) {
        // A call whose thread has died in the meantime is dropped.
        let Ok(call) = notify::receive(&self.supervisor.listener) else { return };
        let placement = &mut self.supervisor.placement;
        match call.number {
            libc::SYS_sched_getaffinity => placement.let_go(),
            libc::SYS_sched_setaffinity => placement.leave_to_command(),
            _ => placement.called(call.thread as i32),
        }
        let here = placement.wakes_up_here();
        if here != std::mem::replace(&mut self.wakes_up_here, here) {
            notify::wake_up_here(&self.supervisor.listener, here);
        }
        dispatch::answer(&mut self.supervisor, &call);
    }

    /// How the first process has ended, if it has.
    fn hear_reports(&mut self) -> Option<Exit> {
        let mut buffer = [0; 1024];
        let _ = rustix::io::read(&self.reports, &mut buffer[..]);
        self.supervisor.placement.heard_reports();
        while let Ok(Some((thread, event))) = ptrace::next_event(false) {
            if let Some(exit) = self.on_event(thread, event) {
                return Some(exit);
            }
        }
        None
    }

    fn on_event(&mut self, thread: i32, event: Event) -> Option<Exit> {
        let supervisor = &mut self.supervisor;
        match event {
            Event::Exited(_) | Event::Killed(_) => {
                supervisor.threads.ended(thread);
                supervisor.placement.ended(thread);
                let exit = match event {
                    Event::Exited(code) => Exit::Code(code as u8),
                    Event::Killed(signal) => Exit::Signal(signal as u8),
                    _ => return None,
                };
                return (thread == supervisor.main).then_some(exit);
            }
            Event::Seccomp(filter::TRACE_DATA) => {
                supervisor.placement.called(thread);
                // With execve it takes over the number of its process.
                if !supervisor.threads.is_process(thread) {
                    supervisor.placement.let_go();
                }
                supervisor.on_traced_call(thread);
            }
            // A filter of the command's own: without a tracer the kernel says ENOSYS.
            Event::Seccomp(_) => supervisor.refuse_traced_call(thread),
            Event::Cloned(child) => {
                let flags = ptrace::registers(thread).map_or(0, |registers| match registers.orig_rax as i64 {
                    libc::SYS_clone => registers.rdi,
                    libc::SYS_vfork => (libc::CLONE_VFORK | libc::CLONE_VM) as u64,
                    _ => 0,
                });
                supervisor.placement.cloned(thread, child, flags & libc::CLONE_THREAD as u64 != 0);
                if supervisor.threads.cloned(thread, child, flags) {
                    supervisor.go_on(child, 0);
                }
                supervisor.go_on(thread, 0);
            }
            Event::HasMemoryBack => supervisor.on_memory_back(thread),
            Event::Stop(libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => {
                ptrace::resume(thread, Resume::Listen, 0);
            }
            // A child can stop before its parent's clone event arrives: it stays stopped until
            // then.
            Event::Stop(_) => {
                if supervisor.threads.stopped_first(thread) {
                    supervisor.on_stop(thread);
                }
            }
            Event::Syscall => supervisor.on_return(thread),
            Event::Signal(signal) => {
                supervisor.put_filter_off(thread);
                let is_answered = signal == libc::SIGSYS && supervisor.on_trapped_call(thread);
                supervisor.go_on(thread, if is_answered { 0 } else { signal });
            }
        }
        None
    }

    /// Kills and reaps all that is left: children of killed processes come to this one.
    fn kill_all(&mut self) {
        loop {
            for process in self.supervisor.threads.processes() {
                let _ = ptrace::kill(process, libc::SIGKILL);
            }
            orphans::kill_children();
            match ptrace::next_event(true) {
                Ok(Some((thread, Event::Exited(_) | Event::Killed(_)))) => self.supervisor.threads.ended(thread),
                // A stop that was reported before the signal came.
                Ok(Some((thread, _))) => ptrace::resume(thread, Resume::Run, 0),
                Ok(None) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
