//! The filters of a command: the system calls that it may make, and those that wait for `fakeroot`.
//!
//! Only what Docker's default profile allows a container without extra capabilities gets through
//! ([`seccomp_profile`]). Programs of a foreign architecture are killed.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use seccompiler::{
    BackendError, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::{notify, process, seccomp_profile};
use crate::sandbox::kernel::FCHMODAT2;
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;

/// The flags of clone that Docker's profile refuses: all namespaces but those of time, which clone
/// cannot make.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Address families of socket that Docker's profile leaves out: 38 is AF_ALG, 40 AF_VSOCK, and from
/// 46 on there are none yet.
const OTHER_FAMILIES: [u64; 6] = [39, 41, 42, 43, 44, 45];
const FIRST_FAMILY_REFUSED: u64 = 38;

/// The personalities that Docker allows: Linux, Linux with 32-bit address space or uname 2.6, and
/// the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

pub(super) fn install() -> Result<(), SetupError> {
    let step = || "install the system-call filter".to_owned();
    let cannot = |_| SetupError::new("build the system-call filter", None);
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| SetupError::new("build the system-call filter", None))?;
    for program in [allowed(arch).map_err(cannot)?, clone3(arch).map_err(cannot)?] {
        process::install_filter(&program).step(step)?;
    }
    install_as_missing()
}

/// Calls that libc and others replace where the kernel lacks them (ENOSYS), but not where the
/// filter of a container runtime refuses what it does not know (EPERM): then a shell takes no file
/// for readable, and apt no signature for valid.
const REPLACED: [&str; 6] = ["close_range", "epoll_pwait2", "faccessat2", "fchmodat2", "openat2", "pidfd_open"];

/// Has those of them that a surrounding filter refuses fail as if the kernel did not have them. Of
/// two filters that refuse a call, the younger says with which error (seccomp(2)).
pub(super) fn install_as_missing() -> Result<(), SetupError> {
    let cannot = |_| SetupError::new("build the system-call filter", None);
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(cannot)?;
    let calls =
        REPLACED.iter().filter_map(|name| seccomp_profile::number_of(arch, name)).filter(|call| process::is_refused(*call));
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.map(|call| (call, Vec::new())).collect();
    if rules.is_empty() {
        return Ok(());
    }
    let program = compile(rules, refuse(Errno::NOSYS)).map_err(cannot)?;
    process::install_filter(&program).step(|| "install the system-call filter".into())
}

/// Calls that only wait until something is on disk.
pub(super) const WAITING: &[libc::c_long] =
    &[libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs, libc::SYS_sync_file_range];

/// Has the calls that wait for the disk succeed at once.
pub(super) fn install_without_waiting() -> Result<(), SetupError> {
    let program = without_waiting().map_err(|_| SetupError::new("build the system-call filter", None))?;
    process::install_filter(&program).step(|| "install the system-call filter of fsync".into())
}

fn without_waiting() -> Result<Vec<sock_filter>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = WAITING.iter().map(|call| (*call, Vec::new())).collect();
    let flag = libc::MS_SYNC as u64;
    rules.insert(
        libc::SYS_msync,
        vec![SeccompRule::new(vec![SeccompCondition::new(2, Length::Dword, Op::MaskedEq(flag), flag)?])?],
    );
    // "Failing" with error 0 is success.
    compile(rules, SeccompAction::Errno(0))
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
const CHMODDING: &[libc::c_long] = &[libc::SYS_fchmod, libc::SYS_fchmodat, FCHMODAT2];
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

/// For a process with one id: has the calls that show or change owners wait for the fakeroot, which
/// gets the descriptor returned here. Of root, those that would make it another user are said to
/// have succeeded.
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

