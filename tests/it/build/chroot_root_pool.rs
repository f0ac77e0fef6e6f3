//! On the isolations `chroot` and `emulated` a stage's tree waits in the store for the next build,
//! which begins with it as it was unpacked, whatever steps have done to it, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::home::Home;
use crate::skip::{needs_root, possible};
use crate::{judges, run};

fn build(home: &Home, steps: &str) -> Command {
    build_on(home, steps, "chroot")
}

fn build_on(home: &Home, steps: &str, isolation: &str) -> Command {
    let context = home.path().join(format!("context-{}", fastrand::u64(..)));
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), "of the project").unwrap();
    fs::write(context.join("Dockerfile"), format!("FROM oci:{}:base\n{steps}", judges().join("base").display())).unwrap();
    let mut command = home.mpimg();
    command.args(["build", "-q", "--no-cache", "--isolation", isolation]).arg(context).env("SOURCE_DATE_EPOCH", "1000000000");
    command
}

/// The only tree that the store keeps, after a build that has restored it.
fn restored(home: &Home, isolation: &str) -> PathBuf {
    run(&mut build_on(home, "RUN true\n", isolation));
    let mut trees = kept(home);
    assert_eq!(trees.len(), 1);
    trees.remove(0)
}

/// The trees that the store keeps.
fn kept(home: &Home) -> Vec<PathBuf> {
    let folders =
        fs::read_dir(home.store().join("unpacked")).into_iter().flatten().map(|entry| entry.unwrap().path().join("root"));
    let mut trees: Vec<PathBuf> = folders.filter(|tree| tree.is_dir()).collect();
    trees.sort();
    trees
}

/// Which folder this is: ext4 may give another one the same number again.
fn identity(folder: &Path) -> (u64, Option<SystemTime>) {
    let metadata = folder.metadata().unwrap();
    (metadata.ino(), metadata.created().ok())
}

/// All that a step could see of a tree, by path: what is recorded of owners, too. Inodes stand for
/// which names are one file.
fn picture(tree: &Path) -> BTreeMap<PathBuf, String> {
    let records = fs::read_to_string(tree.with_file_name("root.owners")).unwrap_or_default();
    let mut records: BTreeMap<&str, &str> = records.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let mut seen = BTreeMap::new();
    let mut inodes = BTreeSet::new();
    let mut first_names = BTreeMap::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(tree).unwrap().to_owned();
        let kind = metadata.file_type();
        inodes.insert(metadata.ino());
        let content = if kind.is_symlink() {
            String::from_utf8_lossy(fs::read_link(&path).unwrap().as_os_str().as_bytes()).into_owned()
        } else if kind.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else {
            format!("{} {}", kind.is_char_device(), metadata.rdev())
        };
        let attributes = rustix::fs::llistxattr(&path, &mut [0_u8; 1024][..]).unwrap_or(0);
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let times = (metadata.mtime(), metadata.mtime_nsec());
        let record = records.get(metadata.ino().to_string().as_str()).copied();
        let facts = (metadata.mode(), metadata.uid(), metadata.gid(), times, links, attributes, record);
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            first_names.entry(metadata.ino()).or_insert_with(Vec::new).push(name.clone());
        }
        seen.insert(name, format!("{facts:?} {content}"));
    }
    let inodes: Vec<String> = inodes.iter().map(u64::to_string).collect();
    records.retain(|inode, _| !inodes.iter().any(|known| known == inode));
    assert_eq!(records, BTreeMap::new(), "of files that have gone");
    for mut names in first_names.into_values().filter(|names| names.len() > 1) {
        names.sort();
        seen.insert(PathBuf::from(format!("one file: {names:?}")), String::new());
    }
    seen
}

/// The time of the tree's own folder is that of its making, where the image says nothing of it.
fn without_time_of_root(mut picture: BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    picture.remove(Path::new(""));
    picture
}

