//! Paths on the isolation `emulated`: the same answers as from the kernel in a chroot, and no way
//! out.
//!
//! The program that makes the calls is `paths.c`. `benches/fuzz` does the same for as long as one
//! likes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::sandbox::{IsolationKind, IsolationMode};

use super::rootfs::Fixture;
use crate::run;
use crate::skip::{needs_emulated, needs_root};

/// A root file system with the program in it.
fn fixture(isolation: IsolationKind) -> (Fixture, PathBuf) {
    let fixture = Fixture::on(IsolationMode::Forced(isolation));
    let tree = fixture.layers[0].clone();
    // Its stack has to be where the program says that it is.
    let flags = ["-O1", "-mno-red-zone", "-static", "-pthread", "-o"];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sandbox/paths.c");
    run(Command::new("cc").args(flags).arg(tree.join("bin/paths")).arg(source));
    (fixture, tree)
}

/// Seeds and calls of each: more in `benches/fuzz`.
fn amount() -> (std::ops::Range<u64>, u32) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let begin = number("MPIMG_FUZZ_SEED").unwrap_or(1);
    (begin..begin + number("MPIMG_FUZZ_COUNT").unwrap_or(25), 400)
}

#[test]
fn random_calls_get_the_answers_of_the_kernel() {
    needs_root!();
    needs_emulated!();
    let (seeds, calls) = amount();
    // One step for all, each in a root of its own: what a seed leaves is another tree for the next.
    // The last ones once found a difference.
    let script = format!(
        "roots='/w /a /b /c /d /missing'; for seed in $(seq {} {}) 5004 5420 5477 5801 6640 21389 22719 20261142; do echo \"# $seed\"; paths walk $seed {calls}; chmod -R u+rwX $roots 2>/dev/null; rm -rf $roots; chmod 755 /; chown 0:0 /; done",
        seeds.start,
        seeds.end - 1
    );
    let [expected, found] = [IsolationKind::Chroot, IsolationKind::Emulated].map(|kind| fixture(kind).0.output_of(&script));
    let mut seed = "";
    let mut before = Vec::new();
    let mut other_errors = 0;
    for (expected, found) in expected.lines().zip(found.lines()) {
        if expected.starts_with("# ") {
            (seed, before) = (expected, Vec::new());
        }
        before.push(expected);
        // Of two reasons for one call to fail the kernel names one; which, is not always the same
        // here.
        let both = |begin: fn(&str) -> Option<(&str, &str)>| Some((begin(expected)?, begin(found)?));
        match both(|line| line.rsplit_once(": E")) {
            Some(((expected, _), (found, _))) if expected == found => {}
            _ => assert_eq!(found, expected, "{seed}, after:\n{}", before.join("\n")),
        }
        other_errors += usize::from(found != expected);
    }
    assert!(other_errors * 50 < expected.lines().count(), "{other_errors} other errors");
    assert_eq!(found.lines().count(), expected.lines().count());
    assert!(expected.lines().filter(|line| line.ends_with(": ok")).count() > seeds.count() * calls as usize / 20, "{expected}");
}

#[test]
fn no_race_reaches_a_file_outside() {
    needs_root!();
    needs_emulated!();
    let (mut fixture, tree) = fixture(IsolationKind::Emulated);
    let outside = fixture.state.path().join("outside/er");
    std::fs::create_dir_all(&outside).unwrap();
    let file = outside.join("file");
    let content = [&b"OUTSIDE"[..], &[b'.'; 4235]].concat();
    std::fs::write(&file, &content).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let milliseconds = std::env::var("MPIMG_FUZZ_MS").unwrap_or("1500".into());
    let script = format!("paths race {milliseconds} {} {}", file.display(), tree.display());
    assert_eq!(fixture.output_of(&script), "0 0 0 0 0 0 calls reached what is outside\n");
    assert_eq!(std::fs::read(&file).unwrap(), content);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(outside.read_dir().unwrap().count(), 1);
}

#[test]
fn messages_reach_sockets_with_long_paths() {
    needs_root!();
    needs_emulated!();
    let [expected, found] =
        [IsolationKind::Chroot, IsolationKind::Emulated].map(|kind| fixture(kind).0.output_of("paths datagram"));
    assert_eq!(found, expected);
    assert!(expected.contains("one\ntwo\nthree\n"), "{expected}");
}

#[test]
fn a_process_has_its_memory_to_itself_once_its_child_has_executed() {
    needs_root!();
    needs_emulated!();
    let [expected, found] =
        [IsolationKind::Chroot, IsolationKind::Emulated].map(|kind| fixture(kind).0.output_of("paths vfork 40"));
    assert_eq!(found, expected);
    assert!(expected.ends_with(": ok\n0 changed\n"), "{expected}");
}
