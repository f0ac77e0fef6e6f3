//! RUN where system calls are missing that younger kernels have: a filter answers as Linux 4.18,
//! 5.4 or 5.10 would (ENOSYS), or as container runtimes do that know no younger calls (EPERM,
//! Docker before 20.10.10).

#![expect(unsafe_code, reason = "a filter is installed between fork and exec")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::plain_users::{ONE_ID, as_user, give};
use crate::home::Home;
use crate::run;
use crate::skip::needs_root;

/// The first call that is missing: those of 5.1 and later, of 5.6 (openat2), of 5.8 (faccessat2),
/// of 5.12 (mount_setattr).
const FIRST_MISSING: [u32; 4] = [424, 437, 439, 442];

const CLONE3: u32 = 435;

const OPENAT2: u32 = 437;

/// The first of its three calls.
const LANDLOCK: u32 = 444;

const DOCKERFILE: &str = "FROM oci:@BASE@:base AS other\n\
    RUN mkdir /there && echo of the stage >/there/x && ln -s /there/x /there/link\n\
    FROM oci:@BASE@:base\n\
    RUN --mount=target=/in,rw --mount=type=tmpfs,target=/t --mount=type=cache,target=/c --mount=from=other,source=/there,target=/o \
        cat /in/file /o/link >/copied && touch /t/x /c/x && echo x >/in/new && sleep 0 & wait\n\
    RUN echo x >/f && chown 7:8 /f && chmod 4755 /f && ln -s /f /l && mkdir -p /d/e && rm /opt/one && cat /proc/version /dev/null\n\
    COPY --from=other /there/link /d/e/\n\
    RUN --mount=type=secret,id=token,mode=0440,uid=5 --mount=type=tmpfs,target=/t,size=1m --mount=type=cache,target=/c,uid=1000,mode=0750 \
        stat -c '%a %u' /run/secrets/token /c >/modes && cat /run/secrets/token >/token && touch /t/x /c/x\n\
    RUN mkdir -m 2770 /g && chown 0:60 /g && touch /g/a && ln /g/a /g/b && mv /g/a /g/c && touch /g/e && mkfifo /g/p && cp -a /g /h && rm -r /opt/data\n\
    RUN touch -d @5 /h/e && chmod go-rwx /h /h/e /h/p && mv /h /i && tar cf /i.tar /i && mkdir /j && tar xf /i.tar -C /j && rm /i.tar\n\
    RUN <<END\n\
    set -e\n\
    (echo 1; sleep 0) | cat >/piped\n\
    END\n\
    RUN <<END\n\
    #!/bin/awk -f\n\
    BEGIN { print \"awk\" >\"/awk\" }\n\
    END\n\
    COPY readable /readable\n\
    RUN /readable && rm /readable\n\
    USER aria:games\n\
    RUN id >/tmp/id && test ! -r /token && find / -xdev -type d >/dev/null 2>&1; test -w /dev/null\n\
    USER 1000\n\
    WORKDIR /w\n\
    RUN id -u >own && test ! -w /f && umask >umask && test \"$PWD\" = /w\n";

/// What shells and apt do: libc makes another call where the kernel lacks faccessat2, but not where
/// that is refused (EPERM).
const READABLE: &str = "#include <fcntl.h>\n#include <unistd.h>\n\
    int main(void) { return faccessat(AT_FDCWD, \"/etc/passwd\", R_OK, AT_EACCESS) != 0; }\n";

