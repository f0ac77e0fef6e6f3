//! The calls by which a thread asks for its rights and changes them: ids, groups, capabilities, and
//! the options of prctl about them.

use std::rc::Rc;

use rustix::io::Errno;

use super::super::notify::Call;
use super::credentials::{CAP_SETGID, CAP_SETPCAP, Capabilities, Credentials, Ids, NewIds};
use super::state::{Caller, DONE, Reply, Result, Supervisor};

/// `NGROUPS_MAX`.
const MAX_GROUPS: u64 = 65536;
/// The versions of linux/capability.h: of the first, sets have 32 bits.
const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

impl Supervisor {
    fn rights(&mut self, caller: &Caller) -> Result<&mut Credentials> {
        self.threads.thread_mut(caller.thread).map(|thread| &mut thread.rights).ok_or(Errno::SRCH)
    }

    pub(super) fn identity(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let [a, b, c, ..] = call.arguments.map(|argument| argument as u32);
        let now = &caller.rights;
        let value = |id: u32| Ok(Reply::Value(i64::from(id)));
        match call.number {
            libc::SYS_getuid => value(now.user.real),
            libc::SYS_geteuid => value(now.user.effective),
            libc::SYS_getgid => value(now.group.real),
            libc::SYS_getegid => value(now.group.effective),
            libc::SYS_getresuid => self.three(call, now.user),
            libc::SYS_getresgid => self.three(call, now.group),
            libc::SYS_getgroups => self.groups(call, caller),
            libc::SYS_setgroups => self.set_groups(call, caller),
            libc::SYS_setuid => self.rights(caller)?.set_users(NewIds::One(a)).and(DONE),
            libc::SYS_setreuid => self.rights(caller)?.set_users(NewIds::Two(a, b)).and(DONE),
            libc::SYS_setresuid => self.rights(caller)?.set_users(NewIds::Three([a, b, c])).and(DONE),
            libc::SYS_setgid => self.rights(caller)?.set_groups_ids(NewIds::One(a)).and(DONE),
            libc::SYS_setregid => self.rights(caller)?.set_groups_ids(NewIds::Two(a, b)).and(DONE),
            libc::SYS_setresgid => self.rights(caller)?.set_groups_ids(NewIds::Three([a, b, c])).and(DONE),
            libc::SYS_setfsuid => value(self.rights(caller)?.set_files_user(a)),
            libc::SYS_setfsgid => value(self.rights(caller)?.set_files_group(a)),
            libc::SYS_capget => self.capabilities(call),
            libc::SYS_capset => self.set_capabilities(call, caller),
            _ => Err(Errno::NOSYS),
        }
    }

    fn three(&self, call: &Call, ids: Ids) -> Result<Reply> {
        for (address, id) in call.arguments.into_iter().zip([ids.real, ids.effective, ids.saved]) {
            self.write(call, address, &id.to_ne_bytes())?;
        }
        DONE
    }