/// What steps may do to files of the image. `old` is what `touch -r` is for: a change that size and
/// time do not show.
const STEPS: &[(&str, &str)] = &[
    ("nothing", "RUN true\n"),
    ("a new file", "RUN echo new >/opt/new\n"),
    ("new folders", "RUN mkdir -p /srv/a/b /opt/data/n && echo x >/srv/a/b/c && ln -s /etc /srv/link && mkfifo /opt/fifo\n"),
    (
        "a file rewritten with its old size and time",
        "RUN cp -p /opt/data/a /tmp/old && echo z >/opt/data/a && touch -r /tmp/old /opt/data/a\n",
    ),
    ("removed", "RUN rm /opt/data/a /opt/setuid /opt/linked && rm -r /home/aria /opt/opaque\n"),
    (
        "modes and owners",
        "RUN chmod 600 /opt/data/a && chown 7:8 /opt/data/b && chmod 777 /opt/data/sub /opt && chown -R 1000 /opt/private\n",
    ),
    ("only set back", "RUN chmod 600 /opt/data/a && chmod 644 /opt/data/a && chmod 700 /opt && chmod 755 /opt\n"),
    (
        "a folder becomes a file, a file a folder",
        "RUN rm -r /opt/data && echo x >/opt/data && rm /opt/one && mkdir -p /opt/one/x\n",
    ),
    (
        "a folder becomes a link out of the tree",
        "RUN rm -r /opt/data && ln -s ../../../../tmp /opt/data && rm -r /home && ln -s /opt /home\n",
    ),
    ("a link leads elsewhere", "RUN rm /opt/linked && ln -s sub /opt/linked && ln -sf b /opt/data/link\n"),
    ("hard links", "RUN ln /opt/data/a /opt/third && rm /opt/two && ln /opt/one /opt/four\n"),
    ("one of two names is another file", "RUN cp -p /opt/two /opt/x && mv /opt/x /opt/two\n"),
    ("files change places", "RUN mv /opt/data/a /tmp/a && mv /opt/data/b /opt/data/a && mv /tmp/a /opt/data/b\n"),
    ("times of folders", "RUN touch -d '2001-01-01 00:00:00' /opt /opt/data/sub /tmp\n"),
    ("the root folder", "RUN chmod 700 / && mkdir /rooted && touch -d '2001-01-01 00:00:00' /\n"),
    (
        "what the sandbox puts aside",
        "RUN echo x >/etc/hosts; echo y >/etc/resolv.conf; touch /dev/x /proc/x; rm -f /sys/x; echo z >/etc/hostname; true\n",
    ),
    (
        "several steps and files of the project",
        "COPY file /opt/data/\nRUN echo more >>/opt/data/file\nWORKDIR /opt/made\nRUN rm /opt/data/b && touch x\n",
    ),
    (
        "a file that was mounted over in one step and changed in the next",
        "RUN --mount=type=bind,source=file,target=/opt/data/a cat /opt/data/a\n\
         RUN cp -p /opt/data/a /tmp/old && echo q >/opt/data/a && touch -r /tmp/old /opt/data/a\n",
    ),
    ("a cache with a file of the image", "RUN --mount=type=cache,target=/cache ln /opt/data/a /cache/a || true\n"),
];

#[test]
fn the_next_build_begins_with_the_tree_as_it_was_unpacked() {
    needs_root!();
    let judge = Home::new();
    let mut stores: Vec<_> = possible(["chroot", "emulated"])
        .map(|isolation| {
            let fresh = Home::new();
            run(&mut build_on(&fresh, "RUN true\n", isolation));
            (isolation, without_time_of_root(picture(&kept(&fresh)[0])), Home::new(), None)
        })
        .collect();
    for (what, steps) in STEPS {
        // With an overlay, each step stands on layers that nothing ever changes.
        let judged = run(&mut build_on(&judge, steps, "root"));
        for (isolation, expected, home, inode) in &mut stores {
            // Those that the owners' table has a part in.
            let of_owners = ["removed", "modes", "becomes", "hard links", "aside", "several", "cache"];
            if *isolation == "emulated" && !of_owners.iter().any(|word| what.contains(word)) {
                continue;
            }
            assert_eq!(run(&mut build_on(home, steps, isolation)), judged, "{what} on {isolation}");
            let tree = restored(home, isolation);
            let now = without_time_of_root(picture(&tree));
            let differences: Vec<_> = now.iter().filter(|(path, facts)| expected.get(*path) != Some(facts)).collect();
            assert_eq!((differences, now.len()), (Vec::new(), expected.len()), "{what} on {isolation}");
            // It is one tree all the time, not a new one for each build.
            let folder = tree.metadata().unwrap().ino();
            assert_eq!(*inode.get_or_insert(folder), folder, "{what} on {isolation}");
        }
    }
}

#[test]
fn a_tree_is_kept_after_a_step_that_failed_too() {
    needs_root!();
    let home = Home::new();
    let failed = build(&home, "RUN rm -r /opt/data; echo x >/opt/x; exit 3\n").output().unwrap();
    assert!(!failed.status.success());
    let trees = kept(&home);
    assert_eq!(trees.len(), 1);
    let inode = trees[0].metadata().unwrap().ino();
    let tree = restored(&home, "chroot");
    assert!(tree.join("opt/data/a").exists() && !tree.join("opt/x").exists());
    assert_eq!(tree.metadata().unwrap().ino(), inode);
}

