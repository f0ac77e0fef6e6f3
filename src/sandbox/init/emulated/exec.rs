//! execve: finds the program and its interpreters as the kernel would (fs/exec.c, binfmt_script.c,
//! binfmt_elf.c), and tells the loader how to map them.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::notify::Call;
use super::attributes::parse_file_capability;
use super::descriptors;
use super::elf::Elf;
use super::loader::{BUFFER, Finished, Plan};
use super::state::{Caller, DONE, Reply, Result, Supervisor};
use super::threads::Execution;
use super::view::{kind, name_of};
use super::walk::{Found, Walked};
use crate::layer::owner_table::inode_of;

/// As many scripts that are interpreters of scripts as the kernel follows.
const MAX_SCRIPTS: usize = 5;
/// `BINPRM_BUF_SIZE`: what the kernel reads of a file to know what it is.
const HEAD: usize = 256;
/// What is read at once of a new stack: the kernel's own limit is a quarter of the stack's.
const FIRST_WORDS: usize = 256;
const MORE_WORDS: usize = 1 << 16;
/// `TASK_COMM_LEN`.
const COMM: usize = 16;

// Keys of the auxiliary vector (getauxval(3)).
const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;
const AT_GID: u64 = 13;
const AT_EGID: u64 = 14;
const AT_SECURE: u64 = 23;
const AT_EXECFN: u64 = 31;

/// What execve was asked for.
pub(super) struct Program<'a> {
    pub(super) from: i32,
    pub(super) path: &'a [u8],
    pub(super) flags: i32,
}

/// An execve that may go on, and the arguments that come before the second one of the call, where a
/// script changes them.
pub(super) struct Prepared {
    pub(super) execution: Box<Execution>,
    pub(super) first_arguments: Option<Vec<Vec<u8>>>,
}

