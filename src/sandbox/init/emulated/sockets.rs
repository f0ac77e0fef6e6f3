//! Addresses of sockets that are paths (unix(7)): connect, bind, sendto and sendmsg get the path on
//! this machine.

use rustix::io::Errno;

use super::ptrace::Registers;
use super::short_name::ShortName;
use super::state::{Caller, Result, Supervisor};
use super::traced::Room;
use super::view::path_of;

/// The size of `sockaddr_un`, and where its path begins.
const ADDRESS: usize = 110;
const PATH: usize = 2;
/// The size of `struct msghdr`, and where the length of the address is in it; the address itself is
/// the first member.
const MESSAGE: usize = 56;
const MESSAGE_LENGTH: usize = 8;
/// The distance between the messages of sendmmsg.
const NEXT_MESSAGE: u64 = 64;
/// More messages than one call may have (`UIO_MAXIOV`).
const MAX_MESSAGES: u64 = 1024;

impl Supervisor {
    /// Has the call in `registers` name the same socket on this machine. `None`: it may be made as
    /// it is; else what has to exist until it has been made.
    pub(super) fn address_socket(
        &self,
        caller: &Caller,
        registers: &mut Registers,
        room: &mut Room,
    ) -> Result<Option<Option<ShortName>>> {
        let call = registers.orig_rax as i64;
        let (address, length) = match call {
            libc::SYS_sendmmsg => return self.examine_messages(caller, registers),
            libc::SYS_sendmsg => {
                let message = self.memory.read_words(caller.thread, registers.rsi, 2)?;
                (message[0], message[1])
            }
            libc::SYS_sendto => (registers.r8, registers.r9),
            _ => (registers.rsi, registers.rdx),
        };
        let Some(path) = self.socket_path(caller, address, length)? else { return Ok(None) };
        let (new, short_name) = self.socket_outside(caller, &path, call == libc::SYS_bind)?;
        let length = new.len() as u64;
        match call {
            libc::SYS_sendmsg => {
                let mut message = vec![0; MESSAGE];
                self.memory.read(caller.thread, registers.rsi, &mut message)?;
                message[..MESSAGE_LENGTH].copy_from_slice(&room.put(new).to_ne_bytes());
                message[MESSAGE_LENGTH..MESSAGE_LENGTH + 4].copy_from_slice(&(length as u32).to_ne_bytes());
                registers.rsi = room.put(message);
            }
            libc::SYS_sendto => (registers.r8, registers.r9) = (room.put(new), length),
            _ => (registers.rsi, registers.rdx) = (room.put(new), length),
        }
        Ok(Some(short_name))
    }

    /// Several messages at once to sockets with paths are refused: programs send them one by one
    /// then.
    fn examine_messages(&self, caller: &Caller, registers: &Registers) -> Result<Option<Option<ShortName>>> {
        for index in 0..u64::from(registers.rdx as u32).min(MAX_MESSAGES) {
            let at = registers.rsi.wrapping_add(index * NEXT_MESSAGE);
            let message = self.memory.read_words(caller.thread, at, 2)?;
            if self.socket_path(caller, message[0], message[1])?.is_some() {
                return Err(Errno::NOSYS);
            }
        }
        Ok(None)
    }

    /// The path that an address is; `None` for other addresses.
    fn socket_path(&self, caller: &Caller, address: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let length = usize::try_from(length as u32).unwrap_or_default();
        if address == 0 || !(PATH + 1..=ADDRESS).contains(&length) {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.memory.read(caller.thread, address, &mut bytes)?;
        let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        // A name that begins with NUL is in no file system.
        if family != libc::AF_UNIX || bytes[PATH] == 0 {
            return Ok(None);
        }
        Ok(bytes[PATH..].split(|byte| *byte == 0).next().map(<[u8]>::to_vec))
    }

    /// The address of the socket at `path`, to be made or there already, on this machine.
    fn socket_outside(&self, caller: &Caller, path: &[u8], new: bool) -> Result<(Vec<u8>, Option<ShortName>)> {
        let (folder, name) = if new {
            let (folder, name) = self.parent(caller, libc::AT_FDCWD, path)?;
            super::permissions::may_enter(self, caller, &folder)?;
            (path_of(&*folder)?, name)
        } else {
            let found = self.look_up(caller, libc::AT_FDCWD, path, true)?;
            self.may(&caller.rights, &found.stat, 2)?;
            let outside = path_of(&found.file)?;
            let slash = outside.iter().rposition(|byte| *byte == b'/').ok_or(Errno::CONNREFUSED)?;
            (outside[..slash].to_vec(), outside[slash + 1..].to_vec())
        };
        let whole = [&folder[..], b"/", &name].concat();
        let room = ADDRESS - PATH - 1;
        let (whole, short_name) = if whole.len() <= room {
            (whole, None)
        } else {
            let short_name = ShortName::of(&folder)?;
            ([short_name.as_bytes(), b"/", &name].concat(), Some(short_name))
        };
        if whole.len() > room {
            return Err(Errno::NAMETOOLONG);
        }
        let family = (libc::AF_UNIX as u16).to_ne_bytes();
        Ok(([&family, &whole[..], b"\0"].concat(), short_name))
    }

    /// bind has succeeded: the socket belongs to the caller; one that cannot be found any more
    /// needs no owner.
    pub(super) fn on_bound(&mut self, thread: i32, before: &Registers) {
        let Ok(caller) = self.caller(thread) else { return };
        let Ok(Some(path)) = self.socket_path(&caller, before.rsi, before.rdx) else { return };
        if let Ok((folder, name)) = self.parent(&caller, libc::AT_FDCWD, &path) {
            let _ = self.bound(&caller, &folder, &name);
        }
    }
}
