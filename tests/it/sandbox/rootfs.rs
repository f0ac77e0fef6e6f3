//! A small root file system made from busybox, and steps on it.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use mpimg::CancellationToken;
use mpimg::layer::unpack::Limits;
use mpimg::layer::{Entry, Kind};
use mpimg::sandbox::{Exit, Isolation, IsolationKind, IsolationMode, RootSpec, RunSpec, Snapshot, User, set_helper};
use tar::EntryType;
use tempfile::TempDir;

use crate::tar_builder::Tar;

pub(super) const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/false\naria:x:1000:1000::/home/aria:/bin/sh\n";
pub(super) const GROUP: &str = "root:x:0:\naudio:x:29:aria\naria:x:1000:\n";

pub(super) fn busybox() -> &'static Path {
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"]
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("install busybox-static")
}

/// A state folder with one base layer.
pub(super) struct Fixture {
    pub(super) state: TempDir,
    pub(super) isolation: Isolation,
    pub(super) layers: Vec<PathBuf>,
    steps: usize,
}

/// A step that has run.
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) output: String,
    pub(super) root: RootSpec,
}

/// A test harness has a `main` of its own, so the command is the helper.
pub(super) fn set_test_helper() {
    set_helper(env!("CARGO_BIN_EXE_mpimg").into());
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::on(IsolationMode::Forced(IsolationKind::Root))
    }

    pub(super) fn on(mode: IsolationMode) -> Self {
        set_test_helper();
        let state = tempfile::tempdir().unwrap();
        let isolation = Isolation::detect(state.path(), mode).unwrap();
        let base = state.path().join("base");
        make_base(&isolation, &User::default(), &base);
        Self { layers: vec![base], isolation, state, steps: 0 }
    }

    /// A spec of `sh -c script` over the layers, with a new upper folder.
    pub(super) fn shell(&mut self, script: &str) -> RunSpec {
        let folder = self.state.path().join(format!("step-{}", self.steps));
        self.steps += 1;
        fs::create_dir(&folder).unwrap();
        let root = match self.isolation.kind() {
            kind if kind.needs_tree() => RootSpec::Tree { path: self.layers[0].clone() },
            _ => RootSpec::Overlay { lower: self.layers.clone(), upper: folder.join("upper"), work: folder.join("work") },
        };
        RunSpec::new(["/bin/sh", "-c", script], root)
    }

    /// The same as `user` over the base layer, unpacked for it where that makes a difference.
    pub(super) fn shell_as(&mut self, user: &User, script: &str) -> RunSpec {
        let mut spec = self.shell(script);
        spec.user = user.clone();
        if let RootSpec::Overlay { lower, .. } = &mut spec.root
            && self.isolation.ownership(user) != self.isolation.ownership(&User::default())
        {
            let base = self.state.path().join(self.isolation.ownership(user));
            if !base.exists() {
                make_base(&self.isolation, user, &base);
            }
            *lower = vec![base];
        }
        spec
    }

    pub(super) fn run(&mut self, spec: &RunSpec) -> Ran {
        let mut output = Vec::new();
        let outcome =
            self.isolation.run(spec, &mut |bytes| output.extend_from_slice(bytes), &CancellationToken::default()).unwrap();
        Ran { exit: outcome.exit, output: String::from_utf8_lossy(&output).into_owned(), root: spec.root.clone() }
    }

    /// Runs `script`, which must succeed, and returns what it printed.
    pub(super) fn output_of(&mut self, script: &str) -> String {
        let spec = self.shell(script);
        let ran = self.run(&spec);
        assert_eq!(ran.exit, Exit::Code(0), "{}", ran.output);
        ran.output
    }

    /// Runs `script` and returns the entries of the layer that it makes, its upper folder on top of
    /// the layers from then on.
    pub(super) fn changes_of(&mut self, script: &str) -> Vec<Entry> {
        let spec = self.shell(script);
        let before = self.isolation.snapshot(&spec.root).unwrap();
        let ran = self.run(&spec);
        assert_eq!(ran.exit, Exit::Code(0), "{}", ran.output);
        let entries = self.changes_since(&ran, &before);
        if let RootSpec::Overlay { upper, .. } = ran.root {
            self.layers.insert(0, upper);
        }
        entries
    }
}

impl Fixture {
    /// The entries of the layer that a step on an overlay makes.
    pub(super) fn changes(&self, ran: &Ran) -> Vec<Entry> {
        let before = self.isolation.snapshot(&ran.root).unwrap();
        self.changes_since(ran, &before)
    }

    pub(super) fn changes_since(&self, ran: &Ran, before: &Snapshot) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut keep = |entry: &Entry, content: Option<&mut dyn Read>| {
            let bytes = content.map_or(Ok(0), |content| std::io::copy(content, &mut std::io::sink())).unwrap();
            assert_eq!(bytes, entry.kind.size(), "{entry:?}");
            entries.push(entry.clone());
            Ok(())
        };
        self.isolation.changes(&ran.root, before, &mut |_| Ok(HashMap::new()), &mut keep).unwrap();
        entries
    }
}

/// Entries as short lines: `etc/ -`, `bin/x -> y`, `a = b` (hard link), `a whiteout`, `a opaque`,
/// `a 5` (bytes).
pub(super) fn lines(entries: &[Entry]) -> Vec<String> {
    let line = |entry: &Entry| {
        let path = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
        match &entry.kind {
            Kind::Directory => format!("{path}/"),
            Kind::File { size } => format!("{path} {size}"),
            Kind::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
            Kind::Hardlink { target } => format!("{path} = {}", String::from_utf8_lossy(target.as_bytes())),
            Kind::Whiteout => format!("{path} whiteout"),
            Kind::OpaqueWhiteout => format!("{path} opaque"),
            other => format!("{path} {other:?}"),
        }
    };
    entries.iter().map(line).collect()
}

/// Unpacks a layer with busybox, so that its owners are right with every isolation.
fn make_base(isolation: &Isolation, user: &User, base: &Path) {
    let mut tar = Tar::default();
    for (folder, mode, id) in [
        ("bin", 0o755, 0),
        ("etc", 0o755, 0),
        ("home", 0o755, 0),
        ("home/aria", 0o755, 1000),
        ("root", 0o700, 0),
        ("tmp", 0o1777, 0),
        ("usr", 0o755, 0),
        ("usr/share", 0o755, 0),
        ("usr/share/doc", 0o755, 0),
    ] {
        tar = tar.owned(EntryType::Directory, folder, "", mode, id, b"");
    }
    tar = tar.owned(EntryType::Regular, "bin/busybox", "", 0o755, 0, &fs::read(busybox()).unwrap());
    let list = std::process::Command::new(busybox()).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        tar = tar.owned(EntryType::Symlink, &format!("bin/{applet}"), "busybox", 0o777, 0, b"");
    }
    for (name, content) in
        [("etc/passwd", PASSWD), ("etc/group", GROUP), ("usr/share/doc/a", "first\n"), ("usr/share/doc/b", "second\n")]
    {
        tar = tar.owned(EntryType::Regular, name, "", 0o644, 0, content.as_bytes());
    }
    isolation.unpack_for(user, &mut tar.bytes().as_slice(), base, &[], &Limits::default()).unwrap();
}
