//! Calls that only the kernel can make, in the traced process: the arguments are swapped for
//! others, which are written below the stack, and the registers are restored on return.
//!
//! The kernel reads those arguments after they were written, so another thread can change them
//! meanwhile. All that this gains is a program that the loader does not take, or a descriptor that
//! no other call accepts (`Supervisor::folder`).

use rustix::io::Errno;

use super::exec::{Prepared, Program};
use super::memory::PATH_MAX;
use super::ptrace::{self, Registers, Resume};
use super::state::{Caller, Result, Supervisor};
use super::threads::Pending;
use super::view::path_of;

/// What System V's ABI lets a function use below its stack pointer.
const RED_ZONE: u64 = 128;
/// More arguments and environment than the kernel takes: a quarter of the stack's limit, in
/// pointers.
const MAX_POINTERS: usize = 2 << 20;
/// IN_DONT_FOLLOW of inotify_add_watch(2).
const DONT_FOLLOW: u64 = 0x0200_0000;

/// What becomes of a call.
enum Change {
    /// It is made as it is.
    Nothing,
    /// It is made with other arguments.
    Arguments(Pending),
    /// It is not made and returns this.
    Answer(i64),
}

/// Room in a thread's memory, below what it uses.
pub(super) struct Room {
    begin: u64,
    end: u64,
    bytes: Vec<(u64, Vec<u8>)>,
}

impl Room {
    fn below(registers: &Registers) -> Self {
        let end = registers.rsp.wrapping_sub(RED_ZONE) & !15;
        Self { begin: end, end, bytes: Vec::new() }
    }

    /// Where `bytes` will be.
    pub(super) fn put(&mut self, bytes: Vec<u8>) -> u64 {
        self.begin = self.begin.wrapping_sub(bytes.len() as u64) & !15;
        self.bytes.push((self.begin, bytes));
        self.begin
    }
}

impl Supervisor {
    /// A thread has stopped at a call that the filter answers with TRACE.
    pub(super) fn on_traced_call(&mut self, thread: i32) {
        let Ok(before) = ptrace::registers(thread) else { return };
        let mut registers = before;
        let changed = self.caller(thread).and_then(|caller| self.change(&caller, &mut registers));
        match changed {
            Ok(Change::Arguments(pending)) => {
                let _ = ptrace::set_registers(thread, &registers);
                if let Some(thread) = self.threads.thread_mut(thread) {
                    thread.pending = Some(pending);
                }
                ptrace::resume(thread, Resume::ToSyscall, 0);
            }
            Ok(Change::Nothing) => self.go_on(thread, 0),
            Ok(Change::Answer(value)) => self.answer_traced_call(thread, &before, value),
            Err(errno) => self.answer_traced_call(thread, &before, error(errno)),
        }
    }

    /// A thread has stopped at a call that a filter of the command's own answers with TRACE: as
    /// without a tracer.
    pub(super) fn refuse_traced_call(&self, thread: i32) {
        if let Ok(before) = ptrace::registers(thread) {
            self.answer_traced_call(thread, &before, error(Errno::NOSYS));
        }
    }

    /// Has a call return without being made.
    fn answer_traced_call(&self, thread: i32, before: &Registers, value: i64) {
        let registers = Registers { orig_rax: u64::MAX, rax: value as u64, ..*before };
        let _ = ptrace::set_registers(thread, &registers);
        self.go_on(thread, 0);
    }

    fn change(&mut self, caller: &Caller, registers: &mut Registers) -> Result<Change> {
        let before = Box::new(*registers);
        let int = |register: u64| register as u32 as i32;
        let mut room = Room::below(registers);
        let mut short_name = None;
        match registers.orig_rax as i64 {
            libc::SYS_execve => {
                self.execute(caller, registers, &mut room, (libc::AT_FDCWD, before.rdi, 0), (before.rsi, before.rdx))?
            }
            libc::SYS_execveat => {
                let program = (int(before.rdi), before.rsi, int(before.r8));
                self.execute(caller, registers, &mut room, program, (before.rdx, before.r10))?;
            }
            libc::SYS_openat => {
                let path = self.outside(caller, int(before.rdi), before.rsi, false)?;
                registers.rsi = room.put(path);
                registers.rdi = libc::AT_FDCWD as u64;
            }
            libc::SYS_inotify_add_watch => {
                let path = self.outside(caller, libc::AT_FDCWD, before.rsi, before.rdx & DONT_FOLLOW == 0)?;
                registers.rsi = room.put(path);
            }
            libc::SYS_connect | libc::SYS_bind | libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => {
                match self.address_socket(caller, registers, &mut room)? {
                    Some(name) => short_name = name,
                    None => return Ok(Change::Nothing),
                }
            }
            libc::SYS_fgetxattr | libc::SYS_flistxattr => {
                let value = self.attribute_of_open_file(caller, registers)?;
                return Ok(value.map_or(Change::Nothing, Change::Answer));
            }
            _ => return Err(Errno::NOSYS),
        }
        let saved = self.write_room(caller, &room)?;
        Ok(Change::Arguments(match registers.orig_rax as i64 {
            libc::SYS_execve => Pending::Execute(before, room.begin, saved),
            _ => Pending::Restore(before, short_name),
        }))
    }

    /// Writes what was put there. Returns what was there before: if threads share their memory,
    /// those bytes may belong to another one.
    fn write_room(&self, caller: &Caller, room: &Room) -> Result<Vec<u8>> {
        let mut saved = vec![0; (room.end - room.begin) as usize];
        self.memory.read(caller.thread, room.begin, &mut saved)?;
        for (address, bytes) in &room.bytes {
            self.memory.write(caller.thread, *address, bytes)?;
        }
        Ok(saved)
    }

