//! Two mp-builds at once on one store, of projects that have one name and version: each has its own image all the way.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::home::Home;
use crate::registry::fixture::{Server, distribution, free_address};
use crate::{judge, run};

use super::project::{make, package, pak_of, read_pak, said};
use super::{alone, assert_nothing_runs, python, store};

/// Between two steps of mp-build, waits until the other one has come as far: both have built, and only then each runs what it has
/// built; both have that to push, and only then each pushes.
fn in_step(home: &Home, mpimg: &Path, own: &str, other: &str) -> PathBuf {
    let path = home.path().join(format!("mpimg-{own}"));
    let at = home.path().display().to_string();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = run ] || [ \"$1\" = push ]; then\n  : >{at}/$1-{own}\n  \
         for try in $(seq 600); do [ -e {at}/$1-{other} ] && break; sleep 0.1; done\nfi\nexec {} \"$@\"\n",
        mpimg.display()
    );
    std::fs::write(&path, script).unwrap();
    run(judge("chmod").arg("755").arg(&path));
    path
}

fn start(home: &Home, project: &Path, registry: &Server, own: &str, other: &str) -> Child {
    let mut command: Command = home.mpimg();
    let mpimg = PathBuf::from(command.get_program());
    command.arg("mp-build").env("MPIMG_HOME", store()).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(home));
    command.env("MPIMG_COMMAND", in_step(home, &mpimg, own, other)).env("LC_ALL", "C.UTF-8");
    command.args(["--no-ttl", "-i", "-P", &free_address().port().to_string(), "-p"]).arg(project);
    command.args(["-r", &format!("{}/mp/{own}", registry.address)]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_of_one_name_and_version_try_and_push_what_each_has_built() {
    let _alone = alone();
    let home = Home::new();
    let registry = distribution("");
    let folder = |name: &str| home.path().join(name);
    for name in ["first", "second"] {
        make(&home, "new", &folder(name));
        let adapter = folder(name).join("app/adapter.py");
        let text = std::fs::read_to_string(&adapter).unwrap();
        assert!(text.contains("Adapter Memory Limit (MB)"));
        std::fs::write(adapter, text.replace("Adapter Memory Limit (MB)", &format!("The {name} adapter's memory"))).unwrap();
        let dockerfile = std::fs::read_to_string(folder(name).join("Dockerfile")).unwrap();
        std::fs::write(folder(name).join("Dockerfile"), format!("{dockerfile}\nLABEL which={name}\n")).unwrap();
    }
    let first = start(&home, &folder("first"), &registry, "first", "second");
    let second = start(&home, &folder("second"), &registry, "second", "first");
    for (name, child) in [("first", first), ("second", second)] {
        let output = child.wait_with_output().unwrap();
        let pak = pak_of(&folder(name), &output);
        let image = format!("docker://{}/mp/{name}@{}", registry.address, read_pak(&pak).1["DIGEST"]);
        let labels = run(judge("skopeo").args(["inspect", "--tls-verify=false", "--format", "{{.Labels}}", &image]));
        assert!(labels.contains(&format!("which:{name}")), "{labels}");
        const LABELS: &str = "import io, sys, zipfile
adapter = zipfile.ZipFile(io.BytesIO(zipfile.ZipFile(sys.argv[1]).read('adapter.zip')))
print(adapter.read('NewPython/conf/resources/resources.properties').decode())";
        let texts = run(judge("python3").args(["-c", LABELS]).arg(&pak));
        assert!(texts.contains(&format!("The {name} adapter's memory")), "{texts}\n{}", said(&output));
    }
    assert_nothing_runs(&home);
    // Their names for what they had built are gone again.
    let images = run(home.mpimg().env("MPIMG_HOME", store()).args(["images", "--json"]));
    assert!(!images.contains("mpimg-mp-build"), "{images}");
}
