//! Indexes that name no platforms, or not all of them: the images' configs tell, whatever the command.

use serde_json::{Value, json};

use super::memory::Quirks;
use super::testbed::{Service, Testbed, shown_error};
use crate::cli::fixture::write;

const HOST: &str = "registry.example.com";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A tar with one file of this name.
fn layer(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, std::io::empty()).unwrap();
    tar.into_inner().unwrap()
}

/// What `make` puts into `mp/base` as `1`, given the digests of an image for amd64, one for arm64 and
/// one that says nothing.
fn base(make: impl FnOnce(&Base) -> Value) -> (Testbed, Base) {
    let testbed = Testbed::new(&[HOST], Service::new(Quirks::HARBOR, None));
    let base = testbed.service(|service| {
        let mut image = |name: &str, config: Value| {
            let layer = layer(name);
            service.registry.put_image_for("mp/base", name, &config, &[&layer])
        };
        let mut base = Base {
            amd64: image("amd64", json!({"os": "linux", "architecture": "amd64"})),
            arm64: image("arm64", json!({"os": "linux", "architecture": "arm64"})),
            silent: image("silent", json!({})),
            nested: Value::Null,
        };
        let nested = index(json!([entry(&base.amd64), entry(&base.arm64)]));
        base.nested = json!({
            "mediaType": INDEX, "size": nested.len(),
            "digest": service.registry.keep_manifest("mp/base", "nested", INDEX, nested),
        });
        let root = index(make(&base));
        service.registry.keep_manifest("mp/base", "1", INDEX, root);
        base
    });
    (testbed, base)
}

struct Base {
    amd64: (String, usize),
    arm64: (String, usize),
    silent: (String, usize),
    nested: Value,
}

fn index(manifests: Value) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes()
}

fn entry((digest, size): &(String, usize)) -> Value {
    json!({"mediaType": MANIFEST, "digest": digest, "size": size})
}

fn with(mut entry: Value, key: &str, value: Value) -> Value {
    entry[key] = value;
    entry
}

fn without(mut entry: Value, key: &str) -> Value {
    entry.as_object_mut().unwrap().remove(key);
    entry
}

/// The digest that each command finds for a platform.
fn found(testbed: &Testbed, platform: &str) -> Vec<(&'static str, String)> {
    let name = format!("{HOST}/mp/base:1");
    let remote = format!("docker://{name}");
    let digest = |arguments: &[&str]| testbed.run(arguments).done().out.trim().to_owned();
    let here = ["--platform", platform];
    let inspect = |name: &str| digest(&["inspect", "-q", here[0], here[1], name]);
    let mut found = vec![("inspect", inspect(&remote)), ("pull", digest(&["pull", "-q", here[0], here[1], &name]))];
    testbed.run(&["copy", here[0], here[1], &remote, "oci:one:1"]).done();
    found.push(("copy --platform", inspect("oci:one:1")));
    testbed.run(&["copy", &remote, "oci:all:1"]).done();
    found.push(("a layout of all", inspect("oci:all:1")));
    testbed.run(&["copy", here[0], here[1], "oci:all:1", "oci:again:1"]).done();
    found.push(("copy --platform of a layout", inspect("oci:again:1")));
    testbed.run(&["copy", &remote, "oci-archive:all.tar:1"]).done();
    found.push(("an archive of all", inspect("oci-archive:all.tar:1")));
    // The layer tells which image was built on.
    write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM {name}\nCOPY app /app\n"));
    testbed.run(&["build", "project", here[0], here[1], "-t", "built:1"]).done();
    let layers = testbed.run(&["inspect", "--json", here[0], here[1], "built:1"]).done().json();
    let base = testbed.run(&["inspect", "--json", here[0], here[1], &remote]).done().json();
    assert_eq!(layers["layers"][0]["digest"], base["layers"][0]["digest"], "FROM");
    for folder in ["one", "all", "again"] {
        std::fs::remove_dir_all(testbed.home.path().join(folder)).unwrap();
    }
    found
}

