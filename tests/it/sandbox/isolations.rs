//! Each kind of isolation in an environment that gives it and no better one.
//!
//! The environments are made with Debian's tools around this very test program, which is started
//! again for one ignored test.

use std::error::Error as _;
use std::path::Path;
use std::process::Command;

use mpimg::CancellationToken;
use mpimg::layer::LayerPath;
use mpimg::layer::unpack::Limits;
use mpimg::sandbox::{BindSource, Exit, Isolation, IsolationKind, IsolationMode, Mount, SecretBytes, User};

use tar::EntryType;

use super::rootfs::{Fixture, lines};
use crate::skip::{is_possible, needs_emulated, needs_root};
use crate::tar_builder::{Tar, header};

/// Starts the ignored test `name` of this program again, by way of `script`, whose `"$@"` is the
/// command.
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
pub(super) const PLAIN_USER: &str = "
    echo 'tester:x:5000:5000::/:/bin/sh' >$TMPDIR/passwd
    echo 'tester:200000:65536' >$TMPDIR/subuid
    for file in passwd subuid; do mount --bind $TMPDIR/$file /etc/$file; done
    mount --bind $TMPDIR/subuid /etc/subgid
    exec setpriv --reuid=5000 --regid=5000 --clear-groups -- \"$@\"
";

#[test]
fn a_plain_user_with_a_range_of_ids_gets_the_user_namespace() {
    needs_root!();
    let folder = shared_folder();
    again("sandbox::isolations::inside_user_namespace", PLAIN_USER, folder.path());
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_user_namespace() {
    let mut fixture = Fixture::on(IsolationMode::Auto);
    assert_eq!(fixture.isolation.kind(), IsolationKind::UserNamespace, "{:?}", fixture.isolation.report());
    assert_eq!(fixture.isolation.report().attempts[0].failure.as_ref().unwrap().errno, Some(1));
    assert_eq!(fixture.output_of("cat /proc/self/uid_map | tr -s ' '"), " 0 5000 1\n 1 200000 65536\n");
    let mut null = header(EntryType::Char, "null", "", 0);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    null.set_uid(0);
    null.set_gid(0);
    null.set_cksum();
    let devices = Tar::default().raw(&null, b"").owned(EntryType::Fifo, "fifo", "", 0o600, 1, b"");
    let folder = fixture.state.path().join("devices");
    let stats = fixture.isolation.unpack(&mut devices.bytes().as_slice(), &folder, &[], &Limits::default()).unwrap();
    assert_eq!((stats.entries, stats.skipped_devices), (2, 1));
    let error = fixture.isolation.unpack(&mut &b"no tar"[..], &folder, &[], &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), mpimg::ErrorKind::Corrupt);
    a_cache_of_a_user_who_is_not_here_is_refused_each_time(&mut fixture);
    commands_do_what_they_do_in_docker(&mut fixture);
}

/// The folder that could not be given away is not there for the next step to take.
fn a_cache_of_a_user_who_is_not_here_is_refused_each_time(fixture: &mut Fixture) {
    for round in [1, 2] {
        let mut spec = fixture.shell("stat -c %u /c");
        spec.mounts = vec![Mount::Cache {
            folder: fixture.state.path().join("caches/foreign"),
            room: fixture.state.path().join(format!("room-{round}")),
            target: LayerPath::parse("c").unwrap(),
            mode: 0o750,
            uid: 70_000,
            gid: 0,
            readonly: false,
            seed: None,
        }];
        let error = fixture.isolation.run(&spec, &mut |_| (), &CancellationToken::default()).unwrap_err();
        assert!(error.source().unwrap().to_string().contains("Invalid argument"), "{error:?}");
    }
}

/// A user without a range of ids; the second may not even run newuidmap.
const ONE_ID: [&str; 2] = [
    "exec setpriv --reuid=5000 --regid=5000 --clear-groups -- \"$@\"",
    "exec setpriv --reuid=5000 --regid=5000 --clear-groups --no-new-privs --bounding-set=-all -- \"$@\"",
];

