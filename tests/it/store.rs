//! The local store under several threads and processes, kills, power cuts, full and read-only
//! disks.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use mpimg::ErrorKind;
use mpimg::oci::{Descriptor, DiffId, Digest, MediaType, Platform, Reference, Repository};
use mpimg::store::{
    BlobSource, ByteStream, CacheKey, CacheLimit, CacheRecord, CachedLayer, ImageRecord, LayerData, LayerLocation, LayerRecord,
    PruneOptions, RemoteBlob, Store,
};

use crate::{judge, run};

fn new_store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, store)
}

fn layer_of(store: &Store, content: &[u8]) -> Descriptor {
    store.put(MediaType::Layer, content).unwrap()
}

/// An image of one layer. Manifest and config are any bytes: the store does not read them.
fn image_of(store: &Store, content: &[u8]) -> ImageRecord {
    let descriptor = layer_of(store, content);
    ImageRecord {
        manifest: store.put(MediaType::Manifest, &[b"manifest of ", content].concat()).unwrap(),
        config: store.put(MediaType::Config, &[b"config of ", content].concat()).unwrap(),
        platform: Platform::default(),
        layers: vec![LayerRecord { diff_id: DiffId(descriptor.digest), descriptor, location: LayerLocation::Local }],
    }
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// Everything below a folder, without the folder itself.
fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn blob_files(root: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(root.join("blobs/sha256")).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

/// Starts this test program again as another process that does `task`; see [`child`].
fn command(task: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "store::child", "--nocapture", "--test-threads=1"]);
    command.env("MPIMG_TEST_TASK", task).env("MPIMG_TEST_ROOT", root).stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

fn spawn(task: &str, root: &Path) -> Child {
    command(task, root).spawn().unwrap()
}

/// Not a test of its own: what other processes do.
#[test]
#[ignore = "started by other tests, with a task"]
fn child() {
    let task = std::env::var("MPIMG_TEST_TASK").expect("another test starts this one");
    let root = PathBuf::from(std::env::var_os("MPIMG_TEST_ROOT").expect("another test starts this one"));
    match task.as_str() {
        "churn" => (0..u32::MAX).for_each(|round| {
            churn(&root, round);
            fs::write(root.with_extension("ready"), "").unwrap();
        }),
        "churn a little" => (0..8).for_each(|round| churn(&root, round)),
        "fetch" => fetch_counted(&root),
        "hold" => hold(&root),
        "full disk" => full_disk(&root),
        "read-only disk" => read_only_disk(&root),
        "mount in scratch" => mount_in_scratch(&root),
        other => panic!("{other}"),
    }
}

/// A bit of everything that writes.
fn churn(root: &Path, round: u32) {
    let store = Store::open(root).unwrap();
    let content = vec![round as u8; 100_000];
    let image = image_of(&store, &content);
    let diff_id = image.layers[0].diff_id;
    store.tag(&name(&format!("app:{}", round % 4)), &image).unwrap();
    store.write_layer_data(&diff_id, LayerData::Index, &content).unwrap();
    let fill = |dir: &Path| {
        (0..20).for_each(|file| fs::write(dir.join(file.to_string()), &content[..1000]).unwrap());
        Ok(())
    };
    let tree = store.unpacked_dir(&diff_id, "root", fill).unwrap();
    assert_eq!(count(&tree), 20);
    let layer = Some(CachedLayer { diff_id, descriptor: image.layers[0].descriptor.clone() });
    let key = CacheKey(Digest::of(round.to_string()));
    store.cache_put(&key, &CacheRecord { layer, created: 1, made: 2 }).unwrap();
    assert!(store.cache_lookup(&key).is_some());
    let scratch = store.scratch().unwrap();
    fs::write(scratch.path().join("file"), &content).unwrap();
    if round % 4 == 3 {
        store.untag(&name("app:0")).unwrap();
        store.prune(&PruneOptions { keep_storage: Some(500_000), ..PruneOptions::default() }).unwrap();
    }
}

/// What must hold whatever happened to the processes that used the store.
fn assert_sound(root: &Path) {
    let store = Store::open(root).unwrap();
    assert_eq!(count(&root.join("tmp")), 2, "only this process's folder and lock are left");
    for (hex, path) in blob_files(root) {
        assert_eq!(Digest::of(fs::read(&path).unwrap()).hex(), hex);
    }
    for (name, image) in store.list().unwrap() {
        assert_eq!(store.resolve(&name).unwrap().unwrap(), image);
        for blob in [&image.manifest, &image.config, &image.layers[0].descriptor] {
            assert!(store.has(&blob.digest, blob.size).unwrap(), "{name} lacks {}", blob.digest);
        }
    }
    for home in fs::read_dir(root.join("unpacked")).into_iter().flatten() {
        assert_eq!(count(&home.unwrap().path().join("tree")), 20);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_sound_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    for round in 0..40u64 {
        let ready = root.with_extension("ready");
        let _ = fs::remove_file(&ready);
        let mut child = spawn("churn", &root);
        // Every other time at its start, else in the middle of its work, at a different moment each
        // time.
        let moment = match round % 2 {
            0 => round * 7919 % 20_000,
            _ => {
                wait_for(&ready);
                round * 7919 % 60_000
            }
        };
        std::thread::sleep(Duration::from_micros(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_sound(&root);
    }
    assert!(!Store::open(&root).unwrap().list().unwrap().is_empty());
}

fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn several_processes_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let children: Vec<_> = (0..4).map(|_| spawn("churn a little", &root)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_sound(&root);
    let names: Vec<_> = Store::open(&root).unwrap().list().unwrap().into_iter().map(|(name, _)| name.familiar()).collect();
    assert!(names.ends_with(&["app:1".to_owned(), "app:2".to_owned(), "app:3".to_owned()]), "{names:?}");
}

const REMOTE: &[u8] = &[7; 3_000_000];

/// A remote blob that notes in a file how often it is fetched.
struct Counted {
    repository: Repository,
    descriptor: Descriptor,
    log: PathBuf,
}

impl Counted {
    fn source(log: PathBuf, descriptor: Descriptor) -> BlobSource {
        let repository = Repository::parse("registry.example.com/a").unwrap();
        BlobSource::Remote(Arc::new(Self { repository, descriptor, log }))
    }
}

impl RemoteBlob for Counted {
    fn repository(&self) -> &Repository {
        &self.repository
    }

    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn fetch(&self, offset: u64) -> ByteStream {
        writeln!(File::options().create(true).append(true).open(&self.log).unwrap(), "fetched").unwrap();
        let slow = tokio::time::sleep(Duration::from_millis(100)).into_stream().map(|()| None);
        let parts = REMOTE[offset as usize..].chunks(100_000).map(|part| Some(Ok(part.into())));
        slow.chain(stream::iter(parts)).filter_map(std::future::ready).boxed()
    }
}

fn fetch_counted(root: &Path) {
    let store = Store::open(root).unwrap();
    let descriptor = Descriptor::of(MediaType::Layer, REMOTE);
    let source = Counted::source(root.with_extension("log"), descriptor.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (store, source, descriptor) = (store.clone(), source.clone(), descriptor.clone());
                tokio::spawn(async move { store.fetch(&source, &descriptor).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(fs::read(task.await.unwrap().unwrap()).unwrap(), REMOTE);
        }
    });
}

#[test]
fn a_blob_is_downloaded_once_however_many_tasks_and_processes_want_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let children: Vec<_> = (0..3).map(|_| spawn("fetch", &root)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(fs::read_to_string(root.with_extension("log")).unwrap(), "fetched\n");
    assert_eq!(count(&root.join("locks")), 0);
}

#[tokio::test]
async fn bytes_that_are_not_what_they_should_be_are_not_stored() {
    let (dir, store) = new_store();
    let right = Descriptor::of(MediaType::Layer, REMOTE);
    for wrong in [
        Descriptor::of(MediaType::Layer, b"other bytes"),
        Descriptor::new(MediaType::Layer, right.digest, right.size - 1),
        Descriptor::new(MediaType::Layer, right.digest, right.size + 1),
        Descriptor::new(MediaType::Layer, Digest::of("x"), right.size),
    ] {
        let source = Counted::source(dir.path().join("log"), wrong.clone());
        assert_eq!(store.fetch(&source, &wrong).await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(store.import(&mut &*REMOTE, &wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(blob_files(store.root()).len(), 0);
    store.import(&mut &*REMOTE, &right).unwrap();
    assert!(store.has(&right.digest, right.size).unwrap());
}

#[tokio::test]
async fn a_fetch_that_is_given_up_leaves_nothing_and_can_be_begun_again() {
    let (dir, store) = new_store();
    let descriptor = Descriptor::of(MediaType::Layer, REMOTE);
    let source = Counted::source(dir.path().join("log"), descriptor.clone());
    let given_up = tokio::time::timeout(Duration::from_millis(20), store.fetch(&source, &descriptor)).await;
    assert!(given_up.is_err());
    assert!(!store.has(&descriptor.digest, descriptor.size).unwrap());
    store.fetch(&source, &descriptor).await.unwrap();
    assert_eq!(count(&store.root().join("locks")), 0);
}

#[test]
fn a_blob_writer_leaves_a_blob_or_nothing() {
    let (_dir, store) = new_store();
    let descriptor = Descriptor::of(MediaType::Layer, b"layer");
    let diff_id = DiffId(descriptor.digest);
    let mut writer = store.blob_writer().unwrap();
    let mut growing = writer.growing().unwrap();
    writer.write_all(b"lay").unwrap();
    drop(writer);
    let waited = growing.complete().now_or_never().unwrap();
    assert!(waited.is_err(), "readers are told");
    let mut short = store.blob_writer().unwrap();
    short.write_all(b"lay").unwrap();
    assert_eq!(short.commit(descriptor.clone(), diff_id).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(blob_files(store.root()).len(), 0);

    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"la").unwrap();
    let mut growing = writer.growing().unwrap();
    writer.write_all(b"yer").unwrap();
    assert_eq!(writer.written(), 5);
    let path = writer.commit(descriptor.clone(), diff_id).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"layer");
    assert_eq!(growing.complete().now_or_never().unwrap().unwrap(), (descriptor.clone(), diff_id));

    store.sync(&[descriptor.digest]).unwrap();
    assert_eq!(mode(&path), 0o400);
    let mut again = store.blob_writer().unwrap();
    again.write_all(b"layer").unwrap();
    again.commit(descriptor, diff_id).unwrap();
    assert_eq!(mode(&path), 0o400, "a blob on disk is not replaced by one that may not be");
}

/// Lets the next opening believe that the machine was started again.
fn pretend_boot(root: &Path) {
    fs::write(root.join("boot"), "another boot\n").unwrap();
}

#[test]
fn after_a_power_cut_names_are_whole_and_damage_elsewhere_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    let named = image_of(&store, b"named");
    store.tag(&name("app"), &named).unwrap();
    for blob in [&named.manifest, &named.config, &named.layers[0].descriptor] {
        assert_eq!(mode(&store.blob_path(&blob.digest)), 0o400, "on disk before it has a name");
    }
    let whole = layer_of(&store, b"whole");
    let zeroed = layer_of(&store, b"zeroed");
    let cached = layer_of(&store, b"cached");
    let key = CacheKey(Digest::of("key"));
    let layer = CachedLayer { diff_id: DiffId(cached.digest), descriptor: cached.clone() };
    store.cache_put(&key, &CacheRecord { layer: Some(layer), created: 0, made: 0 }).unwrap();
    let tree = store.unpacked_dir(&DiffId(whole.digest), "root", |_| Ok(())).unwrap();
    drop(store);
    // What file systems make of unwritten pages.
    fs::write(root.join("blobs/sha256").join(zeroed.digest.hex()), [0; 6]).unwrap();
    fs::write(root.join("blobs/sha256").join(cached.digest.hex()), [0; 6]).unwrap();
    pretend_boot(&root);

    let store = Store::open(&root).unwrap();
    assert!(!tree.exists());
    assert!(store.has(&whole.digest, whole.size).unwrap());
    assert_eq!(mode(&store.blob_path(&whole.digest)), 0o400, "read and compared, it need not be again");
    assert!(!store.has(&zeroed.digest, zeroed.size).unwrap());
    assert!(!store.blob_path(&zeroed.digest).exists());
    assert_eq!(store.cache_lookup(&key), None);
    assert_eq!(store.resolve(&name("app")).unwrap(), Some(named));
}

#[test]
fn of_a_store_that_two_kernels_see_neither_removes_what_the_other_uses() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let there = Store::open(&root).unwrap();
    let tree = there.unpacked_dir(&DiffId(Digest::of("used")), "root", |_| Ok(())).unwrap();
    let unused = Store::open(&root).unwrap().unpacked_dir(&DiffId(Digest::of("unused")), "root", |_| Ok(())).unwrap();
    // As if `there` were on another kernel.
    pretend_boot(&root);
    drop(Store::open(&root).unwrap());
    assert!(tree.exists() && !unused.exists());
    drop(there);
    // Both are known now: no opening takes the other for a boot.
    drop(Store::open(&root).unwrap());
    assert!(tree.exists());
    let boots = fs::read_to_string(root.join("boot")).unwrap();
    let here = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(boots.lines().collect::<Vec<_>>(), [here.trim_end(), "another boot"]);
    pretend_boot(&root);
    drop(Store::open(&root).unwrap());
    assert!(!tree.exists());
}

#[test]
fn a_blob_that_came_in_any_other_way_is_checked_first() {
    let (_dir, store) = new_store();
    let blob = layer_of(&store, b"content");
    let path = store.blob_path(&blob.digest);
    fs::write(&path, "damaged").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(!store.has(&blob.digest, blob.size).unwrap());
}

#[test]
fn a_damaged_blob_is_named_with_a_remedy_and_gone_at_the_next_use() {
    let (_dir, store) = new_store();
    let blob = layer_of(&store, b"content");
    fs::write(store.blob_path(&blob.digest), "cOntent").unwrap();
    let error = store.read_small(&blob.digest, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.to_string(), format!("blob `{}` of the local store is damaged", blob.digest));
    assert!(error.hint().unwrap().contains("`mpimg prune`"));
    assert_eq!(store.read_small(&blob.digest, 100).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.put(MediaType::Layer, b"content").unwrap(), blob);
    assert_eq!(store.read_small(&blob.digest, 100).unwrap(), b"content");
    assert_eq!(store.read_small(&blob.digest, 6).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn names_are_given_found_and_taken_away() {
    let (_dir, store) = new_store();
    let (one, two) = (image_of(&store, b"one"), image_of(&store, b"two"));
    store.tag(&name("b.example.com/app:1"), &one).unwrap();
    store.tag(&name("app"), &one).unwrap();
    store.tag(&name("docker.io/library/app:latest"), &two).unwrap();
    let names: Vec<_> = store.list().unwrap().into_iter().map(|(name, image)| (name.familiar(), image)).collect();
    assert_eq!(names, [("b.example.com/app:1".to_owned(), one.clone()), ("app:latest".to_owned(), two.clone())]);
    let by_digest = |digest: &Digest| store.resolve(&name("b.example.com/app").repository().with_digest(*digest)).unwrap();
    assert_eq!(by_digest(&one.manifest.digest), Some(one.clone()));
    assert_eq!(by_digest(&two.manifest.digest), None);
    let pinned = name("app").repository().with_digest(Digest::of("an index"));
    store.tag(&pinned, &two).unwrap();
    assert_eq!(store.resolve(&name(&format!("app:any@{}", Digest::of("an index")))).unwrap(), Some(two));
    assert!(store.untag(&name("app")).unwrap());
    assert!(!store.untag(&name("app")).unwrap());
    assert_eq!(store.resolve(&name("app")).unwrap(), None);
}

#[test]
fn an_image_with_a_missing_blob_gets_no_name_and_one_with_a_remote_layer_does() {
    let (_dir, store) = new_store();
    let mut image = image_of(&store, b"one");
    image.layers[0].descriptor = Descriptor::of(MediaType::Layer, b"elsewhere");
    assert_eq!(store.tag(&name("app"), &image).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.list().unwrap(), []);
    image.layers[0].location = LayerLocation::Remote(Repository::parse("registry.example.com/base").unwrap());
    store.tag(&name("app"), &image).unwrap();
    assert_eq!(store.resolve(&name("app")).unwrap(), Some(image));
}

#[test]
fn a_damaged_record_is_an_error_for_names_and_a_miss_for_the_cache() {
    let (_dir, store) = new_store();
    let image = image_of(&store, b"one");
    store.tag(&name("app"), &image).unwrap();
    let record = fs::read_dir(store.root().join("names")).unwrap().next().unwrap().unwrap().path();
    fs::write(record, "{").unwrap();
    let error = store.resolve(&name("app")).unwrap_err();
    assert_eq!((error.kind(), store.list().unwrap_err().kind()), (ErrorKind::Corrupt, ErrorKind::Corrupt));
    assert_eq!(store.prune(&PruneOptions::default()).unwrap_err().kind(), ErrorKind::Corrupt, "what it named must stay");

    let key = CacheKey(Digest::of("key"));
    let hex = key.0.hex();
    let path = store.root().join("cache").join(&hex[..2]).join(&hex);
    let record = CacheRecord { layer: None, created: 5, made: 6 };
    store.cache_put(&key, &record).unwrap();
    assert_eq!(store.cache_lookup(&key), Some(record));
    let text = fs::read_to_string(&path).unwrap();
    for damaged in [text.replace('5', "6"), String::new(), text[..text.len() - 1].to_owned()] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(store.cache_lookup(&key), None);
    }
}

#[test]
fn side_data_is_read_as_it_was_written_or_not_at_all() {
    let (_dir, store) = new_store();
    let diff_id = DiffId(Digest::of("layer"));
    assert_eq!(store.read_layer_data(&diff_id, LayerData::Index).unwrap(), None);
    for data in [&b"entries"[..], b""] {
        store.write_layer_data(&diff_id, LayerData::Index, data).unwrap();
        assert_eq!(store.read_layer_data(&diff_id, LayerData::Index).unwrap().unwrap(), data);
    }
    let path = store.root().join("layers").join(format!("{}.index", diff_id.0.hex()));
    let whole = fs::read(&path).unwrap();
    for damaged in [&b""[..], &whole[1..], &[0; 80]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(store.read_layer_data(&diff_id, LayerData::Index).unwrap(), None);
    }
}

#[test]
fn a_layer_is_unpacked_once_and_not_at_all_if_that_fails() {
    let (_dir, store) = new_store();
    let diff_id = DiffId(Digest::of("layer"));
    let fail = |dir: &Path| {
        fs::write(dir.join("half"), "x").unwrap();
        Err(mpimg::Error::new(ErrorKind::Corrupt, "the layer ends early"))
    };
    assert!(store.unpacked_dir(&diff_id, "root", fail).is_err());
    assert!(!store.unpacked_path(&diff_id, "root").exists());
    let times = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let fill = |dir: &Path| {
                    times.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(count(dir), 0);
                    fs::write(dir.join("file"), "x").unwrap();
                    // Some images have a root that nobody may write to.
                    fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
                    Ok(())
                };
                let tree = store.unpacked_dir(&diff_id, "root", fill).unwrap();
                assert_eq!(tree, store.unpacked_path(&diff_id, "root"));
                assert!(tree.join("file").exists());
            });
        }
    });
    assert_eq!(times.into_inner(), 1);
}

fn hold(root: &Path) {
    let store = Store::open(root).unwrap();
    let held = layer_of(&store, b"held");
    store.unpacked_dir(&DiffId(held.digest), "root", |_| Ok(())).unwrap();
    fs::write(root.with_extension("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn pruning_keeps_what_is_named_cached_or_in_use_by_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let (named, cached, loose) = {
        let store = Store::open(&root).unwrap();
        let named = image_of(&store, b"named");
        store.tag(&name("app"), &named).unwrap();
        let cached = layer_of(&store, b"cached");
        let layer = CachedLayer { diff_id: DiffId(cached.digest), descriptor: cached.clone() };
        store.cache_put(&CacheKey(Digest::of("key")), &CacheRecord { layer: Some(layer), created: 0, made: 0 }).unwrap();
        let loose = layer_of(&store, b"loose");
        let fill = |dir: &Path| {
            fs::write(dir.join("file"), "x").unwrap();
            Ok(())
        };
        for digest in [named.layers[0].diff_id.0, cached.digest, loose.digest] {
            store.unpacked_dir(&DiffId(digest), "root", fill).unwrap();
            store.write_layer_data(&DiffId(digest), LayerData::Index, b"x").unwrap();
        }
        (named.layers[0].descriptor.clone(), cached, loose)
    };
    let mut holder = spawn("hold", &root);
    wait_for(&root.with_extension("ready"));
    let held = Digest::of("held");
    let store = Store::open(&root).unwrap();
    let there = |digest: &Digest| (store.blob_path(digest).exists(), store.unpacked_path(&DiffId(*digest), "root").exists());

    let report = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!((report.blobs, report.unpacked, report.cache_records), (1, 1, 0));
    assert_eq!([&named.digest, &cached.digest, &held].map(there), [(true, true); 3]);
    assert_eq!(there(&loose.digest), (false, false));
    assert_eq!(count(&root.join("layers")), 2);

    let report = store.prune(&PruneOptions { all: true, ..PruneOptions::default() }).unwrap();
    assert_eq!((report.blobs, report.unpacked, report.cache_records), (1, 2, 1));
    assert_eq!([&named.digest, &cached.digest, &held].map(there), [(true, false), (false, false), (true, true)]);

    holder.kill().unwrap();
    holder.wait().unwrap();
    let report = store.prune(&PruneOptions::default()).unwrap();
    assert_eq!((report.blobs, report.unpacked), (1, 1));
    assert_eq!(there(&held), (false, false));
    assert!(store.resolve(&name("app")).unwrap().is_some());
}

#[test]
fn pruning_to_a_size_begins_with_what_was_not_used_for_longest() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let keys: Vec<_> = (0..4).map(|number| CacheKey(Digest::of(number.to_string()))).collect();
    let store = Store::open(&root).unwrap();
    for (number, key) in keys.iter().enumerate() {
        let descriptor = layer_of(&store, &vec![number as u8; 1 << 20]);
        let layer = CachedLayer { diff_id: DiffId(descriptor.digest), descriptor };
        store.cache_put(key, &CacheRecord { layer: Some(layer), created: 0, made: 0 }).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    store.cache_lookup(&keys[0]).unwrap();
    // What goes in any case does not count for it.
    layer_of(&store, &[9; 3 << 20]);
    drop(store);
    let store = Store::open(&root).unwrap();
    let usage = store.disk_usage().unwrap();
    assert!(usage.blobs >= 7 << 20 && usage.total() < 8 << 20, "{usage:?}");
    let report = store.prune(&PruneOptions { keep_storage: Some(5 << 19), ..PruneOptions::default() }).unwrap();
    assert_eq!((report.cache_records, report.blobs), (2, 3));
    assert!(report.freed >= 5 << 20);
    let left: Vec<_> = keys.iter().map(|key| store.cache_lookup(key).is_some()).collect();
    assert_eq!(left, [true, false, false, true]);
}

#[test]
fn a_build_cache_over_its_limit_loses_what_was_unused_for_longest_and_nothing_that_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let keys: Vec<_> = (0..4).map(|number| CacheKey(Digest::of(number.to_string()))).collect();
    let store = Store::open(&root).unwrap();
    // What a named image needs does not count, however much it is.
    let named = image_of(&store, &[9; 3 << 20]);
    store.tag(&name("app:1"), &named).unwrap();
    let mut blobs = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let descriptor = layer_of(&store, &vec![number as u8; 1 << 20]);
        blobs.push(store.blob_path(&descriptor.digest));
        let layer = CachedLayer { diff_id: DiffId(descriptor.digest), descriptor };
        store.cache_put(key, &CacheRecord { layer: Some(layer), created: 0, made: 0 }).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(store);
    let store = Store::open(&root).unwrap();
    let keep = |limit| store.keep_to_limit(limit, &|path| panic!("{} is somebody else's", path.display())).unwrap();
    let looked = root.join("limit-looked-at");
    assert_eq!(keep(CacheLimit::None), None);
    assert_eq!(keep(CacheLimit::Bytes(1 << 30)), None, "there is room");
    assert_eq!(keep(CacheLimit::Bytes(5 << 19)), None, "somebody has just looked");
    fs::remove_file(&looked).unwrap();
    assert_eq!(keep(CacheLimit::Bytes(5 << 19)).unwrap().cache_records, 2);
    let there = || blobs.iter().map(|blob| blob.exists()).collect::<Vec<_>>();
    assert_eq!(there(), [false, false, true, true]);
    // A build in progress uses one of them.
    store.cache_lookup(&keys[2]).unwrap();
    fs::remove_file(&looked).unwrap();
    assert_eq!(keep(CacheLimit::Bytes(0)).unwrap().cache_records, 2);
    assert_eq!(there(), [false, false, true, false]);
    assert!(store.blob_path(&named.layers[0].descriptor.digest).exists());
}

/// Runs a task where it may mount things without anybody else seeing them.
fn run_in_mount_namespace(script: &str, task: &str, root: &Path) {
    let task = command(task, root);
    let mut unshare = judge("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"]);
    unshare.arg(task.get_program()).args(task.get_args());
    let variables: BTreeMap<_, _> = task.get_envs().filter_map(|(key, value)| Some((key, value?))).collect();
    run(unshare.envs(variables));
}

