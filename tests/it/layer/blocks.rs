//! Layers whose blocks are copied from other layers of the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::oci::Digest;
use mpimg::store::{PruneOptions, Store};
use mpimg::{Codec, Layer};
use proptest::prelude::*;

use crate::home::Home;
use crate::tar_builder::Tar;
use crate::{judges, run};

/// Text that is the same for the same number: about half of it is left when it is compressed.
fn text(number: u32, length: usize) -> String {
    let mut state = number.wrapping_mul(2_654_435_761) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'a' + (state >> 28) as u8)
    };
    (0..length).map(letter).collect()
}

/// Names of files, and what is in each: which text, and how much of it.
type Files = BTreeMap<u16, (u32, usize)>;

fn tar(files: &Files) -> Vec<u8> {
    let add =
        |tar: Tar, (name, (number, length)): (&u16, &(u32, usize))| tar.file(&format!("file-{name}"), &text(*number, *length));
    files.iter().fold(Tar::default(), add).bytes()
}

fn files() -> impl Strategy<Value = Files> {
    let size = prop_oneof![20 => 0..60_000_usize, 1 => 100_000..3_000_000_usize];
    prop::collection::btree_map(any::<u16>(), (any::<u32>(), size), 20..50)
}

/// What happens between two layers.
#[derive(Debug, Clone)]
enum Change {
    Write(u16, u32, usize),
    Remove(prop::sample::Index),
    /// A byte of a file of the store is another, or the file ends there.
    Damage(prop::sample::Index, prop::sample::Index, bool),
    Prune,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (any::<u16>(), any::<u32>(), 0..80_000_usize).prop_map(|(name, number, length)| Change::Write(name, number, length)),
        2 => any::<prop::sample::Index>().prop_map(Change::Remove),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()).prop_map(|(file, at, cut)| Change::Damage(file, at, cut)),
        1 => Just(Change::Prune),
    ]
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The bytes become others under the same name, as on a bad disk.
fn damage(store: &Path, file: prop::sample::Index, at: prop::sample::Index, cut: bool) {
    let all = [files_in(&store.join("blobs/sha256")), files_in(&store.join("layers"))].concat();
    if all.is_empty() {
        return;
    }
    let path = &all[file.index(all.len())];
    let mut bytes = fs::read(path).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    if cut {
        bytes.truncate(at)
    } else {
        bytes[at] ^= 0x10
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_is_the_same_whatever_the_store_has(
        files in files(),
        changes in prop::collection::vec(change(), 1..6),
        codec in prop::sample::select(vec!["gzip", "gzip:1", "zstd"]),
        threads in 1..4_usize,
    ) {
        let (mut files, codec) = (files, Codec::parse(codec).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("used");
        for (number, change) in std::iter::once(None).chain(changes.into_iter().map(Some)).enumerate() {
            match change {
                Some(Change::Write(name, number, length)) => drop(files.insert(name, (number, length))),
                Some(Change::Remove(which)) => drop(files.keys().nth(which.index(files.len())).copied().and_then(|name| files.remove(&name))),
                Some(Change::Damage(file, at, cut)) => damage(&root, file, at, cut),
                Some(Change::Prune) => drop(Store::open(&root).unwrap().prune(&PruneOptions::default()).unwrap()),
                None => {}
            }
            // No digest twice: the store keeps the blob that it has.
            files.insert(0, (number as u32, 100));
            let tar = tar(&files);
            let used = Store::open(&root).unwrap();
            let fresh = Store::open(folder.path().join(format!("fresh{number}"))).unwrap();
            let made = Layer::pack(&used, &mut &tar[..], codec, threads).unwrap();
            let expected = Layer::pack(&fresh, &mut &tar[..], codec, 1).unwrap();
            prop_assert_eq!(&made.descriptor, &expected.descriptor);
            prop_assert_eq!(made.diff_id.0, Digest::of(&tar));
            prop_assert_eq!(Digest::of(fs::read(used.blob_path(&made.descriptor.digest)).unwrap()), made.descriptor.digest);
        }
    }
}

/// The last line of the log that says how many blocks were copied: all of them, and the copied
/// ones.
fn blocks(said: &str) -> (u64, u64) {
    let line = said.lines().rfind(|line| line.contains("a layer was compressed")).expect("no layer was compressed");
    let field = |name: &str| line.split(&format!("{name}=")).nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    (field("blocks"), field("copied"))
}

fn build(home: &Home, context: &Path, tag: &str) -> String {
    let output = home.mpimg().args(["-vv", "build", "-t", tag]).arg(context).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_build_compresses_what_changed_alone_and_what_was_pruned_again() {
    let home = Home::new();
    let context = home.path().join("context");
    fs::create_dir_all(context.join("data")).unwrap();
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY data /data\n").unwrap();
    (0..300).for_each(|number| fs::write(context.join(format!("data/{number}")), text(number, 40_000)).unwrap());
    let (all, copied) = blocks(&build(&home, &context, "app:1"));
    assert!(all > 8 && copied == 0, "{copied} of {all}");
    fs::write(context.join("data/150"), text(1000, 50_000)).unwrap();
    let (all, copied) = blocks(&build(&home, &context, "app:2"));
    assert!(copied >= all - 3, "{copied} of {all} copied");

    let other = Home::new();
    let elsewhere = run(other.mpimg().args(["build", "-q"]).arg(&context));
    assert_eq!(run(home.mpimg().args(["build", "-q"]).arg(&context)), elsewhere, "from blocks, and fresh");

    run(home.mpimg().args(["rm", "app:1", "app:2"]));
    run(home.mpimg().args(["prune", "--all", "-q"]));
    assert!(files_in(&home.store().join("layers")).is_empty(), "records of blobs that are gone");
    let (_, copied) = blocks(&build(&home, &context, "app:3"));
    assert_eq!(copied, 0);
}

/// How many entries were taken with the blocks that they had.
fn taken(said: &str) -> u64 {
    let line = said.lines().rfind(|line| line.contains("entries were taken with their blocks"));
    line.map_or(0, |line| line.split("taken=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn files_that_have_their_stamps_are_not_read_and_damage_makes_no_other_layer() {
    let home = Home::new();
    let context = home.path().join("context");
    fs::create_dir_all(context.join("data/sub")).unwrap();
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY data /data\n").unwrap();
    (0..300).for_each(|number| fs::write(context.join(format!("data/{number}")), text(number, 40_000)).unwrap());
    fs::write(context.join("data/sub/large"), text(1, 5_000_000)).unwrap();
    // Until then, a change of a file might leave no trace in its times.
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(taken(&build(&home, &context, "app:1")), 0);
    let store = home.path().join("saved");
    run(Command::new("cp").arg("-a").arg(home.store()).arg(&store));

    // Of the same length, of another, new, gone, and one that keeps its time of modification.
    fs::write(context.join("data/150"), text(1000, 40_000)).unwrap();
    fs::write(context.join("data/20"), text(1001, 4_000)).unwrap();
    fs::write(context.join("data/333"), text(1002, 30_000)).unwrap();
    fs::remove_file(context.join("data/250")).unwrap();
    let old = fs::metadata(context.join("data/77")).unwrap().modified().unwrap();
    fs::write(context.join("data/77"), text(1003, 40_000)).unwrap();
    fs::File::options().write(true).open(context.join("data/77")).unwrap().set_modified(old).unwrap();
    let fresh = run(Home::new().mpimg().args(["build", "-q"]).arg(&context));
    let said = build(&home, &context, "app:2");
    assert!((60..300).contains(&taken(&said)), "{}", taken(&said));
    assert_eq!(run(home.mpimg().args(["build", "-q"]).arg(&context)), fresh);

    let names = [files_in(&store.join("blobs/sha256")), files_in(&store.join("layers"))].concat();
    assert!(names.len() >= 4, "{names:?}");
    for name in names.iter().map(|path| path.strip_prefix(&store).unwrap()) {
        for cut in [false, true] {
            let damaged = home.path().join("damaged");
            run(Command::new("cp").arg("-a").arg(&store).arg(&damaged));
            let mut bytes = fs::read(damaged.join(name)).unwrap();
            let middle = bytes.len() / 2;
            if cut {
                bytes.truncate(middle)
            } else {
                bytes[middle] ^= 0x10
            }
            fs::write(damaged.join(name), bytes).unwrap();
            let built = run(home.mpimg().env("MPIMG_HOME", &damaged).args(["build", "-q"]).arg(&context));
            assert_eq!(built, fresh, "{} {}", name.display(), if cut { "ends early" } else { "has another byte" });
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
}

#[test]
fn readers_of_gzip_take_a_layer_of_many_blocks() {
    let (home, files) = (Home::new(), (0..200).map(|name| (name, (u32::from(name), 30_000))).collect());
    let tar = tar(&files);
    fs::write(home.path().join("layer.tar"), &tar).unwrap();
    run(home.mpimg().args(["import", "-q", "layer.tar", "app:1"]));
    run(home.mpimg().args(["save", "-o", "docker-archive:app.tar", "app:1"]));
    let blob =
        files_in(&home.store().join("blobs/sha256")).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    for reader in ["gzip -dc", "python3 -c 'import gzip,sys;sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))'"] {
        let unpacked = Command::new("sh").args(["-c", reader]).stdin(fs::File::open(&blob).unwrap()).output().unwrap();
        assert!(unpacked.status.success() && unpacked.stdout == tar, "{reader}");
    }
    let crane = judges().join("go/bin/crane");
    match crane.exists() {
        true => drop(run(Command::new(crane).args(["validate", "--tarball"]).arg(home.path().join("app.tar")))),
        false => crate::skip::record(crate::skip::Missing::Registries),
    }
}
