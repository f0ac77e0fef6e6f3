//! One id for all: what cannot be set on disk is in the layer all the same, and a command sees it.
//!
//! The judge is the isolation with real owners: both must make the same image from every fixture
//! with a RUN.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::layer::unpack::Limits;
use mpimg::layer::{Entry, Kind};
use mpimg::sandbox::{Exit, IsolationKind, IsolationMode, User};
use tar::EntryType;

use super::rootfs::{Fixture, lines};
use crate::home::Home;
use crate::skip::needs_root;
use crate::tar_builder::Tar;
use crate::tree::Tree;
use crate::{judge, judges, run};

/// `mpimg` as a user who has nothing but its one id. The home becomes that user's.
fn as_nobody_else(home: &Home) -> Command {
    run(judge("chown").args(["-R", "5000:5000"]).arg(home.store().parent().unwrap()));
    let inner = home.mpimg();
    let mut command = judge("setpriv");
    command.args(["--reuid=5000", "--regid=5000", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--"]);
    command.arg(inner.get_program()).env_clear().stdin(std::process::Stdio::null());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap());
    command
}

/// A copy that everybody can read.
fn readable_copy(of: &Path, to: &Path) {
    run(judge("cp").arg("-a").arg(of).arg(to));
    run(judge("chmod").args(["-R", "u=rwX,go=rX"]).arg(to));
}

fn fixtures_with_run() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dockerfiles");
    let mut found: Vec<PathBuf> = all.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        std::fs::read_to_string(path.join("Dockerfile")).unwrap_or_default().lines().any(|line| line.starts_with("RUN"))
    });
    found.sort();
    found
}

#[test]
fn every_fixture_makes_the_same_image_with_one_id_as_with_all() {
    needs_root!();
    let (all, one) = (Home::new(), Home::new());
    let folder = tempfile::tempdir().unwrap();
    run(judge("chmod").arg("755").arg(folder.path()));
    let base = folder.path().join("base");
    readable_copy(&judges().join("base"), &base);
    run(all.mpimg().args(["load", "-q", "-t", "fixture-base:1"]).arg(&base));
    run(as_nobody_else(&one).args(["load", "-q", "-t", "fixture-base:1"]).arg(&base));
    let fixtures = fixtures_with_run();
    assert!(fixtures.len() > 15, "{fixtures:?}");
    let mut different = String::new();
    for fixture in fixtures {
        let context = folder.path().join(fixture.file_name().unwrap());
        readable_copy(&fixture, &context);
        let script = context.join("prepare.sh");
        if script.exists() {
            run(judge("bash").args(["-euc", "umask 022; . ./prepare.sh; rm prepare.sh"]).current_dir(&context));
        }
        let text = String::from_utf8_lossy(&std::fs::read(context.join("Dockerfile")).unwrap()).into_owned();
        let flags: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# flags:")).flat_map(str::split_whitespace).collect();
        let digest = |mut command: Command, isolation: &str| {
            let build = ["build", "-q", "-t", "built", "--isolation", isolation];
            run(command.args(build).args(&flags).arg(&context)).lines().last().unwrap_or_default().to_owned()
        };
        let (expected, found) = (digest(all.mpimg(), "root"), digest(as_nobody_else(&one), "single"));
        if expected != found {
            let _ = writeln!(different, "{}: {expected} as root, {found} with one id", context.display());
        }
    }
    assert_eq!(different, "");
}

