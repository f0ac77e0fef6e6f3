//! The rights of a thread as it sees them: ids, groups and capabilities (credentials(7),
//! capabilities(7)). In truth all threads have the ids of the user that runs mpimg, and no
//! capability.

use std::rc::Rc;

use rustix::io::Errno;

use super::super::privileges;
use crate::sandbox::User;

/// Capabilities by number: bit N is capability N of linux/capability.h.
pub(super) type Capabilities = u64;

pub(super) const CAP_CHOWN: u32 = 0;
pub(super) const CAP_DAC_OVERRIDE: u32 = 1;
pub(super) const CAP_FOWNER: u32 = 3;
pub(super) const CAP_FSETID: u32 = 4;
pub(super) const CAP_SETGID: u32 = 6;
pub(super) const CAP_SETUID: u32 = 7;
pub(super) const CAP_SETPCAP: u32 = 8;
pub(super) const CAP_SYS_CHROOT: u32 = 18;
pub(super) const CAP_MKNOD: u32 = 27;
pub(super) const CAP_SETFCAP: u32 = 31;
/// CAP_CHECKPOINT_RESTORE, Linux 5.9.
const LAST: u32 = 40;

/// What Docker leaves root.
const DEFAULT: Capabilities = privileges::DEFAULT.bits();
/// CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE: they
/// go and come with the fsuid.
const OF_FILES: Capabilities = 0x1f | 1 << 9 | 1 << CAP_MKNOD | 1 << 32;

/// "Leave it as it is."
const KEEP: u32 = u32::MAX;

/// Four ids of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) files: u32,
}

impl Ids {
    fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, files: id }
    }

    fn holds(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setresuid(2).
    fn set(&mut self, ids: [u32; 3], privileged: bool) -> Result<(), Errno> {
        if !privileged && ids.iter().any(|id| *id != KEEP && !self.holds(*id)) {
            return Err(Errno::PERM);
        }
        for (place, id) in [&mut self.real, &mut self.effective, &mut self.saved].into_iter().zip(ids) {
            if id != KEEP {
                *place = id;
            }
        }
        self.files = self.effective;
        Ok(())
    }

    /// setuid(2).
    fn set_one(&mut self, id: u32, privileged: bool) -> Result<(), Errno> {
        match (id, privileged) {
            (KEEP, _) => Err(Errno::INVAL),
            (id, true) => self.set([id; 3], true),
            (id, false) if id == self.real || id == self.saved => self.set([KEEP, id, KEEP], false),
            _ => Err(Errno::PERM),
        }
    }

    /// setreuid(2): unlike with setresuid, the real id may not become the saved one.
    fn set_two(&mut self, real: u32, effective: u32, privileged: bool) -> Result<(), Errno> {
        let before = self.real;
        if !privileged && real != KEEP && real != self.real && real != self.effective {
            return Err(Errno::PERM);
        }
        self.set([real, effective, KEEP], privileged)?;
        if real != KEEP || effective != KEEP && effective != before {
            self.saved = self.effective;
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) user: Ids,
    pub(super) group: Ids,
    /// In ascending order, as the kernel keeps them.
    pub(super) groups: Rc<[u32]>,
    pub(super) effective: Capabilities,
    pub(super) permitted: Capabilities,
    pub(super) inheritable: Capabilities,
    pub(super) bounding: Capabilities,
    pub(super) ambient: Capabilities,
    pub(super) keep_capabilities: bool,
    /// As far as the command knows: in truth it is always set.
    pub(super) no_new_privileges: bool,
    /// The bits of PR_SET_SECUREBITS, kept for PR_GET_SECUREBITS.
    pub(super) secure_bits: u32,
}

/// What setting a user's id is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewIds {
    One(u32),
    Two(u32, u32),
    Three([u32; 3]),
}

impl Credentials {
    /// Of a step's command.
    pub(super) fn of(user: &User) -> Self {
        let capabilities = if user.uid == 0 { DEFAULT } else { 0 };
        let mut groups: Vec<u32> = user.all_groups().collect();
        groups.sort_unstable();
        Self {
            user: Ids::all(user.uid),
            group: Ids::all(user.gid),
            groups: groups.into(),
            effective: capabilities,
            permitted: capabilities,
            inheritable: 0,
            bounding: DEFAULT,
            ambient: 0,
            keep_capabilities: false,
            no_new_privileges: false,
            secure_bits: 0,
        }
    }

    /// Whether a capability is effective.
    pub(super) fn can(&self, capability: u32) -> bool {
        self.effective & 1 << capability != 0
    }

    /// Whether `gid` is among the groups that count for files.
    pub(super) fn is_member(&self, gid: u32) -> bool {
        self.group.files == gid || self.groups.binary_search(&gid).is_ok()
    }

