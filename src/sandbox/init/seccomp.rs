//! The system calls that a command may not make: those that Docker's default profile denies to a container without extra capabilities.
//!
//! Refuses processors that the filter's builder does not know; programs of a foreign architecture are killed.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    sock_filter,
};

use super::{SetupError, notify, process};
use crate::sandbox::wire::Step as _;

/// Docker documentation, "Significant syscalls blocked by the default profile", and moby's profiles/seccomp/default.json.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // Newer than the list of libc; the numbers are the same on every architecture.
    443, // quotactl_fd
    457, // statmount
    458, // listmount
    467, // open_tree_attr
];

#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] =
    &[libc::SYS__sysctl, libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

const NAMESPACE_FLAGS: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];

/// The personalities that Docker allows: Linux, Linux with 32-bit address space or uname 2.6, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

pub(super) fn install() -> Result<(), SetupError> {
    let step = || "install the system-call filter".to_owned();
    let cannot = |_| SetupError::new("build the system-call filter", None);
    for program in [denied().map_err(cannot)?, clone3().map_err(cannot)?] {
        process::install_filter(&program).step(step)?;
    }
    Ok(())
}

/// Calls that show an owner or a mode, or its record.
const SHOWING: &[libc::c_long] = &[
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_getgroups,
];
const CHOWNING: &[libc::c_long] = &[libc::SYS_fchown, libc::SYS_fchownat];
const CHMODDING: &[libc::c_long] = &[libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchmodat2];
/// Those of becoming another user, which one id cannot, but root may.
const BECOMING: [&[libc::c_long]; 2] = [
    &[libc::SYS_setfsgid, libc::SYS_setfsuid, libc::SYS_setgid, libc::SYS_setgroups, libc::SYS_setregid, libc::SYS_setresgid],
    // The fakeroot says so.
    &[libc::SYS_setresuid, libc::SYS_setreuid, libc::SYS_setuid],
];

#[cfg(target_arch = "x86_64")]
const OLD: [&[libc::c_long]; 3] = [&[libc::SYS_stat, libc::SYS_lstat], &[libc::SYS_chown, libc::SYS_lchown], &[libc::SYS_chmod]];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [&[libc::c_long]; 3] = [&[], &[], &[]];

/// For a process with one id: has the calls that show or change owners wait for the fakeroot, which gets the descriptor returned here.
/// Of root, those that would make it another user are said to have succeeded.
pub(super) fn install_fakeroot(root: bool) -> Result<OwnedFd, SetupError> {
    let cannot = |_| SetupError::new("build the system-call filter", None);
    let step = || "install the system-call filter that records owners".to_owned();
    if root {
        let nothing = BECOMING[0].iter().map(|call| (*call, Vec::new())).collect();
        // "Failing" with error 0 is success.
        process::install_filter(&compile(nothing, SeccompAction::Errno(0)).map_err(cannot)?).step(step)?;
    }
    notify::install_listener(&recording(root).map_err(cannot)?).step(step)
}

fn recording(root: bool) -> Result<Vec<sock_filter>, seccompiler::BackendError> {
    let [show, chown, chmod] = OLD;
    let mut calls = [SHOWING, CHOWNING, show, chown].concat();
    if root {
        calls.extend(BECOMING[1]);
    } else {
        // Root may change every mode, and no other user may make a device.
        calls.extend([CHMODDING, chmod].concat());
    }
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    if root {
        let device = |argument| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
            let kinds = [libc::S_IFCHR, libc::S_IFBLK].map(u64::from);
            let is = |kind| {
                let format = Op::MaskedEq(u64::from(libc::S_IFMT));
                SeccompRule::new(vec![SeccompCondition::new(argument, Length::Dword, format, kind)?])
            };
            kinds.into_iter().map(is).collect()
        };
        rules.insert(libc::SYS_mknodat, device(2)?);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_mknod, device(1)?);
    }
    let mut program = compile(rules, SeccompAction::Trace(0))?;
    // The filter's builder does not know notifications.
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    for instruction in program.iter_mut().filter(|one| one.code == RETURN && one.k == libc::SECCOMP_RET_TRACE) {
        instruction.k = libc::SECCOMP_RET_USER_NOTIF;
    }
    Ok(program)
}

fn denied() -> Result<Vec<sock_filter>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().chain(DENIED_HERE).map(|call| (*call, Vec::new())).collect();
    let namespace = |flag: &libc::c_int| {
        let flag = u64::from(flag.unsigned_abs());
        SeccompRule::new(vec![SeccompCondition::new(0, Length::Dword, Op::MaskedEq(flag), flag)?])
    };
    // clone's flags are its first argument everywhere but on s390, which the filter's builder does not know.
    rules.insert(libc::SYS_clone, NAMESPACE_FLAGS.iter().filter(|flag| **flag != 0x80).map(namespace).collect::<Result<_, _>>()?);
    let other = PERSONALITIES.iter().map(|value| SeccompCondition::new(0, Length::Dword, Op::Ne, *value));
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(other.collect::<Result<_, _>>()?)?]);
    let vsock = SeccompCondition::new(0, Length::Dword, Op::Eq, u64::from(libc::AF_VSOCK.unsigned_abs()))?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![vsock])?]);
    let mut program = compile(rules, refuse(Errno::PERM))?;
    if cfg!(target_arch = "x86_64") {
        program.splice(0..0, x32_refused());
    }
    Ok(program)
}

/// clone3 hides its flags from filters: without it, libc falls back to clone.
fn clone3() -> Result<Vec<sock_filter>, seccompiler::BackendError> {
    compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), refuse(Errno::NOSYS))
}

fn refuse(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno.raw_os_error().unsigned_abs())
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) -> Result<Vec<sock_filter>, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()
}

/// The x32 numbers of x86-64 are the ordinary ones plus a bit: a list of ordinary numbers would miss them.
fn x32_refused() -> [sock_filter; 3] {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let refuse = libc::SECCOMP_RET_ERRNO | Errno::NOSYS.raw_os_error().unsigned_abs();
    [
        sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: IF_AT_LEAST, jt: 0, jf: 1, k: 0x4000_0000 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
    ]
}
