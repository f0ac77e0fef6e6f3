//! Flags of `docker build`: what RUN has around it and what FROM and `--from` find, with BuildKit
//! as the judge; what is done again.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::buildkit::{self, Build, Buildkit};
use crate::home::Home;
use crate::registry::fixture::{distribution, skopeo};
use crate::skip::{Missing, needs_root, skip};
use crate::tree::Tree;
use crate::{judges, run};

/// What a name in FROM stands for, here and in BuildKit.
const BASE: &str = "base";

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// A home with the base image, and a build context in it.
fn context(dockerfile: &str) -> (Home, PathBuf) {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", BASE]).arg(judges().join("base")));
    let context = home.path().join("context");
    write(&context, &[("Dockerfile", dockerfile)]);
    (home, context)
}

fn texts(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

#[test]
fn run_and_from_have_around_them_what_buildkit_gives() {
    needs_root!();
    if !buildkit::is_built() {
        skip!(Missing::BuildKit);
    }
    let (home, context) = context(
        "FROM base AS tools\nRUN echo of the stage >/tool\n\
         FROM base AS main\n\
         RUN grep mirror /etc/hosts >/hosts; ulimit -n >/soft; ulimit -Hn >/hard; grep -c : /proc/net/dev >/interfaces\n\
         RUN grep ' /dev/shm ' /proc/mounts | tr ', ' '\\n\\n' | grep size= >/shm\n\
         COPY --from=lib / /lib-of-context/\n\
         COPY --from=tools /tool /\n\
         RUN --mount=from=lib,target=/in cat /in/sub/b >/mounted\n",
    );
    let (lib, tools) = (home.path().join("lib"), home.path().join("tools"));
    write(&lib, &[("a", "a\n"), ("sub/b", "b\n"), ("left-out", "x\n"), (".dockerignore", "left-out\n")]);
    write(&tools, &[("tool", "of the folder\n")]);
    let named = [format!("lib={}", lib.display()), format!("tools={}", tools.display())];
    let mut flags = texts(&["--add-host", "mirror.example.com:10.9.8.7", "--shm-size", "1048576", "--ulimit", "nofile=100:200"]);
    flags.extend(texts(&["--network", "none", "--build-context", &named[0], "--build-context", &named[1]]));
    let output = format!("oci:{}:built", home.path().join("layout").display());
    run(home.mpimg().args(["build", "-q", "--output", &output]).args(&flags).arg(&context));
    let base = judges().join("base");
    let judge = Buildkit::start();
    let expected = judge.build(&Build { context: &context, images: &[(BASE, &base, "base")], flags: &flags });
    let tree = Tree::of_layout(&home.path().join("layout"), "built");
    let differences = tree.differences("mpimg   ", &Tree::of_layout(&expected, "built"), "BuildKit");
    assert!(differences.is_empty(), "{differences:#?}");
    // Neither may be equal for want of anything at all.
    let there = format!("{tree:?}");
    for path in ["/hosts", "/lib-of-context/sub/b", "/mounted", "/shm"] {
        assert!(there.contains(path), "{path}: {there}");
    }
}

/// Builds with these flags; how many steps came from the build cache.
fn cached(home: &Home, context: &Path, flags: &[&str]) -> usize {
    let output = home.mpimg().args(["build", "--progress", "plain"]).args(flags).arg(context).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().filter(|line| line.to_lowercase().ends_with("cached")).count()
}

#[test]
fn what_changes_a_result_is_not_overlooked_and_an_address_is_no_change() {
    let (home, context) = context("FROM base AS one\nRUN echo 1 >/1\nFROM base AS two\nRUN echo 2 >/2\nCOPY --from=one /1 /1\n");
    assert_eq!(cached(&home, &context, &[]), 0);
    assert_eq!(cached(&home, &context, &[]), 3);
    // As BuildKit: the name of a host counts, and not its address.
    assert_eq!(cached(&home, &context, &["--add-host", "a:10.0.0.1"]), 1);
    assert_eq!(cached(&home, &context, &["--add-host", "a:10.0.0.2"]), 3);
    assert_eq!(cached(&home, &context, &["--shm-size", "1m"]), 1);
    assert_eq!(cached(&home, &context, &["--ulimit", "nofile=99"]), 1);
    assert_eq!(cached(&home, &context, &["--no-cache-filter", "ONE"]), 2);
    assert_eq!(cached(&home, &context, &["--no-cache-filter", "one,two"]), 0);
    assert_eq!(cached(&home, &context, &["--no-cache"]), 0);
    // A folder by its content, wherever it is.
    for (folder, text, count) in [("x", "x", 1), ("y", "x", 2), ("x", "changed", 1)] {
        write(&home.path().join(folder), &[("1", text)]);
        let named = format!("one={}", home.path().join(folder).display());
        assert_eq!(cached(&home, &context, &["--build-context", &named]), count, "{folder} {text}");
    }
}

#[test]
fn pull_asks_the_registry_for_what_the_store_has() {
    let registry = distribution("");
    let home = Home::new();
    let name = format!("{}/lib/base:1", registry.address);
    let folder = home.path().join("context");
    let publish = |text: &str| {
        write(&folder, &[("Dockerfile", "FROM scratch\nCOPY file /\n"), ("file", text)]);
        run(home.mpimg().args(["build", "-q", "-t", "published"]).arg(&folder));
        run(home.mpimg().args(["copy", "-q", "published", &format!("docker://{name}")]));
    };
    publish("old");
    run(home.mpimg().args(["pull", "-q", &name]));
    publish("new");
    write(&folder, &[("Dockerfile", &format!("FROM {name}\nLABEL a=b\n"))]);
    let build = |flags: &[&str]| {
        run(home.mpimg().args(["build", "-q", "-t", "app"]).args(flags).arg(&folder));
        run(home.mpimg().args(["save", "app", "-o", "app.tar"]));
        let layers = skopeo(&["inspect", &format!("docker-archive:{}", home.path().join("app.tar").display())]);
        serde_json::from_str::<serde_json::Value>(&layers).unwrap()["Layers"][0].clone()
    };
    let (old, new) = (build(&[]), build(&["--pull"]));
    assert_ne!(old, new);
    assert_eq!(build(&[]), old, "the store keeps its own");
    // What is in no registry is an error then.
    write(&folder, &[("Dockerfile", "FROM published\n")]);
    run(home.mpimg().args(["build", "-q"]).arg(&folder));
    let local = format!("{}/lib/none:1", registry.address);
    run(home.mpimg().args(["tag", "published", &local]));
    write(&folder, &[("Dockerfile", &format!("FROM {local}\n"))]);
    run(home.mpimg().args(["build", "-q"]).arg(&folder));
    let output = home.mpimg().args(["build", "-q", "--pull"]).arg(&folder).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn caches_in_buildx_s_words_are_read_and_written_apart() {
    let registry = distribution("");
    let cache = format!("{}/cache/steps", registry.address);
    let build = |flags: &[&str]| {
        let (home, context) = context("FROM base\nRUN echo 1 >/1\n");
        cached(&home, &context, flags)
    };
    let registry_cache = format!("type=registry,ref={cache}:any,mode=max");
    assert_eq!(build(&["--cache-from", &registry_cache]), 0);
    assert_eq!(build(&["--cache-to", &registry_cache]), 0, "nothing was put there before, and nothing is taken");
    assert_eq!(build(&["--cache-to", &registry_cache]), 0);
    assert_eq!(build(&["--cache-from", &cache]), 1);
    let home = Home::new();
    let output = home.mpimg().args(["build", "--cache-to", "type=gha", "."]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("a cache of type `gha` cannot be used") && text.contains("type=registry,ref=HOST/PATH"), "{text}");
}

#[test]
fn several_platforms_are_one_index() {
    let registry = distribution("");
    let home = Home::new();
    let folder = home.path().join("context");
    write(&folder, &[("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /file\n"), ("amd64", "x"), ("arm64", "y")]);
    let name = format!("{}/app/multi:1", registry.address);
    let build = |flags: &[&str]| {
        home.mpimg()
            .args(["build", "-q", "--platform", "linux/amd64,linux/arm64", "--metadata-file", "meta"])
            .args(flags)
            .arg(&folder)
            .output()
    };
    let output = build(&["-t", &name, "--push", "--sbom=true", "--provenance=mode=max", "--iidfile", "id"]).unwrap();
    let (digest, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: no provenance is recorded of an image for several platforms\nhint: "), "{said}");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let index: serde_json::Value = serde_json::from_str(&raw).unwrap();
    let architectures: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|child| &child["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let meta: serde_json::Value = serde_json::from_slice(&std::fs::read(home.path().join("meta")).unwrap()).unwrap();
    assert_eq!(meta["containerimage.digest"], digest.trim_end());
    assert_eq!(meta["containerimage.descriptor"]["mediaType"], index["mediaType"]);
    assert_eq!(meta.get("containerimage.config.digest"), None);
    assert_eq!(std::fs::read_to_string(home.path().join("id")).unwrap(), digest.trim_end());
    for child in index["manifests"].as_array().unwrap() {
        let image = format!("docker://{}@{}", name.trim_end_matches(":1"), child["digest"].as_str().unwrap());
        let config: serde_json::Value =
            serde_json::from_str(&skopeo(&["inspect", "--config", "--tls-verify=false", &image])).unwrap();
        assert_eq!(config["architecture"], child["platform"]["architecture"]);
    }
    let layout = home.path().join("layout");
    assert!(build(&["-o", &format!("oci:{}:multi", layout.display())]).unwrap().status.success());
    for architecture in ["amd64", "arm64"] {
        skopeo(&["inspect", "--override-arch", architecture, &format!("oci:{}:multi", layout.display())]);
    }
    for (flags, what) in [
        (["-t", "app"].as_slice(), "the local store holds"),
        (&["-o", "docker-archive:a.tar"], "a docker archive holds"),
        (&["--load", "-t", "app"], "an engine loads"),
    ] {
        let output = build(flags).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains(&format!("{what} one platform, and several were given")), "{said}");
    }
}

#[test]
fn run_for_another_cpu_needs_an_emulator_and_says_which() {
    needs_root!();
    let registered = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    if registered.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.contains("s390x")) {
        skip!(Missing::NoEmulator);
    }
    let home = Home::new();
    let folder = home.path().join("context");
    write(&folder, &[("Dockerfile", "FROM scratch\nCOPY sh /bin/sh\nRUN true\n")]);
    // A program of that CPU, by its header: machine 22.
    let mut program = b"\x7fELF\x02\x02\x01".to_vec();
    program.resize(16, 0);
    program.extend([0, 2, 0, 22, 0, 0, 0, 1]);
    program.resize(128, 0);
    std::fs::write(folder.join("sh"), program).unwrap();
    let mut command = Command::new("chmod");
    run(command.arg("755").arg(folder.join("sh")));
    let output = home.mpimg().args(["build", "--platform", "linux/s390x"]).arg(&folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("RUN for linux/s390x needs an emulator on linux/amd64, and none is registered"), "{said}");
    assert!(said.contains("hint: register qemu as root"), "{said}");
}

#[test]
fn one_layer_of_all_steps_is_the_same_image() {
    let (home, context) = context(
        "FROM base\nRUN mkdir /d /gone && echo 1 >/d/kept && echo 1 >/d/removed && ln /d/kept /d/link\n\
         RUN rm -r /d/removed /gone /etc/group && echo 2 >>/d/kept && ln -s kept /d/soft\nRUN chmod 700 /d && rm -r /opt && echo file >/opt\n",
    );
    let build = |name: &str, flags: &[&str]| {
        let layout = home.path().join(name);
        run(home.mpimg().args(["build", "-q", "-o", &format!("oci:{}:built", layout.display())]).args(flags).arg(&context));
        layout
    };
    let (whole, one) = (build("whole", &[]), build("one", &["--squash"]));
    let (whole_tree, one_tree) = (Tree::of_layout(&whole, "built"), Tree::of_layout(&one, "built"));
    let differences = one_tree.differences("one  ", &whole_tree, "whole");
    assert!(differences.is_empty(), "{differences:#?}");
    let layers = |layout: &Path| {
        let shown = skopeo(&["inspect", &format!("oci:{}:built", layout.display())]);
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()["Layers"].as_array().unwrap().len()
    };
    assert_eq!(layers(&whole), layers(&one) + 2);
}

/// A program for arm64 that writes `ran` and ends: its header (ELF-64 Object File Format), one
/// segment, eight instructions.
fn program_for_arm64() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const START: u64 = 64 + 56;
    // mov x0, 1; adr x1, text; mov x2, 4; mov x8, 64 (write); svc 0; mov x0, 0; mov x8, 93 (exit);
    // svc 0
    let code: [u32; 8] = [0xd280_0020, 0x1000_00e1, 0xd280_0082, 0xd280_0808, 0xd400_0001, 0xd280_0000, 0xd280_0ba8, 0xd400_0001];
    let text = b"ran\n";
    let size = START + 32 + text.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    // An executable, for machine 183.
    program.extend([2, 0, 183, 0, 1, 0, 0, 0]);
    for word in [BASE + START, 64, 0] {
        program.extend(word.to_le_bytes());
    }
    program.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        program.extend(half.to_le_bytes());
    }
    // Loaded, readable and executable.
    for word in [1u32, 5] {
        program.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        program.extend(word.to_le_bytes());
    }
    code.iter().for_each(|word| program.extend(word.to_le_bytes()));
    program.extend(text);
    program
}

