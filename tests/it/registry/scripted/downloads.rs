//! Large layers over slow connections: read in ranges side by side, and right whatever the server
//! does with ranges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mpimg::oci::Digest;
use serde_json::json;

use super::http_server::{HttpServer, Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{Service, Testbed, shown_error};
use crate::cli::fixture::{Left, write};
use crate::home::Home;
use crate::registry::fixture::noise;
use crate::run;

const HOST: &str = "registry.example.com";

/// Bytes a second of each connection: slow, by what the client goes by.
const SPEED: usize = 30 << 20;

const SIZE: usize = (36 << 20) + 5;

/// What a server does with a request for a range, the number of those before it given.
type AnswerRange = fn(Response, usize) -> Reply;

fn slow(answer: Response, _: usize) -> Reply {
    Reply::Slow(answer, SPEED)
}

/// Copies an image whose layer comes slowly; `None` as `answer_range`: the server does not say that
/// it has ranges. Also the ranges that were asked for.
fn copy(answer_range: Option<AnswerRange>) -> (Left, Vec<String>, bool) {
    let layer = noise(5, SIZE);
    let digest = Digest::of(&layer).to_string();
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    let (bytes, name) = (layer.clone(), digest.clone());
    testbed.service(|service| {
        service.registry.put_image("mp/base", "1", &[&layer]);
        let mut ranges = 0;
        service.after_auth = Box::new(move |request| {
            if !request.is("GET", &name) {
                return None;
            }
            let whole = Response::new(200).with_body(bytes.clone());
            let Some(answer_range) = answer_range else { return Some(Reply::Slow(whole, SPEED)) };
            let whole = whole.with("Accept-Ranges", "bytes");
            let Some((from, to)) = range(request) else { return Some(Reply::Slow(whole, SPEED)) };
            let content_range = format!("bytes {from}-{to}/{SIZE}");
            let part = Response::new(206).with("Content-Range", content_range).with_body(&bytes[from..=to]);
            ranges += 1;
            Some(answer_range(part, ranges - 1))
        });
    });
    let left = testbed.run(&["copy", &format!("docker://{HOST}/mp/base:1"), "oci:copied"]);
    let blob = testbed.home.path().join("copied/blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let is_there = std::fs::read(blob).is_ok_and(|copied| copied == layer);
    let seen = testbed.server.seen();
    let asked = seen.iter().filter(|request| request.is("GET", &digest)).filter_map(|request| request.header("range"));
    (left, asked.map(ToOwned::to_owned).collect(), is_there)
}

/// The first and the last byte that a request asks for.
fn range(request: &Request) -> Option<(usize, usize)> {
    let (from, to) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().unwrap(), to.parse().unwrap_or(SIZE - 1)))
}

#[test]
fn the_rest_of_a_large_layer_comes_in_ranges_side_by_side() {
    let (left, mut asked, is_there) = copy(Some(slow));
    left.done();
    assert!(is_there);
    asked.sort_by_key(|range| range["bytes=".len()..].split('-').next().unwrap().parse::<usize>().unwrap());
    assert!(asked.len() > 4, "{asked:?}");
    // Each byte behind the first connection's is asked for once.
    let numbers: Vec<usize> = asked.iter().flat_map(|range| range[6..].split('-').map(|text| text.parse().unwrap())).collect();
    assert!(numbers[1..numbers.len() - 1].chunks(2).all(|border| border[0] + 1 == border[1]), "{asked:?}");
    assert_eq!(numbers.last(), Some(&(SIZE - 1)));
}

#[test]
fn a_server_without_ranges_or_with_false_ones_costs_no_byte_of_the_layer() {
    let (left, asked, is_there) = copy(None);
    left.done();
    assert!(is_there && asked.is_empty(), "the server did not say that it answers ranges: {asked:?}");
    let false_ranges: [(&str, AnswerRange); 4] = [
        ("all of it", |_, _| Reply::Slow(Response::new(200).with_body(noise(5, SIZE)), SPEED)),
        ("an error", |_, _| Response::error(416, "UNSUPPORTED", "no ranges").into()),
        ("more than was asked for", |part, _| {
            let more = [&part.body[..], b"more"].concat();
            slow(part.with_body(more), 0)
        }),
        // But for one that asks for all of the rest.
        ("a few, then none", |part, number| match number {
            3.. if part.body.len() <= 4 << 20 => Response::error(403, "DENIED", "too many").into(),
            _ => slow(part, number),
        }),
    ];
    for (what, answer) in false_ranges {
        let (left, asked, is_there) = copy(Some(answer));
        left.done();
        assert!(is_there && !asked.is_empty(), "{what}: {asked:?}");
    }
}

