//! What the specification and the machine's settings ask of a client, each seen from the command:
//! the registry's least chunk, its warnings, redirects without an end; certificates by folder,
//! plain HTTP by registries.conf.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::http_server::{Reply, Request, Response, authority};
use super::memory::{Quirks, Registry};
use super::testbed::{Service, Testbed, shown_error};
use crate::registry::fixture::distribution;

const HOST: &str = "registry.example.com";
const REPOSITORY: &str = "registry.example.com/mp/nsx";
const MIB: u64 = 1 << 20;

fn testbed(quirks: Quirks) -> Testbed {
    Testbed::new(&[HOST], Service::new(quirks, None))
}

#[test]
fn chunks_are_as_long_as_the_registry_wants_them_at_least() {
    let testbed = testbed(Quirks { least: 7 * MIB, ..Quirks::HUB }).with_file(20 << 20);
    testbed.service(|service| {
        service.with_registry = Box::new(|registry: &mut Registry, request: &Request| {
            let Reply::Response(answer) = registry.answer(request) else { return None };
            let begins = request.method == "POST";
            Some(if begins { answer.with("OCI-Chunk-Min-Length", (7 * MIB).to_string()) } else { answer }.into())
        });
    });
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    let sizes: Vec<_> =
        testbed.server.seen().iter().filter(|request| request.method == "PATCH").map(|request| request.body.len()).collect();
    assert!(sizes.iter().filter(|size| **size >= 7 << 20).count() >= 2, "{sizes:?}");
}

#[test]
fn an_upload_that_goes_on_keeps_to_the_least_chunk_that_was_told_when_it_began() {
    let testbed = testbed(Quirks { least: 7 * MIB, ..Quirks::HUB }).with_file(24 << 20);
    let is_broken = Arc::new(AtomicBool::new(true));
    let (broken, mut chunks) = (is_broken.clone(), 0);
    testbed.service(|service| {
        service.with_registry = Box::new(move |registry: &mut Registry, request: &Request| {
            chunks += usize::from(request.method == "PATCH");
            if request.method == "PATCH" && chunks > 1 && broken.load(Ordering::Relaxed) {
                return Some(Response::error(403, "DENIED", "out of disk").into());
            }
            let Reply::Response(answer) = registry.answer(request) else { return None };
            let begins = request.method == "POST";
            Some(if begins { answer.with("OCI-Chunk-Min-Length", (7 * MIB).to_string()) } else { answer }.into())
        });
    });
    assert_eq!(testbed.push(REPOSITORY).code, Some(1));
    is_broken.store(false, Ordering::Relaxed);
    testbed.server.forget();
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    // The small blobs have sessions of their own, and no PATCH.
    let seen = testbed.server.seen();
    let chunks = seen.iter().filter(|request| request.method == "PATCH");
    let goes_on = |request: &&Request| request.header("content-range").is_some_and(|range| !range.starts_with("0-"));
    assert!(chunks.clone().count() > 0 && chunks.clone().all(|chunk| goes_on(&chunk)), "it began again: {}", left.err);
}

#[test]
fn a_registrys_warning_is_shown_once() {
    let testbed = testbed(Quirks::HARBOR).with_file(12 << 20);
    testbed.service(|service| service.headers = vec![("Warning", "299 - \"this registry moves on Monday\"")]);
    let left = testbed.push(REPOSITORY).done();
    let told = format!("warning: `{HOST}` says: this registry moves on Monday");
    assert_eq!(left.err.matches(&told).count(), 1, "{}", left.err);
}

#[test]
fn redirects_without_an_end_end_with_an_error() {
    let testbed = testbed(Quirks::HARBOR);
    testbed.service(|service| {
        let around = Response::new(307).with("Location", "/v2/around");
        service.after_auth = Box::new(move |request| (request.method == "GET").then(|| around.clone().into()));
    });
    let checked = testbed.run(&["check", REPOSITORY]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains(&format!("`{HOST}` redirects in circles")), "{}", checked.out);
    assert!(testbed.server.seen().len() < 20);
}

#[test]
fn an_authority_is_found_in_every_place_of_certificates() {
    // One certificate that has nothing to do with it.
    let nothing = tempfile::tempdir().unwrap();
    crate::registry::tls::certificate(nothing.path(), "other", "basicConstraints=critical,CA:TRUE", None);
    let other = nothing.path().join("other.crt");
    for place in ["", "ca-file", "folder", "folder with the port", "SSL_CERT_DIR"] {
        let testbed = testbed(Quirks::HARBOR);
        let own = authority(testbed.certificates());
        let home = testbed.home.path();
        let mut command = testbed.mpimg();
        command.env("SSL_CERT_FILE", &other).args(["check", "--json", REPOSITORY]);
        match place {
            "ca-file" => drop(command.arg("--ca-file").arg(&own)),
            "folder" | "folder with the port" => {
                let name = if place == "folder" { HOST.to_owned() } else { format!("{HOST}:443") };
                let folder = home.join(".config/containers/certs.d").join(name);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::copy(&own, folder.join("ca.crt")).unwrap();
            }
            "SSL_CERT_DIR" => {
                let folder = home.join("certificates");
                std::fs::create_dir(&folder).unwrap();
                std::fs::copy(&own, folder.join("own.pem")).unwrap();
                crate::run(crate::judge("openssl").arg("rehash").arg(&folder));
                command.env_remove("SSL_CERT_FILE").env("SSL_CERT_DIR", folder);
            }
            _ => {}
        }
        let left = testbed.check(crate::cli::fixture::Left::of(command.output().unwrap()));
        assert_eq!(left.json()["passed"] == true, !place.is_empty(), "{place}: {} {}", left.out, left.err);
    }
}

#[test]
fn plain_http_to_another_machine_is_spoken_where_registries_conf_allows_it() {
    let registry = distribution("");
    // This machine, but by none of its own addresses.
    let host = format!("0.0.0.0:{}", registry.address.port());
    let repository = format!("{host}/mp/nsx");
    let testbed = testbed(Quirks::HARBOR).env("NO_PROXY", "0.0.0.0");
    let left = testbed.push(&repository);
    assert_eq!(left.code, Some(1));
    let told = shown_error(&left);
    assert!(told.contains(&format!("hint: `{host}` seems not to speak TLS")), "{told}");
    let conf = testbed.home.path().join("registries.conf");
    std::fs::write(&conf, format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n")).unwrap();
    let testbed = testbed.env("CONTAINERS_REGISTRIES_CONF", conf.to_str().unwrap());
    testbed.push(&repository).done();
}
