//! A management pack on its way from one site to another that it cannot see. Python's zipfile
//! writes the pack as mp-build does and compares it with the one that arrives; skopeo judges the
//! image.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::fixture::{Left, project, write};
use crate::home::Home;
use crate::registry::fixture::{distribution, distribution_3, skopeo};
use crate::registry::real::program;
use crate::skip::{Missing, skip};
use crate::{judge, run};

/// Makes `hello.pak` with these entries of `<kind>.conf`, and with the members named after it.
fn make_pak(home: &Home, conf: &str, more: &[&str]) {
    let make = "import sys, zipfile
with zipfile.ZipFile('adapter.zip', 'w') as adapter:
    adapter.writestr('HelloAdapter.conf', 'KINDKEY=HelloAdapter\\nAPI_PORT=443\\n' + sys.argv[1])
    adapter.writestr('manifest.txt', '{}')
    adapter.writestr('HelloAdapter/conf/describe.xml', '<a/>' * 1000, zipfile.ZIP_DEFLATED)
with zipfile.ZipFile('hello.pak', 'w') as pak:
    pak.writestr('manifest.txt', '{\"name\": \"iSDK_Hello\", \"version\": \"1.2.3\", \"adapter_kinds\": [\"HelloAdapter\"]}')
    pak.writestr('content/dashboards/a/a.json', '{}', zipfile.ZIP_DEFLATED)
    for name in sys.argv[2:]:
        pak.writestr(name, 'x')
    pak.write('adapter.zip')";
    run(judge("python3").args(["-c", make, conf]).args(more).current_dir(home.path()));
}

/// What differs between two packs: names of members, those of adapter.zip behind it.
const DIFFERENCES: &str = "import io, sys, zipfile
def members(file):
    found = {}
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            content = archive.read(info)
            if info.filename == 'adapter.zip':
                found.update({'adapter.zip/' + name: value for name, value in members(io.BytesIO(content)).items()})
            else:
                found[info.filename] = (content, info.compress_type, info.date_time, info.external_attr >> 16 & 0o777)
    return found
one, other = members(sys.argv[1]), members(sys.argv[2])
assert list(one) == list(other), (list(one), list(other))
print(*[name for name in one if one[name] != other[name]])
print(other['adapter.zip/HelloAdapter.conf'][0].decode(), end='')";

fn pak(home: &Home, arguments: &[&str]) -> Left {
    Left::of(home.mpimg().args(["pak", "--json"]).args(arguments).output().unwrap())
}

fn differences(home: &Home, one: &str, other: &Path) -> String {
    run(Command::new(crate::judge_path("python3")).args(["-c", DIFFERENCES, one]).arg(other).current_dir(home.path()))
}

#[test]
fn a_pack_whose_digest_is_that_of_an_index_arrives_with_all_that_the_index_says() {
    let (home, first, site) = (Home::new(), distribution(""), distribution(""));
    let repository = first.repository("mp/hello").to_string();
    let attested = ["--sbom", "spdx", "--provenance", "--attest", "buildkit"];
    let pushed = home.mpimg().args(["push", "--json", "--no-ttl", "-r", &repository]).args(attested).arg(project(&home)).output();
    let pushed = Left::of(pushed.unwrap()).done().json();
    let digest = pushed["digest"].as_str().unwrap();
    make_pak(&home, &format!("REGISTRY={}\nREPOSITORY=/mp/hello\nDIGEST={digest}\n", first.address), &[]);
    let found = pak(&home, &["inspect", "hello.pak"]).done().json();
    assert_eq!((&found["present"], &found["anonymous_pull"]), (&true.into(), &true.into()));
    pak(&home, &["export", "hello.pak"]).done();
    drop(first);
    let target = site.repository("vendor/hello").to_string();
    let arrived = pak(&home, &["import", "hello.pak.tar", "-r", &target, "-o", "arrived.pak"]).done().json();
    assert_eq!(arrived["anonymous_pull"], true);
    let index = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{target}@{digest}")]);
    let index: Value = serde_json::from_str(&index).unwrap();
    let attested = &index["manifests"][1];
    assert_eq!(attested["annotations"]["vnd.docker.reference.digest"], pushed["manifests"][0]["digest"]);
    let manifest = format!("docker://{target}@{}", attested["digest"].as_str().unwrap());
    let manifest: Value = serde_json::from_str(&skopeo(&["inspect", "--raw", "--tls-verify=false", &manifest])).unwrap();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "{manifest}");
}

