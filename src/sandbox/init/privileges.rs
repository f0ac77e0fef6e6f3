//! Takes away what a command does not need: capabilities, system calls, and its user's.
//!
//! no_new_privs is not set, because set-id programs (sudo, su) must work as they do in Docker.

use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::{seccomp, userns};
use crate::sandbox::channel::send_file;
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::{IsolationKind, Security, User};

/// What Docker leaves (moby, oci/caps/defaults.go).
pub(super) const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Becomes `user` with few privileges. The filters come first, because installing them needs a
/// capability that goes. `waits`: whether the command waits for the disk when it asks to.
pub(super) fn drop_to(
    isolation: IsolationKind,
    user: &User,
    security: Security,
    waits: bool,
    fakeroot: Option<&UnixStream>,
) -> Result<(), SetupError> {
    if let Some(fakeroot) = fakeroot {
        if (user.uid, user.gid) != (0, 0) {
            // The one id becomes this user's.
            userns::enter_as(user.uid, user.gid)?;
        }
        let listener = seccomp::install_fakeroot(user.uid == 0)?;
        send_file(fakeroot, listener).step(|| "hand over the system-call filter".into())?;
    }
    if security == Security::Sandbox {
        let filters =
            || if waits { seccomp::install() } else { seccomp::install_without_waiting().and_then(|()| seccomp::install()) };
        match filters() {
            Err(error) if !isolation.can_filter_calls() && error.errno == Some(Errno::ACCESS.raw_os_error()) => {}
            installed => installed?,
        }
    }
    let now = capabilities(None).step(|| "capget".into())?;
    let keep = match security {
        Security::Sandbox => now.permitted & DEFAULT,
        Security::Insecure => now.permitted,
    };
    bound(keep).step(|| "drop capabilities".into())?;
    if fakeroot.is_none() {
        become_user(user)?;
    }
    let keep = if user.uid == 0 { keep } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).step(|| "capset".into())
}

fn become_user(user: &User) -> Result<(), SetupError> {
    let groups: Vec<Gid> = user.all_groups().map(Gid::from_raw).collect();
    set_thread_groups(&groups).step(|| "setgroups".into())?;
    let gid = Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid).step(|| format!("setresgid({})", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).step(|| format!("setresuid({})", user.uid))
}

fn bound(keep: CapabilitySet) -> Result<(), Errno> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) if !keep.contains(one) => rustix::thread::remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // Past the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    rustix::thread::clear_ambient_capability_set()
}