    fn groups(&self, call: &Call, caller: &Caller) -> Result<Reply> {
        let groups = &caller.rights.groups;
        match call.arguments[0] as i32 {
            0 => {}
            room if usize::try_from(room).is_ok_and(|room| room >= groups.len()) => {
                let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
                self.write(call, call.arguments[1], &bytes)?;
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(Reply::Value(groups.len() as i64))
    }

    fn set_groups(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        if !caller.rights.can(CAP_SETGID) {
            return Err(Errno::PERM);
        }
        if call.arguments[0] > MAX_GROUPS {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0; call.arguments[0] as usize * 4];
        if !bytes.is_empty() {
            self.memory.read(call.thread as i32, call.arguments[1], &mut bytes)?;
        }
        let mut groups: Vec<u32> = bytes.as_chunks().0.iter().map(|id| u32::from_ne_bytes(*id)).collect();
        groups.sort_unstable();
        self.rights(caller)?.groups = Rc::from(groups);
        DONE
    }

    /// Version and process of a capability call.
    fn capability_header(&self, call: &Call) -> Result<(u32, i32)> {
        let mut header = [0; 8];
        self.memory.read(call.thread as i32, call.arguments[0], &mut header)?;
        let half = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        Ok((half(0), half(4) as i32))
    }

    fn capabilities(&self, call: &Call) -> Result<Reply> {
        let (version, process) = self.capability_header(call)?;
        if ![VERSION_1, VERSION_2, VERSION_3].contains(&version) {
            self.write(call, call.arguments[0], &VERSION_3.to_ne_bytes())?;
            return if call.arguments[1] == 0 { DONE } else { Err(Errno::INVAL) };
        }
        if call.arguments[1] == 0 {
            return DONE;
        }
        let number = if process == 0 { call.thread as i32 } else { process };
        let rights = &self.threads.thread(number).ok_or(Errno::SRCH)?.rights;
        let sets = [rights.effective, rights.permitted, rights.inheritable];
        let low = sets.map(|set| set as u32);
        let high = sets.map(|set| (set >> 32) as u32);
        let words = if version == VERSION_1 { low.to_vec() } else { [low, high].concat() };
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        self.write(call, call.arguments[1], &bytes)?;
        DONE
    }

    fn set_capabilities(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let (version, process) = self.capability_header(call)?;
        let words = match version {
            VERSION_1 => 3,
            VERSION_2 | VERSION_3 => 6,
            _ => return Err(Errno::INVAL),
        };
        if process != 0 && process != caller.thread {
            return Err(Errno::PERM);
        }
        let mut bytes = [0; 24];
        self.memory.read(call.thread as i32, call.arguments[1], &mut bytes[..words * 4])?;
        let word = |index: usize| u64::from(u32::from_ne_bytes([0, 1, 2, 3].map(|at| bytes[index * 4 + at])));
        let set = |index: usize| -> Capabilities { word(index) | word(index + 3) << 32 };
        self.rights(caller)?.set_capabilities(set(0), set(1), set(2)).and(DONE)
    }

    pub(super) fn prctl(&mut self, call: &Call, caller: &Caller) -> Result<Reply> {
        let [_, b, c, ..] = call.arguments;
        let rights = self.rights(caller)?;
        let value = |value: i64| Ok(Reply::Value(value));
        match call.arguments[0] as i32 {
            libc::PR_CAPBSET_READ => rights.bounding_set(b, false).map(Reply::Value),
            libc::PR_CAPBSET_DROP => rights.bounding_set(b, true).map(Reply::Value),
            libc::PR_SET_KEEPCAPS if b <= 1 => {
                rights.keep_capabilities = b == 1;
                DONE
            }
            libc::PR_GET_KEEPCAPS => value(i64::from(rights.keep_capabilities)),
            libc::PR_SET_NO_NEW_PRIVS if b == 1 => {
                rights.no_new_privileges = true;
                DONE
            }
            libc::PR_GET_NO_NEW_PRIVS => value(i64::from(rights.no_new_privileges)),
            libc::PR_SET_SECUREBITS if !rights.can(CAP_SETPCAP) => Err(Errno::PERM),
            libc::PR_SET_SECUREBITS => {
                rights.secure_bits = b as u32;
                // SECBIT_KEEP_CAPS.
                rights.keep_capabilities = b & 0x10 != 0;
                DONE
            }
            libc::PR_GET_SECUREBITS => value(i64::from(rights.secure_bits)),
            libc::PR_SET_DUMPABLE if b <= 1 => DONE,
            libc::PR_CAP_AMBIENT => match (b as i32, c) {
                (libc::PR_CAP_AMBIENT_CLEAR_ALL, _) => {
                    rights.ambient = 0;
                    DONE
                }
                (_, 64..) => Err(Errno::INVAL),
                (libc::PR_CAP_AMBIENT_IS_SET, capability) => value((rights.ambient >> capability & 1) as i64),
                (libc::PR_CAP_AMBIENT_LOWER, capability) => {
                    rights.ambient &= !(1 << capability);
                    DONE
                }
                (libc::PR_CAP_AMBIENT_RAISE, capability) if rights.permitted & rights.inheritable & 1 << capability != 0 => {
                    rights.ambient |= 1 << capability;
                    DONE
                }
                (libc::PR_CAP_AMBIENT_RAISE, _) => Err(Errno::PERM),
                _ => Err(Errno::INVAL),
            },
            _ => Err(Errno::INVAL),
        }
    }
}