type Touch = (&'static str, fn(&Path));

#[test]
fn a_tree_that_somebody_has_touched_is_not_used() {
    needs_root!();
    let touches: [Touch; 4] = [
        ("content", |tree| {
            let file = tree.join("opt/data/a");
            let before = file.metadata().unwrap().modified().unwrap();
            fs::write(&file, "!\n").unwrap();
            fs::File::open(&file).unwrap().set_modified(before).unwrap();
        }),
        ("mode", |tree| fs::set_permissions(tree.join("opt"), fs::Permissions::from_mode(0o700)).unwrap()),
        ("attribute", |tree| {
            rustix::fs::setxattr(tree.join("opt"), "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        }),
        ("state", |tree| fs::write(tree.with_file_name("state-1"), "sha256:0").unwrap()),
    ];
    let steps = "RUN cat /opt/data/a >/opt/seen && stat -c %a /opt >>/opt/seen\n";
    let fresh = Home::new();
    let expected = run(&mut build(&fresh, steps));
    let picture_of_fresh = without_time_of_root(picture(&restored(&fresh, "chroot")));
    for (what, touch) in touches {
        let home = Home::new();
        run(&mut build(&home, "RUN true\n"));
        touch(&kept(&home)[0]);
        assert_eq!(run(&mut build(&home, steps)), expected, "{what}");
        assert_eq!(without_time_of_root(picture(&restored(&home, "chroot"))), picture_of_fresh, "{what}");
    }
}

/// An attribute on a folder is nothing that a scan sees undone: the next build makes another tree.
#[test]
fn a_tree_with_attributes_on_folders_is_not_used() {
    needs_root!();
    let home = Home::new();
    let mut building = build(&home, "RUN mkdir /opt/mark; until [ -e /opt/mark/done ]; do sleep 0.02; done\n");
    let mut child = building.stdout(Stdio::null()).spawn().unwrap();
    let tree = loop {
        let found = walk_for(&home.store().join("tmp"), "opt/mark");
        if let Some(found) = found {
            break found;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    rustix::fs::setxattr(tree.join("home"), "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    fs::write(tree.join("opt/mark/done"), "").unwrap();
    assert!(child.wait().unwrap().success());
    let before = identity(&kept(&home)[0]);
    let tree = restored(&home, "chroot");
    assert_ne!(identity(&tree), before);
    assert_eq!(rustix::fs::llistxattr(tree.join("home"), &mut [0_u8; 1024][..]).unwrap(), 0);
}

/// The tree in a session's folder that has `path`.
fn walk_for(tmp: &Path, path: &str) -> Option<PathBuf> {
    let sessions = fs::read_dir(tmp).into_iter().flatten().flatten().map(|entry| entry.path());
    let scratch = sessions.flat_map(|session| fs::read_dir(session).into_iter().flatten().flatten().map(|entry| entry.path()));
    scratch.map(|scratch| scratch.join("root")).find(|tree| tree.join(path).exists())
}

#[test]
fn builds_at_the_same_time_have_a_tree_each_and_both_are_kept_and_pruned() {
    needs_root!();
    let home = Home::new();
    let steps = "RUN sleep 1; echo x >/opt/data/a; rm /opt/one\n";
    for _ in 0..2 {
        let mut commands = [build(&home, steps), build(&home, steps)];
        let children: Vec<_> = commands.iter_mut().map(|command| command.stdout(Stdio::piped()).spawn().unwrap()).collect();
        let digests: Vec<Vec<u8>> = children.into_iter().map(|child| child.wait_with_output().unwrap().stdout).collect();
        assert_eq!(digests[0], digests[1]);
        assert!(!digests[0].is_empty());
        assert_eq!(kept(&home).len(), 2);
    }
    assert!(run(home.mpimg().args(["prune", "--all"])).contains(" 2 unpacked layers"));
    assert_eq!(kept(&home), Vec::<PathBuf>::new());
}

#[test]
fn no_tree_outlives_a_boot() {
    needs_root!();
    let home = Home::new();
    run(&mut build(&home, "RUN true\n"));
    assert_eq!(kept(&home).len(), 1);
    fs::write(home.store().join("boot"), "another boot\n").unwrap();
    run(home.mpimg().args(["images"]));
    assert_eq!(kept(&home), Vec::<PathBuf>::new());
}
