//! `mpimg build` in docker's and buildx's words: results for scripts, input from a pipe, outputs
//! elsewhere.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::fixture::{DOCKERFILE, Left, Serving, folder, run, text};
use crate::home::Home;

/// Runs a command with `input` on its standard input.
fn run_with(command: &mut Command, arguments: &[&str], input: &[u8]) -> Left {
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Left::of(child.wait_with_output().unwrap())
}

#[test]
fn scripts_find_image_id_and_metadata_in_files() {
    let (home, registry) = (Home::new(), Serving::open());
    let folder = folder(&home, "plain", DOCKERFILE);
    let name = format!("{}/mp/app:1", registry.host);
    let arguments = ["build", "-q", "plain", "-t", &name, "-t", "app:1", "--iidfile", "id", "--metadata-file", "meta.json"];
    let digest = run(&mut home.mpimg(), arguments).done().out;
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    let config = run(&mut home.mpimg(), ["save", "app:1", "-o", "oci:layout"]).done();
    assert_eq!(config.code, Some(0));
    let blob = digest.trim_end().replace("sha256:", "layout/blobs/sha256/");
    let manifest: Value = serde_json::from_str(&read(&blob)).unwrap();
    assert_eq!(read("id"), manifest["config"]["digest"].as_str().unwrap());
    let metadata: Value = serde_json::from_str(&read("meta.json")).unwrap();
    assert_eq!(
        metadata,
        json!({
            "containerimage.config.digest": manifest["config"]["digest"],
            "containerimage.descriptor": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest.trim_end(),
                "size": read(&blob).len(),
            },
            "containerimage.digest": digest.trim_end(),
            "image.name": format!("{name},docker.io/library/app:1"),
        })
    );

    let left = run(&mut home.mpimg(), ["build", text(&folder), "-t", "app:1", "--push"]);
    assert_eq!(left.code, Some(2));
    assert!(left.err.starts_with("error: `app:1` does not name a repository to push to"), "{}", left.err);
    run(&mut home.mpimg(), ["build", text(&folder), "-t", &name, "--push"]).done();
    let there = run(&mut home.mpimg(), ["inspect", "-q", &format!("docker://{name}")]).done();
    assert_eq!(there.out, digest);
    let left = run(&mut home.mpimg(), ["build", text(&folder), "--push"]);
    assert!(left.err.starts_with("error: an image without a name cannot be pushed\nhint: name it with `--tag"), "{}", left.err);
}

#[test]
fn a_dockerfile_or_a_context_comes_from_standard_input() {
    let home = Home::new();
    let folder = folder(&home, "plain", DOCKERFILE);
    let expected = run(&mut home.mpimg(), ["build", "-q", text(&folder)]).done().out;
    let tar = |flags: &[&str]| Command::new("tar").args(["-C", text(&folder)]).args(flags).arg(".").output().unwrap().stdout;
    for (arguments, input) in [
        (["build", "-q", "-f", "-", "plain"].as_slice(), DOCKERFILE.as_bytes()),
        (&["build", "-q", "-"], &tar(&["-c"])),
        (&["build", "-q", "-f", "Dockerfile", "-"], &tar(&["-cz"])),
    ] {
        assert_eq!(run_with(&mut home.mpimg(), arguments, input).done().out, expected, "{arguments:?}");
    }
    run_with(&mut home.mpimg(), &["build", "-"], b"FROM scratch\nLABEL a=b\n").done();
    let left = run_with(&mut home.mpimg(), &["build", "-"], b"FROM scratch\nCOPY app .\n");
    assert_eq!(left.code, Some(1), "{}", left.err);
    let left = run_with(&mut home.mpimg(), &["build", "-f", "-", "-"], b"");
    assert_eq!(left.code, Some(2));
    assert!(left.err.starts_with("error: standard input cannot be both the build context and the Dockerfile"), "{}", left.err);
    // What was read is gone.
    let scratch = home.path().join(".local/share/mpimg/tmp");
    assert!(!scratch.exists() || std::fs::read_dir(scratch).unwrap().next().is_none());
}

#[test]
fn an_image_is_loaded_into_the_engine_that_is_there() {
    let home = Home::new();
    let folder = folder(&home, "plain", DOCKERFILE);
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let load =
        |home: &Home| run(home.mpimg().env("PATH", &bin), ["build", text(&folder), "-t", "app:1", "-t", "app:2", "--load"]);
    let left = load(&home);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("\nerror: neither docker nor podman is installed"), "{}", left.err);

    // An engine that keeps what it is given.
    let podman = bin.join("podman");
    let script = "#!/bin/sh\necho \"$1 $3\" >>\"$0.log\"\n[ \"$1\" = tag ] || /bin/cat \"$3\" >\"$0.tar\"\n";
    std::fs::write(&podman, script).unwrap();
    std::fs::set_permissions(&podman, std::fs::Permissions::from_mode(0o755)).unwrap();
    load(&home).done();
    let log = std::fs::read_to_string(bin.join("podman.log")).unwrap();
    assert!(log.ends_with("tag docker.io/library/app:2\n"), "{log}");
    let other = Home::new();
    let loaded = run(&mut other.mpimg(), ["load", text(&bin.join("podman.tar"))]).done();
    assert_eq!(loaded.out, "Loaded image: app:1\n");

    std::fs::write(&podman, "#!/bin/sh\necho no space >&2\nexit 1\n").unwrap();
    let left = load(&home);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("\nerror: `podman load` failed\n  caused by: no space\nhint: "), "{}", left.err);
}
