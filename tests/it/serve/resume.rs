//! Uploads that break: bytes that arrived are kept, through broken connections, restarts and
//! `kill -9`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::*;

/// Sends the head of a PATCH that announces `announced` bytes, and `body`; the connection stays
/// open.
async fn begin_patch(addr: SocketAddr, location: &str, announced: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n");
    // In one write, so that the first bytes of the body are there when the head is.
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream
}

/// The number of bytes of an upload, once it is at least `least`.
async fn offset(rig: &Rig, location: &str, least: usize) -> usize {
    loop {
        let reply = rig.get(location).await.expect(204);
        let end: usize = reply.header("range").strip_prefix("0-").unwrap().parse().unwrap();
        if end + 1 >= least {
            return end + 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn finish(rig: &Rig, location: &str, bytes: &[u8], from: usize) {
    let digest = Digest::of(bytes);
    rig.put(&format!("{location}?digest={digest}"), bytes[from..].to_vec()).await.expect(201);
    let repository = location.split("/blobs/").next().unwrap();
    assert_eq!(Digest::of(rig.get(&format!("{repository}/blobs/{digest}")).await.expect(200).body), digest);
}

#[tokio::test]
async fn a_chunk_that_breaks_off_is_kept_to_its_last_byte() {
    let rig = Rig::new().await;
    let bytes = noise(3_000_000);
    let location = rig.begin("a").await;
    rig.patch(&location, bytes[..1_000_000].to_vec()).await.expect(202);
    let stream = begin_patch(rig.addr, &location, 2_000_000, &bytes[1_000_000..1_700_001]).await;
    drop(stream);
    let offset = offset(&rig, &location, 1_700_001).await;
    assert_eq!(offset, 1_700_001);
    let broken = |served: &Served| served.status.is_none() && served.request_bytes == 700_001;
    let logged = async {
        while !rig.log.lock().unwrap().iter().any(broken) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), logged).await.expect("the broken request in the log");
    let reply = rig.patch_range(&location, "1700001-1999999", bytes[offset..2_000_000].to_vec()).await.expect(202);
    assert_eq!(reply.header("range"), "0-1999999");
    finish(&rig, &location, &bytes, 2_000_000).await;
}

#[tokio::test]
async fn a_put_that_breaks_off_is_kept_too() {
    let rig = Rig::new().await;
    let bytes = noise(1_000_000);
    let location = rig.begin("a").await;
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    let head = format!("PUT {location}?digest={} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", Digest::of(&bytes));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..400_000]).await.unwrap();
    drop(stream);
    assert_eq!(offset(&rig, &location, 400_000).await, 400_000);
    finish(&rig, &location, &bytes, 400_000).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_before_its_last_part_is_kept_and_not_taken_for_whole() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    let digest = Digest::of("hello world");
    let head = format!("PUT {location}?digest={digest} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(offset(&rig, &location, 5).await, 5);
    finish(&rig, &location, b"hello world", 5).await;
}

#[tokio::test]
async fn a_client_that_comes_back_takes_over_from_its_dead_connection() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    // The server does not learn that this one is dead.
    let dead = begin_patch(rig.addr, &location, 100, b"hello").await;
    rig.arrived(2).await;
    rig.get(&location).await.expect(204);
    let reply = rig.patch_range(&location, "5-10", " world").await.expect(202);
    assert_eq!(reply.header("range"), "0-10");
    finish(&rig, &location, b"hello world", 11).await;
    drop(dead);
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(2_000_000);
    let rig = Rig::in_dir(dir.path()).await;
    let location = rig.begin("a/b").await;
    rig.patch(&location, bytes[..1_200_000].to_vec()).await.expect(202);
    drop(begin_patch(rig.addr, &location, 500_000, &bytes[1_200_000..1_300_000]).await);
    offset(&rig, &location, 1_300_000).await;
    rig.stop().await;
    let rig = Rig::in_dir(dir.path()).await;
    let offset = offset(&rig, &location, 0).await;
    assert_eq!(offset, 1_300_000);
    rig.patch(&location, bytes[offset..1_500_000].to_vec()).await.expect(202);
    finish(&rig, &location, &bytes, 1_500_000).await;
}

#[tokio::test]
async fn twenty_uploads_of_one_blob_at_once_all_succeed_and_store_it_once() {
    let rig = Rig::new().await;
    let bytes = noise(1_000_000);
    let digest = Digest::of(&bytes);
    let uploads = (0..20).map(|number| {
        let (rig, bytes) = (&rig, &bytes);
        async move {
            let location = rig.begin(&format!("r{}", number % 4)).await;
            rig.patch(&location, bytes[..300_000].to_vec()).await.expect(202);
            rig.put(&format!("{location}?digest={digest}"), bytes[300_000..].to_vec()).await.expect(201);
        }
    });
    futures_util::future::join_all(uploads).await;
    for number in 0..4 {
        assert_eq!(Digest::of(rig.get(&format!("/v2/r{number}/blobs/{digest}")).await.expect(200).body), digest);
    }
    let mut inodes: Vec<u64> = files(rig.registry.dir()).iter().filter(|file| file.1 == 1_000_000).map(|file| file.2).collect();
    assert_eq!(inodes.len(), 5, "one link for each repository and the shared one");
    inodes.dedup();
    assert_eq!(inodes.len(), 1);
}