fn recording(root: bool) -> Result<Vec<sock_filter>, BackendError> {
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
        let device = |argument| -> Result<Vec<SeccompRule>, BackendError> {
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

/// What Docker's default profile allows, and nothing else.
fn allowed(arch: TargetArch) -> Result<Vec<sock_filter>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = seccomp_profile::allowed(arch).map(|call| (call, Vec::new())).collect();
    let first = |op, value| SeccompRule::new(vec![SeccompCondition::new(0, Length::Dword, op, value)?]);
    let mut only = |name, with: Vec<SeccompRule>| seccomp_profile::number_of(arch, name).map(|call| rules.insert(call, with));
    // The flags of clone are its first argument on each of these processors.
    only("clone", vec![first(Op::MaskedEq(NAMESPACE_FLAGS), 0)?]);
    only("personality", PERSONALITIES.iter().map(|value| first(Op::Eq, *value)).collect::<Result<_, _>>()?);
    let families = std::iter::once(first(Op::Lt, FIRST_FAMILY_REFUSED));
    only("socket", families.chain(OTHER_FAMILIES.iter().map(|family| first(Op::Eq, *family))).collect::<Result<_, _>>()?);
    let mut program: Vec<sock_filter> = SeccompFilter::new(rules, refuse(Errno::PERM), SeccompAction::Allow, arch)?.try_into()?;
    program.splice(0..0, unknown_refused());
    Ok(program)
}

/// clone3 hides its flags from filters: without it, libc falls back to clone.
fn clone3(arch: TargetArch) -> Result<Vec<sock_filter>, BackendError> {
    let call = seccomp_profile::number_of(arch, "clone3").into_iter();
    let rules = call.map(|call| (call, Vec::new())).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, refuse(Errno::NOSYS), arch)?.try_into()
}

fn refuse(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno.raw_os_error().unsigned_abs())
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) -> Result<Vec<sock_filter>, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()
}