    /// Has the loader executed in place of the program that a descriptor, the address of a path,
    /// and flags name.
    fn execute(
        &mut self,
        caller: &Caller,
        registers: &mut Registers,
        room: &mut Room,
        (from, path, flags): (i32, u64, i32),
        (arguments, environment): (u64, u64),
    ) -> Result<()> {
        let path = self.memory.read_string(caller.thread, path, PATH_MAX)?;
        let program = Program { from, path: &path, flags };
        let Prepared { execution, first_arguments } = self.prepare_execution(caller, &program)?;
        let mut list = arguments;
        if let Some(first) = first_arguments {
            let mut pointers: Vec<u64> = first.into_iter().map(|text| room.put([&text[..], b"\0"].concat())).collect();
            // The script's own first argument was its name.
            pointers.extend(self.pointers(caller, arguments)?.into_iter().skip(1));
            pointers.push(0);
            list = room.put(pointers.into_iter().flat_map(u64::to_ne_bytes).collect());
        }
        registers.rdi = room.put([&self.loader[..], b"\0"].concat());
        registers.rsi = list;
        registers.rdx = environment;
        registers.orig_rax = libc::SYS_execve as u64;
        self.threads.begin_execution(caller.process, execution);
        Ok(())
    }

    /// A list of pointers that ends with null.
    fn pointers(&self, caller: &Caller, address: u64) -> Result<Vec<u64>> {
        let mut pointers = Vec::new();
        while address != 0 && pointers.len() < MAX_POINTERS {
            match self.memory.read_words(caller.thread, address + 8 * pointers.len() as u64, 1)?[0] {
                0 => return Ok(pointers),
                pointer => pointers.push(pointer),
            }
        }
        if address == 0 { Ok(pointers) } else { Err(Errno::TOOBIG) }
    }

    /// The path on this machine of what a path inside names, with NUL.
    fn outside(&self, caller: &Caller, from: i32, path: u64, follow: bool) -> Result<Vec<u8>> {
        let path = self.memory.read_string(caller.thread, path, PATH_MAX)?;
        let found = self.look_up(caller, from, &path, follow)?;
        let mut outside = path_of(&found.file)?;
        if outside.len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        outside.push(0);
        Ok(outside)
    }

    /// A call of which something is pending has returned.
    pub(super) fn on_return(&mut self, thread: i32) {
        let pending = self.threads.thread_mut(thread).and_then(|thread| thread.pending.take());
        let now = ptrace::registers(thread);
        let executed = now.is_ok_and(|now| now.orig_rax as i64 == libc::SYS_execve && now.rax == 0);
        // An execve by a thread other than the main one takes over the main thread's ID; what that
        // thread was about to do has gone with it.
        let pending = pending.filter(|pending| !executed || matches!(pending, Pending::Execute(..)));
        match (pending, now) {
            (Some(Pending::Filter(before, progress)), _) => return self.on_installing(thread, before, progress),
            (Some(Pending::Restore(before, _)), Ok(now)) => {
                if before.orig_rax as i64 == libc::SYS_bind && now.rax == 0 {
                    self.on_bound(thread, &before);
                }
                restore(thread, &before, now.rax);
            }
            (Some(Pending::Execute(before, address, saved)), Ok(now)) if (now.rax as i64) < 0 => {
                self.threads.execution_ended(thread, false);
                let _ = self.memory.write(thread, address, &saved);
                restore(thread, &before, now.rax);
            }
            (Some(Pending::Execute(_, address, saved)), Ok(_)) => {
                // Who has lent it has not gone on yet (`on_memory_back`).
                if let Some(lender) = self.threads.execution_ended(thread, true) {
                    let _ = self.memory.write(lender, address, &saved);
                }
            }
            (None, _) if executed => drop(self.threads.execution_ended(thread, true)),
            _ => {}
        }
        self.go_on(thread, 0);
    }

    /// A thread gets the memory back that it had lent to a child (vfork), before it goes on: what
    /// was overwritten for the child's execve may be a part of its stack from now on.
    pub(super) fn on_memory_back(&mut self, thread: i32) {
        if let Some((address, saved)) = self.threads.take_lent(thread) {
            let _ = self.memory.write(thread, address, &saved);
        }
        self.go_on(thread, 0);
    }

    /// Handles a SIGSYS that our filter raised (TRAP, for chroot); false if it came from elsewhere.
    pub(super) fn on_trapped_call(&mut self, thread: i32) -> bool {
        let Some(number) = ptrace::trapped_call(thread) else { return false };
        let Ok(mut registers) = ptrace::registers(thread) else { return false };
        let result = self.caller(thread).and_then(|caller| match number {
            libc::SYS_chroot => {
                let path = self.memory.read_string(thread, registers.rdi, PATH_MAX)?;
                let found = self.look_up(&caller, libc::AT_FDCWD, &path, true);
                self.chroot(&caller, found)
            }
            _ => Err(Errno::NOSYS),
        });
        registers.rax = match result {
            Ok(_) => 0,
            Err(errno) => error(errno) as u64,
        };
        registers.orig_rax = u64::MAX;
        ptrace::set_registers(thread, &registers).is_ok()
    }
}

/// What a call that fails returns.
fn error(errno: Errno) -> i64 {
    i64::from(-errno.raw_os_error())
}

fn restore(thread: i32, before: &Registers, result: u64) {
    // The number of the call as well: the kernel needs it to restart an interrupted call.
    let registers = Registers { rax: result, ..*before };
    let _ = ptrace::set_registers(thread, &registers);
}