/// What the SDK's Dockerfiles do: packages and pip as root, a user, pip as that user.
const LIKE_THE_SDK: &str = r#"
FROM python:3.11.12-slim-bookworm
RUN apt-get update -q && apt-get install -qy --no-install-recommends libcap2-bin && rm -rf /var/lib/apt/lists/*
RUN pip3 install -q --no-cache-dir --no-compile six==1.17.0 2>&1
RUN useradd -m -s /bin/bash -G audio adapter && groupadd extra && chown adapter:extra /opt && chmod 2775 /opt && \
    cp -a /bin/true /opt/capable && setcap cap_net_raw+ep /opt/capable && install -o adapter -m 4750 /bin/true /opt/setuid
RUN touch /opt/of-root && cp -a /etc/shadow /opt/shadow && chown -R adapter /opt/of-root && cp -a /home/adapter /srv/copy
USER adapter
WORKDIR /home/adapter/src
RUN pip3 install -q --no-cache-dir --no-compile idna==3.10 2>&1
RUN pip3 list >list && id >id && touch /opt/of-user && chmod 700 . && ln -s list link && stat -c '%n %U:%G %a' /etc/shadow /opt >stat
RUN ! touch /usr/local/x 2>/dev/null && ! chmod 777 /etc 2>/dev/null
"#;

/// Files that say when they were made.
const TIMES: &[&str] = &[
    "/var/log",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/cache/ldconfig",
    "/etc/shadow",
    "/etc/shadow-",
    "/opt/shadow",
];

#[test]
fn a_dockerfile_like_the_sdks_makes_the_same_files_with_one_id_as_with_all() {
    needs_root!();
    let folder = tempfile::tempdir().unwrap();
    run(judge("chmod").arg("755").arg(folder.path()));
    let context = folder.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), LIKE_THE_SDK).unwrap();
    let tar = folder.path().join("bookworm.tar");
    readable_copy(&judges().join("bookworm.tar"), &tar);
    let build = |isolation: &str, user: fn(&Home) -> Command| {
        let home = Home::new();
        let layout = home.path().join("layout");
        let mpimg = || user(&home);
        run(mpimg().args(["import", "-q", "--compression", "gzip:1"]).arg(&tar).arg("python:3.11.12-slim-bookworm"));
        run(mpimg().args(["build", "-q", "-t", "built", "--isolation", isolation]).arg(&context));
        run(mpimg().args(["save", "-q", "-o", &format!("oci:{}:built", layout.display()), "built"]));
        let image = Tree::of_layout(&layout, "built");
        image.without_content(TIMES).without_matching(|path| path.contains("__pycache__"))
    };
    let (all, one) = std::thread::scope(|scope| {
        let all = scope.spawn(|| build("root", Home::mpimg));
        let one = build("single", as_nobody_else);
        (all.join().unwrap(), one)
    });
    let differences = all.differences("root  ", &one, "single");
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

fn fixture() -> Fixture {
    let fixture = Fixture::on(IsolationMode::Forced(IsolationKind::SingleId));
    assert_eq!(fixture.isolation.kind(), IsolationKind::SingleId);
    fixture
}

fn entry<'a>(entries: &'a [Entry], path: &str) -> &'a Entry {
    entries.iter().find(|entry| entry.path.as_bytes() == path.as_bytes()).unwrap_or_else(|| panic!("no `{path}` in {entries:?}"))
}

fn owner(entries: &[Entry], path: &str) -> (u32, u32, u32) {
    let metadata = &entry(entries, path).metadata;
    (metadata.uid, metadata.gid, metadata.mode)
}

#[test]
fn owners_of_everything_that_has_one_reach_the_layer() {
    needs_root!();
    let mut fixture = fixture();
    let script = "mkdir d; echo x >f; ln f f2; ln -s f l; mkfifo p; chown 1:2 d; chown 3:4 f; chown -h 5:6 l; chown 7:8 p; \
        chmod 4755 f; chmod 1777 d; mv l m; mv p d/p; mknod c c 1 3; mknod b b 8 17; chmod 640 c; chown 9:10 b; \
        chown :11 d; chown 12 f2; chmod 2755 f";
    let spec_script = format!("cd /home && {script}");
    let first = fixture.changes_of(&spec_script);
    assert_eq!(owner(&first, "home/d"), (1, 11, 0o1777));
    // A change of owner takes the set-id bits.
    assert_eq!(owner(&first, "home/f"), (12, 4, 0o2755));
    assert_eq!(entry(&first, "home/f2").kind, Kind::Hardlink { target: entry(&first, "home/f").path.clone() });
    assert_eq!((owner(&first, "home/m").0, owner(&first, "home/m").1), (5, 6));
    assert_eq!(owner(&first, "home/d/p"), (7, 8, 0o644));
    assert_eq!(
        (&entry(&first, "home/c").kind, owner(&first, "home/c")),
        (&Kind::CharDevice { major: 1, minor: 3 }, (0, 0, 0o640))
    );
    assert_eq!(
        (&entry(&first, "home/b").kind, owner(&first, "home/b")),
        (&Kind::BlockDevice { major: 8, minor: 17 }, (9, 10, 0o644))
    );

    // What is copied up or moved by a later step keeps them, and a copy-up alone is not a change.
    let second = fixture
        .changes_of("cd /home && mv m n && mv d/p q && mv c dev && touch b && touch -r f b && stat -c '%n %u:%g %a %F' * >list");
    assert_eq!((owner(&second, "home/n").0, owner(&second, "home/n").1), (5, 6));
    assert_eq!(owner(&second, "home/q"), (7, 8, 0o644));
    assert_eq!(entry(&second, "home/dev").kind, Kind::CharDevice { major: 1, minor: 3 });
    let list = fixture.output_of("cat /home/list; ls -ln /home/n | cut -c1-30; ls -ln /home/dev | tr -s ' ' | cut -d' ' -f1-6");
    for line in [
        "b 9:10 644 block special file",
        "d 1:11 1777 directory",
        "dev 0:0 640 character special file",
        "f 12:4 2755 regular file",
        "n 5:6 777 symbolic link",
        "q 7:8 644 fifo",
    ] {
        assert!(list.lines().any(|found| found == line), "{line}\n{list}");
    }
    assert!(list.ends_with("crw-r----- 1 0 0 1, 3\n"), "{list}");

    let third = fixture.changes_of("cd /home && cp -a f copy && cp -pr d folder && chown -R 0:0 d");
    assert_eq!(owner(&third, "home/copy"), (12, 4, 0o2755));
    assert_eq!(owner(&third, "home/folder"), (1, 11, 0o1777));
    assert_eq!(owner(&third, "home/d"), (0, 0, 0o1777));
    // An owner that is the old one is not a change.
    let same = "chown -h 5:6 /home/n; chown 9:10 /home/b; chown 0:0 /etc /bin/busybox; mkdir /x; rmdir /x";
    assert_eq!(lines(&fixture.changes_of(same)), Vec::<String>::new());
}

#[test]
fn new_files_in_a_set_gid_folder_get_its_group() {
    needs_root!();
    let mut fixture = fixture();
    fixture.changes_of("mkdir /home/shared; chown 1000:29 /home/shared; chmod 2775 /home/shared");
    let entries = fixture.changes_of("cd /home/shared; echo x >f; mkdir d; echo y >d/g; ln -s f l; echo z >own; chown 7 own");
    for (path, expected) in
        [("f", (0, 29, 0o644)), ("d", (0, 29, 0o2755)), ("d/g", (0, 29, 0o644)), ("l", (0, 29, 0o777)), ("own", (7, 29, 0o644))]
    {
        assert_eq!(owner(&entries, &format!("home/shared/{path}")), expected, "{path}");
    }
    assert_eq!(fixture.output_of("stat -c %g /home/shared/f /home/shared/d/g /home/shared/l"), "29\n29\n29\n");
}

#[test]
fn a_user_may_do_with_one_id_what_it_may_with_its_own() {
    needs_root!();
    let mut fixture = fixture();
    let aria = User { uid: 1000, gid: 1000, groups: vec![29] };
    let refused = "cd /; for try in 'touch x' 'touch etc/x' 'rm etc/passwd' 'chmod 777 etc/passwd' 'chown 1000 etc/passwd' 'mkdir root/x' \
        'ls root' 'chown 0 home/aria' 'chgrp 0 home/aria' 'mknod home/aria/n c 1 3'; do \
        sh -c \"$try\" 2>/dev/null && echo done: $try; done; echo y 2>/dev/null >>etc/group && echo written; true";
    let spec = fixture.shell_as(&aria, refused);
    assert_eq!(fixture.run(&spec).output, "");
    let allowed = "id; cd /home/aria; touch a; mkdir b; ln -s a l; chmod 600 a; chgrp 29 a; touch /tmp/t; stat -c '%u:%g %a' /etc/passwd / /root /tmp a";
    let spec = fixture.shell_as(&aria, allowed);
    let ran = fixture.run(&spec);
    let id = "uid=1000(aria) gid=1000(aria) groups=29(audio),1000(aria)\n";
    assert_eq!(ran.output, format!("{id}0:0 644\n0:0 755\n0:0 700\n0:0 1777\n1000:29 600\n"));
    let entries = fixture.changes(&ran);
    assert_eq!(lines(&entries), ["home/", "home/aria/", "home/aria/a 0", "home/aria/b/", "home/aria/l -> a", "tmp/", "tmp/t 0"]);
    for (path, expected) in [
        ("home", (0, 0, 0o755)),
        ("home/aria", (1000, 1000, 0o755)),
        ("home/aria/a", (1000, 29, 0o600)),
        ("home/aria/b", (1000, 1000, 0o755)),
        ("home/aria/l", (1000, 1000, 0o777)),
        ("tmp", (0, 0, 0o1777)),
        ("tmp/t", (1000, 1000, 0o644)),
    ] {
        assert_eq!(owner(&entries, path), expected, "{path}");
    }
}

#[test]
fn becoming_another_user_is_impossible_and_that_is_said_once() {
    needs_root!();
    let mut fixture = fixture();
    let spec = fixture.shell("su -s /bin/sh aria -c 'echo one'; su -s /bin/sh aria -c 'echo two'");
    let ran = fixture.run(&spec);
    assert_eq!(ran.exit, Exit::Code(0), "{}", ran.output);
    let told = ran.output.lines().filter(|line| line.starts_with("mpimg: a program became user 1000")).count();
    assert_eq!((told, ran.output.contains("one\n"), ran.output.contains("two\n")), (1, true, true), "{}", ran.output);
}

#[test]
fn records_are_hidden_from_commands() {
    needs_root!();
    let mut fixture = fixture();
    fixture.changes_of("touch /home/f; chown 1:1 /home/f; ln -s x /home/l; chown -h 1:1 /home/l");
    // busybox lists no attributes, so the machine's getfattr is bound in with what it needs.
    let machine = fixture.state.path().join("machine");
    std::fs::create_dir(&machine).unwrap();
    let getfattr = crate::judge_path("getfattr");
    let needed = run(judge("ldd").arg(&getfattr));
    let libraries = needed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let mut loader = String::new();
    for file in libraries.chain([PathBuf::from(&getfattr)]) {
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::copy(&file, machine.join(name)).unwrap();
        if name.starts_with("ld-") {
            loader = name.to_owned();
        }
    }
    let list = "/machine/getfattr -h -d -m - /home/f /home/l /home";
    let mut spec = fixture.shell(&format!("exec /machine/{loader} --library-path /machine {list}"));
    spec.mounts.push(mpimg::sandbox::Mount::Bind {
        source: mpimg::sandbox::BindSource::Host { root: machine, path: mpimg::layer::LayerPath::root() },
        target: mpimg::layer::LayerPath::parse("machine").unwrap(),
        writable: false,
    });
    let ran = fixture.run(&spec);
    assert_eq!((ran.exit, ran.output.as_str()), (Exit::Code(0), ""));
}

#[test]
fn records_cannot_come_from_a_layer() {
    needs_root!();
    let mut fixture = fixture();
    let forged = Tar::default().pax(&[("SCHILY.xattr.user.mpimg.owner", b"7:7")]);
    let forged = forged.owned(EntryType::Regular, "forged", "", 0o644, 3, b"");
    let folder = fixture.state.path().join("forged");
    fixture.isolation.unpack(&mut forged.bytes().as_slice(), &folder, &[], &Limits::default()).unwrap();
    fixture.layers.insert(0, folder);
    assert_eq!(fixture.output_of("stat -c %u /forged"), "3\n");
}
