//! The threads of a command as the kernel's task_struct would know them: which process they belong
//! to, their view of the file system, their rights. New ones get a copy, or share it, as clone(2)
//! says.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::credentials::Credentials;
use super::ptrace::Registers;
use super::short_name::ShortName;

/// What CLONE_FS shares: root, working directory and umask.
#[derive(Debug)]
pub(super) struct FileSystem {
    pub(super) root: RefCell<Rc<OwnedFd>>,
    pub(super) folder: RefCell<Rc<OwnedFd>>,
    pub(super) umask: Cell<u32>,
}

impl FileSystem {
    pub(super) fn new(root: Rc<OwnedFd>, folder: Rc<OwnedFd>) -> Self {
        Self { root: RefCell::new(root), folder: RefCell::new(folder), umask: Cell::new(0o022) }
    }

    fn copy(&self) -> Self {
        Self { root: self.root.clone(), folder: self.folder.clone(), umask: self.umask.clone() }
    }
}

/// How far a thread is that was made to install the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Its registers are those of the call.
    Prepared,
    /// The call has begun.
    Entered,
    /// It has returned.
    Returned,
}

/// What a thread was doing when the supervisor changed its registers.
#[derive(Debug)]
pub(super) enum Pending {
    /// Its registers are to be as they were, but for the call's result. What exists until then.
    Restore(Box<Registers>, #[expect(dead_code, reason = "it is dropped with the call")] Option<ShortName>),
    /// As `Restore`, where execve fails; where it succeeds the loader runs. The memory that was
    /// overwritten for it, to be put back.
    Execute(Box<Registers>, u64, Vec<u8>),
    /// It installs the second filter; then its registers are to be as they were.
    Filter(Box<Registers>, Progress),
}

#[derive(Debug)]
pub(super) struct Thread {
    /// The process: the number of its first thread.
    pub(super) process: i32,
    pub(super) files: Rc<FileSystem>,
    pub(super) rights: Credentials,
    pub(super) pending: Option<Pending>,
    /// Whether a filter of it leaves fgetxattr and flistxattr to the supervisor, or it cannot be
    /// made to install one that does.
    pub(super) attributes_answered: bool,
    /// The thread that waits until this one has another memory of its own (CLONE_VFORK).
    lends_memory: Option<i32>,
}

/// An execve that the kernel has made with the loader instead.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) program: File,
    pub(super) elf: super::elf::Elf,
    pub(super) interpreter: Option<(File, super::elf::Elf)>,
    /// The program's path inside.
    pub(super) path: Vec<u8>,
    /// What execve was given as the path (AT_EXECFN).
    pub(super) name: Vec<u8>,
    pub(super) rights: Credentials,
    pub(super) files: Rc<FileSystem>,
    /// Of the thread that has called execve.
    pub(super) attributes_answered: bool,
    /// AT_SECURE.
    pub(super) careful: bool,
    /// The kernel has made it: what the process's only thread says now is said by the loader.
    pub(super) done: bool,
}

#[derive(Debug, Default)]
struct Process {
    /// The path inside of the program that it runs.
    program: Vec<u8>,
    execution: Option<Box<Execution>>,
}

#[derive(Debug, Default)]
pub(super) struct Threads {
    threads: HashMap<i32, Thread>,
    processes: HashMap<i32, Process>,
    /// New threads whose first stop came before anybody said whose they are.
    early: HashSet<i32>,
}

impl Threads {
    /// The first process.
    pub(super) fn insert_first(&mut self, process: i32, files: FileSystem, rights: Credentials, attributes_answered: bool) {
        let files = Rc::new(files);
        let thread = Thread { process, files, rights, pending: None, attributes_answered, lends_memory: None };
        self.threads.insert(process, thread);
        self.processes.insert(process, Process::default());
    }

    pub(super) fn thread(&self, number: i32) -> Option<&Thread> {
        self.threads.get(&number)
    }

