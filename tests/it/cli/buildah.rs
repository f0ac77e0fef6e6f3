//! mpimg in place of buildah: what scripts call and read, with Debian's buildah as the judge of
//! words and exit codes.

use serde_json::Value;

use super::drop_in::command;
use super::fixture::{Left, write};
use crate::buildah::Buildah;
use crate::home::Home;
use crate::registry::fixture::{distribution, skopeo};
use crate::skip::needs_root;

fn buildah(home: &Home, arguments: &[&str]) -> Left {
    Left::of(command(home, "buildah").args(arguments).output().unwrap())
}

/// A base image under the name `base` of this home, and the name.
fn base(home: &Home) -> &'static str {
    crate::run(home.mpimg().args(["load", "-q", "-t", "localhost/base:1"]).arg(crate::judges().join("base")));
    "base:1"
}

#[test]
fn a_task_builds_pushes_and_reads_the_digest_from_a_file() {
    let (home, registry) = (Home::new(), distribution(""));
    let base = base(&home);
    std::fs::create_dir_all(home.path().join("repo/app")).unwrap();
    let dockerfile = format!("FROM {base}\nARG FLAVOUR=plain\nRUN echo \"$FLAVOUR\" >/flavour\nCOPY . /app\n");
    write(&home.path(), "repo/app/Containerfile.prod", &dockerfile);
    write(&home.path(), "repo/app/readme.txt", "hello\n");
    let image = format!("{}/fleet/agent:9.0", registry.address);
    let left = buildah(
        &home,
        &[
            "--storage-driver=vfs",
            "bud",
            "--build-arg=FLAVOUR=mint",
            "--build-arg=UNUSED=1",
            "--no-cache",
            "--format=oci",
            "--tls-verify=false",
            "-f",
            "repo/app/Containerfile.prod",
            "-t",
            &image,
            "repo/app",
        ],
    )
    .done();
    let lines: Vec<&str> = left.out.lines().collect();
    assert_eq!(
        lines[..3],
        ["STEP 1/4: FROM base:1", "STEP 2/4: ARG FLAVOUR=plain", "STEP 3/4: RUN echo \"$FLAVOUR\" >/flavour"],
        "{}",
        left.out
    );
    let id = *lines.last().unwrap();
    assert_eq!((id.len(), lines[lines.len() - 2]), (64, format!("Successfully tagged {image}").as_str()));
    assert_eq!(lines[lines.len() - 4..lines.len() - 2], [format!("COMMIT {image}"), format!("--> {}", &id[..11])]);
    let to = format!("docker://{image}");
    let left = buildah(&home, &["push", "--tls-verify=false", "--digestfile", "digest", &image, &to]).done();
    assert_eq!(left.out, "");
    assert!(left.err.starts_with("Getting image source signatures\nCopying blob sha256:"), "{}", left.err);
    let digest = std::fs::read_to_string(home.path().join("digest")).unwrap();
    let there: Value = serde_json::from_str(&skopeo(&["inspect", "--tls-verify=false", &to])).unwrap();
    assert_eq!(digest, there["Digest"].as_str().unwrap());
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &to]);
    assert!(raw.contains(&format!("sha256:{id}")) && raw.contains("vnd.oci.image.config"), "{raw}");
    let left = buildah(&home, &["rmi", &image]).done();
    assert_eq!(left.out, format!("untagged: {image}\n{id}\n"));
    // Back from the registry, and from a layout.
    assert_eq!(buildah(&home, &["pull", "-q", "--tls-verify=false", &image]).done().out, format!("{id}\n"));
    buildah(&home, &["push", "-q", &image, "oci:layout:9.0"]).done();
    skopeo(&["inspect", &format!("oci:{}:9.0", home.path().join("layout").display())]);
    let left = buildah(&home, &["push", &image, "docker-daemon:x:1"]);
    assert_eq!(left.code, Some(125));
    assert!(left.err.contains("mpimg does not write `docker-daemon`") && left.err.contains("\nhint: "), "{}", left.err);
}

