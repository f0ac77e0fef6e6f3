//! The system-call filter of a command: which calls the supervisor answers, which it changes by
//! ptrace, and which the kernel makes alone.
//!
//! Of two filters the stricter answer counts, in the order TRAP, ERRNO, USER_NOTIF, TRACE, ALLOW
//! (seccomp(2)): a call that the container's own filter refuses never arrives here, unless this
//! filter answers with TRAP.

use crate::sandbox::kernel::FCHMODAT2;
use libc::c_long;
use seccompiler::sock_filter;

use super::super::seccomp::WAITING;

/// Goes with RET_TRACE: a filter of the command's own may ask for a tracer as well.
pub(super) const TRACE_DATA: u32 = 0x6d70;

/// The first argument of the loader's only openat: no descriptor has this number.
pub(super) const LOADER_CALL: u32 = 0x4e4f_4253;

/// `AUDIT_ARCH_X86_64` of linux/audit.h.
const ARCH: u32 = 0xc000_003e;
/// x32 numbers are the ordinary ones plus this bit.
const X32: u32 = 0x4000_0000;
/// The first of the calls that came with Linux 6.13 and later (setxattrat): programs do without
/// them, and what a later one does is not known here.
const UNKNOWN: u32 = 463;
const CLONE_UNTRACED: u32 = 0x0080_0000;
/// CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWCGROUP.
const NAMESPACES: u32 = 0x7e02_0000;

/// Answered by the supervisor: what names a file by its path, shows or changes an owner, or a mode,
/// or the rights of the process.
const ANSWERED: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_openat2,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_getcwd,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_statfs,
    libc::SYS_truncate,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_umask,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
];

/// What may show a file capability of an open file: answered where there can be one
/// (`second_filter`).
const ATTRIBUTES: &[c_long] = &[libc::SYS_fgetxattr, libc::SYS_flistxattr];

/// Of these the kernel must make a part in the process itself; the supervisor changes their
/// arguments.
const TRACED: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_inotify_add_watch,
];

/// The options of prctl that the supervisor answers: those about rights.
const PRCTL: &[libc::c_int] = &[
    libc::PR_CAPBSET_READ,
    libc::PR_CAPBSET_DROP,
    libc::PR_SET_SECUREBITS,
    libc::PR_GET_SECUREBITS,
    libc::PR_CAP_AMBIENT,
    libc::PR_SET_KEEPCAPS,
    libc::PR_GET_KEEPCAPS,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_GET_NO_NEW_PRIVS,
    // A process that is not dumpable could not be traced any more (ptrace(2)).
    libc::PR_SET_DUMPABLE,
];

/// Nothing that a process of a container may do, and ways around the supervisor.
const DENIED: &[c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_ptrace,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_uselib,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    443, // quotactl_fd
    457, // statmount
    458, // listmount
];

/// Programs do without these: clone3 hides its flags from filters, io_uring makes calls that no
/// filter sees, and what Landlock allows is decided by the file that the kernel opens, which is not
/// always the one that the program names.
const MISSING: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    444, // landlock_create_ruleset
];

const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
const TRACE: u32 = libc::SECCOMP_RET_TRACE | TRACE_DATA;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
/// "Failing" with error 0.
const SUCCESS: u32 = libc::SECCOMP_RET_ERRNO;

const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

/// A filter that is being written: instructions of classic BPF, which only jump forward.
#[derive(Default)]
struct Program(Vec<sock_filter>);

impl Program {
    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
    }

    /// Loads a word of `struct seccomp_data`.
    fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    }

    fn load_number(&mut self) {
        self.load(0);
    }

    /// Loads the lower half of an argument: flags and options are C ints.
    fn load_argument(&mut self, index: u32) {
        self.load(16 + 8 * index);
    }

    fn answer(&mut self, action: u32) {
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, action);
    }

    fn answer_if(&mut self, test: u32, value: u32, action: u32) {
        self.push(test, 0, 1, value);
        self.answer(action);
    }

    /// For one call: `rest` looks at its arguments and answers.
    fn call(&mut self, number: c_long, rest: impl FnOnce(&mut Self)) {
        let test = self.0.len();
        self.push(EQUAL, 0, 0, number as u32);
        rest(self);
        self.0[test].jf = (self.0.len() - test - 1) as u8;
    }
}

