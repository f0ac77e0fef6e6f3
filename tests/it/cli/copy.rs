//! Images copied between registries, layouts, archives and the store; skopeo judges what arrived.

use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::image::artifact;
use mpimg::oci::{Descriptor, Digest, MediaType};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use super::fixture::{DOCKERFILE, Left, Serving, folder, run, text};
use crate::home::Home;
use crate::registry::fixture::{distribution, noise, skopeo};

fn blob(layout: &Path, bytes: &[u8]) {
    std::fs::write(layout.join("blobs/sha256").join(Digest::of(bytes).hex()), bytes).unwrap();
}

/// A layout with an index of two images under the tag `multi`, and an SBOM that refers to the
/// index; the digests of the index, the image for arm64 and the SBOM.
fn layout_of_two(home: &Home) -> [String; 3] {
    for architecture in ["amd64", "arm64"] {
        let dockerfile = format!("{DOCKERFILE}ENV ARCH={architecture}\n");
        let (folder, name) = (folder(home, architecture, &dockerfile), format!("{architecture}:1"));
        let platform = format!("linux/{architecture}");
        run(&mut home.mpimg(), ["build", "-q", text(&folder), "--platform", &platform, "-t", &name]).done();
        let output = format!("oci:layout:{architecture}");
        run(&mut home.mpimg(), ["save", &name, "--platform", &platform, "-o", &output]).done();
    }
    let layout = home.path().join("layout");
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let arm = index["manifests"][1]["digest"].as_str().unwrap().to_owned();
    let bytes = index.to_string().into_bytes();
    blob(&layout, &bytes);
    let mut entry = Descriptor::of(MediaType::Index, &bytes);
    let sbom = artifact("application/spdx+json", "application/spdx+json", "{\"spdxVersion\":\"SPDX-2.3\"}".into(), &entry);
    [&sbom.bytes[..], b"{}", b"{\"spdxVersion\":\"SPDX-2.3\"}"].iter().for_each(|bytes| blob(&layout, bytes));
    entry.annotations.insert("org.opencontainers.image.ref.name".into(), "multi".into());
    let whole = json!({"schemaVersion": 2, "manifests": [entry, sbom.descriptor]});
    std::fs::write(layout.join("index.json"), whole.to_string()).unwrap();
    [entry.digest.to_string(), arm, sbom.descriptor.digest.to_string()]
}

fn copy(home: &Home, arguments: &[&str]) -> Value {
    let mut command = home.mpimg();
    Left::of(command.args(["copy", "--json"]).args(arguments).output().unwrap()).done().json()
}

/// The digest of what a registry has under a name, by its bytes.
fn raw_digest(name: &str) -> String {
    Digest::of(skopeo(&["inspect", "--raw", "--tls-verify=false", name]).as_bytes()).to_string()
}

