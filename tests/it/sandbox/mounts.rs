//! `RUN --mount`, and that mount targets leave no trace.

use std::error::Error as _;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use mpimg::CancellationToken;
use mpimg::layer::LayerPath;
use mpimg::sandbox::{BindSource, Exit, IsolationKind, IsolationMode, Mount, SecretBytes, User};

use super::rootfs::{Fixture, lines};
use crate::skip::{needs_emulated, needs_root};

fn path(text: &str) -> LayerPath {
    LayerPath::parse(text).unwrap()
}

fn secret(target: &str, mode: u32, id: u32) -> Mount {
    Mount::MemoryFile { bytes: SecretBytes::new("hunter2"), target: path(target), mode, uid: id, gid: id }
}

fn bind(fixture: &Fixture, source: &str, target: &str, writable: bool) -> Mount {
    let source = BindSource::Host { root: fixture.state.path().join("context"), path: path(source) };
    Mount::Bind { source, target: path(target), writable }
}

#[test]
fn a_secret_is_there_for_its_user_and_in_no_layer() {
    needs_root!();
    let mut fixture = Fixture::new();
    let mut spec = fixture.shell("cat /run/secrets/a; stat -c ' %a %u' /run/secrets/a; echo x >/run/secrets/a; rm /run/secrets/a; cat /work/deep/b 2>&1; true");
    spec.user = User { uid: 1000, gid: 1000, groups: Vec::new() };
    spec.mounts = vec![secret("run/secrets/a", 0o400, 1000), secret("work/deep/b", 0o400, 0)];
    let ran = fixture.run(&spec);
    assert!(ran.output.starts_with("hunter2 400 1000\n"), "{}", ran.output);
    assert!(ran.output.ends_with("cat: can't open '/work/deep/b': Permission denied\n"), "{}", ran.output);
    assert_eq!(lines(&fixture.changes(&ran)), Vec::<String>::new());
}

#[test]
fn a_folder_with_a_mount_target_keeps_what_the_command_put_there() {
    needs_root!();
    let mut fixture = Fixture::new();
    let mut spec = fixture.shell("echo x >/run/secrets/mine; echo y >/etc/mine");
    spec.mounts = vec![secret("run/secrets/a", 0o400, 0)];
    let ran = fixture.run(&spec);
    assert_eq!(lines(&fixture.changes(&ran)), ["etc/", "etc/mine 2", "run/", "run/secrets/", "run/secrets/mine 2"]);
}

#[test]
fn a_dangling_resolv_conf_gets_its_target_for_the_step_only() {
    needs_root!();
    let mut fixture = Fixture::new();
    fixture.changes_of("ln -s ../run/systemd/resolve/stub.conf /etc/resolv.link");
    let mut spec = fixture.shell("cat /run/systemd/resolve/stub.conf; readlink /etc/resolv.link");
    spec.mounts = vec![secret("etc/resolv.link", 0o444, 0)];
    let ran = fixture.run(&spec);
    assert_eq!(ran.output, "hunter2../run/systemd/resolve/stub.conf\n");
    assert_eq!(lines(&fixture.changes(&ran)), Vec::<String>::new());
}

#[test]
fn a_bind_mount_shows_its_source_and_throws_writes_away() {
    needs_root!();
    let mut fixture = Fixture::new();
    let context = fixture.state.path().join("context");
    fs::create_dir_all(context.join("folder")).unwrap();
    fs::write(context.join("folder/file"), "source").unwrap();
    let mut spec = fixture.shell(
        "cat /ro/file /rw/file /one; echo x >/ro/file; echo y >/rw/file; echo z >/rw/new; echo w >/two; cat /rw/file /two",
    );
    spec.mounts = vec![
        bind(&fixture, "folder", "ro", false),
        bind(&fixture, "folder", "rw", true),
        bind(&fixture, "folder/file", "one", false),
        bind(&fixture, "folder/file", "two", true),
    ];
    let ran = fixture.run(&spec);
    assert_eq!(ran.output, "sourcesourcesource/bin/sh: can't create /ro/file: Read-only file system\ny\nw\n");
    assert_eq!(lines(&fixture.changes(&ran)), Vec::<String>::new());
    assert_eq!(fs::read_to_string(context.join("folder/file")).unwrap(), "source");
    assert!(!context.join("folder/new").exists());
}