    /// These credentials with the real ids in force, as access(2) looks.
    pub(super) fn with_real_ids(&self) -> Self {
        let mut real = self.clone();
        real.user.files = self.user.real;
        real.group.files = self.group.real;
        real.effective = if self.user.real == 0 { self.permitted } else { 0 };
        real
    }

    pub(super) fn set_users(&mut self, ids: NewIds) -> Result<(), Errno> {
        let (before, privileged) = (self.user, self.can(CAP_SETUID));
        match ids {
            NewIds::One(id) => self.user.set_one(id, privileged),
            NewIds::Two(real, effective) => self.user.set_two(real, effective, privileged),
            NewIds::Three(ids) => self.user.set(ids, privileged),
        }?;
        // capabilities(7), "Effect of user ID changes on capabilities".
        let root = |ids: &Ids| ids.holds(0);
        if root(&before) && !root(&self.user) && !self.keep_capabilities {
            self.permitted = 0;
            self.effective = 0;
            self.ambient = 0;
        }
        match (before.effective, self.user.effective) {
            (0, 0) => {}
            (0, _) => self.effective = 0,
            (_, 0) => self.effective = self.permitted,
            _ => {}
        }
        self.after_files_id(before.files);
        Ok(())
    }

    pub(super) fn set_groups_ids(&mut self, ids: NewIds) -> Result<(), Errno> {
        let privileged = self.can(CAP_SETGID);
        match ids {
            NewIds::One(id) => self.group.set_one(id, privileged),
            NewIds::Two(real, effective) => self.group.set_two(real, effective, privileged),
            NewIds::Three(ids) => self.group.set(ids, privileged),
        }
    }

    /// setfsuid(2). Returns the id before.
    pub(super) fn set_files_user(&mut self, id: u32) -> u32 {
        let before = self.user.files;
        if id != KEEP && (self.can(CAP_SETUID) || self.user.holds(id) || id == before) {
            self.user.files = id;
            self.after_files_id(before);
        }
        before
    }

    /// setfsgid(2). Returns the id before.
    pub(super) fn set_files_group(&mut self, id: u32) -> u32 {
        let before = self.group.files;
        if id != KEEP && (self.can(CAP_SETGID) || self.group.holds(id) || id == before) {
            self.group.files = id;
        }
        before
    }

    fn after_files_id(&mut self, before: u32) {
        match (before, self.user.files) {
            (0, 0) => {}
            (0, _) => self.effective &= !OF_FILES,
            (_, 0) => self.effective |= self.permitted & OF_FILES,
            _ => {}
        }
    }

    /// capset(2).
    pub(super) fn set_capabilities(
        &mut self,
        effective: Capabilities,
        permitted: Capabilities,
        inheritable: Capabilities,
    ) -> Result<(), Errno> {
        let may_inherit = if self.can(CAP_SETPCAP) { self.bounding } else { 0 } | self.inheritable | self.permitted;
        if permitted & !self.permitted != 0 || effective & !permitted != 0 || inheritable & !may_inherit != 0 {
            return Err(Errno::PERM);
        }
        (self.effective, self.permitted, self.inheritable) = (effective, permitted, inheritable);
        self.ambient &= permitted & inheritable;
        Ok(())
    }

    /// PR_CAPBSET_READ and PR_CAPBSET_DROP.
    pub(super) fn bounding_set(&mut self, capability: u64, drop: bool) -> Result<i64, Errno> {
        if capability > u64::from(LAST) {
            return Err(Errno::INVAL);
        }
        if !drop {
            return Ok((self.bounding >> capability & 1) as i64);
        }
        if !self.can(CAP_SETPCAP) {
            return Err(Errno::PERM);
        }
        self.bounding &= !(1 << capability);
        Ok(0)
    }