impl Supervisor {
    pub(super) fn prepare_execution(&self, caller: &Caller, program: &Program<'_>) -> Result<Prepared> {
        let name = execution_name(program);
        let (mut found, mut path) = self.find_program(caller, program)?;
        let mut arguments: Option<Vec<Vec<u8>>> = None;
        let mut script = name.clone();
        for _ in 0..=MAX_SCRIPTS {
            self.may_execute(caller, &found)?;
            let file = File::from(rustix::fs::open(name_of(&found.file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
            let mut head = [0; HEAD];
            let read = file.read_at(&mut head, 0).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            if !head[..read].starts_with(b"#!") {
                let execution = self.execution(caller, &found, file, path, name)?;
                return Ok(Prepared { execution: Box::new(execution), first_arguments: arguments });
            }
            let (interpreter, argument) = parse_script(&head[..read])?;
            // The interpreter, its argument, the script; for a script's interpreter that is a
            // script, the same in front.
            let rest = arguments.take().map_or_else(Vec::new, |old| old[1..].to_vec());
            let new = [interpreter.clone()].into_iter().chain(argument).chain([script]).chain(rest);
            arguments = Some(new.collect());
            script = interpreter.clone();
            let next = Program { from: libc::AT_FDCWD, path: &interpreter, flags: 0 };
            (found, path) = self.find_program(caller, &next)?;
        }
        Err(Errno::LOOP)
    }

    fn find_program(&self, caller: &Caller, program: &Program<'_>) -> Result<(Found, Vec<u8>)> {
        if program.path.is_empty() && program.flags & libc::AT_EMPTY_PATH != 0 {
            let found = self.of_descriptor(caller, program.from)?;
            let path = self.view.inside(&found.file)?;
            return Ok((found, path));
        }
        let follow = program.flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        if let Ok(found) = self.look_up(caller, program.from, program.path, follow)
            && !self.view.is_proc(&found.stat)
        {
            let path = self.view.inside(&found.file)?;
            return Ok((found, path));
        }
        match self.walk(caller, program.from, program.path, follow)? {
            Walked::There(found, path) => Ok((found, path)),
            Walked::Missing(..) => Err(Errno::NOENT),
        }
    }

    fn may_execute(&self, caller: &Caller, found: &Found) -> Result<()> {
        match kind(&found.stat) {
            FileType::Symlink => return Err(Errno::LOOP),
            FileType::RegularFile => {}
            _ => return Err(Errno::ACCESS),
        }
        self.may(&caller.rights, &found.stat, 1)
    }

    fn execution(&self, caller: &Caller, found: &Found, program: File, path: Vec<u8>, name: Vec<u8>) -> Result<Execution> {
        let elf = Elf::read(&program)?;
        let interpreter = match elf.interpreter(&program)? {
            None => None,
            Some(path) => {
                let found = self.look_up(caller, libc::AT_FDCWD, &path, true)?;
                self.may_execute(caller, &found)?;
                let file = rustix::fs::open(name_of(&found.file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                let file = File::from(file);
                // `ELIBBAD`: what the kernel says of an interpreter that is not a program.
                let elf = Elf::read(&file).map_err(|_| Errno::LIBBAD)?;
                Some((file, elf))
            }
        };
        let shown = self.shown(&found.stat);
        let owner =
            ((shown.st_mode & 0o4000 != 0).then_some(shown.st_uid), (shown.st_mode & 0o2010 == 0o2010).then_some(shown.st_gid));
        let capability = self.table.capability(inode_of(&found.stat)).and_then(|value| parse_file_capability(value));
        let mut rights = caller.rights.clone();
        let careful = rights.execute(owner, capability);
        let attributes_answered = self.threads.thread(caller.thread).is_none_or(|thread| thread.attributes_answered);
        Ok(Execution {
            program,
            elf,
            interpreter,
            path,
            name,
            rights,
            files: Rc::clone(&caller.files),
            attributes_answered,
            careful,
            done: false,
        })
    }

    /// The loader's call: its second argument is where the list goes, its fourth the stack that the
    /// kernel has made.
    pub(super) fn load(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let execution = self.threads.take_execution(caller.process).ok_or(Errno::BADF)?;
        self.placement.keep_only(&self.threads);
        let Execution { program, elf, interpreter, name, rights, careful, .. } = &*execution;
        let stack = call.arguments[3];
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let random = u128::from_ne_bytes(random);
        let mut plan = Plan::default();
        let descriptor = descriptors::give(&self.listener, call, program.as_fd())?;
        let placed = elf.place_program(&mut plan, descriptor, random as u64);
        let close = |plan: &mut Plan, descriptor: i32| plan.call(libc::SYS_close, [descriptor as u64, 0, 0, 0, 0, 0]);
        let (mut start, mut base) = (placed.entry, 0);
        if let Some((file, elf)) = interpreter {
            let descriptor = descriptors::give(&self.listener, call, file.as_fd())?;
            let placed = elf.place_interpreter(&mut plan, descriptor, (random >> 64) as u64);
            (start, base) = (placed.entry, placed.bias);
            close(&mut plan, descriptor);
        }
        close(&mut plan, descriptor);
        if elf.executes_stack() {
            let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC | libc::PROT_GROWSDOWN;
            plan.call(libc::SYS_mprotect, [stack & !0xfff, 0x1000, protection as u64, 0, 0, 0]);
        }
        let mut strings = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        strings.truncate(COMM - 1);
        strings.resize(COMM, 0);
        strings.extend(name);
        strings.push(0);
        let Finished { bytes, strings } = plan.finish(start, &strings).ok_or(Errno::NOMEM)?;
        self.write(call, BUFFER, &bytes)?;
        self.patch_auxiliary_vector(
            call,
            stack,
            &[
                (AT_PHDR, placed.table),
                (AT_PHNUM, placed.count),
                (AT_BASE, base),
                (AT_ENTRY, placed.entry),
                (AT_UID, rights.user.real.into()),
                (AT_EUID, rights.user.effective.into()),
                (AT_GID, rights.group.real.into()),
                (AT_EGID, rights.group.effective.into()),
                (AT_SECURE, u64::from(*careful)),
                (AT_EXECFN, strings + COMM as u64),
            ],
        )?;
        DONE
    }

    /// Above the stack's pointer are: the number of arguments, their pointers, null, those of the
    /// environment, null, the vector (System V ABI, 3.4.1).
    fn patch_auxiliary_vector(&self, call: &Call, stack: u64, values: &[(u64, u64)]) -> Result<()> {
        let thread = call.thread as i32;
        // Hardly ever longer: a call for each of these words takes longer than all else here.
        let (mut words, mut limit) = (Vec::new(), FIRST_WORDS);
        let vector = loop {
            let more = self.memory.read_words_up_to(thread, stack + 8 * words.len() as u64, limit)?;
            if more.is_empty() {
                return Err(Errno::FAULT);
            }
            words.extend(more);
            if let Some(vector) = auxiliary_vector(&words) {
                break vector;
            }
            limit = MORE_WORDS;
        };
        let address = stack + 8 * vector.start as u64;
        let mut bytes = Vec::with_capacity(8 * vector.len());
        for pair in words[vector].as_chunks().0 {
            let [key, before] = *pair;
            let value = values.iter().find(|(known, _)| *known == key).map_or(before, |(_, value)| *value);
            bytes.extend([key, value].into_iter().flat_map(u64::to_ne_bytes));
        }
        self.memory.write(thread, address, &bytes)
    }
}

/// Where among the words of a new stack the pairs of the auxiliary vector are, without the null at
/// their end; `None` where that comes later.
fn auxiliary_vector(words: &[u64]) -> Option<Range<usize>> {
    let arguments = usize::try_from(*words.first()?).ok()?;
    let environment = arguments.checked_add(2)?;
    let begin = environment + words.get(environment..)?.iter().position(|word| *word == 0)? + 1;
    let pairs = words[begin..].as_chunks::<2>().0;
    Some(begin..begin + 2 * pairs.iter().position(|[key, _]| *key == AT_NULL)?)
}

/// What AT_EXECFN says of a path relative to a descriptor (fs/exec.c, alloc_bprm).
fn execution_name(program: &Program<'_>) -> Vec<u8> {
    let Program { from, path, .. } = program;
    if path.is_empty() {
        return format!("/dev/fd/{from}").into_bytes();
    }
    if path[0] == b'/' || *from == libc::AT_FDCWD {
        return path.to_vec();
    }
    [format!("/dev/fd/{from}/").as_bytes(), path].concat()
}

/// The interpreter and its one argument of a script's first line (binfmt_script.c).
fn parse_script(head: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = &head[2..];
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = line[..end.unwrap_or(line.len())].split(|byte| *byte == 0).next().unwrap_or_default();
    let begin = text.iter().position(|byte| !blank(byte)).ok_or(Errno::NOEXEC)?;
    let text = &text[begin..];
    let text = &text[..text.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1)];
    let split = text.iter().position(blank);
    // A path that goes on behind what was read is cut off.
    if split.is_none() && end.is_none() && head.len() == HEAD {
        return Err(Errno::NOEXEC);
    }
    let interpreter = text[..split.unwrap_or(text.len())].to_vec();
    let argument = split.map(|at| text[at..].iter().copied().skip_while(|byte| blank(byte)).collect());
    Ok((interpreter, argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_read_as_the_kernel_does() {
        let parsed = |text: &[u8]| {
            parse_script(text).map(|(interpreter, argument)| {
                (String::from_utf8(interpreter).unwrap(), argument.map(|argument| String::from_utf8(argument).unwrap()))
            })
        };
        let path = |text: &str| text.to_owned();
        assert_eq!(parsed(b"#!/bin/sh\nx"), Ok((path("/bin/sh"), None)));
        assert_eq!(parsed(b"#! /bin/sh -e x \n"), Ok((path("/bin/sh"), Some(path("-e x")))));
        assert_eq!(parsed(b"#!/bin/sh"), Ok((path("/bin/sh"), None)));
        assert_eq!(parsed(b"#!\t \n/bin/sh"), Err(Errno::NOEXEC));
        let long = [b"#!/".to_vec(), vec![b'x'; HEAD]].concat();
        assert_eq!(parsed(&long[..HEAD]), Err(Errno::NOEXEC));
    }

    #[test]
    fn the_auxiliary_vector_is_found_as_soon_as_all_of_it_is_there() {
        // Two arguments, one variable, two pairs.
        let words = [2, 10, 11, 0, 20, 0, 6, 4096, 9, 77, AT_NULL, 0];
        for length in 0..11 {
            assert_eq!(auxiliary_vector(&words[..length]), None, "{length}");
        }
        assert_eq!(auxiliary_vector(&words), Some(6..10));
        assert_eq!(auxiliary_vector(&[u64::MAX; 20]), None);
    }

    #[test]
    fn a_program_by_descriptor_has_a_name() {
        let name =
            |from, path: &str| String::from_utf8(execution_name(&Program { from, path: path.as_bytes(), flags: 0 })).unwrap();
        assert_eq!(name(libc::AT_FDCWD, "a"), "a");
        assert_eq!(name(7, "a"), "/dev/fd/7/a");
        assert_eq!(name(7, ""), "/dev/fd/7");
        assert_eq!(name(7, "/a"), "/a");
    }
}
