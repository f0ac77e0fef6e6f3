//! A small root file system made from busybox, and steps on it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Once;

use mpimg::layer::{Entry, Kind};
use mpimg::sandbox::{Cancel, Exit, Isolation, IsolationMode, RootSpec, RunSpec, Rung, set_helper};
use tempfile::TempDir;

pub(super) const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/false\naria:x:1000:1000::/home/aria:/bin/sh\n";
pub(super) const GROUP: &str = "root:x:0:\naudio:x:29:aria\naria:x:1000:\n";

/// Runs the machine's own tests as root only; without root they say so, except in CI, where they must not be skipped.
pub(super) fn is_root() -> bool {
    let root = rustix_geteuid() == 0;
    assert!(root || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "run the tests as root: CI must not skip the sandbox");
    if !root {
        eprintln!("SKIPPED: this test needs root");
    }
    root
}

fn rustix_geteuid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid()
}

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

static HELPER: Once = Once::new();

impl Fixture {
    pub(super) fn new() -> Self {
        Self::on(IsolationMode::Forced(Rung::Root))
    }

    pub(super) fn on(mode: IsolationMode) -> Self {
        HELPER.call_once(|| set_helper(env!("CARGO_BIN_EXE_mpimg").into()));
        let state = tempfile::tempdir().unwrap();
        let isolation = Isolation::detect(state.path(), mode).unwrap();
        let base = state.path().join("base");
        make_base(&base);
        Self { layers: vec![base], isolation, state, steps: 0 }
    }

    /// A spec of `sh -c script` over the layers, with a new upper folder.
    pub(super) fn shell(&mut self, script: &str) -> RunSpec {
        let folder = self.state.path().join(format!("step-{}", self.steps));
        self.steps += 1;
        fs::create_dir(&folder).unwrap();
        let root = RootSpec::Overlay { lower: self.layers.clone(), upper: folder.join("upper"), work: folder.join("work") };
        RunSpec::new(["/bin/sh", "-c", script], root)
    }

    pub(super) fn run(&mut self, spec: &RunSpec) -> Ran {
        let mut output = Vec::new();
        let outcome = self.isolation.run(spec, &mut |bytes| output.extend_from_slice(bytes), &Cancel::default()).unwrap();
        Ran { exit: outcome.exit, output: String::from_utf8_lossy(&output).into_owned(), root: spec.root.clone() }
    }

    /// Runs `script`, which must succeed, and returns what it printed.
    pub(super) fn output_of(&mut self, script: &str) -> String {
        let spec = self.shell(script);
        let ran = self.run(&spec);
        assert_eq!(ran.exit, Exit::Code(0), "{}", ran.output);
        ran.output
    }

    /// Runs `script` and returns the entries of the layer that it makes, its upper folder on top of the layers from then on.
    pub(super) fn changes_of(&mut self, script: &str) -> Vec<Entry> {
        let spec = self.shell(script);
        let before = self.isolation.snapshot(&spec.root).unwrap();
        let ran = self.run(&spec);
        assert_eq!(ran.exit, Exit::Code(0), "{}", ran.output);
        let mut entries = Vec::new();
        self.isolation
            .changes(&ran.root, &before, &mut |entry, _| {
                entries.push(entry.clone());
                Ok(())
            })
            .unwrap();
        if let RootSpec::Overlay { upper, .. } = ran.root {
            self.layers.insert(0, upper);
        }
        entries
    }
}

/// Entries as short lines: `etc/ -`, `bin/x -> y`, `a = b` (hard link), `a whiteout`, `a opaque`, `a 5` (bytes).
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

fn make_base(base: &Path) {
    for folder in ["bin", "etc", "root", "home/aria", "tmp", "usr/share/doc", "var/lib"] {
        fs::create_dir_all(base.join(folder)).unwrap();
    }
    fs::copy(busybox(), base.join("bin/busybox")).unwrap();
    let list = std::process::Command::new(busybox()).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", base.join("bin").join(applet)).unwrap();
    }
    fs::write(base.join("etc/passwd"), PASSWD).unwrap();
    fs::write(base.join("etc/group"), GROUP).unwrap();
    fs::write(base.join("usr/share/doc/a"), "first\n").unwrap();
    fs::write(base.join("usr/share/doc/b"), "second\n").unwrap();
    fs::set_permissions(base.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(base.join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(base.join("home/aria"), Some(1000), Some(1000)).ok();
}
