//! Base images that are not quite as the specification has them, and that docker, skopeo or crane
//! take: each can be pulled, built on, copied and inspected.

use std::io::Write as _;

use mpimg::oci::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::http_server::{HttpServer, Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{Service, Testbed, shown_error};
use crate::cli::fixture::write;

const HOST: &str = "registry.example.com";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    header.set_mode(0o644);
    tar.append_data(&mut header, "base.txt", &b"base"[..]).unwrap();
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

fn sha512(bytes: &[u8]) -> String {
    let hex: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hex}")
}

/// The base image `mp/base:1` of one layer, before `change` has its hand in config and manifest.
fn base(stored: &[u8], diff_id: &str, layer_type: &str, change: impl FnOnce(&mut Value, &mut Value)) -> Testbed {
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    let mut config =
        json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [descriptor(layer_type, stored)],
        "config": {"mediaType": CONFIG}});
    change(&mut config, &mut manifest);
    let config = config.to_string().into_bytes();
    let described = descriptor("", &config);
    for key in ["digest", "size"] {
        manifest["config"][key] = described[key].clone();
    }
    testbed.service(|service| {
        service.registry.keep_blob("mp/base", stored.to_vec());
        service.registry.keep_blob("mp/base", config);
        service.registry.keep_manifest("mp/base", "1", MANIFEST, manifest.to_string().into_bytes());
    });
    testbed
}

/// Does with a base image all that is done with one.
fn is_of_use(testbed: &Testbed, what: &str) {
    let name = format!("{HOST}/mp/base:1");
    let remote = format!("docker://{name}");
    // The file of the base is read: the layer is unpacked.
    let dockerfile = format!("FROM {name} AS base\nFROM scratch\nCOPY --from=base base.txt /\nFROM base\nCOPY app /app\n");
    write(&testbed.home.path().join("project"), "Dockerfile", &dockerfile);
    for arguments in [
        &["inspect", "--files", &remote][..],
        &["build", "project", "-t", "built:1"],
        &["push", "project", "-t", "1", "-r", &format!("{HOST}/mp/built")],
        &["copy", &remote, "oci:copied:1"],
        &["inspect", "--files", "oci:copied:1"],
        &["copy", &remote, &format!("docker://{HOST}/mp/copied:1")],
        &["pull", &name],
        &["save", &name, "-o", "saved.tar"],
    ] {
        let left = testbed.run(arguments);
        assert_eq!(left.code, Some(0), "{what}: {arguments:?}\n{}", left.err);
        if arguments[0] == "inspect" {
            assert!(left.out.contains("base.txt"), "{what}: {}", left.out);
        }
    }
}

#[test]
fn layers_are_what_their_bytes_say() {
    let tar = tar();
    let diff_id = Digest::of(&tar).to_string();
    let oci = |suffix: &str| format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned();
    for (stored, layer_type) in [
        (tar.clone(), oci("+gzip")),
        (tar.clone(), oci("+zstd")),
        (gzip(&tar), oci("")),
        (gzip(&tar), oci("+zstd")),
        (zstd(&tar), oci("")),
        (zstd(&tar), oci("+gzip")),
        (zstd(&tar), docker),
        (gzip(&tar), "application/octet-stream".to_owned()),
    ] {
        is_of_use(&base(&stored, &diff_id, &layer_type, |_, _| {}), &layer_type);
    }
}

#[test]
fn what_is_null_or_of_a_general_type_says_nothing() {
    let (tar, layer_type) = (tar(), "application/vnd.oci.image.layer.v1.tar+gzip");
    let diff_id = Digest::of(&tar).to_string();
    let stored = gzip(&tar);
    let nulls = base(&stored, &diff_id, layer_type, |config, manifest| {
        for key in ["annotations", "subject"] {
            manifest[key] = Value::Null;
        }
        for key in ["urls", "annotations", "platform"] {
            (manifest["layers"][0][key], manifest["config"][key]) = (Value::Null, Value::Null);
        }
        for key in ["Env", "Cmd", "Entrypoint", "Labels", "Volumes", "ExposedPorts", "OnBuild"] {
            config["config"][key] = Value::Null;
        }
        (config["history"], config["variant"]) = (Value::Null, Value::Null);
    });
    is_of_use(&nulls, "null");
    for config_type in ["application/octet-stream", "text/html", "", "application/json"] {
        is_of_use(
            &base(&stored, &diff_id, layer_type, |_, manifest| manifest["config"]["mediaType"] = json!(config_type)),
            config_type,
        );
    }
    is_of_use(&base(&stored, &sha512(&tar), layer_type, |_, _| {}), "a diff ID of SHA-512");
}

#[test]
fn an_artifact_is_no_base() {
    let (tar, layer_type) = (tar(), "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    let testbed = base(&tar, &Digest::of(&tar).to_string(), layer_type, |_, manifest| {
        manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    });
    let name = format!("{HOST}/mp/base:1");
    write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM {name}\nCOPY app /app\n"));
    let remote = format!("docker://{name}");
    for arguments in [&["build", "project"][..], &["pull", &name], &["inspect", &remote]] {
        let told = shown_error(&testbed.run(arguments));
        assert!(told.contains("its config is of type `application/vnd.cncf.helm.config.v1+json`"), "{arguments:?} {told}");
        assert!(told.contains("hint: name an image: this is an artifact of another kind"), "{arguments:?} {told}");
    }
    // It can be copied.
    testbed.run(&["copy", &remote, &format!("docker://{HOST}/mp/copied:1")]).done();
}

#[test]
fn a_layer_that_lives_elsewhere_comes_from_there() {
    let (stored, layer_type) = (tar(), "application/vnd.docker.image.rootfs.foreign.diff.tar");
    let elsewhere = {
        let stored = stored.clone();
        HttpServer::plain(move |request: &Request| {
            assert_eq!(request.header("authorization"), None);
            Reply::Response(match request.path.as_str() {
                "/layer" => Response::new(200).with_body(stored.clone()),
                _ => Response::new(404),
            })
        })
    };
    let address = |path: &str| format!("http://{}{path}", elsewhere.address);
    let testbed = base(&stored, &Digest::of(&stored).to_string(), layer_type, |_, manifest| {
        manifest["layers"][0]["urls"] = json!(["ftp://gone.example.com/x", address("/gone"), address("/layer")]);
    });
    testbed.service(|service| {
        service.registry.lose_largest_blob("mp/base");
    });
    let name = format!("{HOST}/mp/base:1");
    write(
        &testbed.home.path().join("project"),
        "Dockerfile",
        &format!("FROM {name} AS base\nFROM scratch\nCOPY --from=base base.txt /\n"),
    );
    testbed.run(&["build", "project", "-t", "built:1"]).done();
    testbed.run(&["pull", &name]).done();
    assert!(elsewhere.seen().iter().any(|request| request.path == "/layer"));
}
