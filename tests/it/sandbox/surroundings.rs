//! What mpimg inherits from whatever starts it: limits, ignored signals; and what a failing step of
//! a container without /proc says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::plain_users::{as_user, give_to};
use crate::home::Home;
use crate::judges;
use crate::skip::{Missing, needs_root, possible, skip};

/// Runs `mpimg build` of `steps` by a shell that has done `first`.
fn build(home: &Home, first: &str, isolation: &str, steps: &str) -> Output {
    let context = home.path().join("context");
    fs::create_dir_all(&context).unwrap();
    let base = judges().join("base").display().to_string();
    fs::write(context.join("Dockerfile"), format!("FROM oci:{base}:base\n{steps}")).unwrap();
    let mpimg = home.mpimg();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{first}; exec \"$0\" build -q --no-cache --isolation {isolation} \"$1\"")]);
    command.arg(mpimg.get_program()).arg(&context);
    for (name, value) in mpimg.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

#[test]
fn a_parent_that_ignores_its_children_changes_nothing() {
    needs_root!();
    let expected = build(&Home::new(), "true", "root", "RUN echo x >/x\n");
    assert!(expected.status.success(), "{expected:?}");
    for isolation in ["root", "chroot"] {
        let output = build(&Home::new(), "trap '' CHLD", isolation, "RUN echo x >/x\n");
        assert!(output.status.success(), "{isolation}: {output:?}");
    }
}

#[test]
fn a_file_beyond_the_limit_is_an_error_and_not_a_silent_death() {
    needs_root!();
    let output = build(&Home::new(), "ulimit -f 100", "root", "RUN true\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{output:?}");
    assert!(errors.contains("File too large") && errors.contains("hint: "), "{errors}");
}

#[test]
fn a_step_that_meets_its_own_limit_is_told_which() {
    needs_root!();
    for isolation in possible(["root", "chroot", "emulated"]) {
        for (limit, step, hint) in [
            ("nofile=5:5", "exec 3</dev/null && exec 4</dev/null && exec 5</dev/null", "`ulimit -n`"),
            ("fsize=1000000", "head -c 9000000 /dev/zero >/opt/a", "`ulimit -f`"),
        ] {
            let output = build(&Home::new(), "true", &format!("{isolation} --ulimit {limit}"), &format!("RUN {step}\n"));
            let errors = String::from_utf8_lossy(&output.stderr);
            let told = errors.lines().filter(|line| line.starts_with("hint: ")).collect::<Vec<_>>();
            assert_eq!(output.status.code(), Some(1), "{isolation} {limit}: {errors}");
            assert!(told.len() == 1 && told[0].contains(hint), "{isolation} {limit}: {errors}");
        }
    }
}

#[test]
fn a_limit_of_processes_is_told_before_anything_begins_or_by_the_step_that_meets_it() {
    needs_root!();
    // Whose processes count: nobody else's test may have any.
    let user = 700_000 + std::process::id() % 100_000;
    for isolation in possible(["single", "emulated"]) {
        for limit in [1, 2, 4, 8, 10, 40] {
            let home = Home::new();
            let base = home.path().join("base");
            let context = home.path().join("context");
            fs::create_dir(&context).unwrap();
            let step = "RUN for i in $(seq 60); do sleep 60 & done\n";
            fs::write(context.join("Dockerfile"), format!("FROM oci:{}:base\n{step}", base.display())).unwrap();
            give_to(&home, user);
            let script = format!(
                "exec prlimit --nproc={limit} setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs \"$@\""
            );
            let mut command = as_user(&home, &script);
            let output = command.args(["build", "-q", "--isolation", isolation]).arg(&context).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let (error, cause) = match limit {
                40 => ("error: RUN failed", "/bin/sh: can't fork: Resource temporarily unavailable"),
                _ => ("error: cannot start threads", "caused by: Resource temporarily unavailable"),
            };
            assert_eq!(output.status.code(), Some(1), "{isolation} {limit}: {errors}");
            let all = [error, cause, "\nhint: raise the limit of processes (`ulimit -u`, or `pids` of the container)\n"];
            assert!(
                all.iter().all(|text| errors.contains(text)) && !errors.contains("panicked"),
                "{isolation} {limit}: {errors}"
            );
        }
    }
}

/// A control group with a limit of processes, such as a pod's. It counts those of all users.
struct Pids(PathBuf);

impl Pids {
    fn create() -> Option<Self> {
        let mounts = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let group = |mount: &Path| Self(mount.join(format!("mpimg-test-{}", std::process::id())));
        let made = |group: &Self| fs::create_dir(&group.0).is_ok() && group.0.join("pids.max").exists();
        mounts.into_iter().map(group).find(made)
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        // A process that has just ended may still be in it.
        while fs::remove_dir(&self.0).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_pods_limit_of_processes_is_told_too() {
    needs_root!();
    let Some(group) = Pids::create() else { skip!(Missing::Pids) };
    for isolation in possible(["root", "chroot", "emulated"]) {
        for limit in [4, 10, 12, 40] {
            fs::write(group.0.join("pids.max"), format!("{limit}\n")).unwrap();
            let enter = format!("echo $$ >{}/cgroup.procs", group.0.display());
            let output = build(&Home::new(), &enter, isolation, "RUN for i in $(seq 60); do sleep 60 & done\n");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{isolation} {limit}: {errors}");
            let hint = "\nhint: raise the limit of processes (`ulimit -u`, or `pids` of the container)\n";
            assert!(
                errors.contains("Resource temporarily unavailable") && errors.contains(hint) && !errors.contains("panicked"),
                "{isolation} {limit}: {errors}"
            );
        }
    }
}

#[test]
fn a_step_that_fails_for_want_of_proc_says_so() {
    needs_root!();
    let output = build(&Home::new(), "true", "chroot", "RUN echo x >/dev/stdout\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("`/dev/stdout` needs /proc/self"), "{errors}");
}
