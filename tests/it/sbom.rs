//! Bills of materials: attached by a push and read back from the registry by what refers to the
//! image; and in files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::oci::Digest;
use mpimg::serve::{Fault, FaultResponse};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::fixture::{DOCKERFILE as BARE, Serving, folder, run, text, write};
use crate::home::Home;
use crate::judges;
use crate::registry::fixture::{distribution, skopeo};
use crate::skip::{Missing, skip};

const DOCKERFILE: &str = "FROM scratch\nCOPY root /\nCOPY more /\n";

/// A project whose image has a package of each kind, and one that a later layer replaces.
fn packages(home: &Home) -> PathBuf {
    let folder = folder(home, "packages", DOCKERFILE);
    let site = "usr/lib/python3/site-packages";
    for (path, content) in [
        ("root/etc/os-release".to_owned(), "ID=debian\nVERSION_ID=\"12\"\n"),
        (
            "root/var/lib/dpkg/status".to_owned(),
            "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n",
        ),
        (format!("root/{site}/requests-2.32.3.dist-info/METADATA"), "Metadata-Version: 2.1\nName: requests\nVersion: 2.32.3\n"),
        (format!("root/{site}/aria.dist-info/METADATA"), "Metadata-Version: 2.1\nName: aria\nVersion: 1\n"),
        (format!("more/{site}/aria.dist-info/METADATA"), "Metadata-Version: 2.1\nName: aria\nVersion: 2\n"),
    ] {
        std::fs::create_dir_all(folder.join(&path).parent().unwrap()).unwrap();
        write(&folder, &path, content);
    }
    folder
}

fn raw(name: &str) -> Value {
    serde_json::from_str(&skopeo(&["inspect", "--raw", "--tls-verify=false", name])).unwrap()
}

const PURLS: [&str; 3] =
    ["pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12", "pkg:pypi/aria@2", "pkg:pypi/requests@2.32.3"];

#[test]
fn a_bill_of_materials_is_found_by_its_image_in_registries_with_and_without_lists_of_referrers() {
    let home = Home::new();
    let project = packages(&home);
    let (old, new) = (distribution(""), Serving::open());
    for (host, format, kind) in [
        (old.address.to_string(), "spdx", "application/spdx+json"),
        (new.host.clone(), "cyclonedx", "application/vnd.cyclonedx+json"),
    ] {
        let target = format!("{host}/mp/app");
        let push = || {
            let file = if format == "spdx" { "app.spdx.json" } else { "app.cdx.json" };
            let push = ["push", "--json", text(&project), "-r", &target, "--tag", "1", "--sbom", format, "--sbom-file", file];
            run(&mut home.mpimg(), push).done().json()
        };
        let pushed = push();
        assert_eq!(push()["sbom"], pushed["sbom"], "same image, same bytes");
        let manifest = raw(&format!("docker://{target}@{}", pushed["sbom"].as_str().unwrap()));
        assert_eq!((&manifest["artifactType"], &manifest["subject"]["digest"]), (&json!(kind), &pushed["digest"]));

        let layout = format!("oci:{format}:1");
        let copied =
            run(&mut home.mpimg(), ["copy", "--json", "--referrers", &format!("docker://{target}:1"), &layout]).done().json();
        let found: Vec<&Value> = copied["referrers"].as_array().unwrap().iter().map(|referrer| &referrer["digest"]).collect();
        assert_eq!(found, [&pushed["sbom"]]);
        let blob = Digest::parse(manifest["layers"][0]["digest"].as_str().unwrap()).unwrap();
        let document = std::fs::read(home.path().join(format).join("blobs/sha256").join(blob.hex())).unwrap();
        let name = format!("app.{}.json", if format == "spdx" { "spdx" } else { "cdx" });
        assert_eq!(std::fs::read(home.path().join(&name)).unwrap(), document, "the file is what is attached");
        let (subject, version, purls) = read(&home.path().join(&name));
        assert_eq!((subject, json!(version)), (target, pushed["digest"].clone()));
        assert_eq!(purls, PURLS);
    }
}