#[test]
fn a_plain_user_without_a_range_of_ids_gets_one_id() {
    needs_root!();
    for script in ONE_ID {
        let folder = shared_folder();
        again("sandbox::isolations::inside_one_id", script, folder.path());
    }
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_one_id() {
    let mut fixture = Fixture::on(IsolationMode::Auto);
    assert_eq!(fixture.isolation.kind(), IsolationKind::SingleId, "{:?}", fixture.isolation.report());
    assert_eq!(fixture.output_of("cat /proc/self/uid_map | tr -s ' '"), " 0 5000 1\n");
    commands_do_what_they_do_in_docker(&mut fixture);
}

/// As in a container with Docker's default capabilities and no seccomp profile.
const CONTAINER_ROOT: &str = "
    exec setpriv --bounding-set=-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,\
+net_bind_service,+sys_chroot,+kill,+audit_write -- \"$@\"
";

#[test]
fn root_of_a_container_without_a_seccomp_profile_gets_the_user_namespace_with_all_its_ids() {
    needs_root!();
    let folder = shared_folder();
    again("sandbox::isolations::inside_container_without_profile", CONTAINER_ROOT, folder.path());
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_container_without_profile() {
    let mut fixture = Fixture::on(IsolationMode::Auto);
    assert_eq!(fixture.isolation.kind(), IsolationKind::UserNamespace, "{:?}", fixture.isolation.report());
    assert_eq!(fixture.output_of("cat /proc/self/uid_map | tr -s ' '"), " 0 0 4294967295\n");
    commands_do_what_they_do_in_docker(&mut fixture);
}

#[test]
fn root_of_a_default_container_gets_the_chroot() {
    needs_root!();
    let folder = shared_folder();
    again("sandbox::isolations::inside_default_container", CONTAINER_ROOT, folder.path());
}

/// What Docker's default profile does to a process without CAP_SYS_ADMIN, as far as it matters
/// here.
fn deny_namespaces_and_mounts() {
    use seccompiler::{SeccompAction, SeccompFilter};
    let install = |calls: &[i64], errno: i32| {
        let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
    };
    let denied = [
        libc::SYS_unshare,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_setns,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
    ];
    install(&denied, libc::EPERM);
    install(&[libc::SYS_clone3], libc::ENOSYS);
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_default_container() {
    deny_namespaces_and_mounts();
    let mut fixture = Fixture::on(IsolationMode::Auto);
    let report = fixture.isolation.report().clone();
    assert_eq!(fixture.isolation.kind(), IsolationKind::Chroot, "{report:?}");
    for attempt in &report.attempts[..2] {
        let failure = attempt.failure.as_ref().unwrap();
        assert!(failure.step.starts_with("unshare") && failure.errno == Some(libc::EPERM), "{report:?}");
    }
    assert!(report.attempts[1].failure.as_ref().unwrap().remedy.contains("seccomp=unconfined"));
    commands_do_what_they_do_in_docker(&mut fixture);
    chroot_leaves_its_tree_as_it_was(&mut fixture);
}

#[test]
fn a_process_without_any_privilege_gets_the_emulated_isolation() {
    needs_root!();
    needs_emulated!();
    let folder = shared_folder();
    again("sandbox::isolations::inside_restricted_container", ONE_ID[1], folder.path());
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_restricted_container() {
    deny_namespaces_and_mounts();
    let mut fixture = Fixture::on(IsolationMode::Auto);
    let report = fixture.isolation.report().clone();
    assert_eq!(fixture.isolation.kind(), IsolationKind::Emulated, "{report:?}");
    let chroot = report.attempts[3].failure.as_ref().unwrap();
    assert_eq!(chroot.step, "chroot as uid 5000 without CAP_SYS_CHROOT");
    commands_do_what_they_do_in_docker(&mut fixture);
    rights_are_those_of_root(&mut fixture);
    nothing_outside_is_reached(&mut fixture);
    chroot_leaves_its_tree_as_it_was(&mut fixture);
}

/// What only root may do succeeds, and is shown and recorded as if it had been done.
fn rights_are_those_of_root(fixture: &mut Fixture) {
    let shown = fixture.output_of(
        "cd /tmp; mkdir -m 2775 d; chown 5:6 d; touch d/f; stat -c '%u:%g %a %F' d d/f; mknod n c 1 3; stat -c '%u:%g %a %F %t,%T' n; \
         ln -s x l; chown -h 7:8 l; stat -c '%u:%g %F' l; chmod 000 d/f; cat d/f; stat -c %a d/f; ls -ld /proc/self/fd/0 >/dev/null; \
         readlink /proc/self/exe; grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/self/status; chroot / /bin/echo inside",
    );
    let expected = "5:6 2775 directory\n0:6 644 regular empty file\n0:0 644 character special file 1,3\n7:8 symbolic link\n0\n\
                    /bin/busybox\nUid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t0\ninside\n";
    assert_eq!(shown, expected);
    let changes = fixture.changes_of("touch /tmp/d/g; chown 9:9 /tmp/l -h; chmod 4711 /tmp/d/f; rm /tmp/n; mknod /tmp/n b 8 17");
    let found = changes.iter().map(|entry| {
        let metadata = &entry.metadata;
        format!("{} {:o} {}:{} {:?}", entry.path, metadata.mode, metadata.uid, metadata.gid, entry.kind)
    });
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            "/tmp 1777 0:0 Directory",
            "/tmp/d 2775 5:6 Directory",
            "/tmp/d/f 4711 0:6 File { size: 0 }",
            "/tmp/d/g 644 0:6 File { size: 0 }",
            "/tmp/l 777 9:9 Symlink { target: [120] }",
            "/tmp/n 644 0:0 BlockDevice { major: 8, minor: 17 }",
        ]
    );
    // Of another user each folder's mode on the way counts, and its groups.
    let aria = User { uid: 1000, gid: 1000, groups: vec![6] };
    let script = "cat /tmp/secret/f; test -r /tmp/secret/f; echo $?; echo x >/tmp/d/h; stat -c '%u:%g' /tmp/d/h; echo y >/etc/z; \
                  chown 0 /tmp/d/h; chmod 777 /etc; kill -0 1; rm /tmp/keep; mkdir /tmp/own && rmdir /tmp/own && echo made";
    fixture.output_of("mkdir -m 700 /tmp/secret; echo s >/tmp/secret/f; chmod 644 /tmp/secret/f; touch /tmp/keep");
    let spec = fixture.shell_as(&aria, script);
    let output = fixture.run(&spec).output;
    let denied = output.lines().filter(|line| line.contains("denied") || line.contains("not permitted")).count();
    assert!(output.contains("1000:6\n") && output.ends_with("made\n") && denied == 5, "{output}");
}

/// Paths that would lead outside in every form that a program can write them.
fn nothing_outside_is_reached(fixture: &mut Fixture) {
    let outside = fixture.state.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "outside").unwrap();
    let mine = std::process::id();
    let outside = outside.display();
    let up = "../".repeat(24);
    let script = format!(
        "cd /tmp; ln -s {outside}/secret absolute; ln -s {up}{outside}/secret relative; ln -s /proc/{mine}/root root; \
         for path in absolute relative root/{outside}/secret {up}{outside}/secret /proc/self/root/{outside}/secret \
                     /proc/self/cwd/{up}{outside}/secret /proc/thread-self/root{outside}/secret /proc/{mine}/root{outside}/secret \
                     /proc/{mine}/cwd /proc/1/root{outside}/secret /dev/fd/../../../{outside}/secret /dev/../{up}{outside}/secret \
                     /proc/self/task/../../{mine}/environ /proc/../{up}{outside}/secret; do \
             cat $path 2>/dev/null && echo read $path; echo x 2>/dev/null >$path && echo wrote $path; \
             test -e $path && echo there $path; \
         done; mkdir -p c; chroot c /bin/sh -c true 2>/dev/null; rm -f absolute relative root; echo end"
    );
    let spec = fixture.shell(&script);
    let output = fixture.run(&spec).output;
    let inside: Vec<&str> = output.lines().filter(|line| !line.ends_with("absolute") && !line.ends_with("relative")).collect();
    assert_eq!(inside, ["end"], "{output}");
    assert_eq!(std::fs::read_to_string(format!("{outside}/secret")).unwrap(), "outside");
}

fn chroot_leaves_its_tree_as_it_was(fixture: &mut Fixture) {
    let tree = fixture.layers[0].clone();
    assert!(!tree.join("dev").exists() && !tree.join("proc").exists() && !tree.join("etc/resolv.conf").exists());
    // A file of the image itself comes back untouched, whatever the command did to the one in its
    // place.
    std::fs::write(tree.join("etc/hosts"), "of the image").unwrap();
    let changes = fixture.changes_of("echo x >/etc/hosts; echo y >/dev/shm/y; (echo z >/sys/z) 2>/dev/null || true");
    assert_eq!(lines(&changes), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(tree.join("etc/hosts")).unwrap(), "of the image");
    assert!(!tree.with_extension("aside").exists());
}

/// `RUN --mount` with every isolation: what is mounted, or put in place where nothing can be, is
/// gone afterwards.
fn mounts_leave_nothing(fixture: &mut Fixture) {
    let path = |text: &str| LayerPath::parse(text).unwrap();
    let context = fixture.state.path().join("context");
    std::fs::create_dir_all(context.join("folder")).unwrap();
    std::fs::write(context.join("folder/file"), "source").unwrap();
    let cache = fixture.state.path().join("cache");
    let script = "cat /run/secrets/a /in/file; stat -c ' %u %a' /run/secrets/a; echo x >>/in/file; echo y >/scratch/y; cat /cache/kept; \
                  echo again >>/cache/kept; echo z >/usr/share/doc/z";
    for expected in
        ["hunter2source 1000 400\ncat: can't open '/cache/kept': No such file or directory\n", "hunter2source 1000 400\nagain\n"]
    {
        let mut spec = fixture.shell(script);
        spec.mounts = vec![
            Mount::MemoryFile {
                bytes: SecretBytes::new("hunter2"),
                target: path("run/secrets/a"),
                mode: 0o400,
                uid: 1000,
                gid: 1000,
            },
            Mount::Bind {
                source: BindSource::Host { root: context.clone(), path: path("folder") },
                target: path("in"),
                writable: true,
            },
            Mount::Tmpfs { target: path("scratch"), size: None, mode: Some(0o755) },
            Mount::Cache {
                folder: cache.clone(),
                room: fixture.state.path().join("room"),
                target: path("cache"),
                mode: 0o755,
                uid: 0,
                gid: 0,
                readonly: false,
                seed: None,
            },
        ];
        let before = fixture.isolation.snapshot(&spec.root).unwrap();
        let ran = fixture.run(&spec);
        assert_eq!(ran.output, expected);
        assert_eq!(lines(&fixture.changes_since(&ran, &before)), ["usr/", "usr/share/", "usr/share/doc/", "usr/share/doc/z 2"]);
    }
    assert_eq!(std::fs::read_to_string(context.join("folder/file")).unwrap(), "source");
}

/// The same with every isolation.
fn commands_do_what_they_do_in_docker(fixture: &mut Fixture) {
    let facts = fixture.output_of("id -u; stat -c '%u:%g %a' /home/aria; umask; echo $HOME; cat </dev/null; stat -c %a /dev/shm; head -c 3 /dev/zero | wc -c");
    assert_eq!(facts, "0\n1000:1000 755\n0022\n/root\n1777\n3\n");
    // But for this: nothing waits for the disk. fsync of a device fails where the kernel is asked.
    let synced = "sync; dd if=/dev/zero of=/dev/null count=1 conv=fsync 2>/dev/null && echo at once";
    assert_eq!(fixture.output_of(synced), "at once\n");
    let mut container = fixture.shell(&format!("{synced} || echo asked"));
    container.container = true;
    assert_eq!(fixture.run(&container).output, "asked\n");
    let aria = User { uid: 1000, gid: 1000, groups: vec![29] };
    let script = "id -u; id -g; id -G; echo $HOME; touch /home/aria/mine /root/x 2>/dev/null; stat -c %u /home/aria/mine";
    let spec = fixture.shell_as(&aria, script);
    let ran = fixture.run(&spec);
    assert_eq!(ran.output, "1000\n1000\n1000 29\n/home/aria\n1000\n");
    if fixture.isolation.kind().needs_tree() {
        fixture.output_of("rm /home/aria/mine");
    }
    for (script, exit) in [("exit 3", Exit::Code(3)), ("kill -9 $$", Exit::Signal(9)), ("exec /nowhere", Exit::Code(127))] {
        let spec = fixture.shell(script);
        assert_eq!(fixture.run(&spec).exit, exit, "{script}");
    }
    let changes = fixture.changes_of(
        "rm /usr/share/doc/a; chmod 700 /usr/share/doc/b; echo 1 >/home/aria/new; chown -R 1000:1000 /home/aria; ln /home/aria/new /home/z; \
         mkfifo /home/fifo; cp /bin/busybox /opt; chown 1:2 /opt; chmod 4755 /opt; mkdir /tmp/d; rmdir /tmp/d; touch -d '2001-01-01 00:00:00' /tmp",
    );
    let busybox = std::fs::metadata(super::rootfs::busybox()).unwrap().len();
    assert_eq!(
        lines(&changes),
        [
            "home/",
            "home/aria/",
            "home/aria/new 2",
            "home/fifo Fifo",
            "home/z = home/aria/new",
            &format!("opt {busybox}"),
            "tmp/",
            "usr/",
            "usr/share/",
            "usr/share/doc/",
            "usr/share/doc/a whiteout",
            "usr/share/doc/b 7",
        ]
    );
    let of = |path: &str| &changes.iter().find(|entry| entry.path.as_bytes() == path.as_bytes()).unwrap().metadata;
    assert_eq!((of("home/aria/new").mode, of("home/aria/new").uid, of("home/aria/new").gid), (0o644, 1000, 1000));
    assert_eq!((of("opt").mode, of("opt").uid, of("opt").gid), (0o4755, 1, 2));
    assert_eq!((of("tmp").mode, of("tmp").mtime), (0o1777, 978_307_200));
    assert_eq!(of("usr/share/doc/b").mode, 0o700);
    assert_eq!(lines(&fixture.changes_of("true")), Vec::<String>::new());
    let again = fixture.changes_of("rm -r /home/aria; mkdir /home/aria");
    let expected: &[&str] = match fixture.isolation.kind() {
        // Losing a name changes the ctime of a file, and without its old content, which this test
        // has not, that counts.
        kind if kind.needs_tree() => &["home/", "home/aria/", "home/aria/new whiteout", "home/z 2"],
        _ => &["home/", "home/aria/", "home/aria/new whiteout"],
    };
    assert_eq!(lines(&again), expected);
    mounts_leave_nothing(fixture);
    let folder = fixture.state.path().join("step-1");
    fixture.isolation.remove_tree(&folder).unwrap();
    assert!(!folder.exists());
}

#[test]
fn the_report_names_every_isolation() {
    let folder = shared_folder();
    super::rootfs::set_test_helper();
    let report = mpimg::sandbox::Report::of_all(folder.path());
    let isolations: Vec<IsolationKind> = report.attempts.iter().map(|attempt| attempt.isolation).collect();
    assert_eq!(isolations, IsolationKind::ALL);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a probe was left behind");
}

#[test]
fn a_state_folder_on_an_overlay_is_told_with_its_remedy() {
    needs_root!();
    let folder = shared_folder();
    let script = "
        mkdir $TMPDIR/lower $TMPDIR/upper $TMPDIR/work $TMPDIR/merged
        mount -t overlay overlay -o lowerdir=$TMPDIR/lower,upperdir=$TMPDIR/upper,workdir=$TMPDIR/work $TMPDIR/merged
        export TMPDIR=$TMPDIR/merged
        exec \"$@\"
    ";
    again("sandbox::isolations::inside_overlay", script, folder.path());
}

#[test]
#[ignore = "started by another test in its environment"]
fn inside_overlay() {
    super::rootfs::set_test_helper();
    let error = Isolation::detect(&std::env::temp_dir(), IsolationMode::Forced(IsolationKind::Root)).unwrap_err();
    assert_eq!(error.causes()[0], "root: mount overlay failed: Invalid argument (os error 22)");
    assert_eq!(error.hint(), Some("put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk"));
    let error = Isolation::detect(&std::env::temp_dir(), IsolationMode::Forced(IsolationKind::SingleId)).unwrap_err();
    assert_eq!(error.causes()[0], "single: mount overlay failed: Invalid argument (os error 22)");
    assert_eq!(error.hint(), Some("put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk"));
}

#[test]
fn a_killed_process_leaves_nothing_running_or_mounted_on_any_isolation() {
    needs_root!();
    let emulated = format!("export TEST_ISOLATION=emulated; {}", ONE_ID[1]);
    for script in ["exec \"$@\"", CONTAINER_ROOT, ONE_ID[1], &emulated] {
        if script == emulated && !is_possible("emulated") {
            continue;
        }
        let folder = shared_folder();
        let started = folder.path().join("started");
        let mut child = Command::new("sh")
            .args(["-euc", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "sandbox::isolations::inside_long_command", "--ignored"])
            .env("TMPDIR", folder.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // No more waiting than a broken machine deserves: the command writes the file as soon as it
        // runs.
        for _ in 0..600 {
            if std::fs::read(&started).is_ok_and(|name| !name.is_empty()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(started.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let name = std::fs::read_to_string(&started).unwrap();
        let left = || {
            let pgrep = Command::new("pgrep").args(["-f", &format!("^sleep {name}")]).output().expect("install procps");
            String::from_utf8(pgrep.stdout).unwrap()
        };
        for _ in 0..600 {
            if left().is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(left(), "");
        assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains(folder.path().to_str().unwrap()));
    }
}

#[test]
#[ignore = "started by another test and killed"]
fn inside_long_command() {
    let mut fixture = Fixture::on(std::env::var("TEST_ISOLATION").map_or(IsolationMode::Auto, |name| name.parse().unwrap()));
    let name = std::process::id() + 3_000_000;
    let spec = fixture.shell(&format!("trap '' INT TERM HUP; (setsid sleep {name} &); echo up; sleep {name}"));
    let started = std::env::temp_dir().join("started");
    let _ = fixture.isolation.run(&spec, &mut |_| std::fs::write(&started, name.to_string()).unwrap(), &Default::default());
}
