//! The ladder: each rung in an environment that gives it and no better one.
//!
//! The environments are made with Debian's tools around this very test program, which is started again for one ignored test.

use std::path::Path;
use std::process::Command;

use mpimg::sandbox::{Isolation, IsolationMode, Rung};

use super::rootfs::{Fixture, is_root, lines};

/// Starts the ignored test `name` of this program again, by way of `script`, whose `"$@"` is the command.
fn again(name: &str, script: &str, folder: &Path) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"])
        .arg(program)
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("TMPDIR", folder)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A folder that anybody may use.
fn shared_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

/// A user with a range of ids, and none of root's rights.
const PLAIN_USER: &str = "
    echo 'tester:x:5000:5000::/:/bin/sh' >$TMPDIR/passwd
    echo 'tester:200000:65536' >$TMPDIR/subuid
    for file in passwd subuid; do mount --bind $TMPDIR/$file /etc/$file; done
    mount --bind $TMPDIR/subuid /etc/subgid
    exec setpriv --reuid=5000 --regid=5000 --clear-groups -- \"$@\"
";

#[test]
fn a_plain_user_with_a_range_of_ids_gets_the_user_namespace() {
    if is_root() {
        let folder = shared_folder();
        again("sandbox::rungs::inside_user_namespace", PLAIN_USER, folder.path());
    }
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_user_namespace() {
    let mut fixture = Fixture::on(IsolationMode::Auto);
    assert_eq!(fixture.isolation.rung(), Rung::UserNamespace, "{:?}", fixture.isolation.report());
    assert_eq!(fixture.isolation.report().attempts[0].failure.as_ref().unwrap().errno, Some(1));
    assert_eq!(fixture.output_of("id -u; stat -c '%u:%g' /home/aria; touch /sys/x 2>/dev/null || echo no"), "0\n1000:1000\nno\n");
    let changes = fixture.changes_of(
        "rm /usr/share/doc/a; rm -r /home/aria; mkdir /home/aria; echo 1 >/home/aria/new; chown -R 1000:1000 /home/aria; \
         cp /bin/busybox /opt; chown 1:2 /opt; chmod 4755 /opt",
    );
    assert_eq!(
        lines(&changes),
        [
            "home/",
            "home/aria/",
            "home/aria opaque",
            "home/aria/new 2",
            &format!("opt {}", std::fs::metadata(super::rootfs::busybox()).unwrap().len()),
            "usr/",
            "usr/share/",
            "usr/share/doc/",
            "usr/share/doc/a whiteout"
        ]
    );
    let owner = |index: usize| (changes[index].metadata.mode, changes[index].metadata.uid, changes[index].metadata.gid);
    assert_eq!(owner(3), (0o644, 1000, 1000));
    assert_eq!(owner(4), (0o4755, 1, 2));
    let folder = fixture.state.path().join("step-1");
    fixture.isolation.remove_tree(&folder).unwrap();
    assert!(!folder.exists());
    let base = fixture.state.path().join("base");
    fixture.isolation.remove_tree(&base).unwrap();
}

#[test]
fn the_report_names_every_rung() {
    let folder = shared_folder();
    super::rootfs::set_test_helper();
    let report = mpimg::sandbox::Report::of_all(folder.path());
    let rungs: Vec<Rung> = report.attempts.iter().map(|attempt| attempt.rung).collect();
    assert_eq!(rungs, Rung::ALL);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a probe was left behind");
}

#[test]
fn a_state_folder_on_an_overlay_is_told_with_its_remedy() {
    if !is_root() {
        return;
    }
    let folder = shared_folder();
    let script = "
        mkdir $TMPDIR/lower $TMPDIR/upper $TMPDIR/work $TMPDIR/merged
        mount -t overlay overlay -o lowerdir=$TMPDIR/lower,upperdir=$TMPDIR/upper,workdir=$TMPDIR/work $TMPDIR/merged
        export TMPDIR=$TMPDIR/merged
        exec \"$@\"
    ";
    again("sandbox::rungs::inside_overlay", script, folder.path());
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_overlay() {
    super::rootfs::set_test_helper();
    let error = Isolation::detect(&std::env::temp_dir(), IsolationMode::Forced(Rung::Root)).unwrap_err();
    assert_eq!(error.causes()[0], "root: mount overlay failed: Invalid argument (os error 22)");
    assert_eq!(error.hint(), Some("put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk"));
}
