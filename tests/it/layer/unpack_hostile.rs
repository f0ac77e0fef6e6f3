//! Layers that want out of their folder, want too much, or read differently to different readers.
//! Each CVE of another tool has its test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use mpimg::ErrorKind;
use mpimg::layer::unpack::{Limits, UnpackOptions, Whiteouts};
use proptest::prelude::*;
use tar::EntryType;
use tempfile::TempDir;

use crate::skip::needs_root;
use crate::tar_builder::{Tar, header, tree};

/// A folder to unpack into and one beside it that must not change.
struct Scene {
    _dir: TempDir,
    into: PathBuf,
    outside: PathBuf,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (into, outside) = (dir.path().join("layer"), dir.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).unwrap();
    Scene { _dir: dir, into, outside }
}

impl Scene {
    fn assert_untouched(&self) {
        assert_eq!(tree(&self.outside), ["victim 644 untouched"]);
        assert_eq!(fs::metadata(&self.outside).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    fn outside(&self) -> String {
        self.outside.display().to_string()
    }
}

#[test]
fn kaniko_cve_2026_28406_names_with_dot_dot_are_refused() {
    for name in ["../outside/x", "a/../../outside/x", "/../outside/x", "a/.."] {
        let scene = scene();
        let error = Tar::default().file(name, "evil").unpack(&scene.into).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
        scene.assert_untouched();
    }
}

#[test]
fn kaniko_cve_2026_28406_a_folder_with_the_same_prefix_is_not_inside() {
    let scene = scene();
    fs::create_dir_all(&scene.into).unwrap();
    let sibling = scene.into.with_file_name("layer-evil");
    fs::create_dir(&sibling).unwrap();
    let tar = Tar::default().symlink("l", "../layer-evil").file("l/x", "evil");
    assert_eq!(tar.unpack(&scene.into).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(tree(&sibling), Vec::<String>::new());
}

#[test]
fn links_of_a_layer_lead_nowhere_but_into_the_layer() {
    let scene = scene();
    let (absolute, inside) = (scene.outside(), format!("{}/victim", scene.outside().trim_start_matches('/')));
    let tar = Tar::default()
        .symlink("abs", &absolute)
        .symlink("rel", "../../../../../../")
        .folder(&format!("{}/", &inside[..inside.len() - 7]));
    tar.file("abs/victim", "evil").file("rel/victim", "evil").unpack(&scene.into).unwrap();
    scene.assert_untouched();
    assert_eq!(fs::read_to_string(scene.into.join(&inside)).unwrap(), "evil");
    assert_eq!(fs::read_to_string(scene.into.join("victim")).unwrap(), "evil");
}

#[test]
fn umoci_cve_2021_29136_the_root_folder_cannot_become_a_link() {
    for name in ["/", ".", "./", ""] {
        let scene = scene();
        let tar = Tar::default().symlink(name, &scene.outside()).file("victim", "evil");
        assert_eq!(tar.unpack(&scene.into).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
        scene.assert_untouched();
    }
}

#[test]
fn containerd_cve_2025_47290_a_folder_that_becomes_a_link_is_not_followed_out() {
    let scene = scene();
    let tar = Tar::default().folder("a").file("a/first", "1").symlink("a", &scene.outside()).file("a/victim", "evil");
    assert_eq!(tar.unpack(&scene.into).unwrap_err().kind(), ErrorKind::Corrupt);
    scene.assert_untouched();
}

#[test]
fn rust_tar_cve_2026_33056_the_mode_of_a_folder_does_not_reach_through_a_link() {
    let scene = scene();
    Tar::default().symlink("a", &scene.outside()).folder("a").unpack(&scene.into).unwrap();
    scene.assert_untouched();
    assert_eq!(tree(&scene.into), ["a/"]);
}

#[test]
fn a_file_replaces_a_link_instead_of_writing_through_it() {
    let scene = scene();
    let victim = scene.outside.join("victim").display().to_string();
    Tar::default().symlink("a", &victim).file("a", "mine").unpack(&scene.into).unwrap();
    scene.assert_untouched();
    assert_eq!(tree(&scene.into), ["a 644 mine"]);
}

#[test]
fn hard_links_find_their_first_name_in_the_layer_only() {
    let scene = scene();
    fs::create_dir_all(&scene.into).unwrap();
    let victim = scene.outside.join("victim").display().to_string();
    for target in [victim.as_str(), "../outside/victim", "l/victim"] {
        let tar = Tar::default().symlink("l", &scene.outside()).hardlink("h", target).file("h", "evil");
        assert_eq!(tar.unpack(&scene.into).unwrap_err().kind(), ErrorKind::Corrupt, "{target}");
        scene.assert_untouched();
    }
    let tar = Tar::default().symlink("l", &victim).hardlink("h", "l");
    tar.unpack(&scene.into).unwrap();
    assert_eq!(tree(&scene.into), [format!("h -> {victim}"), format!("l -> {victim}")]);
}

#[test]
fn oras_go_cve_2026_50163_hard_links_are_not_looked_up_in_the_working_directory() {
    let scene = scene();
    assert!(fs::exists("Cargo.toml").unwrap(), "tests run in the folder of the package");
    let error = Tar::default().hardlink("h", "Cargo.toml").unpack(&scene.into).unwrap_err();
    assert_eq!(error.to_string(), "`/h` is a hard link to `/Cargo.toml`, which no layer has");
}

#[test]
fn async_tar_cve_2025_62518_the_size_of_a_pax_header_counts() {
    // The header says 0 bytes, PAX says how many: a reader that believes the header takes the
    // content for entries.
    let scene = scene();
    let inner = Tar::default().file("smuggled", "evil").bytes();
    let size = inner.len().to_string();
    let tar = Tar::default()
        .pax(&[("size", size.as_bytes())])
        .raw(&header(EntryType::Regular, "inner.tar", "", 0), &inner)
        .file("after", "1");
    tar.unpack(&scene.into).unwrap();
    assert!(!scene.into.join("smuggled").exists());
    assert_eq!(fs::read(scene.into.join("inner.tar")).unwrap(), inner);
    assert!(scene.into.join("after").exists());
}

#[test]
fn rust_tar_cve_2026_33055_the_size_of_a_pax_header_counts_over_another_one() {
    let scene = scene();
    let content = Tar::default().file("smuggled", "evil").bytes();
    let size = content.len().to_string();
    let tar = Tar::default().pax(&[("size", size.as_bytes())]).raw(&header(EntryType::Regular, "a", "", 512), &content);
    tar.unpack(&scene.into).unwrap();
    assert_eq!(fs::read(scene.into.join("a")).unwrap(), content);
    assert!(!scene.into.join("smuggled").exists());
}

#[test]
fn whiteouts_cannot_name_what_is_above_them() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh.b/c"] {
        let scene = scene();
        let tar = Tar::default().folder("a").file(name, "");
        assert_eq!(tar.unpack(&scene.into).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
        scene.assert_untouched();
    }
}

#[test]
fn applied_whiteouts_remove_links_and_not_what_they_lead_to() {
    let scene = scene();
    let options = UnpackOptions { whiteouts: Whiteouts::Apply, ..UnpackOptions::default() };
    Tar::default()
        .symlink("a", &scene.outside())
        .folder("b")
        .symlink("b/c", &scene.outside())
        .unpack_with(&scene.into, &options)
        .unwrap();
    Tar::default().file(".wh.a", "").file("b/.wh..wh..opq", "").unpack_with(&scene.into, &options).unwrap();
    scene.assert_untouched();
    assert_eq!(tree(&scene.into), ["b/"]);
    // An opaque mark in a folder reached by a link must not empty the folder outside either.
    let tar = Tar::default().symlink("a", &scene.outside()).file("a/.wh.victim", "");
    assert!(tar.unpack_with(&scene.into, &options).is_err());
    scene.assert_untouched();
}

#[test]
fn marks_that_only_overlay_may_set_are_refused_or_dropped() {
    needs_root!();
    let scene = scene();
    let tar = Tar::default().raw(&header(EntryType::Char, "gone", "", 0), b"");
    assert_eq!(tar.unpack(&scene.into).unwrap_err().kind(), ErrorKind::Corrupt);
    for name in
        ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "user.overlay.redirect", "trusted.x"]
    {
        let record = format!("SCHILY.xattr.{name}");
        Tar::default().pax(&[(&record, b"y")]).folder("d").unpack(&scene.into).unwrap();
        let listed = rustix_list(&scene.into.join("d"));
        assert_eq!(listed, Vec::<String>::new(), "{name}");
    }
}

fn rustix_list(path: &std::path::Path) -> Vec<String> {
    let output = std::process::Command::new("getfattr").args(["-h", "-m", "-", "--absolute-names"]).arg(path).output();
    let output = output.expect("install attr");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_layer_over_its_limits_is_refused() {
    let small = |limits| UnpackOptions { limits, ..UnpackOptions::default() };
    let deep = vec!["d"; 20].join("/");
    for (limits, tar) in [
        (Limits { entries: 2, ..Limits::default() }, Tar::default().folder("a").folder("b").folder("c")),
        (Limits { bytes: 5, ..Limits::default() }, Tar::default().file("a", "123").file("b", "456")),
        (Limits { depth: 10, ..Limits::default() }, Tar::default().file(&deep, "")),
        (Limits { path_bytes: 10, ..Limits::default() }, Tar::default().file("123456/7890", "")),
    ] {
        let error = tar.unpack_with(&scene().into, &small(limits.clone())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{limits:?}");
    }
    let hole =
        Tar::default().pax(&[("GNU.sparse.map", b"9000000000000000,0"), ("GNU.sparse.size", b"9000000000000000")]).file("a", "");
    assert_eq!(hole.unpack(&scene().into).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn extension_headers_cannot_fill_the_memory() {
    let tar = Tar::default().raw(&header(EntryType::GNULongName, "x", "", 1 << 40), b"");
    let error = tar.unpack(&scene().into).unwrap_err();
    assert_eq!(error.to_string(), "an extension header has 1099511627776 bytes, more than 1 MiB");
}

#[test]
fn damaged_tars_are_told_from_whole_ones() {
    let whole = Tar::default().file("a", "content").bytes();
    let mut checksum = whole.clone();
    checksum[0] ^= 1;
    let cut = whole[..512 + 3].to_vec();
    let mut zeros = vec![0; 512];
    zeros.extend_from_slice(&whole);
    let twice =
        Tar::default().entry(EntryType::GNULongName, "x", "", b"a").entry(EntryType::GNULongName, "x", "", b"b").file("c", "");
    for bytes in [checksum, cut, zeros, twice.bytes(), vec![b'x'; 2000]] {
        let error = mpimg::layer::unpack::unpack(bytes.as_slice(), &scene().into, &UnpackOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_link_in_the_place_of_the_folder_itself_is_refused() {
    let scene = scene();
    fs::create_dir(scene.into.with_file_name("real")).unwrap();
    symlink("real", &scene.into).unwrap();
    let result = Tar::default().file("a", "1").unpack(&scene.into);
    // Opened without following, so that nobody can put a link in the store's place between two
    // steps.
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
}

#[derive(Debug, Clone)]
enum Piece {
    File(String),
    Folder(String),
    Symlink(String, String),
    Hardlink(String, String),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "a/b",
        "b/a",
        "a/b/c",
        ".wh.a",
        "a/.wh.b",
        "b/.wh..wh..opq",
        "..",
        "a/../b",
        "/a",
        "outside/victim",
    ]);
    let text = prop::sample::select(vec![
        "a",
        "b",
        "..",
        "../..",
        "/",
        "../outside",
        "/proc/self/root",
        "a/b",
        "/etc",
        "../../outside/victim",
    ]);
    let (name, text) = (name.prop_map(str::to_owned), text.prop_map(str::to_owned));
    let piece = prop_oneof![
        name.clone().prop_map(Piece::File),
        name.clone().prop_map(Piece::Folder),
        (name.clone(), text.clone()).prop_map(|(name, text)| Piece::Symlink(name, text)),
        (name, text).prop_map(|(name, text)| Piece::Hardlink(name, text)),
    ];
    prop::collection::vec(piece, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, fork: false, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_entries_changes_anything_outside(pieces in pieces(), apply: bool) {
        let scene = scene();
        let whiteouts = if apply { Whiteouts::Apply } else { Whiteouts::UserOverlay };
        let options = UnpackOptions { whiteouts, ..UnpackOptions::default() };
        // Entry by entry, so that one that is refused does not end the sequence.
        for piece in pieces {
            let tar = match piece {
                Piece::File(name) => Tar::default().file(&name, "evil"),
                Piece::Folder(name) => Tar::default().folder(&name),
                Piece::Symlink(name, text) => Tar::default().symlink(&name, &text),
                Piece::Hardlink(name, target) => Tar::default().hardlink(&name, &target),
            };
            let _ = tar.unpack_with(&scene.into, &options);
            scene.assert_untouched();
        }
    }
}
