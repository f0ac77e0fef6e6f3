//! The Integration SDK's own mp-build on mpimg, held against the same on a real Docker engine.
//!
//! What Docker's side made is kept in target/judges/mp-build: it takes a minute and does not
//! change.

mod at_once;
mod docker;
mod killed;
mod mp_test;
mod project;
mod restricted;
mod results;

use std::path::{Path, PathBuf};

use mpimg::oci::Digest;
use serde_json::Value;

use crate::build::sdk::{BASE, PYTHON};
use crate::home::Home;
use crate::registry::fixture::distribution;
use crate::{judge, judge_path, judges, run};
use docker::Docker;
use project::{Build, PROJECTS, WRONG, make, pak_of, said};
pub(crate) use project::{package, pak_in, read_pak};

/// The Python with the SDK of this version.
pub(crate) fn python(version: &str) -> PathBuf {
    let folder = if version == "1.3.1" { "python".to_owned() } else { format!("sdk-{version}") };
    judges().join(folder).join("bin/python")
}

/// Kept for all tests and runs: what was made, and how it was to be made.
fn kept() -> PathBuf {
    let recipe = [include_str!("project.rs"), include_str!("../../../../fixtures/sdk/generate.py")].concat();
    let folder = judges().join("mp-build").join(&Digest::of(recipe).hex()[..16]);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Makes a file of [`kept`] unless it is there; one test at a time.
fn keep(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let lock = std::fs::File::create(kept().join("lock")).unwrap();
    lock.lock().unwrap();
    let path = kept().join(name);
    if !path.exists() {
        let new = kept().join(format!("{name}.new"));
        run(judge("rm").arg("-rf").arg(&new));
        make(&new);
        std::fs::rename(new, &path).unwrap();
    }
    path
}

/// Holds the other tests back: they share a store, and the projects that they build there have one
/// name.
fn alone() -> std::fs::File {
    let lock = std::fs::File::create(kept().join("alone")).unwrap();
    lock.lock().unwrap();
    lock
}

/// A local store that has the SDK's base image, since mp-build built it there.
fn store() -> PathBuf {
    keep("store", |store| {
        let home = Home::new();
        let from = judges().join("bookworm.tar");
        run(home.mpimg().env("MPIMG_HOME", store).args(["import", "-q", "--compression", "gzip:1"]).arg(from).arg(PYTHON));
        let project = home.path().join("project");
        make(&home, "new", &project);
        let output = Build::new(&home, &project, &distribution("")).with_mpimg(store, &python("1.3.1"));
        pak_of(&project, &output);
        assert!(said(&output).contains(&format!("Building base image {BASE}...")), "{}", said(&output));
    })
}

/// The projects, and beside each what mp-build with Docker made of it: `NAME.pak`, `NAME.json` (its
/// definition).
fn reference() -> PathBuf {
    let store = store();
    keep("docker", |folder| {
        std::fs::create_dir(folder).unwrap();
        let home = Home::new();
        let archive = home.path().join("base.tar");
        let save = format!("docker-archive:{}:{BASE}", archive.display());
        run(home.mpimg().env("MPIMG_HOME", store).args(["save", "-q", "-o", &save, BASE]));
        let docker = Docker::start();
        docker.load(&archive);
        let registry = distribution("");
        for name in PROJECTS {
            let project = folder.join(name);
            make(&home, name, &project);
            let build = Build::new(&home, &project, &registry);
            let pak = pak_of(&project, &build.with_docker(&docker));
            std::fs::copy(&pak, folder.join(format!("{name}.pak"))).unwrap();
            let image = format!("{}@{}", build.repository, read_pak(&pak).1["DIGEST"]);
            let definition = docker.adapter_definition(&image);
            std::fs::write(folder.join(format!("{name}.json")), definition.to_string()).unwrap();
        }
    })
}

#[test]
fn the_pak_is_that_of_docker_and_docker_runs_its_image() {
    let _alone = alone();
    let reference = reference();
    let home = Home::new();
    let registry = distribution("");
    let mut images = Vec::new();
    for name in PROJECTS {
        let project = home.path().join(name);
        run(judge("cp").arg("-a").arg(reference.join(name)).arg(&project));
        let build = Build::new(&home, &project, &registry);
        let pak = pak_of(&project, &build.with_mpimg(&store(), &python("1.3.1")));

        let (expected, mut theirs) = read_pak(&reference.join(format!("{name}.pak")));
        let (found, mut ours) = read_pak(&pak);
        assert_eq!(found, expected, "{name}");
        let digest = ours.remove("DIGEST").unwrap();
        assert_eq!(ours.remove("REGISTRY"), Some(registry.address.to_string()));
        theirs.retain(|key, _| key != "DIGEST" && key != "REGISTRY");
        assert_eq!(ours, theirs, "{name}");
        images.push((name, format!("{}@{digest}", build.repository)));
    }
    let adapter = "as-the-product-runs-it:1";
    let mpimg = |arguments: &[&str]| run(home.mpimg().env("MPIMG_HOME", store()).args(arguments));
    mpimg(&["build", "-q", "-t", adapter, home.path().join("new").to_str().unwrap()]);
    let checked: Value = serde_json::from_str(&mpimg(&["check", "--json", "--as-product", adapter])).unwrap();
    mpimg(&["rm", adapter]);
    let checks: Vec<_> = checked["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    let asked = ["https", "/apiVersion", "/adapterDefinition", "/collect"];
    assert_eq!(checks, [&["platform", "layers", "command"][..], &asked, &["memory", "files"]].concat());
    assert_eq!(checked["checks"][6]["detail"], "answers with 0 objects", "{checked}");
    assert_eq!(checked["passed"], true, "{checked}");
    assert_nothing_runs(&home);

    let docker = Docker::start();
    for (name, image) in images {
        let definition = std::fs::read(reference.join(format!("{name}.json"))).unwrap();
        let definition: Value = serde_json::from_slice(&definition).unwrap();
        assert_eq!(docker.adapter_definition(&image), definition, "{name}");
    }
}

/// An adapter that needs no base image: busybox says which version of the API it speaks.
const BARE: &str = r#"FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/httpd
COPY apiVersion /www/
ENTRYPOINT ["sh", "-c", "exec httpd -f -p 8080 -h /www"]
"#;

/// Makes a project of such an adapter.
pub(crate) fn make_bare(home: &Home, project: &Path) {
    make(home, "static", project);
    std::fs::copy(judge_path("busybox"), project.join("busybox")).unwrap();
    std::fs::write(project.join("apiVersion"), r#"{"majorVersion": 1, "minorVersion": 0, "maintenanceVersion": 0}"#).unwrap();
    std::fs::write(project.join("Dockerfile"), BARE).unwrap();
}

/// Makes a .pak with the command of an installed wheel, whose environment has the SDK beside it.
pub(crate) fn make_a_pak_with(mpimg: std::process::Command, home: &Home) {
    let project = home.path().join("bare");
    make_bare(home, &project);
    let registry = distribution("");
    let build = Build::new(home, &project, &registry);
    let (files, conf) = read_pak(&pak_of(&project, &build.with(mpimg)));
    assert!(files.iter().any(|(name, _)| name == "adapter.zip/NewPython/conf/describe.xml"), "{files:?}");
    let image = format!("docker://{}@{}", build.repository, conf["DIGEST"]);
    run(judge("skopeo").args(["inspect", "--raw", "--no-creds", "--tls-verify=false", &image]));
}

#[test]
fn wrong_use_ends_as_with_docker() {
    let _alone = alone();
    let home = Home::new();
    let store = store();
    let registry = distribution("");
    for name in WRONG {
        let project = home.path().join(name);
        make(&home, name, &project);
        let mut build = Build::new(&home, &project, &registry);
        // Only there: the system may give it the very port that is to be free.
        let taken = (name == "port taken").then(|| std::net::TcpListener::bind("0.0.0.0:0").unwrap());
        match name {
            "port taken" => build.port = taken.as_ref().unwrap().local_addr().unwrap().port(),
            "registry refused" => build.repository = "127.0.0.1:1/mp/adapter".into(),
            _ => {}
        }
        let output = build.with_mpimg(&store, &python("1.3.1"));
        let said = said(&output);
        // mp-build ends with 1 in all of these with Docker, too.
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        let expected: &[&str] = match name {
            "no manifest" => &["Unexpected exception occurred while trying to build pak file"],
            "two kinds" => &["names 2 adapter kinds: NewPython, Other", "leave one in `adapter_kinds`"],
            "registry refused" => &["cannot connect to `127.0.0.1:1`", "Connection refused"],
            "crash" => &["the adapter ended with exit code 1 before it answered", "no licence here"],
            "port taken" => &["is taken by", "give mp-build another port with -P"],
            "definition 500" => &["adapterDefinition endpoint returned 500"],
            "definition 204" => &["but no describe.xml file was found"],
            _ => unreachable!(),
        };
        for text in expected {
            assert!(said.contains(text), "{name}: no `{text}` in\n{said}");
        }
        assert!(!said.contains("Traceback"), "{name}: {said}");
        assert!(!said.contains("secret"), "{name}: {said}");
        assert_nothing_runs(&home);
    }
}

#[test]
fn older_sdks_build_on_mpimg_and_are_in_the_table() {
    let _alone = alone();
    let table: Value = serde_json::from_str(include_str!("../../../../python/mpimg/sdk_compatibility.json")).unwrap();
    let home = Home::new();
    let store = store();
    let registry = distribution("");
    let registries_conf = home.path().join("registries.conf");
    let elsewhere = format!("[[registry]]\nprefix = 'registry.example.com:5000'\nlocation = '{}'\n", registry.address);
    std::fs::write(&registries_conf, elsewhere).unwrap();
    for (version, host) in [
        ("1.0.0", "projects.registry.vmware.com"),
        ("1.1.0", "projects.registry.vmware.com"),
        ("1.2.0", "projects.packages.broadcom.com"),
    ] {
        // Their base images came from a registry that is not ours to ask.
        let base = format!("{host}/vmware_aria_operations_integration_sdk/base-adapter:python-1.0.0");
        run(home.mpimg().env("MPIMG_HOME", &store).args(["tag", BASE, &base]));
        let project = home.path().join(version);
        make(&home, "new", &project);
        let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
        std::fs::write(project.join("Dockerfile"), dockerfile.replace(&format!("FROM {BASE}"), &format!("FROM {base}"))).unwrap();
        let mut build = Build::new(&home, &project, &registry);
        // SDK 1.0 takes nothing for a registry that has no domain.
        build.repository = "registry.example.com:5000/mp/adapter".into();
        build.registries_conf = registries_conf.clone();
        let output = build.with_mpimg(&store, &python(version));
        let (files, conf) = read_pak(&pak_of(&project, &output));
        assert!(files.iter().any(|(name, _)| name == "adapter.zip/NewPython/conf/describe.xml"), "{version}: {files:?}");
        assert_eq!(
            (conf["REGISTRY"].as_str(), conf["REPOSITORY"].as_str()),
            ("registry.example.com:5000", "/mp/adapter"),
            "{version}"
        );
        let pulled = format!("{}/mp/adapter@{}", registry.address, conf["DIGEST"]);
        run(judge("skopeo").args(["inspect", "--no-creds", "--tls-verify=false", &format!("docker://{pulled}")]));
        assert_eq!(row(version), table[version], "{version}");
    }
    assert_eq!(row("1.3.1"), table["1.3.1"]);
    assert_nothing_runs(&home);
}

/// How an installed SDK uses Docker, as mpimg reads it.
fn row(version: &str) -> Value {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/mpimg/sdk_compatibility.py");
    let row: Value = serde_json::from_str(&run(std::process::Command::new(python(version)).arg(module))).unwrap();
    row[version].clone()
}

#[test]
fn an_sdk_that_uses_docker_otherwise_is_refused_before_anything_is_built() {
    let home = Home::new();
    let project = home.path().join("project");
    make(&home, "new", &project);
    let site = python("1.3.1").parent().unwrap().parent().unwrap().join("lib");
    let site = site.read_dir().unwrap().next().unwrap().unwrap().path().join("site-packages");
    let changes: [(&str, &str, &str, &str); 3] = [
        (
            "docker_wrapper.py",
            "def push_image(client: DockerClient, repository: str, tag: str)",
            "def push_image(client: DockerClient, repository: str, tag: str, sign: bool = True)",
            "`docker_wrapper.push_image` is called (client, repository, tag, sign=True), not (client, repository, tag)",
        ),
        (
            "docker_wrapper.py",
            "            rm=True,",
            "            rm=True, pull=True,",
            "`docker_wrapper.build_image` does something else than it did",
        ),
        (
            "adapter_container.py",
            "images.prune(filters=",
            "images.prune(True, filters=",
            "`adapter_container.AdapterContainer.stop` uses `docker_client.images.prune(_, filters)`",
        ),
    ];
    for (file, from, to, expected) in changes {
        let package = home.path().join("package");
        run(judge("rm").arg("-rf").arg(&package));
        std::fs::create_dir(&package).unwrap();
        run(judge("cp").arg("-r").arg(site.join("vmware_aria_operations_integration_sdk")).arg(&package));
        let path = package.join("vmware_aria_operations_integration_sdk").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let output = Build::new(&home, &project, &distribution("")).with_mpimg(&home.store(), &python("1.3.1"));
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(said.starts_with("error: Integration SDK 1.3.1 uses Docker in a way that this mpimg does not know: "), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!project.join("build").exists() && home.store().read_dir().unwrap().next().is_none(), "something was built");
    }
}

#[test]
fn a_bill_of_materials_that_cannot_be_written_is_refused_before_anything_is_built() {
    let home = Home::new();
    let project = home.path().join("project");
    make_bare(&home, &project);
    for (file, expected) in [
        ("sbom.json", "`sbom.json` does not tell its form: name it FILE.spdx.json or FILE.cdx.json".to_owned()),
        ("missing/a.cdx.json", format!("cannot write in `{}`", home.path().join("missing").display())),
    ] {
        let mut mpimg = home.mpimg();
        mpimg.env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(&home));
        let output = mpimg.args(["mp-build", "--no-ttl", "--sbom-file", file, "-p"]).arg(&project).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("error: argument --sbom-file: {expected}")), "{said}");
        assert!(!project.join("build").exists() && home.store().read_dir().unwrap().next().is_none(), "something was built");
    }
}

/// Of this home's containers none is left.
fn assert_nothing_runs(home: &Home) {
    let left: Value =
        serde_json::from_str(&run(home.mpimg().env("MPIMG_HOME", store()).args(["ps", "--all", "--json"]))).unwrap();
    assert_eq!(left["containers"], serde_json::json!([]));
}

#[test]
fn answers_repositories_and_manifests_are_judged_before_they_reach_a_pak() {
    let home = Home::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python/mp_build/answers.py");
    let mut command = std::process::Command::new(python("1.3.1"));
    let said = run(command.arg(script).arg(home.path()).env("PYTHONPATH", package(&home)).env("HOME", home.path()));
    assert!(said.ends_with("all as it should be\n"), "{said}");
}
