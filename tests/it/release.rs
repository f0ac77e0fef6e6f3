//! The files of a release, the script that installs them, and the jobs of GitHub and GitLab that
//! use them, as far as one machine can.
//!
//! The command under test goes in: `release/build` without --binary compiles for a quarter of an
//! hour.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cli::fixture::{Left, Serving};
use crate::home::Home;
use crate::registry::fixture::skopeo;
use crate::{judge, judges, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A shell command with the home's environment.
fn shell(home: &Home, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(home.mpimg().get_envs().filter_map(|(name, value)| Some((name, value?))));
    for name in ["CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    // cargo of the user that runs the tests.
    let cargo = std::env::var_os("HOME").map(|home| (PathBuf::from(&home).join(".cargo"), PathBuf::from(home).join(".rustup")));
    if let Some((cargo, rustup)) = cargo.filter(|_| std::env::var_os("CARGO_HOME").is_none()) {
        command.env("CARGO_HOME", cargo).env("RUSTUP_HOME", rustup);
    }
    command.args(arguments).stdin(std::process::Stdio::null()).current_dir(home.path());
    command
}

/// The files of a release with the command under test, but for the wheel.
fn release(home: &Home) -> PathBuf {
    let (folder, stripped) = (home.path().join("release"), home.path().join("stripped"));
    run(judge("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_mpimg")));
    let script = Path::new(ROOT).join("release/build");
    let arguments = [folder.to_str().unwrap(), "--binary", stripped.to_str().unwrap(), "--no-wheel"];
    let left = Left::of(shell(home, &script, &arguments).output().unwrap()).done();
    assert!(left.err.contains("release: no arm64: the command was given"), "{}", left.err);
    folder
}

/// The package URLs of an SBOM.
fn purls(file: &Path) -> Vec<String> {
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let components = document["components"].as_array().unwrap().iter();
    components.map(|component| component["purl"].as_str().unwrap().to_owned()).collect()
}

fn install(home: &Home, folder: &Path, arguments: &[&str]) -> Left {
    Left::of(shell(home, &folder.join("install.sh"), arguments).output().unwrap())
}

#[test]
fn a_release_has_its_sums_its_sboms_and_images_and_is_installed_only_whole() {
    let home = Home::new();
    let folder = release(&home);
    run(judge("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&folder));
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let mut names: Vec<&str> = sums.lines().filter_map(|line| line.split_whitespace().last()).collect();
    names.sort_unstable();
    let expected = [
        "install.sh",
        "mpimg-image.tar",
        "mpimg-image.tar.cdx.json",
        "mpimg-linux-amd64",
        "mpimg-linux-amd64.cdx.json",
        "mpimg-shell-image.tar",
        "mpimg-shell-image.tar.cdx.json",
    ];
    assert_eq!(names, expected);
    for name in expected.iter().filter(|name| name.ends_with(".cdx.json")) {
        let found = purls(&folder.join(name));
        assert!(found.contains(&format!("pkg:cargo/mpimg@{}", env!("CARGO_PKG_VERSION"))), "{name}: {found:?}");
        assert!(found.iter().any(|purl| purl.starts_with("pkg:cargo/tokio@1.")), "{name}: {found:?}");
        assert!(!found.iter().any(|purl| purl.starts_with("pkg:cargo/proptest@")), "{name}: what only tests need is in it");
    }
    let archive = format!("docker-archive:{}", folder.join("mpimg-shell-image.tar").display());
    let image: Value = serde_json::from_str(&skopeo(&["inspect", "--config", &archive])).unwrap();
    assert_eq!(image["config"]["Cmd"], json!(["sh"]));
    let files = run(home.mpimg().args(["inspect", "--files", &archive]));
    for link in ["kaniko/executor", "usr/bin/docker", "usr/bin/buildah"] {
        assert!(files.contains(link), "{link}: {files}");
    }

    let to = home.path().join("bin");
    let place = to.to_str().unwrap();
    let left = install(&home, &folder, &["--from", folder.to_str().unwrap(), "--to", place]).done();
    assert!(
        left.out.starts_with(&format!("installed mpimg {}: {place}/mpimg\nadd it to your PATH", env!("CARGO_PKG_VERSION"))),
        "{}",
        left.out
    );
    let version = run(Command::new(to.join("mpimg")).arg("--version"));
    assert_eq!(version.trim(), format!("mpimg {}", env!("CARGO_PKG_VERSION")));

    // From the web, and with the sum of the sums.
    let server = crate::serve_folder::ServedFolder::start(&folder);
    let digest = mpimg::oci::Digest::of(sums.as_bytes());
    let from = server.url();
    install(&home, &folder, &["--from", &from, "--to", place, "--sums", &digest.hex()]).done();
    let left = install(&home, &folder, &["--from", &from, "--to", place, "--sums", &"0".repeat(64)]);
    assert_eq!((left.code, left.err.as_str()), (Some(1), "install.sh: SHA256SUMS has another sum than --sums\n"));
    // A byte that is another one, a file that is not whole.
    let before = std::fs::read(to.join("mpimg")).unwrap();
    let mut bytes = std::fs::read(folder.join("mpimg-linux-amd64")).unwrap();
    let length = bytes.len();
    bytes[length / 2] ^= 1;
    for damaged in [&bytes[..], &before[..length - 1]] {
        std::fs::write(folder.join("mpimg-linux-amd64"), damaged).unwrap();
        let left = install(&home, &folder, &["--from", &from, "--to", place]);
        assert_eq!(left.code, Some(1));
        assert!(left.err.contains("does not have the sum in SHA256SUMS: nothing was installed"), "{}", left.err);
        assert_eq!(std::fs::read(to.join("mpimg")).unwrap(), before);
    }
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1, "nothing is left beside it");
    let left = install(&home, &folder, &["--from", "http://example.com/x"]);
    assert!(left.err.contains("is not encrypted: use https"), "{}", left.err);
}

/// A folder as `release/build` leaves it, with a command that only tells its name, and the keys
/// `own` and `other`.
fn small_release(home: &Home) -> PathBuf {
    let folder = home.path().join("small");
    std::fs::create_dir(&folder).unwrap();
    for (name, content) in [
        ("mpimg-linux-amd64", "#!/bin/sh\necho small\n"),
        ("mpimg-linux-arm64", "#!/bin/sh\necho small\n"),
        ("aria_mpimg-1-py3-none-any.whl", "wheel"),
        ("mpimg-image.tar", "image"),
        ("mpimg-image.tar.cdx.json", "{}"),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    std::fs::copy(Path::new(ROOT).join("release/install.sh"), folder.join("install.sh")).unwrap();
    std::fs::write(folder.join("SHA256SUMS"), run(judge("sh").args(["-c", "sha256sum -- *"]).current_dir(&folder))).unwrap();
    for name in ["own", "other"] {
        let (private, public) = (format!("{name}.key"), format!("{name}.pub"));
        let openssl = |arguments: &[&str]| run(judge("openssl").args(arguments).current_dir(home.path()));
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &private]);
        openssl(&["ec", "-in", &private, "-pubout", "-out", &public]);
    }
    folder
}

/// Signs a release with the command under test.
fn sign(home: &Home, folder: &Path, public: &str, private: &str) -> Left {
    let arguments = [folder.to_str().unwrap(), public, "--key", private];
    let mut command = shell(home, &Path::new(ROOT).join("release/sign"), &arguments);
    Left::of(command.env("MPIMG", env!("CARGO_BIN_EXE_mpimg")).output().unwrap())
}

#[test]
fn a_release_is_signed_as_cosign_and_openssl_verify_and_what_was_changed_is_not_installed() {
    let home = Home::new();
    let folder = small_release(&home);
    let from = folder.to_str().unwrap();
    let to = home.path().join("bin");
    let place = to.to_str().unwrap();
    // The script of a release without signatures says so.
    let left = install(&home, &folder, &["--from", from, "--to", place]).done();
    assert!(left.err.contains("who made this release is not verified"), "{}", left.err);
    let left = install(&home, &folder, &["--from", from, "--to", place, "--key", "own.pub"]);
    assert!(left.err.contains("there is no SHA256SUMS.sig"), "{}", left.err);

    let left = sign(&home, &folder, "other.pub", "own.key");
    assert!(left.code == Some(1) && left.err.contains("has no valid signature by any of the given keys"), "{}", left.err);
    // Signed again, a release has the signatures of one key.
    sign(&home, &folder, "own.pub", "own.key").done();
    let left = sign(&home, &folder, "own.pub", "own.key").done();
    let names = "aria_mpimg-1-py3-none-any.whl mpimg-image.tar SHA256SUMS\n";
    assert_eq!(left.err, format!("release: signed mpimg-linux-amd64 mpimg-linux-arm64 {names}"));
    run(judge("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&folder));
    for name in ["mpimg-linux-amd64", "aria_mpimg-1-py3-none-any.whl", "mpimg-image.tar", "SHA256SUMS"] {
        verified_by_others(&home, &folder, name);
    }
    let left = install(&home, &folder, &["--from", from, "--to", place]).done();
    assert!(
        left.out.starts_with("SHA256SUMS is signed with the key in this script, says openssl\ninstalled mpimg "),
        "{}",
        left.out
    );
    assert_eq!(run(&mut Command::new(to.join("mpimg"))), "small\n");
    tampered_is_refused(&home, &folder, &to);
}

/// cosign, by the bundle and by the bare signature, openssl and mpimg agree on a file, and all
/// refuse it with another byte.
fn verified_by_others(home: &Home, folder: &Path, name: &str) {
    let file = folder.join(name);
    let in_folder = |suffix: &str| folder.join(format!("{name}{suffix}")).display().to_string();
    let signature = home.path().join("signature");
    run(judge("openssl").args(["base64", "-d", "-A", "-in", &in_folder(".sig"), "-out"]).arg(&signature));
    let cosign = judges().join("go/bin/cosign");
    let judgements = || {
        let key = ["--key", "own.pub"];
        let mut openssl = judge("openssl");
        openssl.args(["dgst", "-sha256", "-verify", "own.pub", "-signature", signature.to_str().unwrap()]).arg(&file);
        let mut mpimg = home.mpimg();
        mpimg.arg("verify").args(key).arg("--file").arg(&file);
        let mut commands = vec![("openssl", openssl), ("mpimg", mpimg)];
        for form in [["--bundle", &in_folder(".sigstore.json")], ["--signature", &in_folder(".sig")]] {
            let mut command = Command::new(&cosign);
            command.env_clear().env("HOME", home.path());
            command.args(["verify-blob", "--insecure-ignore-tlog=true"]).args(key).args(form).arg(&file);
            if cosign.exists() {
                commands.push(("cosign", command));
            }
        }
        let judged = commands
            .into_iter()
            .map(|(by, mut command)| (by, command.current_dir(home.path()).output().unwrap().status.success()));
        judged.collect::<Vec<_>>()
    };
    let good = judgements();
    assert!(good.iter().all(|(_, good)| *good), "{name}: {good:?}");
    let before = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&before[..], b"x"].concat()).unwrap();
    let bad = judgements();
    assert!(bad.iter().all(|(_, good)| !*good), "{name}: {bad:?}");
    std::fs::write(&file, before).unwrap();
}

fn tampered_is_refused(home: &Home, folder: &Path, to: &Path) {
    let (from, place) = (folder.to_str().unwrap(), to.to_str().unwrap());
    let installed = std::fs::read(to.join("mpimg")).unwrap();
    let script = std::fs::read_to_string(folder.join("install.sh")).unwrap();
    // Somebody who can change files makes the sums right again, but has no key; then one who signs
    // with another key; then one who writes that key into the script.
    let file = folder.join("mpimg-linux-amd64");
    std::fs::write(&file, "#!/bin/sh\necho evil\n").unwrap();
    let left = install(home, folder, &["--from", from, "--to", place]);
    assert!(left.err.contains("does not have the sum in SHA256SUMS: nothing was installed"), "{}", left.err);
    let sums =
        || run(judge("sh").args(["-c", "sha256sum -- mpimg-linux-a* *.whl *.tar *.json install.sh *.pub"]).current_dir(folder));
    std::fs::write(folder.join("SHA256SUMS"), sums()).unwrap();
    let refused = "install.sh: SHA256SUMS is not signed with the release's key, says openssl: nothing was installed\n";
    let left = install(home, folder, &["--from", from, "--to", place]);
    assert_eq!((left.code, left.err.as_str()), (Some(1), refused));
    sign(home, folder, "other.pub", "other.key").done();
    let evil = folder.join("install.sh");
    let other = std::fs::read_to_string(&evil).unwrap();
    std::fs::write(&evil, &script).unwrap();
    let left = install(home, folder, &["--from", from, "--to", place]);
    assert_eq!((left.code, left.err.as_str()), (Some(1), refused));
    std::fs::write(&evil, other).unwrap();
    let left = install(home, folder, &["--from", from, "--to", place, "--key", "own.pub"]);
    assert_eq!((left.code, left.err.as_str()), (Some(1), refused));
    std::fs::write(folder.join("SHA256SUMS.sig"), "not base64").unwrap();
    let left = install(home, folder, &["--from", from, "--to", place, "--key", "other.pub"]);
    assert_eq!((left.code, left.err.as_str()), (Some(1), refused));
    assert_eq!(std::fs::read(to.join("mpimg")).unwrap(), installed);
    assert_eq!(std::fs::read_dir(to).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn the_script_takes_another_verifier_where_there_is_no_openssl_and_none_is_an_error() {
    let home = Home::new();
    let folder = small_release(&home);
    sign(&home, &folder, "own.pub", "own.key").done();
    let programs = home.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for name in ["sh", "cat", "uname", "id", "mkdir", "mktemp", "rm", "cp", "sha256sum", "grep", "chmod", "mv"] {
        std::os::unix::fs::symlink(crate::judge_path(name), programs.join(name)).unwrap();
    }
    let to = home.path().join("bin");
    let install = || {
        let arguments = ["--from", folder.to_str().unwrap(), "--to", to.to_str().unwrap()];
        let mut command = shell(&home, &folder.join("install.sh"), &arguments);
        Left::of(command.env("PATH", &programs).output().unwrap())
    };
    let left = install();
    assert!(left.err.contains("nothing here can verify the release's signature: install openssl, or cosign"), "{}", left.err);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mpimg"), programs.join("mpimg")).unwrap();
    assert!(install().done().out.contains("the key in this script, says mpimg\n"));
    let cosign = judges().join("go/bin/cosign");
    if cosign.exists() {
        std::os::unix::fs::symlink(cosign, programs.join("cosign")).unwrap();
        assert!(install().done().out.contains("the key in this script, says cosign\n"));
    }
    // Either refuses what was changed, too.
    let sums = folder.join("SHA256SUMS");
    std::fs::write(&sums, [std::fs::read(&sums).unwrap(), b"\n".to_vec()].concat()).unwrap();
    for by in ["cosign", "mpimg"] {
        if programs.join(by).exists() {
            assert!(install().err.contains(&format!("is not signed with the release's key, says {by}: nothing")), "{by}");
            std::fs::remove_file(programs.join(by)).unwrap();
        }
    }
}

/// A file of YAML, by the judge that reads it: each of its documents.
fn yaml(file: &str) -> Vec<Value> {
    let script = "import json, sys, yaml\nprint(json.dumps(list(yaml.safe_load_all(open(sys.argv[1]))), default=str))";
    let python = judges().join("python/bin/python");
    let text = run(Command::new(python).args(["-c", script]).arg(Path::new(ROOT).join(file)));
    serde_json::from_str(&text).unwrap()
}

/// A project that needs nothing, and a registry that anybody may use.
fn project(home: &Home) -> Serving {
    crate::cli::fixture::project(home);
    Serving::open()
}

#[test]
fn the_action_installs_mpimg_pushes_and_gives_the_digest() {
    let home = Home::new();
    let (folder, registry) = (release(&home), project(&home));
    let action = &yaml("action.yml")[0];
    let repository = format!("{}/mp/my-adapter", registry.host);
    let given = |name: &str| match name {
        "project" => "project".to_owned(),
        "repository" => repository.clone(),
        "from" => folder.display().to_string(),
        "arguments" => "-t\n1.2.3\n".to_owned(),
        name => action["inputs"][name]["default"].as_str().unwrap().to_owned(),
    };
    let (temporary, output, path) = (home.path().join("runner"), home.path().join("output"), home.path().join("path"));
    std::fs::create_dir(&temporary).unwrap();
    for step in action["runs"]["steps"].as_array().unwrap() {
        assert_eq!(step["shell"], "bash");
        let added = std::fs::read_to_string(&path).unwrap_or_default();
        let mut command =
            shell(&home, Path::new("bash"), &["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        for (name, value) in step["env"].as_object().unwrap() {
            let input = value.as_str().unwrap().trim_start_matches("${{ inputs.").trim_end_matches(" }}");
            command.env(name, given(input));
        }
        command
            .env("GITHUB_ACTION_PATH", ROOT)
            .env("RUNNER_TEMP", &temporary)
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_PATH", &path);
        command.env("PATH", format!("{}:{}", added.trim(), std::env::var("PATH").unwrap()));
        Left::of(command.output().unwrap()).done();
    }
    let output = std::fs::read_to_string(output).unwrap();
    let digest = output.lines().find_map(|line| line.strip_prefix("digest=")).unwrap();
    let result: Value = serde_json::from_str(output.lines().find_map(|line| line.strip_prefix("result=")).unwrap()).unwrap();
    assert_eq!((digest, &result["tag"]), (result["digest"].as_str().unwrap(), &json!("1.2.3")));
    let there = skopeo(&["inspect", "--format", "{{.Digest}}", "--tls-verify=false", &format!("docker://{repository}:1.2.3")]);
    assert_eq!(there.trim(), digest);
    // Each output of the action comes from a step that gives it.
    for output in action["outputs"].as_object().unwrap().values() {
        assert!(output["value"].as_str().unwrap().starts_with("${{ steps.push.outputs."));
    }
}

#[test]
fn the_component_s_job_pushes_and_keeps_its_results() {
    let home = Home::new();
    let registry = project(&home);
    let documents = yaml("templates/push.yml");
    let inputs = documents[0]["spec"]["inputs"].as_object().unwrap();
    let repository = format!("{}/mp/my-adapter", registry.host);
    let fill = |text: &str| {
        inputs.iter().fold(text.to_owned(), |text, (name, input)| {
            let value = match (name.as_str(), &input["default"]) {
                ("repository", _) => repository.clone(),
                ("project", _) => "project".into(),
                ("image", _) => "mpimg-shell".into(),
                (_, Value::Bool(default)) => default.to_string(),
                (_, default) => default.as_str().unwrap().to_owned(),
            };
            text.replace(&format!("$[[ inputs.{name} ]]"), &value)
        })
    };
    let jobs = documents[1].as_object().unwrap();
    let (name, job) = jobs.iter().next().unwrap();
    assert_eq!(
        (jobs.len(), fill(name).as_str(), fill(job["image"].as_str().unwrap()).as_str()),
        (1, "push-adapter", "mpimg-shell")
    );
    let lines: Vec<String> = job["script"].as_array().unwrap().iter().map(|line| fill(line.as_str().unwrap())).collect();
    assert!(!lines.concat().contains("$[["), "{lines:?}");
    // The runner writes all lines into one shell; that of the image is busybox's.
    let mut command = shell(&home, Path::new("/bin/busybox"), &["sh", "-ec", &lines.join("\n")]);
    for (name, value) in job["variables"].as_object().unwrap() {
        let value = fill(value.as_str().unwrap()).replace("$CI_PROJECT_DIR", home.path().to_str().unwrap());
        command.env(name, value);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_mpimg")).parent().unwrap().display().to_string();
    command.env("PATH", format!("{program}:{}", std::env::var("PATH").unwrap())).env("CI", "true");
    Left::of(command.output().unwrap()).done();
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    let pushed: Value = serde_json::from_str(&read("push.json")).unwrap();
    assert_eq!((pushed["digest"].as_str().unwrap(), &pushed["anonymous_pull"]), (read("digest").as_str(), &json!(true)));
    for file in job["artifacts"]["paths"].as_array().unwrap() {
        assert!(home.path().join(file.as_str().unwrap()).is_file(), "{file}");
    }
}

#[test]
fn the_workflows_run_the_script_and_name_what_is_there() {
    let github = &yaml(".github/workflows/release.yml")[0]["jobs"]["release"]["steps"];
    let gitlab = &yaml(".gitlab-ci.yml")[0];
    let of_github: String =
        github.as_array().unwrap().iter().filter_map(|step| step["run"].as_str()).collect::<Vec<_>>().join("\n");
    let of_gitlab: String =
        gitlab["files"]["script"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
    for script in [&of_github, &of_gitlab] {
        for part in [
            "release/build dist",
            "release/push-images dist",
            "rustup target add aarch64-unknown-linux-gnu",
            "pip install maturin ziglang",
        ] {
            assert!(script.contains(part), "{part}: {script}");
        }
        // The line that compares tag and version, with a tag that is right and one that is not.
        let line = script.lines().find(|line| line.trim().starts_with("test \"")).unwrap();
        for (tag, right) in [(format!("v{}", env!("CARGO_PKG_VERSION")), true), ("v99.0.0".into(), false)] {
            let mut command = Command::new("sh");
            command.args(["-ec", line]).current_dir(ROOT).env("GITHUB_REF_NAME", &tag).env("CI_COMMIT_TAG", &tag);
            assert_eq!(command.status().unwrap().success(), right, "{line}");
        }
    }
}

#[test]
fn the_images_of_a_release_are_pushed_with_their_sboms() {
    let (home, registry) = (Home::new(), Serving::private());
    let folder = release(&home);
    let repository = format!("{}/tools/mpimg", registry.host);
    let script = Path::new(ROOT).join("release/push-images");
    run(judge("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "own.key"])
        .current_dir(home.path()));
    run(judge("openssl").args(["ec", "-in", "own.key", "-pubout", "-out", "own.pub"]).current_dir(home.path()));
    let mut command = shell(&home, &script, &[folder.to_str().unwrap(), &repository, "user", "own.key"]);
    Left::of(command.env("TOKEN", "pass word").output().unwrap()).done();
    let tags = skopeo(&["list-tags", "--tls-verify=false", "--creds", "user:pass word", &format!("docker://{repository}")]);
    for tag in [env!("CARGO_PKG_VERSION"), "latest", &format!("{}-shell", env!("CARGO_PKG_VERSION")), "latest-shell"] {
        assert!(tags.contains(&format!("\"{tag}\"")), "{tag}: {tags}");
        let cosign = judges().join("go/bin/cosign");
        if cosign.exists() {
            let mut command = Command::new(cosign);
            command.env_clear().env("HOME", home.path()).current_dir(home.path());
            command.args(["verify", "--key", "own.pub", "--insecure-ignore-tlog=true", "--registry-username", "user"]);
            run(command.args(["--registry-password", "pass word", &format!("{repository}:{tag}")]));
        }
    }
}