    /// The rights after execve of a file (capabilities(7), "Transformation of capabilities during
    /// execve()"). `owner`: whose set-id file it is; `file`: its permitted capabilities, and
    /// whether they are effective at once. Whether the program is to be careful (AT_SECURE).
    pub(super) fn execute(&mut self, owner: (Option<u32>, Option<u32>), file: Option<(Capabilities, bool)>) -> bool {
        let (owner, file) = if self.no_new_privileges { ((None, None), None) } else { (owner, file) };
        let before = (self.user, self.group);
        if let Some(uid) = owner.0 {
            self.user.effective = uid;
        }
        if let Some(gid) = owner.1 {
            self.group.effective = gid;
        }
        self.user.saved = self.user.effective;
        self.user.files = self.user.effective;
        self.group.saved = self.group.effective;
        self.group.files = self.group.effective;
        let gains = before.0.effective != self.user.effective || before.1.effective != self.group.effective || file.is_some();
        if gains {
            self.ambient = 0;
        }
        if self.user.effective == 0 || self.user.real == 0 {
            self.permitted = self.bounding | self.inheritable;
            self.effective = if self.user.effective == 0 { self.permitted } else { 0 };
        } else {
            let (permitted, effective) = file.unwrap_or_default();
            self.permitted = permitted & self.bounding | self.ambient;
            self.effective = if effective { self.permitted } else { self.ambient };
        }
        self.keep_capabilities = false;
        self.user.real != self.user.effective || self.group.real != self.group.effective || file.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Credentials {
        Credentials::of(&User::default())
    }

    #[test]
    fn a_command_has_the_capabilities_that_docker_gives() {
        assert_eq!(DEFAULT, 0xa804_25fb, "CapEff in /proc/self/status of a container of Docker's");
    }

    #[test]
    fn a_program_that_gives_root_up_cannot_have_it_back() {
        let mut credentials = root();
        credentials.set_groups_ids(NewIds::Three([33; 3])).unwrap();
        credentials.set_users(NewIds::One(33)).unwrap();
        assert_eq!((credentials.user, credentials.permitted, credentials.effective), (Ids::all(33), 0, 0));
        assert_eq!(credentials.set_users(NewIds::One(0)), Err(Errno::PERM));
        assert_eq!(credentials.set_groups_ids(NewIds::Two(KEEP, 0)), Err(Errno::PERM));
        assert!(!credentials.is_member(4));
    }

    #[test]
    fn a_program_that_lays_root_down_can_take_it_up_again() {
        let mut credentials = root();
        credentials.set_users(NewIds::Three([KEEP, 33, KEEP])).unwrap();
        assert_eq!((credentials.user.files, credentials.effective, credentials.permitted), (33, 0, DEFAULT));
        credentials.set_users(NewIds::Three([KEEP, 0, KEEP])).unwrap();
        assert_eq!(credentials.effective, DEFAULT);
        assert_eq!(credentials.set_files_user(33), 0);
        assert!(!credentials.can(CAP_DAC_OVERRIDE) && credentials.can(CAP_SETUID));
        assert_eq!(credentials.set_files_user(0), 33);
        assert!(credentials.can(CAP_DAC_OVERRIDE));
    }

    #[test]
    fn capabilities_are_kept_over_a_change_of_user_where_that_was_asked_for() {
        let mut credentials = root();
        credentials.keep_capabilities = true;
        credentials.set_users(NewIds::One(33)).unwrap();
        assert_eq!((credentials.permitted, credentials.effective), (DEFAULT, 0));
        credentials.set_capabilities(1 << CAP_CHOWN, 1 << CAP_CHOWN, 0).unwrap();
        assert!(credentials.can(CAP_CHOWN) && !credentials.can(CAP_SETUID));
        assert_eq!(credentials.set_capabilities(0, DEFAULT, 0), Err(Errno::PERM));
        credentials.execute((None, None), None);
        assert_eq!(credentials.permitted, 0);
    }

    #[test]
    fn a_set_id_program_gets_its_owners_rights_unless_that_was_ruled_out() {
        let aria = Credentials::of(&User { uid: 1000, gid: 1000, groups: vec![29, 4] });
        assert_eq!(&*aria.groups, [4, 29, 1000]);
        let mut sudo = aria.clone();
        assert!(sudo.execute((Some(0), None), None));
        assert_eq!((sudo.user.real, sudo.user.effective, sudo.effective), (1000, 0, DEFAULT));
        sudo.set_users(NewIds::Three([0; 3])).unwrap();
        assert_eq!(sudo.user, Ids::all(0));
        let mut careful = Credentials { no_new_privileges: true, ..aria.clone() };
        assert!(!careful.execute((Some(0), Some(0)), Some((1, true))));
        assert_eq!((careful.user, careful.effective), (Ids::all(1000), 0));
        let mut ping = aria;
        assert!(ping.execute((None, None), Some((1 << 13, true))));
        assert_eq!((ping.effective, ping.permitted), (1 << 13, 1 << 13));
    }

    #[test]
    fn setreuid_follows_its_manual() {
        let mut aria = Credentials::of(&User { uid: 1000, gid: 1000, groups: Vec::new() });
        aria.user.saved = 5;
        assert_eq!(aria.set_users(NewIds::Two(5, KEEP)), Err(Errno::PERM));
        aria.set_users(NewIds::Two(KEEP, 5)).unwrap();
        assert_eq!(aria.user, Ids { real: 1000, effective: 5, saved: 5, files: 5 });
    }
}