/// Asserts that a file is what its name says, by SPDX's own validator, or by CycloneDX's own
/// schema.
fn judged_by_other_programs(file: &Path) {
    const CYCLONE_DX: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))";
    let programs = judges().join("sbom/bin");
    assert!(programs.exists(), "`{}` is missing: run tests/setup", programs.display());
    let is_spdx = text(file).ends_with(".spdx.json");
    let mut judge = Command::new(programs.join(if is_spdx { "pyspdxtools" } else { "python" }));
    if is_spdx {
        judge.arg("-i");
    } else {
        judge.args(["-c", CYCLONE_DX]);
    }
    crate::run(judge.arg(file));
}

/// What a bill of materials in a file says: of which image, in which version (its digest); and the
/// packages' URLs.
pub(crate) fn read(file: &Path) -> (String, String, Vec<String>) {
    judged_by_other_programs(file);
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let string = |value: &Value| value.as_str().unwrap().to_owned();
    let (image, version, purls) = match document["spdxVersion"].as_str() {
        Some(version) => {
            assert_eq!(version, "SPDX-2.3");
            let (image, packages) = document["packages"].as_array().unwrap().split_first().unwrap();
            // The layers come last.
            let packages = packages.iter().filter(|package| package["primaryPackagePurpose"] != "ARCHIVE");
            let purls = packages.map(|package| string(&package["externalRefs"][0]["referenceLocator"]));
            (&image["name"], &image["versionInfo"], purls.collect())
        }
        None => {
            assert_eq!(document["bomFormat"], "CycloneDX");
            let image = &document["metadata"]["component"];
            let purls = document["components"].as_array().unwrap().iter().map(|part| string(&part["purl"]));
            (&image["name"], &image["version"], purls.collect())
        }
    };
    (string(image), string(version), purls)
}

#[test]
fn a_build_writes_a_bill_of_materials_with_no_registry_and_a_push_of_that_image_the_same_bytes() {
    let (home, other, registry) = (Home::new(), Home::new(), Serving::open());
    let project = packages(&home);
    let at = |name: &str| home.path().join(name);
    let purls = PURLS.map(str::to_owned).to_vec();
    let built = run(&mut home.mpimg(), ["build", text(&project), "--sbom-file", "nameless.cdx.json"]).done();
    let digest = built.out.trim_end();
    assert_eq!(read(&at("nameless.cdx.json")), (digest.to_owned(), digest.to_owned(), purls.clone()));
    assert!(built.err.contains("wrote its SBOM (cyclonedx) to `nameless.cdx.json`"), "{}", built.err);

    let target = format!("{}/mp/app", registry.host);
    let named = format!("{target}:1");
    let build = ["build", "-q", text(&project), "-t", &named, "-o", "oci-archive:app.tar", "--sbom-file", "app.spdx.json"];
    run(&mut home.mpimg(), build).done();
    assert_eq!(read(&at("app.spdx.json")), (target.clone(), digest.to_owned(), purls));
    // The store has its layers; another machine has the archive alone.
    let archive = format!("oci-archive:{}", at("app.tar").display());
    for (home, image) in [(&home, named.as_str()), (&other, archive.as_str())] {
        let push = ["push", "-q", "--image", image, "-r", &target, "-t", "1", "--sbom-file", "pushed.spdx.json"];
        assert_eq!(run(&mut home.mpimg(), push).done().out.trim_end(), digest);
        assert_eq!(std::fs::read(home.path().join("pushed.spdx.json")).unwrap(), std::fs::read(at("app.spdx.json")).unwrap());
    }
    let copy = ["copy", "--json", "--referrers", &format!("docker://{named}"), "oci:all"];
    let copied = run(&mut home.mpimg(), copy).done().json();
    assert_eq!(copied["referrers"], json!([]), "a file alone attaches nothing");
}

#[test]
fn where_the_registry_takes_no_oci_manifest_the_file_names_the_image_as_it_is_there() {
    let home = Home::new();
    let old = Serving::faulty(|request| {
        let is_oci = |kind: &HeaderValue| kind.as_bytes() == b"application/vnd.oci.image.manifest.v1+json";
        if request.method == Method::PUT && request.headers.get(CONTENT_TYPE).is_some_and(is_oci) {
            return Fault::Status(FaultResponse::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "MANIFEST_INVALID", "no OCI here"));
        }
        Fault::None
    });
    let (project, target) = (packages(&home), format!("{}/mp/app", old.host));
    let push = ["push", "-q", text(&project), "-r", &target, "--sbom-file", "app.cdx.json"];
    let pushed = run(&mut home.mpimg(), push).done().out.trim_end().to_owned();
    let built = run(&mut home.mpimg(), ["build", "-q", text(&project)]).done().out.trim_end().to_owned();
    assert_ne!(pushed, built);
    assert_eq!(read(&home.path().join("app.cdx.json")).1, pushed);
}

