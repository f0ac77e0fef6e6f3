//! The kernel: its version, and the system calls that are younger than the oldest kernel that RUN
//! supports.
//!
//! A filter of the surrounding container may refuse a call that the kernel has (ENOSYS, or EPERM
//! from runtimes that do not know it), so nothing is concluded from the version: each call is
//! tried, and what stands in for it is used where it fails.

/// The number of fchmodat2 on every architecture (asm-generic/unistd.h): the libc crate has it for
/// some of them only.
pub(in crate::sandbox) const FCHMODAT2: libc::c_long = 452;

/// The oldest kernel that RUN supports: that of RHEL 8.
#[cfg(test)]
const FLOOR: (u32, u32) = (4, 18);

/// A call or flag that kernels after the floor have.
#[cfg(test)]
struct NewCall {
    call: &'static str,
    /// Its number, the same on every architecture; flags have none.
    number: Option<libc::c_long>,
    since: (u32, u32),
    /// What is done where it is missing.
    instead: &'static str,
    /// Where that is decided.
    file: &'static str,
}

#[cfg(test)]
const fn call(call: &'static str, number: libc::c_long, since: (u32, u32), instead: &'static str, file: &'static str) -> NewCall {
    NewCall { call, number: Some(number), since, instead, file }
}

#[cfg(test)]
const fn flag(call: &'static str, since: (u32, u32), instead: &'static str, file: &'static str) -> NewCall {
    NewCall { call, number: None, since, instead, file }
}

/// Everything younger than the floor that mpimg uses for RUN and containers. pidfd_send_signal
/// (5.1) and faccessat2 (5.8) are not used: signalfd tells of children, and process 1 passes
/// signals on. What a command uses itself, and a surrounding filter refuses with EPERM, is missing
/// for it (`sandbox/init/seccomp.rs`, `REPLACED`).
#[cfg(test)]
const NEW_CALLS: &[NewCall] = &[
    call("openat2", libc::SYS_openat2, (5, 6), "a walk in user space", "layer/inside.rs"),
    call("mount_setattr", libc::SYS_mount_setattr, (5, 12), "a remount of each mount below", "sandbox/init/mounter.rs"),
    call("close_range", libc::SYS_close_range, (5, 9), "each descriptor of /proc/self/fd", "sandbox/init/process.rs"),
    call("pidfd_open", libc::SYS_pidfd_open, (5, 3), "a descriptor of /proc/PID, looked at", "container/owner.rs"),
    call("clone3", libc::SYS_clone3, (5, 3), "clone, by libc; refused to commands as Docker does", "sandbox/init/seccomp.rs"),
    call("fchmodat2", FCHMODAT2, (6, 6), "only answered for programs that call it", "sandbox/init/fakeroot.rs"),
    flag("MFD_EXEC", (6, 3), "memfd_create without it", "sandbox/helper.rs"),
    flag("overlay: userxattr", (5, 11), "none: `userns` and `single` need it", "sandbox/init/overlay.rs"),
    flag("overlay: volatile", (5, 10), "the mount without it", "sandbox/init/overlay.rs"),
    flag("SECCOMP_FILTER_FLAG_NEW_LISTENER", (5, 0), "none: `single` needs it", "sandbox/init/notify.rs"),
    flag("SECCOMP_USER_NOTIF_FLAG_CONTINUE", (5, 5), "none: `single` needs it", "sandbox/init/notify.rs"),
    flag("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", (5, 19), "the listener without it", "sandbox/init/notify.rs"),
    flag("SECCOMP_ADDFD_FLAG_SEND", (5, 14), "none: `emulated` needs it, and openat2", "sandbox/init/emulated/descriptors.rs"),
    flag("SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP", (6, 6), "slower wake-ups", "sandbox/init/notify.rs"),
];

/// The version of the running kernel, such as `4.18.0-553.el8`.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Names of calls in the crate's own sources, with the files that make them.
    fn callers(needles: &[String]) -> Vec<String> {
        fn visit(folder: &Path, needles: &[String], found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, needles, found);
                } else if !path.ends_with("sandbox/kernel.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
                    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                    if needles.iter().any(|needle| code.contains(needle.as_str())) {
                        found.push(path.display().to_string());
                    }
                }
            }
        }
        let mut found = Vec::new();
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), needles, &mut found);
        found
    }

    #[test]
    fn every_younger_call_has_a_row_with_what_stands_in_for_it() {
        for row in NEW_CALLS {
            assert!(row.since > FLOOR && !row.instead.is_empty(), "{}", row.call);
            // From 424 on numbers are shared by all architectures.
            assert!(row.number.is_none_or(|number| number >= 424), "{}", row.call);
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(row.file).is_file(), "{}", row.file);
        }
        let without_row = ["pidfd_send_signal(", "pidfd_getfd(", "faccessat2(", "epoll_pwait2(", "::open_tree("];
        let found = callers(&without_row.map(str::to_owned));
        assert!(found.is_empty(), "calls without a row in this table: {found:?}");
        let opened = callers(&["pidfd_open(".into()]);
        assert!(opened.iter().all(|path| path.ends_with("container/owner.rs")), "{opened:?}");
        let direct = callers(&["fs::openat2(".into(), " openat2(".into()]);
        // `emulated` works on kernels only that have it, and answers it for the command.
        let known = ["layer/inside.rs", "init/notify_target.rs"];
        let expected = |path: &String| known.iter().any(|known| path.ends_with(known)) || path.contains("/init/emulated/");
        assert!(direct.iter().all(expected), "{direct:?}");
    }
}