    pub(super) fn thread_mut(&mut self, number: i32) -> Option<&mut Thread> {
        self.threads.get_mut(&number)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = i32> {
        self.threads.keys().copied()
    }

    /// Whether a process or thread of this number is the command's.
    pub(super) fn is_known(&self, number: i32) -> bool {
        self.threads.contains_key(&number) || self.processes.contains_key(&number)
    }

    pub(super) fn is_process(&self, number: i32) -> bool {
        self.processes.contains_key(&number)
    }

    pub(super) fn processes(&self) -> Vec<i32> {
        self.processes.keys().copied().collect()
    }

    pub(super) fn program(&self, process: i32) -> Option<&[u8]> {
        self.processes.get(&process).map(|process| &process.program[..])
    }

    /// The file system of a process: that of its first thread, or of any where that has ended.
    pub(super) fn files_of(&self, process: i32) -> Option<&FileSystem> {
        let any = || self.threads.values().find(|thread| thread.process == process);
        self.threads.get(&process).or_else(any).map(|thread| &*thread.files)
    }

    /// `parent` has made `child` with these flags of clone(2). Whether the child has stopped
    /// already and waits.
    pub(super) fn cloned(&mut self, parent: i32, child: i32, flags: u64) -> bool {
        let has = |flag: libc::c_int| flags & u64::from(flag.unsigned_abs()) != 0;
        if let Some(thread) = self.threads.get(&parent) {
            let files = if has(libc::CLONE_FS) { Rc::clone(&thread.files) } else { Rc::new(thread.files.copy()) };
            let process = if has(libc::CLONE_THREAD) { thread.process } else { child };
            let lends_memory = (has(libc::CLONE_VFORK) && has(libc::CLONE_VM)).then_some(parent);
            let (rights, attributes_answered) = (thread.rights.clone(), thread.attributes_answered);
            let new = Thread { process, files, rights, pending: None, attributes_answered, lends_memory };
            if process == child {
                let program = self.program(thread.process).unwrap_or_default().to_vec();
                self.processes.insert(child, Process { program, execution: None });
            }
            self.threads.insert(child, new);
        }
        self.early.remove(&child)
    }

    /// A new thread has stopped for the first time. Whether it is known already; else it has to
    /// wait.
    pub(super) fn stopped_first(&mut self, thread: i32) -> bool {
        let known = self.threads.contains_key(&thread);
        if !known {
            self.early.insert(thread);
        }
        known
    }

    pub(super) fn ended(&mut self, thread: i32) {
        self.threads.remove(&thread);
        self.early.remove(&thread);
        // The first thread's end is reported when all others have ended.
        self.processes.remove(&thread);
    }

    pub(super) fn begin_execution(&mut self, process: i32, execution: Box<Execution>) {
        if let Some(process) = self.processes.get_mut(&process) {
            process.execution = Some(execution);
        }
    }

    /// execve has returned to `thread`: with success it is the process's only one, and has the
    /// process's number. Returns the thread whose memory it had until then, if that was not its
    /// own.
    pub(super) fn execution_ended(&mut self, thread: i32, success: bool) -> Option<i32> {
        let known = self.threads.get_mut(&thread)?;
        let process = known.process;
        let lender = if success { known.lends_memory.take() } else { None };
        if let Some(process) = self.processes.get_mut(&process) {
            match (&mut process.execution, success) {
                (Some(execution), true) => {
                    execution.done = true;
                    known.attributes_answered = execution.attributes_answered;
                }
                (execution, _) => *execution = None,
            }
        }
        lender
    }

    /// What is to be put back into the memory that `lender` had lent, where its child's execve has
    /// not returned yet. The child has a memory of its own from now on.
    pub(super) fn take_lent(&mut self, lender: i32) -> Option<(u64, Vec<u8>)> {
        let child = self.threads.values_mut().find(|thread| thread.lends_memory == Some(lender))?;
        child.lends_memory = None;
        match &mut child.pending {
            Some(Pending::Execute(_, address, saved)) => Some((*address, std::mem::take(saved))),
            _ => None,
        }
    }

    /// The loader of `process` asks: takes what it is to load, which the process runs from now on.
    pub(super) fn take_execution(&mut self, process: i32) -> Option<Box<Execution>> {
        let known = self.processes.get_mut(&process)?;
        let execution = known.execution.take_if(|execution| execution.done)?;
        known.program = execution.path.clone();
        let attributes_answered =
            self.threads.get(&process).map_or(execution.attributes_answered, |thread| thread.attributes_answered);
        self.threads.retain(|number, thread| *number == process || thread.process != process);
        let thread = Thread {
            process,
            files: Rc::clone(&execution.files),
            rights: execution.rights.clone(),
            pending: None,
            attributes_answered,
            lends_memory: None,
        };
        self.threads.insert(process, thread);
        Some(execution)
    }
}
