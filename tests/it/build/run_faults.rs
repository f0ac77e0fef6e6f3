//! What happens to a RUN from outside: kill -9 at any moment, a full disk, a power cut. The store
//! stays sound, nothing stays mounted or running, and the next build makes the image that an
//! undisturbed one makes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::home::Home;
use crate::skip::possible;
use crate::{judge, judges, run};

/// A folder with a Dockerfile.
fn context(home: &Home, name: &str, steps: &str) -> PathBuf {
    let folder = home.path().join(name);
    fs::create_dir(&folder).unwrap();
    let base = judges().join("base");
    fs::write(folder.join("Dockerfile"), format!("FROM oci:{}:base\n{steps}", base.display())).unwrap();
    folder
}

fn build(home: &Home, context: &Path, flags: &[&str]) -> Command {
    let mut command = home.mpimg();
    command.args(["build", "-q"]).args(flags).arg(context).env("SOURCE_DATE_EPOCH", "1000000000");
    command
}

/// Steps with files, links, removals and a process that stays behind; `marker` is in the command
/// line of each.
fn steps(marker: &str) -> String {
    format!(
        "RUN : {marker}; seq 200000 >/opt/a; ln /opt/a /opt/b; rm -r /opt/data; mkdir /opt/data; sleep 0.1\n\
         RUN : {marker}; (while : {marker}; do sleep 1; done) & seq 300000 >/opt/c; sleep 0.1\n\
         RUN : {marker}; chown -R aria /opt; rm /opt/b; seq 100000 >/opt/d\n"
    )
}

/// Processes with `marker` in their arguments.
pub(crate) fn running(marker: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(marker)).collect()
}

#[test]
fn a_build_that_is_killed_at_any_moment_leaves_nothing_behind_and_the_next_is_right() {
    for isolation in possible(["root", "chroot", "emulated"]) {
        let home = Home::new();
        let marker = format!("marker-{}-{isolation}", std::process::id());
        let context = context(&home, "context", &steps(&marker));
        let reference = Home::new();
        let begun = Instant::now();
        let digest = run(&mut build(&reference, &context, &["--isolation", isolation]));
        let whole = begun.elapsed();
        for _ in 0..5 {
            let mut command = build(&home, &context, &["--isolation", isolation]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole.mul_f64(fastrand::f64()));
            let _ = child.kill();
            child.wait().unwrap();
            let begun = Instant::now();
            while !running(&marker).is_empty() && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(running(&marker), Vec::<String>::new());
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            assert!(!mounts.contains(home.store().to_str().unwrap()), "{mounts}");
        }
        assert_eq!(run(&mut build(&home, &context, &["--isolation", isolation])), digest);
        run(home.mpimg().args(["prune", "-q"]));
        assert_eq!(home.work_files(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_full_disk_fails_the_step_and_leaves_room_for_the_next() {
    for isolation in possible(["root", "emulated"]) {
        let home = Home::new();
        // The first does not fit as files, the second as files and a layer.
        let large = context(&home, "large", "RUN head -c 90000000 /dev/urandom >/opt/a\n");
        let medium = context(&home, "medium", "RUN head -c 30000000 /dev/urandom >/opt/a\n");
        let small = context(&home, "small", "RUN seq 1000 >/opt/a\n");
        let digest = run(&mut build(&Home::new(), &small, &[]));
        let script = "mount -t tmpfs -o size=48m none \"$MPIMG_HOME\"; for context in \"$@\"; do \
                      status=0; \"$MPIMG\" build -q --isolation $ISOLATION \"$context\" 2>&1 || status=$?; \
                      echo \"exit=$status\"; ls -A \"$MPIMG_HOME/tmp\"; done; \
                      \"$MPIMG\" prune -q --all >/dev/null";
        let mut command = judge("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"]).args([&large, &medium, &small]);
        let environment = home.mpimg();
        let set = environment.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        command
            .env_clear()
            .envs(set)
            .env("MPIMG", env!("CARGO_BIN_EXE_mpimg"))
            .env("SOURCE_DATE_EPOCH", "1000000000")
            .env("ISOLATION", isolation);
        let said = run(&mut command);
        let parts: Vec<&str> = said.split("exit=").collect();
        assert_eq!(parts.len(), 4, "{said}");
        assert!(parts[0].contains("the command ended with status 1"), "{said}");
        assert!(parts[0].contains("hint: the disk is full: `mpimg prune` frees"), "{said}");
        assert!(parts[1].starts_with("1\n") && parts[1].contains("No space left on device"), "{said}");
        assert!(parts[1].contains("`mpimg prune`"), "{said}");
        assert!(parts[2].starts_with("1\n") && parts[2].ends_with(&digest), "{said}");
        assert_eq!(parts[3], "0\n", "{said}");
    }
}

/// Files below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// What a power cut may do to all that nobody has waited for: files that have names and no content.
fn cut_power(store: &Path) {
    let mut written = Vec::new();
    for folder in ["blobs", "cache", "layers", "unpacked"] {
        files(&store.join(folder), &mut written);
    }
    for path in written {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let waited_for = path.starts_with(store.join("blobs")) && mode == 0o400;
        if !waited_for {
            fs::File::options().write(true).truncate(true).open(&path).unwrap();
        }
    }
    fs::write(store.join("boot"), "another boot\n").unwrap();
}

#[test]
fn after_a_power_cut_nothing_is_believed_that_nobody_has_waited_for() {
    for isolation in possible(["root", "chroot", "emulated"]) {
        let home = Home::new();
        let marker = format!("marker-power-{}-{isolation}", std::process::id());
        let context = context(&home, "context", &steps(&marker));
        let flags = ["--isolation", isolation];
        let digest = run(&mut build(&home, &context, &flags));
        cut_power(&home.store());
        assert_eq!(run(build(&home, &context, &flags).args(["-t", "kept:1"])), digest);
        // An image that has a name is there, whatever became of the rest.
        cut_power(&home.store());
        run(home.mpimg().args(["save", "-q", "-o", "oci:layout:x", "kept:1"]));
        let shown = run(home.mpimg().args(["inspect", "--json", "oci:layout:x"]));
        assert!(shown.contains(digest.trim()), "{shown}");
        assert_eq!(run(&mut build(&home, &context, &flags)), digest);
    }
}

#[test]
fn a_command_that_fails_tells_its_own_reason_and_what_it_stood_on_can_be_entered() {
    let home = Home::new();
    let steps = "WORKDIR /opt/here\nENV WORD=kept\nRUN echo left >before\n\
                 RUN echo 'ERROR: No matching distribution found for nosuch' >&2; echo 'WARNING: pip is old' >&2; exit 3\n";
    let context = context(&home, "context", steps);
    let mut command = build(&home, &context, &[]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = "caused by: the command ended with status 3\n  caused by: ERROR: No matching distribution found for nosuch\n";
    assert!(said.contains(reason), "{said}");
    let shell = said.lines().find_map(|line| line.strip_prefix("hint: look around where it failed: `mpimg ")).unwrap();
    let words: Vec<&str> = shell.trim_end_matches('`').split(' ').collect();
    let ["run", "-it", "--entrypoint", "sh", image] = words[..] else { panic!("{words:?}") };
    assert_eq!(
        run(home.mpimg().args(["run", "--entrypoint", "sh", image, "-c", "pwd; cat before; echo $WORD"])),
        "/opt/here\nleft\nkept\n"
    );
    // Another build that fails there takes the same name.
    assert!(!build(&home, &context, &[]).output().unwrap().status.success());
    assert_eq!(run(home.mpimg().args(["images", "-q", "failed-step"])).lines().count(), 1);
}