#[test]
fn on_a_full_disk_errors_say_so_and_nothing_is_left_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=1m none '{}'", dir.path().display());
    run_in_mount_namespace(&script, "full disk", &dir.path().join("store"));
}

fn full_disk(root: &Path) {
    let store = Store::open(root).unwrap();
    let kept = image_of(&store, b"kept");
    store.tag(&name("app"), &kept).unwrap();
    let huge = vec![1; 2 << 20];
    let error = store.put(MediaType::Layer, &huge).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(error.hint(), Some("run `mpimg prune`, or free some space on that disk, then try again"));
    let error = store.import(&mut &huge[..], &Descriptor::of(MediaType::Layer, &huge)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    let import = import_from_elsewhere(&store);
    assert_eq!((import.kind(), import.hint()), (ErrorKind::Store, error.hint()));
    assert_eq!(blob_files(root).len(), 3);
    // Now to the last byte, and everything that does not need a byte must work.
    let filler = root.with_extension("filler");
    let _ = File::create(&filler).unwrap().write_all(&huge);
    let diff_id = DiffId(Digest::of("layer"));
    let fill = |dir: &Path| fs::write(dir.join("file"), &huge).map_err(|error| mpimg::Error::io("write", dir, error));
    assert!(store.unpacked_dir(&diff_id, "root", fill).is_err());
    assert!(!store.unpacked_path(&diff_id, "root").exists());
    assert!(store.tag(&name("other"), &kept).is_err());
    drop(store);
    let store = Store::open(root).unwrap();
    assert_eq!(store.resolve(&name("app")).unwrap(), Some(kept.clone()));
    assert_eq!(store.list().unwrap().len(), 1);
    store.untag(&name("app")).unwrap();
    drop(store);
    let store = Store::open(root).unwrap();
    assert_eq!(store.prune(&PruneOptions::default()).unwrap().blobs, 3);
    fs::remove_file(filler).unwrap();
    store.put(MediaType::Layer, b"small").unwrap();
}

/// Imports a large root file system that is on another disk.
fn import_from_elsewhere(store: &Store) -> mpimg::Error {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()));
    let mut header = tar::Header::new_gnu();
    header.set_size(2 << 20);
    builder.append_data(&mut header, "file", &vec![1; 2 << 20][..]).unwrap();
    let mut file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    file.write_all(&builder.into_inner().unwrap().finish().unwrap()).unwrap();
    let never = |_: &mut dyn std::io::Read| -> mpimg::Result<mpimg::image::Layer> { panic!("gzip is kept as it is") };
    mpimg::image::import_rootfs(store, file.path(), &Platform::default(), 0, &never).unwrap_err()
}