/// The whole filter. `waits`: whether calls that wait for the disk do so; `attributes_answered`:
/// whether the supervisor answers those that may show a file capability.
pub(super) fn program(waits: bool, attributes_answered: bool) -> Vec<sock_filter> {
    let mut program = Program::default();
    program.load(4);
    program.push(EQUAL, 1, 0, ARCH);
    program.answer(ENOSYS);
    program.load_number();
    // A call that a tracer has cancelled.
    program.answer_if(EQUAL, u32::MAX, libc::SECCOMP_RET_ALLOW);
    program.answer_if(AT_LEAST, X32, ENOSYS);
    program.answer_if(AT_LEAST, UNKNOWN, ENOSYS);
    program.call(libc::SYS_openat, |program| {
        // An O_PATH descriptor of a link cannot be handed over (SECCOMP_IOCTL_NOTIF_ADDFD says
        // EBADF).
        program.load_argument(2);
        program.push(ANY_BIT, 0, 2, libc::O_PATH.unsigned_abs());
        program.answer_if(ANY_BIT, libc::O_NOFOLLOW.unsigned_abs(), TRACE);
        program.answer(NOTIFY);
    });
    program.call(libc::SYS_utimensat, |program| {
        // Without a path it is about a descriptor, which the kernel can do alone.
        program.load_argument(1);
        program.answer_if(AT_LEAST, 1, NOTIFY);
        program.load(16 + 8 + 4);
        program.answer_if(AT_LEAST, 1, NOTIFY);
        program.answer(libc::SECCOMP_RET_ALLOW);
    });
    program.call(libc::SYS_prctl, |program| {
        program.load_argument(0);
        PRCTL.iter().for_each(|option| program.answer_if(EQUAL, option.unsigned_abs(), NOTIFY));
        program.answer(libc::SECCOMP_RET_ALLOW);
    });
    program.call(libc::SYS_sendto, |program| {
        // With an address, which may be a path.
        for half in [16 + 8 * 4, 16 + 8 * 4 + 4] {
            program.load(half);
            program.answer_if(AT_LEAST, 1, TRACE);
        }
        program.answer(libc::SECCOMP_RET_ALLOW);
    });
    program.call(libc::SYS_clone, |program| {
        program.load_argument(0);
        program.answer_if(ANY_BIT, NAMESPACES | CLONE_UNTRACED, EPERM);
        program.answer(libc::SECCOMP_RET_ALLOW);
    });
    if !waits {
        WAITING.iter().for_each(|call| program.answer_if(EQUAL, *call as u32, SUCCESS));
        program.call(libc::SYS_msync, |program| {
            program.load_argument(2);
            program.answer_if(ANY_BIT, libc::MS_SYNC.unsigned_abs(), SUCCESS);
            program.answer(libc::SECCOMP_RET_ALLOW);
        });
    }
    let attributes = if attributes_answered { ATTRIBUTES } else { &[] };
    for (calls, action) in [(ANSWERED, NOTIFY), (attributes, NOTIFY), (TRACED, TRACE), (DENIED, EPERM), (MISSING, ENOSYS)] {
        calls.iter().for_each(|call| program.answer_if(EQUAL, *call as u32, action));
    }
    // The container's filter refuses it to a process without CAP_SYS_CHROOT.
    program.answer_if(EQUAL, libc::SYS_chroot as u32, libc::SECCOMP_RET_TRAP);
    program.answer(libc::SECCOMP_RET_ALLOW);
    program.0
}