#[test]
fn entries_without_a_platform_are_told_by_their_images_configs_in_every_command() {
    type Make = fn(&Base) -> Value;
    let forms: [(&str, Make); 8] = [
        ("no platform", |base| json!([entry(&base.arm64), entry(&base.amd64)])),
        ("{}", |base| json!([with(entry(&base.arm64), "platform", json!({})), with(entry(&base.amd64), "platform", json!({}))])),
        ("null", |base| {
            let silent = |image| with(entry(image), "platform", Value::Null);
            json!([silent(&base.arm64), silent(&base.amd64)])
        }),
        ("no type either", |base| json!([without(entry(&base.arm64), "mediaType"), without(entry(&base.amd64), "mediaType")])),
        ("some name theirs", |base| {
            let other = json!({"os": "linux", "architecture": "s390x"});
            json!([with(entry(&base.silent), "platform", other), entry(&base.arm64), entry(&base.amd64)])
        }),
        ("one says nothing at all", |base| json!([entry(&base.silent), entry(&base.arm64), entry(&base.amd64)])),
        ("an index below", |base| json!([base.nested.clone()])),
        ("an index below, among others", |base| {
            let other = json!({"os": "linux", "architecture": "s390x"});
            json!([with(entry(&base.silent), "platform", other), without(base.nested.clone(), "mediaType")])
        }),
    ];
    for (form, make) in forms {
        let (testbed, base) = base(make);
        for (platform, (digest, _)) in [("linux/amd64", &base.amd64), ("linux/arm64", &base.arm64)] {
            for (command, found) in found(&testbed, platform) {
                assert_eq!(found, *digest, "{form}, {platform}, {command}");
            }
        }
    }
}

#[test]
fn what_is_no_image_or_not_there_is_passed_over() {
    let (testbed, base) = base(|base| {
        let (digest, size) = &base.arm64;
        let reference = json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest});
        let gone = json!({"mediaType": MANIFEST, "size": size, "digest": format!("sha256:{}", "0".repeat(64))});
        json!([with(entry(&base.silent), "annotations", reference), gone, entry(&base.arm64), entry(&base.amd64)])
    });
    testbed.service(|service| {
        let manifest: Value = serde_json::from_slice(service.registry.manifest("mp/base", "1").unwrap()).unwrap();
        let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x", "layers": [],
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": format!("sha256:{}", "1".repeat(64))}});
        let artifact = artifact.to_string().into_bytes();
        let size = artifact.len();
        let digest = service.registry.keep_manifest("mp/base", "artifact", MANIFEST, artifact);
        let mut entries = manifest["manifests"].as_array().unwrap().clone();
        entries.insert(0, entry(&(digest, size)));
        service.registry.keep_manifest("mp/base", "1", INDEX, index(json!(entries)));
    });
    let inspect = |platform: &str| testbed.run(&["inspect", "-q", "--platform", platform, &format!("docker://{HOST}/mp/base:1")]);
    assert_eq!(inspect("linux/amd64").done().out.trim(), base.amd64.0);
    assert_eq!(inspect("linux/arm64").done().out.trim(), base.arm64.0);
    // Nothing says that what is missing is for another platform.
    let told = shown_error(&inspect("linux/s390x"));
    assert!(told.contains("MANIFEST_UNKNOWN"), "{told}");
}