#[test]
fn a_read_only_store_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    store.tag(&name("app"), &image_of(&store, b"app")).unwrap();
    layer_of(&store, b"fresh");
    drop(store);
    pretend_boot(&root);
    let script = format!("mount --bind '{0}' '{0}'\nmount -o remount,ro,bind '{0}'", root.display());
    run_in_mount_namespace(&script, "read-only disk", &root);
}

fn read_only_disk(root: &Path) {
    let store = Store::open(root).unwrap();
    let image = store.resolve(&name("app")).unwrap().unwrap();
    assert_eq!(store.read_small(&image.config.digest, 100).unwrap(), b"config of app");
    assert!(store.has(&Digest::of("fresh"), 5).unwrap(), "read and compared");
    let error = store.put(MediaType::Layer, b"new").unwrap_err();
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Store, Some("set MPIMG_HOME to a folder that you can write to")));
    assert!(store.prune(&PruneOptions { all: true, ..PruneOptions::default() }).is_err() || blob_files(root).len() == 4);
}

#[test]
fn what_is_mounted_in_a_scratch_folder_is_not_deleted_with_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("host")).unwrap();
    fs::write(dir.path().join("host/file"), "precious").unwrap();
    run_in_mount_namespace("true", "mount in scratch", &dir.path().join("store"));
    assert_eq!(fs::read_to_string(dir.path().join("host/file")).unwrap(), "precious");
}

fn mount_in_scratch(root: &Path) {
    let host = root.with_file_name("host");
    let store = Store::open(root).unwrap();
    let scratch = store.scratch().unwrap();
    let (folder, file) = (scratch.path().join("a/b/mnt"), scratch.path().join("a/resolv.conf"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(&file, "").unwrap();
    fs::write(scratch.path().join("a/b/own"), "").unwrap();
    run(judge("mount").arg("--bind").arg(&host).arg(&folder));
    run(judge("mount").arg("--bind").arg(host.join("file")).arg(&file));
    assert_eq!(store.remove_tree(scratch.path()).unwrap_err().kind(), ErrorKind::Store);
    drop(scratch);
    drop(store);
    Store::open(root).unwrap();
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "precious");
}