#[test]
fn a_range_that_is_cut_off_goes_on_where_it_was() {
    let (left, asked, is_there) = copy(Some(|part, number| match number {
        1 => Reply::Truncated(part, 3_000_000),
        _ => slow(part, number),
    }));
    left.done();
    assert!(is_there);
    let ends = |range: &String| range.split('-').next_back().unwrap().to_owned();
    let mut last: Vec<String> = asked.iter().map(ends).collect();
    last.sort();
    let count = last.len();
    last.dedup();
    assert_eq!(last.len(), count - 1, "the rest of one range was asked for: {asked:?}");
}

#[test]
fn a_damaged_range_is_found_by_the_digest_of_the_layer() {
    let (left, asked, is_there) = copy(Some(|mut part, number| {
        if number == 2 {
            part.body[1_000_000] ^= 1;
        }
        slow(part, number)
    }));
    assert_eq!(left.code, Some(1), "{}", left.err);
    assert!(shown_error(&left).contains("damaged"), "{}", left.err);
    assert!(!is_there && asked.len() > 3, "{asked:?}");
}

#[test]
fn layers_go_straight_into_a_layout_and_those_that_came_do_not_come_again() {
    let layers: Vec<Vec<u8>> = (0..3).map(|number| noise(number, 200_000)).collect();
    let names: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    let damaged = Arc::new(AtomicBool::new(true));
    let (last, damage) = (names[2].clone(), damaged.clone());
    let mut bytes = layers[2].clone();
    bytes[100_000] ^= 1;
    testbed.service(|service| {
        service.registry.put_image("mp/base", "1", &layers.iter().map(Vec::as_slice).collect::<Vec<_>>());
        service.after_auth = Box::new(move |request| {
            let is_meant = request.is("GET", &last) && damage.load(Ordering::Relaxed);
            is_meant.then(|| Response::new(200).with_body(bytes.clone()).into())
        });
    });
    let copied = testbed.home.path().join("copied");
    let file = |name: &str| copied.join("blobs").join(name.replace(':', "/"));
    let copy = || testbed.run(&["copy", &format!("docker://{HOST}/mp/base:1"), "oci:copied:1"]);

    let left = copy();
    assert_eq!(left.code, Some(1), "{}", left.err);
    assert!(shown_error(&left).contains("damaged"), "{}", left.err);
    assert!(!copied.join("index.json").exists() && !file(&names[2]).exists());
    let came: Vec<&String> = names.iter().filter(|name| file(name).exists()).collect();
    let before = testbed.server.seen().len();

    damaged.store(false, Ordering::Relaxed);
    copy().done();
    for (name, layer) in names.iter().zip(&layers) {
        assert!(std::fs::read(file(name)).unwrap() == *layer, "{name}");
        let asked = testbed.server.seen()[before..].iter().filter(|request| request.is("GET", name)).count();
        assert_eq!(asked, usize::from(!came.contains(&name)), "{name}");
    }
    let stored = std::fs::read_dir(testbed.home.store().join("blobs/sha256")).map_or(0, Iterator::count);
    assert_eq!(stored, 0, "the store keeps a copy of what a layout was to have");
}

#[test]
fn the_layers_of_a_base_image_come_side_by_side() {
    let tar = |name: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &b"base"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    let layers = ["first", "second", "third"].map(tar);
    let digests = layers.each_ref().map(|layer| Digest::of(layer).to_string());
    let config = json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": digests}});
    let config = config.to_string().into_bytes();
    let described = |bytes: &[u8], media_type: &str| json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": layers.each_ref().map(|layer| described(layer, "application/vnd.oci.image.layer.v1.tar")),
    });
    let mut blobs: BTreeMap<String, Vec<u8>> = std::iter::zip(digests.clone(), layers).collect();
    blobs.insert(Digest::of(&config).to_string(), config);
    let mut is_second_wanted = false;
    let server = HttpServer::plain(move |request: &Request| {
        let blob = request.path.rsplit('/').next().unwrap_or_default();
        is_second_wanted |= blob == digests[1];
        Reply::Response(match blob {
            "" => Response::new(200),
            "1" => Response::new(200)
                .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                .with_body(manifest.to_string()),
            // It comes only once the next one is asked for.
            blob if blob == digests[0] && !is_second_wanted => Response::new(503).with("Retry-After", "1"),
            blob => blobs.get(blob).map_or(Response::new(404), |bytes| Response::new(200).with_body(bytes.clone())),
        })
    });
    let home = Home::new();
    std::fs::create_dir(home.path().join("project")).unwrap();
    write(&home.path().join("project"), "Dockerfile", &format!("FROM {}/mp/base:1\nCOPY app /app\n", server.address));
    write(&home.path().join("project"), "app", "app");
    run(home.mpimg().args(["build", "-q", "project", "--platform", "linux/amd64"]).current_dir(home.path()));
}