#[test]
fn an_image_without_packages_has_an_empty_bill_of_materials_and_a_word_about_it() {
    let home = Home::new();
    let bare = folder(&home, "bare", BARE);
    let left = run(&mut home.mpimg(), ["build", text(&bare), "--sbom-file", "bare.spdx.json"]).done();
    assert!(left.err.contains("warning: no package was found in the image: its SBOM lists none\nhint: "), "{}", left.err);
    let (_, digest, purls) = read(&home.path().join("bare.spdx.json"));
    assert_eq!((digest.as_str(), purls), (left.out.trim_end(), Vec::new()));
}

#[test]
fn a_bill_of_materials_that_cannot_be_written_ends_the_command_before_it_does_anything() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = packages(&home);
    let target = format!("{}/mp/app", registry.host);
    std::fs::create_dir(home.path().join("folder.cdx.json")).unwrap();
    for (file, code, says) in [
        ("sbom.json", 2, "error: `sbom.json` does not say which SBOM format to write\nhint: name it FILE.spdx.json"),
        ("missing/app.spdx.json", 1, "error: cannot write `missing/app.spdx.json`"),
        ("folder.cdx.json", 1, "error: cannot write `folder.cdx.json`"),
    ] {
        for arguments in [&["build", "-t", "app:1"][..], &["push", "-r", &target]] {
            let mut command = home.mpimg();
            let left = run(command.args(arguments), [text(&project), "--sbom-file", file]);
            assert_eq!((left.code, left.out.as_str()), (Some(code), ""), "{}", left.err);
            assert!(left.err.starts_with(says), "{}", left.err);
        }
    }
    // The same of a digest's file.
    let left = run(&mut home.mpimg(), ["push", text(&project), "-r", &target, "--digest-file", "missing/digest"]);
    assert_eq!((left.code, left.out.as_str()), (Some(1), ""), "{}", left.err);
    assert_eq!(run(&mut home.mpimg(), ["images", "-q"]).done().out, "");
    assert_eq!(run(&mut home.mpimg(), ["inspect", &format!("docker://{target}:latest")]).code, Some(1), "it was pushed");
}