/// The filter that is added to that of a thread whose first one does not have these calls answered.
pub(super) fn second_program() -> Vec<sock_filter> {
    let mut program = Program::default();
    program.load(4);
    program.push(EQUAL, 1, 0, ARCH);
    program.answer(libc::SECCOMP_RET_ALLOW);
    program.load_number();
    ATTRIBUTES.iter().for_each(|call| program.answer_if(EQUAL, *call as u32, TRACE));
    program.answer(libc::SECCOMP_RET_ALLOW);
    program.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers to a call, computed as the kernel does.
    fn answer(waits: bool, number: u32, arch: u32, arguments: [u64; 6]) -> u32 {
        run(&program(waits, true), number, arch, arguments)
    }

    fn run(program: &[sock_filter], number: u32, arch: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [number, arch, 0, 0].to_vec();
        data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (*argument >> 32) as u32]));
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let one = &program[at];
            at += 1;
            let code = u32::from(one.code);
            let jump = |taken| usize::from(if taken { one.jt } else { one.jf });
            match code {
                EQUAL => at += jump(accumulator == one.k),
                AT_LEAST => at += jump(accumulator >= one.k),
                ANY_BIT => at += jump(accumulator & one.k != 0),
                _ if code == libc::BPF_RET | libc::BPF_K => return one.k,
                _ => accumulator = data[one.k as usize / 4],
            }
        }
    }

    #[test]
    fn each_call_gets_its_answer() {
        let path = libc::O_PATH as u64;
        let link = path | libc::O_NOFOLLOW as u64;
        for (number, arguments, expected) in [
            (libc::SYS_read, [0; 6], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_openat, [0, 1, 0, 0, 0, 0], NOTIFY),
            (libc::SYS_openat, [0, 1, path, 0, 0, 0], NOTIFY),
            (libc::SYS_openat, [0, 1, link, 0, 0, 0], TRACE),
            (libc::SYS_utimensat, [3, 0, 0, 0, 0, 0], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_utimensat, [3, 1 << 32, 0, 0, 0, 0], NOTIFY),
            (libc::SYS_prctl, [libc::PR_SET_NAME as u64, 0, 0, 0, 0, 0], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 0, 0, 0, 0, 0], NOTIFY),
            (libc::SYS_clone, [libc::CLONE_VM as u64, 0, 0, 0, 0, 0], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0], EPERM),
            (libc::SYS_clone, [u64::from(CLONE_UNTRACED), 0, 0, 0, 0, 0], EPERM),
            (libc::SYS_execve, [0; 6], TRACE),
            (libc::SYS_sendto, [0; 6], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_sendto, [3, 1, 1, 0, 1 << 40, 16], TRACE),
            (libc::SYS_chroot, [0; 6], libc::SECCOMP_RET_TRAP),
            (libc::SYS_mount, [0; 6], EPERM),
            (libc::SYS_clone3, [0; 6], ENOSYS),
            (470, [0; 6], ENOSYS),
            (-1, [0; 6], libc::SECCOMP_RET_ALLOW),
        ] {
            for waits in [false, true] {
                assert_eq!(answer(waits, number as u32, ARCH, arguments), expected, "{number} {arguments:?}");
            }
        }
        assert_eq!(answer(true, X32 | libc::SYS_openat as u32, ARCH, [0; 6]), ENOSYS);
        // AUDIT_ARCH_I386, whose numbers are others.
        assert_eq!(answer(true, 5, 0x4000_0003, [0; 6]), ENOSYS);
        let sync = |waits, call: c_long, flags: i32| answer(waits, call as u32, ARCH, [0, 0, flags as u64, 0, 0, 0]);
        for call in WAITING {
            assert_eq!([sync(false, *call, 0), sync(true, *call, 0)], [SUCCESS, libc::SECCOMP_RET_ALLOW]);
        }
        let msync = [libc::MS_SYNC, libc::MS_ASYNC].map(|flags| sync(false, libc::SYS_msync, flags));
        assert_eq!(msync, [SUCCESS, libc::SECCOMP_RET_ALLOW]);
    }

    #[test]
    fn the_second_filter_tells_of_what_the_first_one_leaves_to_the_kernel() {
        for call in ATTRIBUTES {
            assert_eq!(run(&program(true, false), *call as u32, ARCH, [0; 6]), libc::SECCOMP_RET_ALLOW);
            assert_eq!(run(&program(true, true), *call as u32, ARCH, [0; 6]), NOTIFY);
            assert_eq!(run(&second_program(), *call as u32, ARCH, [0; 6]), TRACE);
            // AUDIT_ARCH_I386, whose numbers are others.
            assert_eq!(run(&second_program(), *call as u32, 0x4000_0003, [0; 6]), libc::SECCOMP_RET_ALLOW);
        }
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_getxattr] {
            assert_eq!(run(&second_program(), call as u32, ARCH, [0; 6]), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn no_call_is_in_two_lists() {
        let mut all = [ANSWERED, ATTRIBUTES, TRACED, DENIED, MISSING, WAITING].concat();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