#[test]
fn mistakes_are_told_with_buildah_s_words_and_exit_codes() {
    needs_root!();
    let (home, judge) = (Home::new(), Buildah::new());
    for arguments in [
        &["images", "-q", "nosuch"][..],
        &["rmi", "nosuch"],
        &["rmi", "nosuch", "none"],
        &["bud", "--nope", "."],
        &["push", "--tls-verify=false", "127.0.0.1:1/gold/bld:none"],
        &["tag", "nosuch", "other"],
        &["run", "nosuch", "--", "true"],
        &["config", "--user", "5", "nosuch"],
        &["logout", "127.0.0.1:1"],
        &["nosuchcommand"],
    ] {
        let ours = buildah(&home, arguments);
        let theirs = Left::of(judge.command().args(arguments).output().unwrap());
        assert_eq!((ours.code, ours.out), (theirs.code, theirs.out), "{arguments:?}: {}{}", ours.err, theirs.err);
        // The first line is what scripts look for; mpimg may add a remedy.
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        if !matches!(arguments[0], "tag" | "logout" | "config" | "run") {
            assert_eq!(first(&ours.err), first(&theirs.err), "{arguments:?}");
        }
    }
    let version = buildah(&home, &["--version"]).done().out;
    assert!(version.starts_with("buildah version 1.28.2 (mpimg "), "{version}");
    let left = buildah(&home, &["mount", "x"]);
    assert_eq!(left.code, Some(125));
    assert!(left.err.starts_with("Error: mpimg does not have `buildah mount`\nhint: use `buildah copy`"), "{}", left.err);
    let left = buildah(&home, &["bud", "--volume", "/a:/b", "."]);
    assert!(left.code == Some(125) && left.err.contains("mpimg does not have buildah's `--volume`"), "{}", left.err);
}

#[test]
fn a_command_that_fails_gives_its_exit_code() {
    let home = Home::new();
    let base = base(&home);
    write(&home.path(), "Containerfile", &format!("FROM {base}\nRUN echo seen; exit 7\n"));
    let left = buildah(&home, &["bud", "."]);
    assert_eq!(left.code, Some(7), "{}", left.err);
    assert!(left.out.contains("\nseen\n") && left.err.starts_with("Error: "), "{}{}", left.out, left.err);
    let container = buildah(&home, &["from", base]).done().out.trim().to_owned();
    let left = buildah(&home, &["run", &container, "--", "sh", "-c", "exit 9"]);
    assert_eq!(left.code, Some(9), "{}", left.err);
}

/// What a script without a Dockerfile makes: the same commands for ours and for the judge.
const SCRIPT: &[&[&str]] = &[
    &["run", "-e", "WORD=a b", "--workingdir", "/opt", "C", "--", "sh", "-c", "echo $WORD $PWD >/said; echo printed"],
    &["copy", "-q", "--chown", "5:6", "C", "file", "/srv/"],
    &["copy", "-q", "C", "folder", "/srv/folder"],
    &["config", "--env", "COLOUR=red", "--label", "a=b", "--port", "8080", "--user", "5", "--workingdir", "/srv", "C"],
    &["config", "--entrypoint", "[\"/bin/echo\"]", "--cmd", "one 'two three'", "--author", "me", "C"],
    &["run", "C", "--", "sh", "-c", "id -u; pwd; echo $COLOUR"],
];

#[test]
fn a_working_container_becomes_the_image_that_buildah_makes() {
    needs_root!();
    let (home, judge) = (Home::new(), Buildah::new());
    base(&home);
    let base = crate::judges().join("base").display().to_string();
    let folder = home.path();
    std::fs::create_dir_all(folder.join("folder/sub")).unwrap();
    write(&folder, "file", "x\n");
    write(&folder, "folder/sub/y", "y\n");
    let run = |ours: bool, arguments: &[&str]| {
        let mut command = if ours { command(&home, "buildah") } else { judge.command() };
        command.env("BUILDAH_ISOLATION", "chroot");
        let left = Left::of(command.args(arguments).current_dir(&folder).output().unwrap());
        assert_eq!(left.code, Some(0), "{arguments:?}: {}", left.err);
        left.out
    };
    let make = |ours: bool| {
        let image = if ours { "base:1".to_owned() } else { format!("oci:{base}:base") };
        let container = run(ours, &["from", "--name", "work", &image]);
        assert_eq!(container, "work\n");
        let mut printed = Vec::new();
        for arguments in SCRIPT {
            let words: Vec<&str> = arguments.iter().map(|word| if *word == "C" { "work" } else { *word }).collect();
            printed.push(run(ours, &words));
        }
        let id = run(ours, &["commit", "-q", "work", "made:1"]);
        assert_eq!(id.trim().len(), 64, "{id}");
        let layout = folder.join(if ours { "ours" } else { "theirs" });
        run(ours, &["push", "-q", "made:1", &format!("oci:{}:made", layout.display())]);
        (printed, layout)
    };
    let ((our_words, ours), (their_words, theirs)) = (make(true), make(false));
    assert_eq!(our_words[0], their_words[0]);
    assert_eq!(our_words[5], their_words[5]);
    let tree = crate::tree::Tree::of_layout(&ours, "made");
    // Mount points that buildah leaves.
    let left_behind =
        |path: &str| ["/run/.containerenv", "/etc/hosts", "/etc/resolv.conf", "/run/secrets", "/etc/hostname"].contains(&path);
    let expected = crate::tree::Tree::of_layout(&theirs, "made");
    let differences =
        tree.without_matching(left_behind).differences("mpimg  ", &expected.without_matching(left_behind), "buildah");
    assert!(differences.is_empty(), "{differences:#?}");
    let config = |layout: &std::path::Path| {
        let mut config = crate::tree::config_of_layout(layout, "made");
        // buildah adds a label of its own.
        config["config"]["Labels"].as_object_mut().unwrap().remove("io.buildah.version");
        (config["config"].take(), config["author"].take())
    };
    assert_eq!(config(&ours), config(&theirs));
    run(true, &["rm", "work"]);
    assert_eq!(run(true, &["containers", "-q"]), "");
}