#[test]
fn the_command_tells_the_same_of_an_image_wherever_it_is() {
    let (home, other, registry) = (Home::new(), Home::new(), Serving::open());
    let project = packages(&home);
    let name = format!("{}/mp/app:1", registry.host);
    let built = run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", &name, "-o", "oci:layout"]).done();
    run(&mut home.mpimg(), ["copy", "-q", &name, &format!("docker://{name}")]).done();
    let remote = format!("docker://{name}");
    let layout = format!("oci:{}", home.path().join("layout").display());
    let mut documents = Vec::new();
    for (home, image) in [(&home, name.as_str()), (&other, remote.as_str()), (&other, remote.as_str()), (&other, layout.as_str())]
    {
        let made = run(&mut home.mpimg(), ["sbom", image, "--format", "cyclonedx", "-o", "any"]).done();
        let says = "wrote 3 packages (1 of 4 files belong to none) to `any`";
        assert_eq!((made.out.as_str(), made.err.lines().last()), ("", Some(says)));
        let file = home.path().join("any.cdx.json");
        std::fs::rename(home.path().join("any"), &file).unwrap();
        let (_, version, purls) = read(&file);
        assert_eq!((version.as_str(), purls), (built.out.trim_end(), PURLS.map(str::to_owned).to_vec()));
        documents.push(std::fs::read_to_string(file).unwrap());
    }
    assert!(documents[0] == documents[1] && documents[1] == documents[2], "the same name, the same bytes");

    let printed = run(&mut home.mpimg(), ["sbom", "-q", &name]).done().out;
    let spdx: Value = serde_json::from_str(&printed).unwrap();
    let layers: Vec<&Value> =
        spdx["packages"].as_array().unwrap().iter().filter(|one| one["primaryPackagePurpose"] == "ARCHIVE").collect();
    let brought = |id: &str| {
        let relationships = spdx["relationships"].as_array().unwrap().iter();
        let of_layer = |one: &&Value| one["relatedSpdxElement"] == id && one["spdxElementId"].as_str().unwrap().contains("Layer");
        relationships.filter(of_layer).map(|one| string(&one["spdxElementId"])).collect::<Vec<_>>()
    };
    let id = |name: &str| {
        let mut packages = spdx["packages"].as_array().unwrap().iter();
        string(&packages.find(|package| package["name"] == name).unwrap()["SPDXID"])
    };
    assert_eq!(
        (layers.len(), brought(&id("libc6")), brought(&id("aria"))),
        (2, vec!["SPDXRef-Layer-1".into()], vec!["SPDXRef-Layer-2".into()])
    );

    let listed = run(&mut home.mpimg(), ["sbom", "--json", &name]).done().json();
    assert_eq!(
        listed["packages"][1]["places"][0],
        json!({"path": "/usr/lib/python3/site-packages/aria.dist-info/METADATA", "layer": 1})
    );
    let nameless = run(&mut home.mpimg(), ["sbom", &name, "-o", "sbom.json"]);
    assert_eq!(nameless.code, Some(2));
    assert!(nameless.err.contains("hint: name it FILE.spdx.json"), "{}", nameless.err);
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A package of each kind, as the tools that install them leave it.
fn one_of_each(home: &Home) -> PathBuf {
    let project = packages(home);
    let jar = |files: &[(&str, &[u8])]| {
        let mut jar = zip::ZipWriter::new_stream(Vec::new());
        for (name, content) in files {
            jar.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            jar.write_all(content).unwrap();
        }
        jar.finish().unwrap().into_inner()
    };
    let pom: &[u8] = b"groupId=org.slf4j\nartifactId=slf4j-api\nversion=2.0.9\n";
    let slf4j =
        jar(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"), ("META-INF/maven/org.slf4j/slf4j-api/pom.properties", pom)]);
    let plain = jar(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\nBundle-SymbolicName: com.google.gson\n")]);
    let boot = jar(&[
        ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\nImplementation-Title: adapter\n"),
        ("BOOT-INF/lib/slf4j-api-2.0.9.jar", &slf4j),
        ("BOOT-INF/lib/gson-2.10.jar", &plain),
    ]);
    let rpm = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sbom/rpm/rpmdb.sqlite.zst");
    let apk = "C:Q1deadbeef\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:1\nI:1\nT:libc\nU:x\nL:MIT\no:musl\nm:a <a@b>\nF:lib\nR:ld-musl-x86_64.so.1\n\n";
    let gem = "# -*- encoding: utf-8 -*-\n# stub: rake 13.0.6 ruby lib\n\nGem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  \
               s.version = \"13.0.6\"\n  s.licenses = [\"MIT\".freeze]\nend\n";
    let files: [(&str, &[u8]); 7] = [
        ("lib/apk/db/installed", apk.as_bytes()),
        ("var/lib/rpm/rpmdb.sqlite", &zstd::decode_all(std::fs::File::open(rpm).unwrap()).unwrap()),
        ("app/node_modules/@babel/core/package.json", br#"{"name": "@babel/core", "version": "7.0.0", "license": "MIT"}"#),
        ("usr/lib/ruby/gems/3.1.0/specifications/rake-13.0.6.gemspec", gem.as_bytes()),
        (
            "opt/jdk/release",
            b"IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_RUNTIME_VERSION=\"21.0.2+13-LTS\"\nJAVA_VERSION=\"21.0.2\"\n",
        ),
        ("opt/Modules/PowerCLI/PowerCLI.psd1", b"@{\n  ModuleVersion = '13.3.0'\n}\n"),
        ("opt/adapter.jar", &boot),
    ];
    for (path, content) in files {
        let path = project.join("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let crane = judges().join("go/bin/crane");
    if crane.exists() {
        std::fs::create_dir_all(project.join("root/usr/bin")).unwrap();
        std::fs::copy(crane, project.join("root/usr/bin/crane")).unwrap();
    }
    project
}

/// What the store keeps of the packages of layers, by the name of its file.
fn kept(home: &Home) -> BTreeMap<OsString, Vec<u8>> {
    let files = std::fs::read_dir(home.store().join("layers")).unwrap().map(|file| file.unwrap().path());
    let kept = files.filter(|path| path.extension().is_some_and(|extension| extension == "packages"));
    kept.map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn a_build_that_takes_most_of_a_layer_from_the_store_lists_all_packages_of_it() {
    let home = Home::new();
    let project = folder(&home, "known", "FROM scratch\nCOPY root /\n");
    let site = "root/usr/lib/python3/site-packages";
    // Long enough for segments, and not to be shortened much.
    let words = |seed: u64| {
        (0..900).map(|number: u64| format!("{:x} ", (seed + 1) * (number + 7) * 0x9e37_79b9 % 0xffff_fffb)).collect::<String>()
    };
    for number in 0..400 {
        let name = format!("{site}/package{number}.dist-info/METADATA");
        std::fs::create_dir_all(project.join(&name).parent().unwrap()).unwrap();
        let metadata = format!("Metadata-Version: 2.1\nName: package{number}\nVersion: 1\n\n{}", words(number));
        write(&project, &name, &metadata);
    }
    write(&project, "root/usr/lib/changed", "first");
    // Files that changed a moment ago are not trusted.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let build = |home: &Home, file: &Path, log: &str| {
        run(&mut home.mpimg(), ["build", "-q", text(&project), "--sbom-file", text(file), "--log-file", log]).done();
        let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let packages = document["packages"].as_array().unwrap().iter();
        packages.filter(|package| package["name"].as_str().unwrap().starts_with("package")).cloned().collect::<Vec<_>>()
    };
    let first = build(&home, &home.path().join("first.spdx.json"), "log");
    assert_eq!(first.len(), 400);
    write(&project, "root/usr/lib/changed", "second");
    // Without an SBOM, files of the same layer are not even opened.
    run(&mut home.mpimg(), ["build", "-q", text(&project), "--no-cache", "--log-file", "taken"]).done();
    let log = std::fs::read_to_string(home.path().join("taken")).unwrap();
    assert!(log.lines().any(|line| line.contains("taken with their blocks") && !line.contains("\"taken\":0,")), "{log}");
    write(&project, "root/usr/lib/changed", "third one");
    assert_eq!(build(&home, &home.path().join("second.spdx.json"), "log"), first);
}

#[test]
fn layers_that_a_build_writes_are_not_read_again_and_tell_the_same_as_if_they_were() {
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let builds: [&[&str]; 2] = [&["build", "-t", "app"], &["push", "-r", &target]];
    for build in builds {
        let home = Home::new();
        let project = one_of_each(&home);
        let site = "root/usr/lib/python3/site-packages/aria.dist-info";
        // What the index keeps of a layer, an empty file, and one that is longer than a block.
        write(&project, "root/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        write(&project, &format!("{site}/RECORD"), "");
        let readme = "no package\n".repeat(1 << 20);
        write(&project, &format!("{site}/METADATA"), &format!("Metadata-Version: 2.1\nName: aria\nVersion: 1\n\n{readme}"));
        let reads = |log: &str| {
            let log = std::fs::read_to_string(home.path().join(log)).unwrap();
            log.lines().filter(|line| line.contains("a layer is read for its packages")).count()
        };
        let made = ["-q", text(&project), "--sbom-file", "first.spdx.json", "--log-file", "first"];
        run(home.mpimg().args(build), made).done();
        let first = kept(&home);
        assert_eq!((reads("first"), first.len()), (0, 2), "{build:?}");

        first.keys().for_each(|name| std::fs::remove_file(home.store().join("layers").join(name)).unwrap());
        run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app", "--no-cache"]).done();
        assert!(kept(&home).is_empty(), "nobody has asked for an SBOM");
        run(&mut home.mpimg(), ["sbom", "-q", "app", "-o", "second.spdx.json", "--log-file", "second"]).done();
        assert!((reads("second"), kept(&home)) == (2, first), "the pass through the pipeline and the layer tell the same");
        let packages = |name: &str| {
            let document: Value = serde_json::from_slice(&std::fs::read(home.path().join(name)).unwrap()).unwrap();
            document["packages"].as_array().unwrap()[1..].to_vec()
        };
        assert_eq!(packages("first.spdx.json"), packages("second.spdx.json"));
    }
}

/// The package URLs that mpimg and syft find in the image of a layout.
fn found_in(home: &Home, syft: &Path, layout: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let ours = run(&mut home.mpimg(), ["sbom", "--json", &format!("oci:{layout}")]).done().json();
    let mut judge = Command::new(syft);
    judge.args(["-q", "scan", &format!("oci-dir:{layout}"), "-o", "json"]).current_dir(home.path()).env("HOME", home.path());
    let theirs = judge.env("SYFT_CHECK_FOR_APP_UPDATE", "false").output().unwrap();
    let theirs: Value = serde_json::from_slice(&theirs.stdout).unwrap();
    let purls = |list: &Value| list.as_array().unwrap().iter().map(|one| string(&one["purl"])).collect();
    (purls(&ours["packages"]), purls(&theirs["artifacts"]))
}

#[test]
fn each_database_of_rpm_s_and_of_apk_s_tells_syft_the_same_with_all_qualifiers() {
    let syft = judges().join("sbom/bin/syft");
    if !syft.exists() {
        skip!(Missing::Syft);
    }
    let apk: String = [("musl", "1.2.4-r4", "musl"), ("libssl3", "3.1.4-r5", "openssl"), ("libcrypto3", "3.1.4-r5", "openssl")]
        .iter()
        .map(|(name, version, origin)| {
            format!("C:Q1deadbeef\nP:{name}\nV:{version}\nA:x86_64\nT:x\nL:MIT\no:{origin}\nF:lib\nR:{name}.so\n\n")
        })
        .collect();
    let rpm = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sbom/rpm").join(name);
        zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap()
    };
    let redhat = "ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.3\"\n";
    for (at, path, content, system, packages) in [
        ("sqlite", "var/lib/rpm/rpmdb.sqlite", rpm("rpmdb.sqlite.zst"), redhat, 2),
        ("ndb", "usr/lib/sysimage/rpm/Packages.db", rpm("Packages.db.zst"), redhat, 2),
        ("berkeley", "var/lib/rpm/Packages", rpm("Packages.le.zst"), redhat, 2),
        ("apk", "lib/apk/db/installed", apk.into_bytes(), "ID=alpine\nVERSION_ID=3.19.1\n", 3),
    ] {
        let home = Home::new();
        let project = folder(&home, "root", "FROM scratch\nCOPY . /\n");
        for (path, content) in [(path, content), ("etc/os-release", system.into())] {
            std::fs::create_dir_all(project.join(path).parent().unwrap()).unwrap();
            std::fs::write(project.join(path), content).unwrap();
        }
        run(&mut home.mpimg(), ["build", "-q", text(&project), "-o", "oci:image"]).done();
        let (ours, theirs) = found_in(&home, &syft, "image");
        assert_eq!((ours.len(), &ours), (packages, &theirs), "{at}");
    }
}

#[test]
fn no_package_is_missed_that_syft_finds() {
    let syft = judges().join("sbom/bin/syft");
    if !syft.exists() {
        skip!(Missing::Syft);
    }
    let home = Home::new();
    let project = one_of_each(&home);
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-o", "oci:image"]).done();
    // Qualifiers are left out: syft tells of some packages which module they came with, and the
    // like.
    let plain = |purls: BTreeSet<String>| -> BTreeSet<String> {
        purls.iter().map(|purl| purl.split('?').next().unwrap().to_owned()).collect()
    };
    let (ours, theirs) = found_in(&home, &syft, "image");
    let (ours, theirs) = (plain(ours), plain(theirs));
    assert!(theirs.len() >= 12, "{theirs:?}");
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), ["pkg:generic/powershell/PowerCLI@13.3.0"]);

    for name in ["each.spdx.json", "each.cdx.json"] {
        run(&mut home.mpimg(), ["sbom", "-q", "oci:image", "-o", name]).done();
        judged_by_other_programs(&home.path().join(name));
    }
}