fn outcomes(copied: &Value) -> Vec<&str> {
    let mut outcomes: Vec<&str> =
        copied["blobs"].as_array().unwrap().iter().map(|blob| blob["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    outcomes
}

#[test]
fn an_index_goes_with_what_refers_to_it_from_a_layout_through_registries_and_an_archive() {
    let home = Home::new();
    let [index, arm, sbom] = layout_of_two(&home);
    let (first, second) = (distribution(""), Serving::open());
    let (at_first, at_second) = (format!("docker://{}/mp/app", first.address), format!("docker://{}/site/app", second.host));

    let copied = copy(&home, &["--referrers", "oci:layout:multi", &format!("{at_first}:1")]);
    assert_eq!((&copied["digest"], outcomes(&copied)), (&json!(index), vec!["uploaded"]));
    assert_eq!(copied["referrers"][0]["digest"], json!(sbom));
    assert_eq!(raw_digest(&format!("{at_first}:1")), index);
    // docker-registry 2.8 keeps no lists of what refers to a manifest: the tag does.
    let listed: Value = serde_json::from_str(&skopeo(&[
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("{at_first}:{}", index.replace(':', "-")),
    ]))
    .unwrap();
    assert_eq!(listed["manifests"][0]["digest"], json!(sbom));
    assert_eq!(listed["manifests"][0]["artifactType"], "application/spdx+json");

    copy(&home, &["--referrers", &format!("{at_first}:1"), "oci-archive:app.tar:1"]);
    // Another machine, with nothing but the file.
    let site = Home::new();
    let archive = format!("oci-archive:{}", home.path().join("app.tar").display());
    let copied = copy(&site, &["--referrers", &archive, &format!("{at_second}@{index}")]);
    assert_eq!(copied["referrers"][0]["digest"], json!(sbom));
    let all = format!("dir:{}", site.path().join("all").display());
    skopeo(&["copy", "-q", "--all", "--src-tls-verify=false", &format!("{at_second}@{index}"), &all]);
    assert_eq!(raw_digest(&format!("{at_second}@{sbom}")), sbom);

    let again = copy(&site, &["--referrers", &archive, &format!("{at_second}@{index}")]);
    assert_eq!(outcomes(&again), ["exists"]);
    let mounted = copy(&home, &[&format!("{at_first}:1"), &format!("docker://{}/production/app:1", first.address)]);
    assert_eq!((outcomes(&mounted), mounted["digest"].as_str()), (vec!["mounted"], Some(index.as_str())));
    let between = copy(&home, &[&format!("{at_first}:1"), &format!("docker://{}/other/app:1", second.host)]);
    assert_eq!(outcomes(&between), ["uploaded"]);
    assert_eq!(raw_digest(&format!("docker://{}/other/app:1", second.host)), index);

    copy(&home, &["--platform", "linux/arm64", &format!("{at_first}:1"), "arm:9"]);
    assert_eq!(run(&mut home.mpimg(), ["inspect", "-q", "--platform", "linux/arm64", "arm:9"]).done().out.trim_end(), arm);
    let one = copy(&home, &[&format!("{at_first}@{index}"), "docker-archive:app-docker.tar:app:1"]);
    assert_ne!(one["digest"], json!(index), "a docker archive holds one platform");
    let local = skopeo(&["inspect", &format!("docker-archive:{}", home.path().join("app-docker.tar").display())]);
    assert!(local.contains("\"Architecture\": \"amd64\""), "{local}");
}

#[test]
fn a_destination_that_cannot_hold_what_is_asked_is_refused_before_anything_is_sent() {
    let home = Home::new();
    let [index, arm, _] = layout_of_two(&home);
    let registry = Serving::open();
    let target = format!("docker://{}/a@{arm}", registry.host);
    let wrong = run(&mut home.mpimg(), ["copy", "oci:layout:multi", &target]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains(&index), "{}", wrong.err);
    let wrong = run(&mut home.mpimg(), ["copy", "--referrers", "oci:layout:multi", "app:1"]);
    assert_eq!(wrong.code, Some(2));
    let missing = run(&mut home.mpimg(), ["copy", "--platform", "linux/s390x", "oci:layout:multi", "app:1"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("linux/amd64, linux/arm64"), "{}", missing.err);
}

#[test]
fn what_refers_to_an_image_is_not_left_behind_unnoticed() {
    let home = Home::new();
    layout_of_two(&home);
    let registry = distribution("");
    let name = format!("docker://{}/mp/app", registry.address);
    let told = "not copied: 1 that belong to it, such as signatures and SBOMs";
    let left = run(&mut home.mpimg(), ["copy", "oci:layout:multi", &format!("{name}:1")]).done();
    assert!(left.err.contains(told) && left.err.contains("hint: copy again with `--referrers`"), "{}", left.err);
    let left = run(&mut home.mpimg(), ["copy", "--referrers", "oci:layout:multi", &format!("{name}:1")]).done();
    assert!(!left.err.contains("not copied"), "{}", left.err);
    let left = run(&mut home.mpimg(), ["copy", &format!("{name}:1"), "oci:away:1"]).done();
    assert!(left.err.contains(told), "{}", left.err);
    assert_eq!(copy(&home, &[&format!("{name}:1"), "oci:away:2"])["left_behind"], 1);
    let left = run(&mut home.mpimg(), ["copy", "oci:away:1", &format!("{name}:2")]).done();
    assert!(!left.err.contains("not copied"), "{}", left.err);
    // What is only counted need not be whole.
    let layout = home.path().join("layout");
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let sbom = index["manifests"][1]["digest"].as_str().unwrap().split_once(':').unwrap().1.to_owned();
    std::fs::remove_file(layout.join("blobs/sha256").join(sbom)).unwrap();
    run(&mut home.mpimg(), ["copy", "oci:layout:multi", &format!("{name}:3")]).done();
    assert_eq!(run(&mut home.mpimg(), ["copy", "--referrers", "oci:layout:multi", &format!("{name}:3")]).code, Some(1));
}

#[test]
fn dockers_lists_and_layers_that_nobody_may_pass_on_are_copied_as_they_are() {
    let home = Home::new();
    let layout = home.path().join("docker");
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let tar = crate::run(crate::judge("tar").args(["-c", "--mtime=@0", "-T", "/dev/null"])).into_bytes();
    blob(&layout, &tar);
    let layer =
        json!({"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "digest": Digest::of(&tar), "size": tar.len()});
    let elsewhere = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": Digest::of(b"x"),
        "size": 5, "urls": ["https://elsewhere.example/layer"]});
    let manifest = |architecture: &str, layers: Value| {
        let diff_ids: Vec<_> = layers.as_array().unwrap().iter().map(|_| Digest::of(&tar)).collect();
        let config = json!({"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        blob(&layout, &config);
        let config = json!({"mediaType": "application/vnd.docker.container.image.v1+json", "digest": Digest::of(&config), "size": config.len()});
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MediaType::DockerManifest.as_str(), "config": config, "layers": layers});
        let manifest = manifest.to_string().into_bytes();
        blob(&layout, &manifest);
        json!({"mediaType": MediaType::DockerManifest.as_str(), "digest": Digest::of(&manifest), "size": manifest.len(),
            "platform": {"architecture": architecture, "os": "linux"}})
    };
    let list = json!({"schemaVersion": 2, "mediaType": MediaType::DockerList.as_str(),
        "manifests": [manifest("amd64", json!([layer])), manifest("arm64", json!([elsewhere, layer]))]});
    let list = list.to_string().into_bytes();
    blob(&layout, &list);
    let root = json!({"mediaType": MediaType::DockerList.as_str(), "digest": Digest::of(&list), "size": list.len()});
    std::fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [root]}).to_string()).unwrap();

    let (first, second) = (Serving::open(), distribution("validation: {manifests: {urls: {allow: ['^https://elsewhere']}}}"));
    let (at_first, at_second) = (format!("docker://{}/a:1", first.host), format!("docker://{}/b:1", second.address));
    for (source, destination) in [("oci:docker", at_first.as_str()), (&at_first, &at_second), (&at_second, "oci-archive:c.tar:1")]
    {
        assert_eq!(copy(&home, &[source, destination])["digest"], json!(Digest::of(&list)), "{source}");
    }
    assert_eq!(raw_digest(&at_second), Digest::of(&list).to_string());
    let refused = run(&mut home.mpimg(), ["copy", "--platform", "linux/arm64", &at_second, "arm:1"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("the image has a layer that may not be passed on"), "{}", refused.err);
    run(&mut home.mpimg(), ["copy", &at_second, "amd:1"]).done();
}

/// What is in a folder and below, but for blobs that have their names.
fn other_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            other_files(&path, found);
        } else if Digest::parse(&format!("sha256:{}", path.file_name().unwrap().to_string_lossy())).is_err() {
            found.push(path);
        }
    }
}