const fn one(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;

const fn answer(action: u32) -> libc::sock_filter {
    one(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

const fn refused(errno: i32) -> libc::sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

/// A filter that answers all calls from `first` on with `errno`.
fn without_calls_from(first: u32, errno: i32) -> Vec<libc::sock_filter> {
    vec![
        one(LOAD, 0, 0, 0),
        // With another answer for this one no program of today's libc could start a thread.
        one(EQUAL, 0, 1, CLONE3),
        refused(libc::ENOSYS),
        one(AT_LEAST, 0, 1, first),
        refused(errno),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

/// A filter that answers SECCOMP_IOCTL_NOTIF_ADDFD as kernels before 5.9 do, and those before 5.14
/// with SECCOMP_ADDFD_FLAG_SEND.
fn without_handing_over() -> Vec<libc::sock_filter> {
    vec![
        one(LOAD, 0, 0, 0),
        one(EQUAL, 0, 3, libc::SYS_ioctl as u32),
        // The lower half of the second argument.
        one(LOAD, 0, 0, 24),
        one(EQUAL, 0, 1, 0x4018_2103),
        refused(libc::EINVAL),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

/// Has the program be started under a filter.
fn start_under(command: &mut Command, program: Vec<libc::sock_filter>) {
    let install = move || {
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: pointer and length describe `program`, which outlives the call. Root needs no
        // PR_SET_NO_NEW_PRIVS.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only one system call is made, without locks or memory.
    unsafe { command.pre_exec(install) };
}

/// Who starts the build: for an isolation that is meant for others than root, one of those.
fn user_of(isolation: &str) -> &'static str {
    if ["single", "emulated"].contains(&isolation) { ONE_ID } else { "exec \"$@\"" }
}

fn try_build(isolation: &str, filter: Option<Vec<libc::sock_filter>>) -> Result<String, String> {
    let home = Home::new();
    let context = home.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), "of the project\n").unwrap();
    fs::write(home.path().join("token"), "hunter2").unwrap();
    fs::write(home.path().join("readable.c"), READABLE).unwrap();
    let program = context.join("readable");
    run(Command::new("cc").args(["-static", "-o"]).arg(&program).arg(home.path().join("readable.c")));
    let base = home.path().join("base").display().to_string();
    fs::write(context.join("Dockerfile"), DOCKERFILE.replace("@BASE@", &base)).unwrap();
    give(&home);
    let mut command = as_user(&home, user_of(isolation));
    let secret = format!("id=token,src={}", home.path().join("token").display());
    command.args(["build", "-q", "--no-cache", "--secret", &secret, "--isolation", isolation]).arg(&context);
    if let Some(filter) = filter {
        start_under(&mut command, filter);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(errors) }
}

fn build(isolation: &str, missing: Option<(u32, i32)>) -> String {
    let filter = missing.map(|(first, errno)| without_calls_from(first, errno));
    try_build(isolation, filter).unwrap_or_else(|errors| panic!("{isolation} without the calls of {missing:?}: {errors}"))
}

#[test]
fn every_isolation_makes_the_same_image_without_the_calls_of_younger_kernels() {
    needs_root!();
    let expected = build("root", None);
    for errno in [libc::ENOSYS, libc::EPERM] {
        for isolation in ["root", "userns", "single", "chroot"] {
            assert_eq!(build(isolation, Some((FIRST_MISSING[0], errno))), expected, "{isolation} {errno}");
        }
        for first in &FIRST_MISSING[1..] {
            assert_eq!(build("root", Some((*first, errno))), expected, "{first} {errno}");
        }
    }
}

#[test]
fn emulated_makes_it_too_or_says_which_call_it_lacks() {
    needs_root!();
    let expected = build("root", None);
    for errno in [libc::ENOSYS, libc::EPERM] {
        for first in FIRST_MISSING {
            // It is openat2 that it cannot do without.
            let built = try_build("emulated", Some(without_calls_from(first, errno)));
            if first > OPENAT2 {
                assert_eq!(built.as_deref(), Ok(expected.as_str()), "{first} {errno}");
            } else {
                let errors = built.unwrap_err();
                let reason = format!("emulated: openat2 failed: {}", std::io::Error::from_raw_os_error(errno));
                assert!(errors.contains(&reason) && errors.contains("\nhint: "), "{first} {errno}: {errors}");
            }
        }
    }
}

#[test]
fn emulated_says_that_the_kernel_cannot_hand_a_file_over() {
    needs_root!();
    let errors = try_build("emulated", Some(without_handing_over())).unwrap_err();
    let reason = "emulated: ioctl(SECCOMP_ADDFD_FLAG_SEND) failed: Invalid argument";
    assert!(errors.contains(reason) && errors.contains("\nhint: use Linux 5.14 or newer"), "{errors}");
}

/// It uses none of it: a container may do without, and a command that asks gets the kernel's answer.
#[test]
fn emulated_needs_no_landlock() {
    needs_root!();
    let expected = build("root", None);
    for errno in [libc::ENOSYS, libc::EPERM] {
        assert_eq!(build("emulated", Some((LANDLOCK, errno))), expected, "{errno}");
    }
}
