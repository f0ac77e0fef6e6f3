//! Bills of materials attached by a push: read back from the registry by what refers to the image.

use mpimg::oci::Digest;
use serde_json::{Value, json};

use super::fixture::{Serving, folder, run, text, write};
use crate::home::Home;
use crate::registry::fixture::{distribution, skopeo};

const DOCKERFILE: &str = "FROM scratch\nCOPY root /\nCOPY more /\n";

/// A project whose image has a package of each kind, and one that a later layer replaces.
fn packages(home: &Home) -> std::path::PathBuf {
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
            run(&mut home.mpimg(), ["push", text(&project), "-r", &target, "--tag", "1", "--no-ttl", "--sbom", format, "--json"])
                .done()
                .json()
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
        let document: Value = serde_json::from_slice(&document).unwrap();
        let purls: Vec<&str> = match format {
            "spdx" => {
                assert_eq!(document["packages"][0]["versionInfo"], pushed["digest"]);
                let packages = document["packages"].as_array().unwrap().iter().skip(1);
                packages.map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap()).collect()
            }
            _ => {
                assert_eq!(document["metadata"]["component"]["version"], pushed["digest"]);
                document["components"].as_array().unwrap().iter().map(|part| part["purl"].as_str().unwrap()).collect()
            }
        };
        assert_eq!(purls, PURLS);
    }
}