/// Calls that the profile does not know, and the x32 numbers of x86-64, which are the ordinary ones
/// plus a bit.
fn unknown_refused() -> [sock_filter; 3] {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let refuse = libc::SECCOMP_RET_ERRNO | Errno::NOSYS.raw_os_error().unsigned_abs();
    [
        sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: IF_AT_LEAST, jt: 0, jf: 1, k: seccomp_profile::FIRST_UNKNOWN },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `AUDIT_ARCH_*` of linux/audit.h.
    const ARCHITECTURES: [(TargetArch, u32); 3] =
        [(TargetArch::x86_64, 0xc000_003e), (TargetArch::aarch64, 0xc000_00b7), (TargetArch::riscv64, 0xc000_00f3)];

    /// What a filter answers to a call: classic BPF over `struct seccomp_data` (seccomp(2)), as far
    /// as filters use it.
    fn answer(program: &[sock_filter], arch: u32, number: i64, arguments: [u64; 6]) -> u32 {
        let mut data = vec![number as u32, arch, 0, 0];
        data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (*argument >> 32) as u32]));
        let (mut accumulator, mut at) = (0u32, 0usize);
        loop {
            let one = &program[at];
            let (k, code) = (one.k, u32::from(one.code));
            at += 1;
            let jump = |taken: bool| usize::from(if taken { one.jt } else { one.jf });
            match code & 0x07 {
                libc::BPF_LD => accumulator = data[k as usize / 4],
                libc::BPF_ALU => accumulator &= k,
                libc::BPF_RET => return k,
                libc::BPF_JMP => {
                    at += match code & 0xf0 {
                        libc::BPF_JA => k as usize,
                        libc::BPF_JEQ => jump(accumulator == k),
                        libc::BPF_JGT => jump(accumulator > k),
                        libc::BPF_JGE => jump(accumulator >= k),
                        libc::BPF_JSET => jump(accumulator & k != 0),
                        other => panic!("jump {other:#x}"),
                    }
                }
                other => panic!("class {other:#x}"),
            }
        }
    }

    #[test]
    fn only_what_dockers_profile_allows_gets_through_on_each_architecture() {
        let (allow, errno) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ERRNO);
        let (eperm, enosys) = (errno | libc::EPERM.unsigned_abs(), errno | libc::ENOSYS.unsigned_abs());
        for (arch, audit) in ARCHITECTURES {
            let (first, second) = (allowed(arch).unwrap(), clone3(arch).unwrap());
            // Of two filters that refuse, the later one's number counts; else the one that refuses.
            let both = |number, arguments| match answer(&second, audit, number, arguments) {
                ALLOWED => answer(&first, audit, number, arguments),
                refused => refused,
            };
            const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
            let number = |name| seccomp_profile::number_of(arch, name).unwrap();
            let with = |name, argument| both(number(name), [argument, 0, 0, 0, 0, 0]);
            for name in ["read", "openat", "execve", "setuid", "chroot", "mknodat", "fchownat", "ptrace", "statx", "fchmodat2"] {
                assert_eq!(with(name, 0), allow, "{name} {arch:?}");
            }
            assert_eq!(with("clone3", 0), enosys);
            assert_eq!([with("clone", 17), with("clone", 0x1000_0000 | 17), with("clone", 0x2_0000)], [allow, eperm, eperm]);
            assert_eq!([with("personality", 0x2_0008), with("personality", 0x40_0000)], [allow, eperm]);
            assert_eq!(
                [1, 2, 16, 38, 40, 41, 46].map(|family| with("socket", family)),
                [allow, allow, allow, eperm, eperm, allow, eperm]
            );
            // What the profile refuses: bpf, io_uring, keys, kexec, modules, mounts, namespaces,
            // user faults and the like.
            let refused = match arch {
                TargetArch::x86_64 => [165, 166, 272, 308, 321, 250, 246, 175, 298, 323, 155, 304],
                _ => [40, 39, 97, 268, 280, 219, 104, 105, 241, 282, 41, 265],
            };
            for number in refused.into_iter().chain([425, 426, 427, 428, 429, 430, 431, 432, 433, 442, 443]) {
                assert_eq!(both(number, [0; 6]), eperm, "{number} {arch:?}");
            }
            for number in [467, 500, 0x4000_0000, 0x4000_0000 + 165] {
                assert_eq!(both(number, [0; 6]), enosys, "{number:#x} {arch:?}");
            }
            assert!(answer(&first, audit ^ 1, 0, [0; 6]) & 0xffff_0000 != allow);
        }
    }

    #[test]
    fn what_waits_for_the_disk_succeeds_and_nothing_else_is_touched() {
        let program = without_waiting().unwrap();
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let (_, audit) = ARCHITECTURES.into_iter().find(|(one, _)| *one as u32 == arch as u32).unwrap();
        let (success, allow) = (libc::SECCOMP_RET_ERRNO, libc::SECCOMP_RET_ALLOW);
        WAITING.iter().for_each(|call| assert_eq!(answer(&program, audit, *call, [7; 6]), success, "{call}"));
        let msync = |flags: i32| answer(&program, audit, libc::SYS_msync, [0, 0, flags as u64, 0, 0, 0]);
        assert_eq!([libc::MS_SYNC, libc::MS_SYNC | libc::MS_INVALIDATE].map(msync), [success; 2]);
        assert_eq!([libc::MS_ASYNC, libc::MS_INVALIDATE, 0].map(msync), [allow; 3]);
        for call in [libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_fallocate, libc::SYS_ftruncate] {
            assert_eq!(answer(&program, audit, call, [0; 6]), allow);
        }
    }

    #[test]
    fn numbers_of_this_machine_are_libcs() {
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        for (name, number) in [
            ("accept4", libc::SYS_accept4),
            ("clone3", libc::SYS_clone3),
            ("fchmodat2", FCHMODAT2),
            ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
            ("mseal", libc::SYS_mseal),
            ("newfstatat", libc::SYS_newfstatat),
            ("openat2", libc::SYS_openat2),
            ("prctl", libc::SYS_prctl),
            ("seccomp", libc::SYS_seccomp),
            ("statx", libc::SYS_statx),
            ("writev", libc::SYS_writev),
        ] {
            assert_eq!(seccomp_profile::number_of(arch, name), Some(number), "{name}");
        }
    }
}
