//! Layers as they should be: every kind of entry, whiteouts as overlay wants them, links into lower
//! layers, sparse files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use mpimg::layer::unpack::{UnpackOptions, Whiteouts, unpack};
use tar::EntryType;

use crate::skip::needs_root;
use crate::tar_builder::{Tar, header, tree};

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let output = Command::new("getfattr")
        .args(["-h", "--only-values", "--absolute-names", "-n", name])
        .arg(path)
        .output()
        .expect("install attr");
    output.status.success().then_some(output.stdout)
}

#[test]
fn every_kind_of_entry_arrives_with_mode_owner_and_time() {
    needs_root!();
    let dir = tempfile::tempdir().unwrap();
    let owned = |kind, name: &str, link: &str, mode, size| {
        let mut header = header(kind, name, link, size);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_gid(5678);
        header.set_device_major(1).ok();
        header.set_device_minor(3).ok();
        header.set_cksum();
        header
    };
    let stats = Tar::default()
        .raw(&owned(EntryType::Directory, "d/", "", 0o2750, 0), b"")
        .raw(&owned(EntryType::Regular, "d/suid", "", 0o4755, 3), b"abc")
        .raw(&owned(EntryType::Symlink, "d/link", "../nowhere", 0o777, 0), b"")
        .raw(&owned(EntryType::Link, "d/same", "d/suid", 0o4755, 0), b"")
        .raw(&owned(EntryType::Char, "d/null", "", 0o666, 0), b"")
        .raw(&owned(EntryType::Block, "d/disk", "", 0o660, 0), b"")
        .raw(&owned(EntryType::Fifo, "d/fifo", "", 0o600, 0), b"")
        .unpack(dir.path())
        .unwrap();
    assert_eq!((stats.entries, stats.bytes), (7, 3));
    for (name, mode) in [
        ("d", 0o042750),
        ("d/suid", 0o104755),
        ("d/link", 0o120777),
        ("d/same", 0o104755),
        ("d/null", 0o020666),
        ("d/disk", 0o060660),
        ("d/fifo", 0o010600),
    ] {
        let metadata = fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (mode, 1234, 5678), "{name}");
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_600_000_000, 0), "{name}");
    }
    let inode = |name| fs::metadata(dir.path().join(name)).unwrap().ino();
    assert_eq!(inode("d/suid"), inode("d/same"));
    assert_eq!(fs::metadata(dir.path().join("d/null")).unwrap().rdev(), 0x103);
    assert_eq!(fs::read_link(dir.path().join("d/link")).unwrap(), Path::new("../nowhere"));
}

