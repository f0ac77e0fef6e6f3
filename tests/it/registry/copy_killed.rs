//! `mpimg copy`, killed with SIGKILL in the middle and started again: what the destination has
//! accepted is not sent a second time.
//!
//! Nothing here depends on times: the proxy before the destination kills the command at a request
//! that it names.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpimg::oci::{Platform, Repository};

use super::distribution::push;
use super::fixture::{Image, client, distribution, options, skopeo};
use super::proxy::{Fault, Proxy, Seen};
use crate::cli::fixture::{Left, Serving};
use crate::home::Home;

/// Two layers of several chunks (5 MiB each), and one that is too small to be resumed.
const LAYERS: [usize; 3] = [17 << 20, 11 << 20, 3000];

/// At which request of a run it is killed, and what becomes of this request.
const KILLS: [(&str, usize, Fault); 6] = [
    // Before anything is sent.
    ("HEAD", 1, Fault::Reset),
    // The registry has the chunk, and the command never hears of it.
    ("PATCH", 2, Fault::None),
    // The chunk is lost.
    ("PATCH", 1, Fault::Reset),
    // The registry has a part of it.
    ("PATCH", 1, Fault::Broken(1_000_000)),
    // A blob's last request; and the manifest.
    ("PUT", 1, Fault::None),
    ("PUT /manifests/", 1, Fault::None),
];

/// How many bytes of a request's body the registry gets.
fn passed_on(seen: &Seen, fault: &Fault) -> usize {
    match fault {
        Fault::Broken(part) => seen.body.min(*part),
        Fault::Reset => 0,
        _ => seen.body,
    }
}

/// Copies `source` to `destination`, and is killed again and again: how many bytes the registry got
/// in all, and how many the image has.
pub(super) async fn copy_with_kills(home: &Home, source: &str, destination: &Proxy, image: &Image) -> (usize, usize) {
    let target = format!("docker://{}/copied:1", destination.address);
    let copy = || {
        let mut copy = home.mpimg();
        copy.args(["copy", "--json", source, &target]);
        copy
    };
    let uploaded = Arc::new(AtomicUsize::new(0));
    for (request, number, fault) in KILLS {
        let child: Arc<Mutex<Option<Child>>> = Arc::default();
        let (victim, count, total) = (child.clone(), AtomicUsize::new(0), uploaded.clone());
        destination.script(move |seen, _| {
            let (method, part) = request.split_once(' ').unwrap_or((request, ""));
            let is_meant = seen.is(method, part) && (!part.is_empty() || !seen.target.contains("/manifests/"));
            let mut fate = Fault::None;
            if is_meant && count.fetch_add(1, Ordering::SeqCst) + 1 == number {
                victim.lock().unwrap().as_mut().unwrap().kill().unwrap();
                fate = fault.clone();
            }
            if seen.target.contains("/blobs/uploads/") {
                total.fetch_add(passed_on(seen, &fate), Ordering::SeqCst);
            }
            fate
        });
        let mut command = copy();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Whoever is to kill it waits until it is there.
        child.lock().unwrap().get_or_insert_with(|| command.spawn().unwrap());
        let mut status = None;
        while status.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            status = child.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
        }
        assert_eq!(status.unwrap().signal(), Some(9), "the copy ended before {request} {number}");
        destination.quiet().await;
    }

    let total = uploaded.clone();
    destination.script(move |seen, _| {
        if seen.target.contains("/blobs/uploads/") {
            total.fetch_add(seen.body, Ordering::SeqCst);
        }
        Fault::None
    });
    let copied = Left::of(copy().output().unwrap()).done().json();
    assert_eq!(copied["digest"], image.digest().to_string());
    let left: Vec<_> = home.store().join("uploads").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "records that nobody needs: {left:?}");
    let size = image.layers.iter().map(|layer| layer.descriptor.size as usize).sum::<usize>() + image.config.len();
    (uploaded.load(Ordering::SeqCst), size)
}

/// What is at the destination, by this client and by skopeo, which reads every blob and compares
/// digests.
async fn assert_copied(registry: &str, home: &Home, image: &Image) {
    let repository = Repository::parse(&format!("{registry}/copied")).unwrap();
    let pulled = client(options()).pull_image(&repository.with_digest(image.digest()), &Platform::default()).await.unwrap();
    assert_eq!(pulled.digest, image.digest());
    let to = format!("dir:{}", home.path().join("judged").display());
    skopeo(&["copy", "-q", "--src-tls-verify=false", &format!("docker://{repository}:1"), &to]);
}

/// A registry with the image.
async fn source(image: &Image) -> (Serving, String) {
    let registry = Serving::open();
    let repository = Repository::parse(&format!("{}/app", registry.host)).unwrap();
    push(&client(options()), &repository, image, &["1"]).await.unwrap();
    let name = format!("docker://{repository}:1");
    (registry, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn between_registries_it_goes_on_where_the_destination_is() {
    let (home, image, destination) = (Home::new(), Image::new(61, &LAYERS), Serving::open());
    let (_registry, name) = source(&image).await;
    let proxy = Proxy::before(destination.host.parse().unwrap()).await;
    let (uploaded, size) = copy_with_kills(&home, &name, &proxy, &image).await;
    assert_eq!(uploaded, size, "bytes that the registry had were sent again");
    assert_copied(&destination.host, &home, &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_archive_it_goes_on_where_the_destination_is() {
    let (home, image, destination) = (Home::new(), Image::new(71, &LAYERS), Serving::open());
    let (registry, name) = source(&image).await;
    crate::run(home.mpimg().args(["copy", "-q", &name, "oci-archive:app.tar:1"]));
    drop(registry);
    let proxy = Proxy::before(destination.host.parse().unwrap()).await;
    let (uploaded, size) = copy_with_kills(&home, "oci-archive:app.tar:1", &proxy, &image).await;
    assert_eq!(uploaded, size, "bytes that the registry had were sent again");
    assert_copied(&destination.host, &home, &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_kill_costs_a_session_no_more_than_that_blob_is_sent_again() {
    let (home, image, destination) = (Home::new(), Image::new(81, &LAYERS), distribution(""));
    let (_registry, name) = source(&image).await;
    let proxy = Proxy::before(destination.address).await;
    let (uploaded, size) = copy_with_kills(&home, &name, &proxy, &image).await;
    // docker-registry 2.8 forgets a session whose request breaks off, and one whose last answer was
    // not heard.
    let kills = KILLS.iter().filter(|(request, ..)| ["PATCH", "PUT"].contains(request)).count();
    assert!(uploaded <= size + kills * image.layers[0].descriptor.size as usize, "{uploaded} bytes for {size}");
    assert_copied(&destination.address.to_string(), &home, &image).await;
}