#[test]
fn run_for_another_cpu_runs_in_a_registered_emulator() {
    needs_root!();
    let qemu = judges().join("qemu/usr/bin/qemu-aarch64-static");
    if !qemu.exists() {
        skip!(Missing::Emulator);
    }
    let home = Home::new();
    let folder = home.path().join("context");
    write(&folder, &[("Dockerfile", "FROM scratch\nCOPY --chmod=755 sh /bin/sh\nRUN any words\n")]);
    std::fs::write(folder.join("sh"), program_for_arm64()).unwrap();
    let build = |isolation: &str| {
        let mut command = home.mpimg();
        command
            .args(["build", "--no-cache", "--progress", "plain", "--platform", "linux/arm64", "--isolation", isolation])
            .arg(&folder);
        command
    };
    // The kernel keeps what is registered beyond the mount; it goes in any case.
    let script = format!(
        "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77\n\
         list=/proc/sys/fs/binfmt_misc\n\
         [ -e $list/mpimg-test ] || printf '%s' ':mpimg-test:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:{}:F' >$list/register\n\
         trap 'echo -1 >$list/mpimg-test' EXIT\n\"$0\" \"$@\"",
        qemu.display()
    );
    for isolation in ["root", "chroot"] {
        let command = build(isolation);
        let mut shell = crate::judge("unshare");
        shell
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .arg(command.get_program())
            .args(command.get_args());
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.current_dir(home.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if output.status.code() == Some(77) {
            skip!(Missing::Emulator);
        }
        assert!(output.status.success(), "{isolation}: {said}");
        assert!(said.lines().any(|line| line == "[2/2] ran"), "{isolation}: {said}");
    }
}