#[test]
fn names_and_ids_are_buildah_s() {
    let home = Home::new();
    write(&home.path(), "Containerfile", "FROM scratch\nLABEL a=b\n");
    let id = buildah(&home, &["bud", "-q", "-t", "app", "-t", "app:2", "."]).done().out.trim().to_owned();
    assert_eq!(buildah(&home, &["images", "-q"]).done().out, format!("{}\n", &id[..12]));
    let shown = buildah(&home, &["images"]).done().out;
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(rows[1][..3], ["localhost/app", "2", &id[..12]]);
    assert_eq!(
        buildah(&home, &["images", "--format", "{{.Name}}:{{.Tag}} {{.ID}}", "app:2"]).done().out,
        format!("localhost/app:2 {}\n", &id[..12])
    );
    assert_eq!(buildah(&home, &["inspect", "--format", "{{.FromImageID}}", "app"]).done().out, format!("{id}\n"));
    buildah(&home, &["tag", &id[..12], "127.0.0.1:1/other:1"]).done();
    // A Dockerfile finds the local image, though Docker Hub has the name, too.
    write(&home.path(), "Containerfile", "FROM app AS build\nFROM build\nLABEL c=d\n");
    buildah(&home, &["bud", "-q", "-t", "child", "."]).done();
    let left = buildah(&home, &["rmi", &id]);
    assert_eq!(left.code, Some(125));
    assert!(left.err.contains("more than one tag"), "{}", left.err);
    buildah(&home, &["rmi", "-f", &id]).done();
    assert_eq!(buildah(&home, &["images", "-q", "child"]).done().out.len(), 13);
    assert_eq!(buildah(&home, &["from", "scratch"]).done().out, "working-container\n");
    assert_eq!(buildah(&home, &["from", "scratch"]).done().out, "working-container-1\n");
    assert_eq!(buildah(&home, &["from", "localhost/child"]).done().out, "child-working-container\n");
    let shown = buildah(&home, &["images", "-q"]).done().out;
    assert_eq!(shown.lines().count(), 1, "working containers are not listed: {shown}");
}

#[test]
fn a_list_of_platforms_is_pushed_whole() {
    let (home, registry) = (Home::new(), distribution(""));
    write(&home.path(), "Containerfile", "FROM scratch\nARG TARGETARCH\nLABEL of=$TARGETARCH\n");
    let list = format!("{}/team/multi:1", registry.address);
    for architecture in ["amd64", "arm64"] {
        buildah(&home, &["bud", "-q", "--platform", &format!("linux/{architecture}"), "--manifest", &list, "."]).done();
    }
    buildah(&home, &["bud", "-q", "-t", "more", "--arch", "s390x", "."]).done();
    buildah(&home, &["manifest", "add", &list, "more"]).done();
    let left = buildah(&home, &["manifest", "create", &list]);
    assert!(left.code == Some(125) && left.err.contains("that name is already in use"), "{}", left.err);
    buildah(
        &home,
        &["manifest", "push", "--all", "--tls-verify=false", "--digestfile", "digest", &list, &format!("docker://{list}")],
    )
    .done();
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{list}")]);
    let index: Value = serde_json::from_str(&raw).unwrap();
    let architectures: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|child| &child["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64", "s390x"]);
    let digest = std::fs::read_to_string(home.path().join("digest")).unwrap();
    assert_eq!(digest, mpimg::oci::Digest::of(raw.as_bytes()).to_string());
    buildah(&home, &["manifest", "rm", &list]).done();
    assert_eq!(buildah(&home, &["manifest", "inspect", &list]).code, Some(125));
}