#[test]
fn a_pack_arrives_at_a_site_without_internet_with_the_same_image() {
    let (home, first, site) = (Home::new(), distribution(""), distribution(""));
    let repository = first.repository("mp/hello").to_string();
    let pushed =
        home.mpimg().args(["push", "--json", "--no-ttl", "--sbom", "spdx", "-r", &repository]).arg(project(&home)).output();
    let pushed = Left::of(pushed.unwrap()).done().json();
    let digest = pushed["digest"].as_str().unwrap();
    let conf = format!("REGISTRY={}\nREPOSITORY=/mp/hello\nDIGEST={digest}\n", first.address);
    make_pak(&home, &conf, &[]);

    let found = pak(&home, &["inspect", "hello.pak"]).done().json();
    let shown = ["name", "version", "kind", "repository"].map(|key| found[key].as_str().unwrap());
    assert_eq!(shown, ["iSDK_Hello", "1.2.3", "HelloAdapter", "mp/hello"]);
    assert_eq!((&found["present"], &found["anonymous_pull"]), (&true.into(), &true.into()));
    assert_eq!(found["image"], format!("{repository}@{digest}"));

    let exported = pak(&home, &["export", "hello.pak"]).done().json();
    assert_eq!((exported["file"].as_str(), exported["referrers"].as_u64()), (Some("hello.pak.tar"), Some(1)));
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{repository}@{digest}")]);
    // From here on there is only the file.
    drop(first);
    std::fs::rename(home.path().join("hello.pak"), home.path().join("first.pak")).unwrap();
    std::fs::remove_dir_all(home.store()).unwrap();
    std::fs::create_dir(home.store()).unwrap();
    let archive = format!("oci-archive:{}", home.path().join("hello.pak.tar").display());
    let name = format!("1.2.3_{}", &digest["sha256:".len()..][..12]);
    assert_eq!(skopeo(&["inspect", "--raw", &format!("{archive}:{name}")]), raw);

    let there = site.repository("site/adapters/hello").to_string();
    let imported = pak(&home, &["import", "hello.pak.tar", "-r", &there]).done().json();
    assert_eq!(imported["image"], format!("{there}@{digest}"));
    let written = std::fs::read(home.path().join("Hello_1.2.3.pak")).unwrap();
    let again = pak(&home, &["import", "hello.pak.tar", "-r", &there]);
    assert_eq!(again.json()["error"]["message"], "`./Hello_1.2.3.pak` exists already");
    assert_eq!(std::fs::read(home.path().join("Hello_1.2.3.pak")).unwrap(), written);
    assert_eq!((&imported["anonymous_pull"], &imported["referrers"], &imported["tag"]), (&true.into(), &1.into(), &name.into()));
    let name = imported["tag"].as_str().unwrap();
    assert_eq!(skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{there}:{name}")]), raw);
    assert_eq!(
        differences(&home, "first.pak", &home.path().join("Hello_1.2.3.pak")),
        format!(
            "adapter.zip/HelloAdapter.conf\nKINDKEY=HelloAdapter\nAPI_PORT=443\nREGISTRY={}\nREPOSITORY=/site/adapters/hello\nDIGEST={digest}\n",
            site.address
        )
    );
    let found = pak(&home, &["inspect", "Hello_1.2.3.pak"]).done().json();
    assert_eq!((&found["present"], &found["anonymous_pull"]), (&true.into(), &true.into()));
    let referrers =
        run(home.mpimg().args(["copy", "--json", "--referrers"]).args([format!("docker://{there}@{digest}"), "oci:back".into()]));
    let referrers: Value = serde_json::from_str(&referrers).unwrap();
    assert_eq!(referrers["referrers"].as_array().unwrap().len(), 1, "its bill of materials came along: {referrers}");
}

#[test]
fn the_signatures_of_an_image_are_good_at_the_other_site() {
    let cosign = program("cosign");
    if !cosign.exists() {
        skip!(Missing::Registries);
    }
    let (home, first, site) = (Home::new(), distribution(""), distribution_3());
    run(home.mpimg().env("COSIGN_PASSWORD", "x").args(["key", "generate", "own"]));
    let repository = first.repository("mp/hello").to_string();
    let mut push = home.mpimg();
    push.env("COSIGN_PASSWORD", "x").args(["push", "--json", "--no-ttl", "--sign", "own.key", "-r", &repository]);
    let pushed = Left::of(push.arg(project(&home)).output().unwrap()).done().json();
    let digest = pushed["digest"].as_str().unwrap();
    make_pak(&home, &format!("REGISTRY={}\nREPOSITORY=/mp/hello\nDIGEST={digest}\n", first.address), &[]);
    pak(&home, &["export", "hello.pak"]).done();
    drop(first);
    let there = site.repository("site/hello").to_string();
    pak(&home, &["import", "hello.pak.tar", "-r", &there, "-o", "arrived.pak"]).done();
    let image = format!("{there}@{digest}");
    for form in ["--new-bundle-format=true", "--new-bundle-format=false"] {
        let mut verify = Command::new(&cosign);
        verify.env_clear().env("HOME", home.path()).env("DOCKER_CONFIG", home.path()).current_dir(home.path());
        run(verify.args(["verify", "--key", "own.pub", "--insecure-ignore-tlog=true", form, &image]));
    }
    run(home.mpimg().args(["verify", &image, "--key", "own.pub"]));
}

#[test]
fn what_a_pack_lacks_is_said() {
    let (home, registry) = (Home::new(), distribution(""));
    let absent = format!("sha256:{}", "1".repeat(64));
    make_pak(&home, &format!("REPOSITORY=/mp/hello\nDIGEST={absent}\n"), &["signature.mf"]);
    // The product's own registry is not known here.
    let found = pak(&home, &["inspect", "hello.pak"]).done().json();
    assert_eq!(
        (&found["image"], &found["present"], &found["signatures"][0]),
        (&Value::Null, &Value::Null, &"signature.mf".into())
    );
    let host = registry.address.to_string();
    let missing = pak(&home, &["inspect", "hello.pak", "--registry", &host]);
    assert_eq!(missing.code, Some(1), "the product could not pull it");
    let found = missing.json();
    assert_eq!((&found["present"], &found["anonymous_pull"]), (&false.into(), &false.into()));
    let error = pak(&home, &["export", "hello.pak"]).json();
    assert_eq!(error["error"]["hint"], "name it with `--registry HOST[:PORT]`");
    let error = pak(&home, &["export", "hello.pak", "--registry", &host]);
    assert_eq!((error.code, error.json()["error"]["kind"].as_str()), (Some(1), Some("not_found")));
    assert!(!home.path().join("hello.pak.tar").exists());

    write(&home.path(), "not.pak", "x");
    let error = pak(&home, &["inspect", "not.pak"]).json();
    assert_eq!(error["error"]["message"], "`not.pak` is not a management pack of the Integration SDK");
    // An archive without a pack.
    run(home.mpimg().args(["build", "-q", "-o", "oci-archive:image.tar"]).arg(project(&home)));
    let error = pak(&home, &["import", "image.tar", "-r", &registry.repository("a/b").to_string()]).json();
    assert_eq!(error["error"]["message"], "`image.tar` has no management pack in it");
    // The pack itself, and what is not there.
    let error = pak(&home, &["import", "hello.pak", "-r", &registry.repository("a/b").to_string()]).json();
    assert_eq!(error["error"]["message"], "`hello.pak` is a pack without its image");
    assert!(error["error"]["hint"].as_str().unwrap().contains("`mpimg pak export hello.pak` puts both into one file"), "{error}");
    let error = pak(&home, &["import", "nosuch.tar", "-r", &registry.repository("a/b").to_string()]).json();
    assert_eq!(
        (error["error"]["kind"].as_str(), error["error"]["message"].as_str()),
        (Some("not_found"), Some("there is no file `nosuch.tar`"))
    );
}

#[test]
fn a_signature_that_no_longer_fits_is_said_and_the_registry_can_be_left_to_the_product() {
    let (home, registry) = (Home::new(), distribution(""));
    let repository = registry.repository("mp/hello").to_string();
    let pushed = home.mpimg().args(["push", "--json", "--no-ttl", "-r", &repository]).arg(project(&home)).output().unwrap();
    let digest = Left::of(pushed).done().json()["digest"].as_str().unwrap().to_owned();
    make_pak(&home, &format!("REPOSITORY=/mp/hello\nDIGEST={digest}\n"), &["signature.mf"]);
    let host = registry.address.to_string();
    pak(&home, &["export", "hello.pak", "--registry", &host, "-o", "one.tar"]).done();
    let there = registry.repository("other/hello").to_string();
    let imported =
        pak(&home, &["import", "one.tar", "-r", &there, "--use-default-registry", "-o", "other.pak", "-t", "own"]).done();
    assert!(imported.err.contains("the pack was signed (signature.mf), and its signature does not fit"), "{}", imported.err);
    assert_eq!(imported.json()["tag"], "own");
    assert_eq!(
        differences(&home, "hello.pak", &home.path().join("other.pak")),
        format!("adapter.zip/HelloAdapter.conf\nKINDKEY=HelloAdapter\nAPI_PORT=443\nREPOSITORY=/other/hello\nDIGEST={digest}\n")
    );
}