#[test]
fn whiteouts_become_overlays_and_spare_their_own_layer() {
    needs_root!();
    let dir = tempfile::tempdir().unwrap();
    Tar::default()
        .file(".wh.gone", "")
        .folder("fresh")
        .file("fresh/new", "1")
        .file(".wh.fresh", "")
        .file(".wh.again", "")
        .folder("again")
        .folder("opaque")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "2")
        .file("kept", "3")
        .file(".wh.kept", "")
        .file(".wh..wh.plnk/x", "")
        .unpack(dir.path())
        .unwrap();
    assert_eq!(
        tree(dir.path()),
        ["again/", "fresh/", "fresh/new 644 1", "gone whiteout", "kept 644 3", "opaque/", "opaque/new 644 2"]
    );
    for name in ["fresh", "again", "opaque"] {
        assert_eq!(xattr(&dir.path().join(name), "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]), "{name}");
    }
}

#[test]
fn applied_layers_make_one_tree() {
    let dir = tempfile::tempdir().unwrap();
    let options = UnpackOptions { whiteouts: Whiteouts::Apply, ..UnpackOptions::default() };
    let base = Tar::default()
        .folder("a")
        .file("a/old", "1")
        .folder("b")
        .file("b/old", "2")
        .file("c", "3")
        .folder("d")
        .file("d/deep", "4");
    base.unpack_with(dir.path(), &options).unwrap();
    let next =
        Tar::default().file(".wh.c", "").file("a/new", "5").file("a/.wh..wh..opq", "").file(".wh.d", "").file("b/.wh.old", "");
    next.unpack_with(dir.path(), &options).unwrap();
    assert_eq!(tree(dir.path()), ["a/", "a/new 644 5", "b/"]);
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_layer_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let (lower, top) = (dir.path().join("lower"), dir.path().join("top"));
    Tar::default().folder("d").file("d/old", "content").unpack(&lower).unwrap();
    fs::set_permissions(lower.join("d"), fs::Permissions::from_mode(0o1777)).unwrap();
    let options = UnpackOptions { lower: vec![lower], ..UnpackOptions::default() };
    Tar::default().hardlink("d/new", "d/old").unpack_with(&top, &options).unwrap();
    assert_eq!(tree(&top), ["d/", "d/new 644 content", "d/old 644 content"]);
    let inode = |name| fs::metadata(top.join(name)).unwrap().ino();
    assert_eq!(inode("d/old"), inode("d/new"));
    assert_eq!(fs::metadata(top.join("d")).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn a_folder_that_a_layer_does_not_mention_stays_as_it_is_below() {
    let dir = tempfile::tempdir().unwrap();
    let (lower, top, bare) = (dir.path().join("lower"), dir.path().join("top"), dir.path().join("bare"));
    Tar::default().folder("tmp").unpack(&lower).unwrap();
    fs::set_permissions(lower.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let options = UnpackOptions { lower: vec![lower.clone()], ..UnpackOptions::default() };
    Tar::default().file("tmp/x/y", "1").unpack_with(&top, &options).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&top.join("tmp")), mode(&top.join("tmp/x"))), (0o1777, 0o755));
    Tar::default().file("tmp/x/y", "1").unpack(&bare).unwrap();
    assert_eq!(mode(&bare.join("tmp")), 0o755);
}

#[test]
fn a_capability_with_a_newline_in_it_survives() {
    needs_root!();
    let dir = tempfile::tempdir().unwrap();
    // cap_dac_override,cap_fowner+ep: bits 1 and 3 are the byte of a newline.
    let capability = [1, 0, 0, 2, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Tar::default()
        .pax(&[("SCHILY.xattr.security.capability", &capability), ("mtime", b"1600000001.75")])
        .file("p", "x")
        .unpack(dir.path())
        .unwrap();
    assert_eq!(xattr(&dir.path().join("p"), "security.capability").unwrap(), capability);
    assert_eq!(fs::metadata(dir.path().join("p")).unwrap().mtime(), 1_600_000_001);
}

#[test]
fn names_of_any_length_arrive_as_gnu_and_pax_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir_all(source.join(&long).parent().unwrap()).unwrap();
    fs::write(source.join(&long), "1").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), source.join("link")).unwrap();
    fs::hard_link(source.join(&long), source.join("hard")).unwrap();
    for format in ["gnu", "posix", "oldgnu"] {
        let tar =
            Command::new("tar").args(["-c", "--sort=name", "--format", format, "-C"]).arg(&source).arg(".").output().unwrap();
        let into = dir.path().join(format);
        unpack(tar.stdout.as_slice(), &into, &UnpackOptions::default()).unwrap();
        assert_eq!(tree(&into), tree(&source), "{format}");
        assert_eq!(fs::metadata(into.join("hard")).unwrap().nlink(), 2);
    }
}

#[test]
fn sparse_files_keep_their_holes_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let mut content = vec![0; 3 << 20];
    for index in 0..12 {
        content[index * 200_000..index * 200_000 + 4].copy_from_slice(b"data");
    }
    fs::write(source.join("holes"), &content).unwrap();
    fs::write(source.join("hole"), vec![0; 1 << 20]).unwrap();
    let dig = |name| Command::new("fallocate").arg("--dig-holes").arg(source.join(name)).status().unwrap();
    assert!(dig("holes").success() && dig("hole").success());
    for format in [
        ["--format=gnu", "-S"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ] {
        let tar = Command::new("tar").args(["-c", "-S"]).args(format).arg("-C").arg(&source).arg(".").output().unwrap();
        assert!(tar.stdout.len() < 1 << 20, "tar found no holes");
        let into = dir.path().join(format[1]);
        let stats = unpack(tar.stdout.as_slice(), &into, &UnpackOptions::default()).unwrap();
        assert_eq!(stats.bytes, 4 << 20, "{format:?}");
        assert!(fs::read(into.join("holes")).unwrap() == content, "{format:?}");
        assert_eq!(fs::metadata(into.join("hole")).unwrap().len(), 1 << 20, "{format:?}");
        assert!(fs::metadata(into.join("holes")).unwrap().blocks() * 512 < 1 << 20, "{format:?}");
    }
}

#[test]
fn the_input_is_read_to_its_end_for_whoever_checks_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = Tar::default().file("a", "1").bytes();
    bytes.resize(bytes.len() + 100_000, 7);
    let mut counted = Counted(bytes.as_slice(), 0);
    unpack(&mut counted, dir.path(), &UnpackOptions::default()).unwrap();
    assert_eq!(counted.1, bytes.len());
}

struct Counted<'a>(&'a [u8], usize);

impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1 += read;
        Ok(read)
    }
}