#[test]
fn a_platform_that_no_config_has_is_told_with_those_that_there_are() {
    let (testbed, _) = base(|base| json!([entry(&base.arm64), entry(&base.amd64)]));
    let remote = format!("docker://{HOST}/mp/base:1");
    let other = ["--platform", "linux/s390x"];
    write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM {HOST}/mp/base:1\nCOPY app /app\n"));
    testbed.run(&["copy", &remote, "oci:all:1"]).done();
    for arguments in [
        &["inspect", &remote][..],
        &["pull", &format!("{HOST}/mp/base:1")],
        &["copy", &remote, "oci:one:1"],
        &["copy", "oci:all:1", "oci:one:1"],
        &["inspect", "oci:all:1"],
        &["build", "project", "-t", "built:1"],
    ] {
        let left = testbed.run(&[arguments, &other].concat());
        let told = shown_error(&left);
        assert_eq!(left.code, Some(1), "{arguments:?} {told}");
        assert!(told.contains("the image is not there for linux/s390x"), "{arguments:?} {told}");
        assert!(told.contains("hint: choose one of these with `--platform`: linux/arm64, linux/amd64"), "{arguments:?} {told}");
    }
}

#[test]
fn unnamed_images_of_a_layout_that_are_for_one_platform_are_not_guessed_between() {
    let (testbed, base) = base(|base| json!([entry(&base.arm64), entry(&base.amd64)]));
    let remote = |digest: &str| format!("docker://{HOST}/mp/base@{digest}");
    testbed.run(&["copy", &remote(&base.amd64.0), "oci:two"]).done();
    let file = testbed.home.path().join("two/index.json");
    let with_entries = |entries: Value| std::fs::write(&file, index(entries)).unwrap();
    for digest in [&base.arm64.0, &base.silent.0] {
        testbed.run(&["copy", &remote(digest), "oci:two:other"]).done();
    }
    let inspect = || testbed.run(&["inspect", "-q", "oci:two"]);
    with_entries(json!([entry(&base.arm64), entry(&base.amd64)]));
    assert_eq!(inspect().done().out.trim(), base.amd64.0);
    with_entries(json!([entry(&base.silent), entry(&base.amd64)]));
    assert!(shown_error(&inspect()).contains("there are 2 images in it"));
}

#[test]
fn a_tag_is_asked_for_once_by_inspect_also_where_its_index_attests_the_image() {
    let (testbed, base) = base(|base| {
        let (digest, _) = &base.amd64;
        let reference = json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest});
        let platform = |os: &str, architecture: &str| json!({"os": os, "architecture": architecture});
        json!([
            with(entry(&base.amd64), "platform", platform("linux", "amd64")),
            with(with(entry(&base.silent), "annotations", reference), "platform", platform("unknown", "unknown")),
        ])
    });
    let left = testbed.run(&["inspect", "--json", &format!("docker://{HOST}/mp/base:1")]).done();
    assert_eq!(left.json()["digest"], json!(base.amd64.0));
    let seen = testbed.server.seen();
    let mut asked: Vec<&str> = seen.iter().filter_map(|request| request.path.strip_prefix("/v2/mp/base/manifests/")).collect();
    asked.sort_unstable();
    let mut expected = vec!["1", base.amd64.0.as_str(), base.silent.0.as_str()];
    expected.sort_unstable();
    assert_eq!(asked, expected);
}

#[test]
fn a_second_build_asks_for_the_name_of_its_base_image_alone() {
    let (testbed, _) =
        base(|base| json!([with(entry(&base.amd64), "platform", json!({"os": "linux", "architecture": "amd64"}))]));
    write(&testbed.home.path().join("project"), "Dockerfile", &format!("FROM {HOST}/mp/base:1\nENV a=b\n"));
    let gets = || {
        let seen = testbed.server.seen();
        let asked = seen.iter().filter_map(|request| request.path.strip_prefix("/v2/mp/base/"));
        asked.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = testbed.run(&["build", "-q", "project", "--platform", "linux/amd64"]).done();
    let of_first = gets().len();
    // The index, the manifest and the config.
    assert_eq!(of_first, 3, "{:?}", gets());
    let second = testbed.run(&["build", "-q", "project", "--platform", "linux/amd64"]).done();
    assert_eq!(gets()[of_first..], ["manifests/1"]);
    assert_eq!(second.out, first.out);
}