#[test]
fn a_bind_mount_of_another_stage_shows_its_layers_as_one() {
    needs_root!();
    let mut fixture = Fixture::new();
    fixture.changes_of("rm /usr/share/doc/a; echo new >/usr/share/doc/c");
    let source = BindSource::Stack { lower: fixture.layers.clone(), path: path("usr/share/doc") };
    let mut spec = fixture.shell("ls /other; echo x >/other/c");
    spec.mounts = vec![Mount::Bind { source, target: path("other"), writable: false }];
    let ran = fixture.run(&spec);
    assert_eq!(ran.output, "b\nc\n/bin/sh: can't create /other/c: Read-only file system\n");
}

#[test]
fn a_cache_mount_outlives_the_step_and_a_tmpfs_does_not() {
    needs_root!();
    let mut fixture = Fixture::new();
    let folder = fixture.state.path().join("caches/one");
    let room = fixture.state.path().join("room");
    let cache = |readonly| Mount::Cache {
        folder: folder.clone(),
        room: room.clone(),
        target: path("var/cache"),
        mode: 0o750,
        uid: 5,
        gid: 6,
        readonly,
        seed: None,
    };
    let tmpfs = Mount::Tmpfs { target: path("scratch"), size: Some(65536), mode: Some(0o755) };
    let mut spec = fixture.shell(
        "stat -c '%a %u %g' /var/cache; echo kept >/var/cache/x; head -c 100000 /dev/zero >/scratch/x 2>/dev/null || echo full",
    );
    spec.mounts = vec![cache(false), tmpfs];
    let ran = fixture.run(&spec);
    assert_eq!((ran.output.as_str(), ran.exit), ("750 5 6\nfull\n", Exit::Code(0)));
    assert_eq!(lines(&fixture.changes(&ran)), Vec::<String>::new());
    let mut spec = fixture.shell("cat /var/cache/x; echo y >/var/cache/y");
    spec.mounts = vec![cache(true)];
    assert_eq!(fixture.run(&spec).output, "kept\n/bin/sh: can't create /var/cache/y: Read-only file system\n");
}

/// A step that is killed in the middle ends there as well, but not always at the same place.
#[test]
fn a_cache_that_was_begun_and_not_finished_is_not_there_for_the_next_step() {
    needs_root!();
    needs_emulated!();
    let mut fixture = Fixture::on(IsolationMode::Forced(IsolationKind::Emulated));
    let seed = fixture.state.path().join("seed");
    fs::create_dir_all(seed.join("first")).unwrap();
    // Not even its owner may read it.
    fs::write(seed.join("second"), "x").unwrap();
    fs::set_permissions(seed.join("second"), Permissions::from_mode(0o000)).unwrap();
    let folder = fixture.state.path().join("caches/one");
    let mut step = |round: u32| {
        let mut spec = fixture.shell("ls -l /c | wc -l; stat -c '%a %u %g' /c");
        spec.mounts = vec![Mount::Cache {
            folder: folder.clone(),
            room: fixture.state.path().join(format!("room-{round}")),
            target: path("c"),
            mode: 0o750,
            uid: 5,
            gid: 6,
            readonly: false,
            seed: Some(BindSource::Host { root: seed.clone(), path: path("") }),
        }];
        let mut output = Vec::new();
        let ran = fixture.isolation.run(&spec, &mut |bytes| output.extend_from_slice(bytes), &CancellationToken::default());
        ran.map(|_| String::from_utf8(output).unwrap())
    };
    for round in [1, 2] {
        let error = step(round).unwrap_err();
        assert!(error.source().unwrap().to_string().contains("Permission denied"), "{error:?}");
        assert!(!folder.exists());
    }
    fs::set_permissions(seed.join("second"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(step(3).unwrap(), "3\n755 0 0\n");
}

#[test]
fn an_ssh_agent_answers_through_its_mount() {
    needs_root!();
    let mut fixture = Fixture::new();
    let socket = fixture.state.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut question = [0; 4];
        client.read_exact(&mut question).unwrap();
        client.write_all(b"answer").unwrap();
        question
    });
    // busybox has no client for such sockets; the machine's perl has.
    fixture.changes_of("ln -s usr/lib /lib; ln -s usr/lib64 /lib64");
    let client = "my $s = IO::Socket::UNIX->new(Peer => q(/run/agent)) or die $!; print $s q(ping); $s->flush; print <$s>";
    let mut spec = fixture.shell(&format!("stat -c '%a %u' /run/agent; perl -MIO::Socket::UNIX -e '{client}'"));
    spec.mounts = vec![
        Mount::Bind { source: BindSource::Host { root: "/".into(), path: path("usr") }, target: path("usr"), writable: false },
        Mount::Ssh { socket, target: path("run/agent"), mode: 0o600, uid: 1000, gid: 1000 },
    ];
    spec.user = User { uid: 1000, gid: 1000, groups: Vec::new() };
    let ran = fixture.run(&spec);
    assert_eq!(ran.output, "600 1000\nanswer");
    assert_eq!(&agent.join().unwrap(), b"ping");
}

