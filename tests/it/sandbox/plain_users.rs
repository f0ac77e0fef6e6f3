//! The command as an ordinary user, with a range of ids and with one id alone: what it may not
//! remove itself it has removed where it may, and Ctrl-C leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::isolations::PLAIN_USER;
use crate::cli::signals::{assert_clean, wait_for};
use crate::home::Home;
use crate::skip::{is_possible, needs_root};
use crate::{judge, judges, run};

pub(super) const ONE_ID: &str =
    "exec setpriv --reuid=5000 --regid=5000 --clear-groups --no-new-privs --bounding-set=-all -- \"$@\"";

/// Both kinds of users, and the isolation that each gets.
pub(crate) const KINDS: [(&str, &str); 2] = [("userns", PLAIN_USER), ("single", ONE_ID)];

/// Those, and the isolation that is left if nothing else works.
const WITH_EMULATED: [(&str, &str); 3] = [KINDS[0], KINDS[1], ("emulated", ONE_ID)];

/// `mpimg` as that user, to whom the home belongs.
pub(crate) fn as_user(home: &Home, script: &str) -> Command {
    let inner = home.mpimg();
    let mut command = judge("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"]).arg(inner.get_program());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null()).env("SOURCE_DATE_EPOCH", "1000000000");
    command
}

/// A context on the base image, all of it the user's.
fn prepare(home: &Home, steps: &str) -> PathBuf {
    let context = home.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), format!("FROM oci:{}:base\n{steps}", home.path().join("base").display())).unwrap();
    give(home);
    context
}

/// A copy of the base image in the home, and all of that the user's.
pub(crate) fn give(home: &Home) {
    give_to(home, 5000);
}

pub(super) fn give_to(home: &Home, user: u32) {
    let base = home.path().join("base");
    fs::create_dir(&base).unwrap();
    // Not all that is there: other tests' tools write temporary files beside them.
    let files = ["blobs", "index.json", "oci-layout"].map(|name| judges().join("base").join(name));
    run(judge("cp").arg("-a").args(files).arg(&base));
    run(judge("chown").args(["-R", &format!("{user}:{user}")]).arg(home.store().parent().unwrap()));
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Files of other users, in folders that only they may read.
const FOREIGN: &str =
    "RUN mkdir -m 700 /secret /secret/inner && touch /secret/inner/x && chown -R 7:8 /secret && chmod 500 /secret
RUN --mount=type=cache,target=/cache mkdir -m 700 /cache/inner && touch /cache/inner/x && chown -R 7:8 /cache/inner
";

#[test]
fn a_plain_user_prunes_files_of_the_users_that_only_its_namespace_has() {
    needs_root!();
    for (isolation, script) in KINDS {
        let home = Home::new();
        let context = prepare(&home, FOREIGN);
        run(as_user(&home, script).args(["build", "-q", "--isolation", isolation]).arg(&context));
        let unpacked = entries(&home.store().join("unpacked"));
        assert!(unpacked.len() >= 3 && entries(&home.store().join("mounts")).len() == 1, "{isolation}: {unpacked:?}");
        // They are counted as far as they can be read.
        run(as_user(&home, script).args(["prune", "--keep-storage", "1GB"]));
        let pruned = run(as_user(&home, script).args(["prune", "--all"]));
        assert!(pruned.contains(" 1 cache folders"), "{isolation}: {pruned}");
        for folder in ["unpacked", "mounts", "tmp"] {
            assert_eq!(entries(&home.store().join(folder)), Vec::<PathBuf>::new(), "{isolation}");
        }
    }
}

#[test]
fn after_a_boot_and_a_kill_a_plain_user_gets_rid_of_what_is_left() {
    needs_root!();
    for (isolation, script) in WITH_EMULATED.into_iter().filter(|(isolation, _)| is_possible(isolation)) {
        let home = Home::new();
        let context = prepare(&home, &format!("{FOREIGN}RUN chown -R 7:8 /opt && echo started && sleep 600\n"));
        let mut build = as_user(&home, script);
        build.args(["build", "--progress", "plain", "--isolation", isolation]).arg(&context);
        let mut child = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&mut child, "] started");
        child.kill().unwrap();
        child.wait().unwrap();
        fs::write(home.store().join("boot"), "another boot\n").unwrap();
        run(as_user(&home, script).arg("images"));
        assert_eq!(entries(&home.store().join("unpacked")), Vec::<PathBuf>::new(), "{isolation}");
        // That was noted: the next opening has nothing to do.
        let now = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(fs::read(home.store().join("boot")).unwrap().starts_with(&now), "{isolation}");
        run(as_user(&home, script).args(["prune", "-q"]));
        assert_eq!(entries(&home.store().join("tmp")), Vec::<PathBuf>::new(), "{isolation}");
    }
}

#[test]
fn a_signal_as_a_plain_user_leaves_nothing_and_the_next_build_is_right() {
    needs_root!();
    let interrupted = WITH_EMULATED.map(|(isolation, script)| (isolation, script, Signal::INT, 130));
    for (isolation, script, signal, status) in interrupted.into_iter().chain([("emulated", ONE_ID, Signal::TERM, 143)]) {
        if !is_possible(isolation) {
            continue;
        }
        let home = Home::new();
        let steps =
            "RUN mkdir -m 700 /opt/x && chown 7:8 /opt/x && (sleep 600 & [ -e /opt/go ] || { echo started; sleep 600; })\n";
        let context = prepare(&home, steps);
        let mut build = as_user(&home, script);
        build.args(["build", "--progress", "plain", "--isolation", isolation]).arg(&context);
        let mut child = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&mut child, "] started");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(status), Vec::new()), "{isolation}");
        assert_clean(&home);
        assert_eq!(entries(&home.store().join("blobs/sha256")), Vec::<PathBuf>::new(), "{isolation}");
        let next = steps.replace("[ -e /opt/go ] || { echo started; sleep 600; }", "true");
        fs::write(context.join("Dockerfile"), format!("FROM oci:{}:base\n{next}", home.path().join("base").display())).unwrap();
        let digest = run(as_user(&home, script).args(["build", "-q", "--isolation", isolation]).arg(&context));
        let undisturbed = Home::new();
        let context = prepare(&undisturbed, &next);
        assert_eq!(
            run(undisturbed
                .mpimg()
                .args(["build", "-q", "--isolation", "root"])
                .arg(&context)
                .env("SOURCE_DATE_EPOCH", "1000000000")),
            digest,
            "{isolation}"
        );
    }
}
