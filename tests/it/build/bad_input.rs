//! What is wrong gets a message that says what and where, and leaves nothing half-written: no name,
//! no output, no work files.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::{Home, in_own_mounts};
use crate::registry::fixture::{distribution, noise, skopeo};
use crate::{judge, judges, run};

const BASE: &str = "fixture-base:1";

/// A home whose store holds the fixtures' base image.
fn home() -> Home {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", BASE]).arg(judges().join("base")));
    home
}

/// A build context with a file `a` and this Dockerfile.
fn context(home: &Home, dockerfile: &str) -> PathBuf {
    let folder = home.path().join("context");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(folder.join("a"), "a\n").unwrap();
    folder
}

/// But for what a RUN that failed stood on, which is kept so that somebody can look.
fn images(home: &Home) -> Vec<serde_json::Value> {
    let listed: serde_json::Value = serde_json::from_str(&run(home.mpimg().args(["images", "--json"]))).unwrap();
    let images = listed["images"].as_array().unwrap();
    images.iter().filter(|image| !image["name"].as_str().is_some_and(|name| name.starts_with("failed-step:"))).cloned().collect()
}

/// Runs a command that must fail with this exit code; what it said.
fn failure(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    said
}

/// Builds and expects failure: `message` and nothing left behind. What was said.
fn refused(home: &Home, dockerfile: &str, message: &str) -> String {
    let before = images(home);
    let output = home.path().join("layout");
    let mut build = home.mpimg();
    build.args(["build", "-q", "-t", "built:1", "--output", &format!("oci:{}", output.display())]).arg(context(home, dockerfile));
    let said = failure(&mut build, 1);
    assert!(said.contains(message), "{dockerfile}\nnot `{message}` but:\n{said}");
    assert!(!output.exists(), "{dockerfile}: an output is there");
    assert_eq!(images(home), before, "{dockerfile}");
    assert_eq!(home.work_files(), Vec::<PathBuf>::new(), "{dockerfile}");
    said
}

#[test]
fn a_dockerfile_with_a_mistake_is_refused_at_its_line() {
    let home = home();
    for (line, message) in [
        ("COP a /b", "did you mean `COPY`?"),
        ("COPY <<EOF /a\nnever closed", "the heredoc `EOF` is not terminated"),
        ("COPY missing /a", "`missing` is not in the build context"),
        ("COPY ../../etc/passwd /a", "`../../etc/passwd` is not in the build context"),
        ("COPY --from=nowhere:0/x /a /b", "`nowhere:0/x`"),
        ("COPY --chown=stranger a /b", "user `stranger` is not in /etc/passwd of the image"),
        ("COPY a /etc/passwd/below", "`/etc/passwd`, which is not a folder"),
        ("COPY --wrong a /b", "COPY has no flag `--wrong`"),
        ("COPY --parents --exclude=a a /b", "`--exclude` leaves out `a`, which `--parents` must copy"),
        ("COPY --parents a/./ /b", "`a/./` names a whole folder, of which `--parents` copies nothing"),
        ("COPY a", "COPY has only one argument"),
        ("WORKDIR /etc/passwd", "cannot put a folder at `/etc/passwd`"),
        ("RUN exit 3", "the command ended with status 3"),
        ("RUN kill -9 $$", "signal"),
        ("USER stranger\nRUN true", "user `stranger` is not in /etc/passwd of the image"),
        ("ENV A", "ENV has no value for `A`"),
        ("EXPOSE 99999", "`99999` is not a port"),
        ("HEALTHCHECK --interval=soon CMD true", "`soon` is not a duration"),
        ("ONBUILD FROM x", "FROM cannot be an ONBUILD trigger"),
        ("ADD --checksum=sha256:12 http://127.0.0.1:1/x /x", "sha256:12"),
        ("ADD http://127.0.0.1:1/x /x", "127.0.0.1:1"),
    ] {
        let said = refused(&home, &format!("FROM {BASE}\n{line}\n"), message);
        assert!(said.contains("Dockerfile:2") || said.contains("Dockerfile:3"), "no place for {line}: {said}");
    }
}

#[test]
fn stages_that_need_each_other_or_nobody_are_refused() {
    let home = home();
    let circle = format!("FROM {BASE} AS one\nCOPY --from=two /a /b\nFROM {BASE} AS two\nCOPY --from=one /a /b\n");
    refused(&home, &circle, "the stages `one` and `two` depend on each other");
    refused(&home, &format!("FROM {BASE} AS one\nCOPY --from=one /a /b\n"), "the stage `one` takes files from itself");
    refused(&home, "FROM UPPER:1\n", "the repository must be in lower case");
    refused(&home, "", "has no instructions");
}

#[test]
fn a_name_that_is_no_reference_is_wrong_use() {
    let home = home();
    let folder = context(&home, "FROM scratch\nCOPY a /\n");
    let said = failure(home.mpimg().args(["build", "-t", "Not A Name"]).arg(&folder), 2);
    assert!(said.contains("Not A Name"), "{said}");
    let said = failure(home.mpimg().args(["push", "--no-ttl", "-r", "https://harbor.example.com/mp/x"]).arg(&folder), 2);
    assert!(said.contains("https://harbor.example.com/mp/x"), "{said}");
}