/// buildah CVE-2024-1753 and -9407 (bind source through a link), -9675 (cache source), -11218 (the
/// same in time of check and use).
#[test]
fn buildah_cve_2024_1753_9407_9675_11218_the_source_of_a_mount_cannot_leave_its_root() {
    needs_root!();
    let mut fixture = Fixture::new();
    let context = fixture.state.path().join("context");
    fs::create_dir_all(&context).unwrap();
    fs::write(fixture.state.path().join("outside"), "of the machine").unwrap();
    symlink("../outside", context.join("relative")).unwrap();
    symlink(fixture.state.path().join("outside"), context.join("absolute")).unwrap();
    symlink("/", context.join("root")).unwrap();
    for source in ["relative", "absolute", "root/outside"] {
        let mut spec = fixture.shell("cat /in");
        spec.mounts = vec![bind(&fixture, source, "in", false)];
        let error = fixture.isolation.run(&spec, &mut |_| {}, &Default::default()).unwrap_err();
        assert!(error.to_string().contains("the mount's source"), "{source}: {error}");
    }
    let mut spec = fixture.shell("ls /in");
    spec.mounts = vec![bind(&fixture, "root", "in", false)];
    assert_eq!(fixture.run(&spec).output, "absolute\nrelative\nroot\n");
}

/// moby CVE-2018-15664: a link in an image is resolved in the image.
#[test]
fn moby_cve_2018_15664_links_of_an_image_are_resolved_inside_it() {
    needs_root!();
    let mut fixture = Fixture::new();
    let outside = fixture.state.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fixture.changes_of(&format!("ln -s {} /out; ln -s / /root-link", outside.display()));
    let source = BindSource::Stack { lower: fixture.layers.clone(), path: path("root-link/etc/group") };
    let mut spec = fixture.shell("head -n 1 /in");
    spec.mounts = vec![Mount::Bind { source, target: path("in"), writable: false }, secret("out/secret", 0o444, 0)];
    let ran = fixture.run(&spec);
    assert_eq!(ran.output, "root:x:0:\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(lines(&fixture.changes(&ran)), Vec::<String>::new());
}

/// BuildKit CVE-2024-23652: removing mount targets must not follow what the command has put in
/// their place. CVE-2024-23651: nor may sources of mounts be exchanged between check and use;
/// 2024-23653 concerns an API that this program does not have.
#[test]
fn buildkit_cve_2024_23652_removing_mount_targets_follows_no_links() {
    needs_root!();
    let mut fixture = Fixture::new();
    let outside = fixture.state.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a"), "").unwrap();
    let time = fs::metadata(&outside).unwrap().mtime_nsec();
    let mut spec = fixture.shell(&format!(
        "mv /run /moved; ln -s {} /run; ln -s {} /secrets",
        outside.parent().unwrap().display(),
        outside.display()
    ));
    spec.mounts = vec![secret("run/outside/a", 0o400, 0)];
    let ran = fixture.run(&spec);
    assert_eq!(ran.exit, Exit::Code(0), "{}", ran.output);
    assert!(outside.join("a").exists());
    assert_eq!(fs::metadata(&outside).unwrap().mtime_nsec(), time);
}