#[tokio::test]
async fn uploads_nobody_goes_on_with_expire() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path()).await;
    let location = rig.begin("a").await;
    rig.patch(&location, "x").await.expect(202);
    rig.stop().await;
    let rig = Rig::in_dir(dir.path()).await;
    rig.get(&location).await.expect(204);
    rig.stop().await;
    let options = RegistryOptions { dir: Some(dir.path().into()), upload_expiry: Duration::ZERO, ..RegistryOptions::default() };
    let rig = Rig::with(options).await;
    rig.get(&location).await.expect(404);
}

/// Every file under `dir`: its path, size and inode.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path, metadata.len(), metadata.ino()));
        }
    }
    found
}

/// A registry in a process of its own.
struct Process(Child, SocketAddr);

impl Process {
    /// Starts this test program again, with `serves_in_a_process_of_its_own` as its only test.
    fn start(dir: &Path) -> Self {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["serve::resume::serves_in_a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let addr = lines.into_iter().find_map(|line| line.split("listening on ").nth(1).map(|addr| addr.parse().unwrap()));
        Self(child, addr.expect("the address of the process"))
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const DIR: &str = "MPIMG_TEST_SERVE_DIR";

#[test]
#[ignore = "other tests run it as a process of its own, to kill it"]
fn serves_in_a_process_of_its_own() {
    let dir = std::env::var_os(DIR).expect("the folder").into();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let registry = Registry::open(RegistryOptions { dir: Some(dir), ..RegistryOptions::default() }).unwrap();
        let server = registry.bind("127.0.0.1:0").await.unwrap();
        println!("listening on {}", server.addr());
        server.run(std::future::pending()).await.unwrap();
    });
}

#[tokio::test]
async fn killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_wrong_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(4_000_000);
    let digest = Digest::of(&bytes);
    let client = client();
    let (mut location, mut tags) = (None::<String>, Vec::new());
    for round in 0..8_u64 {
        let process = Process::start(dir.path());
        let url = |path: &str| format!("http://{}{path}", process.1);
        // What was acknowledged before the kill is all there.
        for tag in &tags {
            assert_eq!(
                send(client.get(url(&format!("/v2/a/manifests/{tag}")))).await.expect(200).header("content-type"),
                MANIFEST
            );
        }
        let push = async {
            let location = match location.clone() {
                Some(location) => location,
                None => send(client.post(url("/v2/a/blobs/uploads/"))).await.expect(202).header("location").to_owned(),
            };
            let status = send(client.get(url(&location))).await.expect(204);
            let end: usize = status.header("range").strip_prefix("0-").unwrap().parse().unwrap();
            let offset = if end == 0 { 0 } else { end + 1 };
            (location, offset)
        };
        let (at, offset) = push.await;
        assert!(offset <= bytes.len());
        for (number, part) in ["{}", &format!("layer {round}")].iter().enumerate() {
            let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(part));
            let reply = send(client.post(url(&path)).body((*part).to_owned())).await;
            assert_eq!(reply.status, StatusCode::CREATED, "part {number}: {reply:?}");
        }
        let manifest = image_manifest("{}", &format!("layer {round}")).to_string();
        let tag = format!("tag{round}");
        let put = client.put(url(&format!("/v2/a/manifests/{tag}"))).header(CONTENT_TYPE, MANIFEST);
        send(put.body(manifest)).await.expect(201);
        tags.push(tag);
        // In the middle of a chunk.
        let stream = begin_patch(process.1, &at, bytes.len(), &bytes[offset..(offset + 600_000).min(bytes.len())]).await;
        tokio::time::sleep(Duration::from_millis(round * 3)).await;
        location = Some(at);
        process.kill();
        drop(stream);
    }
    let process = Process::start(dir.path());
    let url = |path: &str| format!("http://{}{path}", process.1);
    let location = location.unwrap();
    let status = send(client.get(url(&location))).await.expect(204);
    let end: usize = status.header("range").strip_prefix("0-").unwrap().parse().unwrap();
    let from = if end == 0 { 0 } else { end + 1 };
    let put = client.put(url(&format!("{location}?digest={digest}"))).body(bytes[from..].to_vec());
    send(put).await.expect(201);
    let blob = send(client.get(url(&format!("/v2/a/blobs/{digest}")))).await.expect(200);
    assert_eq!(Digest::of(blob.body), digest);
    let listed = send(client.get(url("/v2/a/tags/list"))).await.expect(200).json();
    assert_eq!(listed["tags"], json!(tags));
    process.kill();
    assert_eq!(files(&dir.path().join("tmp")), []);
}