/// Changes a byte in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn blobs(layout: &Path) -> Vec<PathBuf> {
    layout.join("blobs/sha256").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_layout_with_any_damaged_or_short_blob_is_not_loaded() {
    let source = judges().join("base");
    for (at, _) in blobs(&source).iter().enumerate() {
        for shorten in [false, true] {
            let home = Home::new();
            let layout = home.path().join("layout");
            run(judge("cp").arg("-r").arg(&source).arg(&layout));
            let blob = &blobs(&layout)[at];
            if shorten {
                let file = std::fs::File::options().write(true).open(blob).unwrap();
                file.set_len(file.metadata().unwrap().len() - 1).unwrap();
            } else {
                damage(blob);
            }
            let said = failure(home.mpimg().args(["load", "-q", "-t", BASE]).arg(&layout), 1);
            let digest = blob.file_name().unwrap().to_str().unwrap();
            assert!(said.contains(digest), "{digest} is not named: {said}");
            assert_eq!(run(home.mpimg().args(["images", "-q"])), "");
            assert_eq!(home.work_files(), Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn a_base_layer_that_is_damaged_in_the_registry_stops_the_build() {
    let registry = distribution("");
    let repository = registry.repository("base").to_string();
    let layout = format!("oci:{}:base", judges().join("base").display());
    skopeo(&["copy", "-q", "--dest-tls-verify=false", &layout, &format!("docker://{repository}:1")]);
    let stored = run(judge("find").arg(registry.folder.path()).args(["-name", "data", "-size", "+100k"]));
    damage(Path::new(stored.trim()));
    let home = Home::new();
    let said = refused(&home, &format!("FROM {repository}:1\nRUN true\n"), "sha256:");
    assert!(said.contains("Dockerfile:1") || said.contains("Dockerfile:2"), "{said}");
}

#[test]
fn a_full_disk_is_told_and_leaves_what_was_there() {
    let home = home();
    let folder = context(&home, &format!("FROM {BASE}\nCOPY big /big\n"));
    std::fs::write(folder.join("big"), noise(1, 6 << 20)).unwrap();
    // The store on a disk of 4 MiB, with the base image in it.
    let store = home.store().display().to_string();
    let small = format!("cp -r {store} {store}.full; mount -t tmpfs -o size=4m none {store}; cp -r {store}.full/. {store}");
    let mut build = home.mpimg();
    build.args(["build", "-q", "-t", "built:1"]).arg(&folder);
    let mut build = in_own_mounts(build, &small);
    let said = failure(&mut build, 1);
    assert!(said.contains("No space left on device") && said.contains("hint:"), "{said}");

    // The output on such a disk: no layout with half an image in it.
    let output = home.path().join("output");
    std::fs::create_dir(&output).unwrap();
    let mut build = home.mpimg();
    build.args(["build", "-q", "-t", "built:1", "--output", &format!("oci:{}/layout", output.display())]).arg(&folder);
    let mut build = in_own_mounts(build, &format!("mount -t tmpfs -o size=4m none {}", output.display()));
    let said = failure(&mut build, 1);
    assert!(said.contains("No space left on device"), "{said}");
    // The store is sound: the same build goes through with room.
    run(home.mpimg().args(["build", "-q", "-t", "built:1"]).arg(&folder));
    assert_eq!(home.work_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_is_shorter_than_it_said_is_not_packed() {
    let home = home();
    let folder = context(&home, &format!("FROM {BASE}\nCOPY changing /changing\n"));
    let changing = folder.join("changing");
    std::fs::write(&changing, "").unwrap();
    let mut build = home.mpimg();
    build.args(["build", "-q", "-t", "built:1"]).arg(&folder);
    // Files of this kind say that they have a page and have a line: as if they were cut between the
    // two looks.
    let source = "/sys/kernel/mm/transparent_hugepage/enabled";
    let mut build = in_own_mounts(build, &format!("mount --bind {source} {}", changing.display()));
    let said = failure(&mut build, 1);
    assert!(said.contains("changing` became shorter") && said.contains("Dockerfile:2"), "{said}");
    assert_eq!(images(&home).iter().filter(|image| image["name"] == "built:1").count(), 0);
    assert_eq!(home.work_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_pattern_in_a_folder_that_a_stage_does_not_have_is_a_mistake() {
    let home = home();
    let stage = "FROM base:1 AS s\nRUN mkdir -p /opt/d && ln -s d /opt/to-d && ln -s /nowhere /opt/d/lost && echo f >/opt/d/f\nFROM scratch\n"
        .replace("base:1", BASE);
    refused(&home, &format!("{stage}COPY --from=s /opt/no/* /x/\n"), "`/opt/no/*` is not in");
    refused(
        &home,
        &format!("{stage}COPY --from=s /opt/d/* /x/\n"),
        "`/opt/d/lost` is a symbolic link to something that is not there",
    );
    // Nothing by this name in a folder that is there; a link before the wildcard is followed, one
    // that it matches is not.
    let built = context(&home, &format!("{stage}COPY --from=s /opt/to-d/f* /opt/to-d/g* /opt/to*/f /x/\n"));
    let said = run(home.mpimg().args(["build", "-q", "-o", "oci:layout"]).arg(built));
    assert!(said.starts_with("sha256:"), "{said}");
    let files = run(home.mpimg().args(["inspect", "--files", "oci:layout"]));
    assert!(files.contains("x/f") && !files.contains("x/g"), "{files}");
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let home = Home::new();
    let folder = context(&home, "FROM scratch\nCOPY a /\n");
    run(judge("chmod").args(["600"]).arg(folder.join("a")));
    // Somebody else's home, who does not own that file.
    run(judge("chown").args(["-R", "12345:12345"]).arg(home.path().parent().unwrap()));
    run(judge("chown").arg("0:0").arg(folder.join("a")));
    let build = home.mpimg();
    let mut command = judge("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(build.get_program());
    command.env_clear().envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = failure(command.current_dir(home.path()).args(["build", "-q", "-t", "built:1"]).arg(&folder), 1);
    assert!(said.contains("`a`") && said.contains("Permission denied") && said.contains("Dockerfile:2"), "{said}");
}