#[test]
fn a_copy_to_a_file_or_folder_that_fails_midway_leaves_what_was_there_and_nothing_else() {
    let home = Home::new();
    let project = folder(&home, "project", DOCKERFILE);
    std::fs::write(project.join("app/noise"), noise(91, 3_000_000)).unwrap();
    let built = run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:1"]).done();
    let to = home.path().join("to");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("app.tar"), "what was there").unwrap();
    // No file may get larger than 1 MB: writing fails in the middle of a blob, whatever the
    // machine's speed.
    let mut limited = Command::new("sh");
    limited.args(["-ec", "ulimit -f 2048; exec \"$0\" \"$@\""]).arg(home.mpimg().get_program());
    let copy = |destination: &str| {
        let (whole, mut failing) = (home.mpimg(), Command::new(limited.get_program()));
        failing.args(limited.get_args()).args(["copy", "-q", "app:1", destination]).env_clear().current_dir(&to);
        failing.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = failing.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{destination}: {said}");
        assert!(said.contains("\nhint: raise the limit of a file's size (`ulimit -f`)\n"), "{destination}: {said}");
    };
    copy("oci-archive:app.tar:1");
    copy("oci:layout:1");
    let mut left = Vec::new();
    other_files(&to, &mut left);
    left.retain(|path| !["app.tar", "oci-layout"].contains(&path.file_name().unwrap().to_str().unwrap()));
    // Some network file systems have no files without a name.
    let nameless = rustix::fs::open(&to, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR | Mode::WUSR);
    assert!(left.is_empty() || nameless.is_err(), "{left:?}");
    assert_eq!(std::fs::read_to_string(to.join("app.tar")).unwrap(), "what was there");
    for destination in ["oci-archive:to/app.tar:1", "oci:to/layout:1"] {
        assert_eq!(run(&mut home.mpimg(), ["copy", "-q", "app:1", destination]).done().out, built.out);
        let judged = format!("dir:{}", home.path().join(destination.replace([':', '/'], "-")).display());
        skopeo(&["copy", "-q", &destination.replace("to/", &format!("{}/", to.display())), &judged]);
    }
}
