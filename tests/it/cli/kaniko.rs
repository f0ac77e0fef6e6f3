//! mpimg in place of kaniko's executor: what jobs of GitLab, Tekton and Jenkins call and read.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::drop_in::command;
use super::fixture::{DOCKERFILE, Left, folder, text, write};
use crate::home::Home;
use crate::registry::fixture::{distribution, distribution_in, skopeo};

const USER: &str = "ci";
const PASSWORD: &str = "pass word";

/// A registry on plain HTTP that asks who comes, and docker's config.json with the answer in the
/// folder `config`.
fn private_registry(home: &Home, as_pair: bool) -> crate::registry::fixture::Server {
    let folder = tempfile::tempdir().unwrap();
    let hash = crate::run(crate::judge("htpasswd").args(["-Bbn", USER, PASSWORD]));
    std::fs::write(folder.path().join("htpasswd"), hash.trim()).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}", folder.path().display());
    let registry = distribution_in(folder, &auth);
    std::fs::create_dir_all(home.path().join("config")).unwrap();
    let entry = match as_pair {
        true => format!(r#"{{"username": "{USER}", "password": "{PASSWORD}"}}"#),
        false => {
            use base64::Engine as _;
            format!(
                r#"{{"auth": "{}", "email": ""}}"#,
                base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"))
            )
        }
    };
    let config = format!(r#"{{"auths": {{"{}": {entry}}}}}"#, registry.address);
    std::fs::write(home.path().join("config/config.json"), config).unwrap();
    registry
}

fn executor(home: &Home, arguments: &[&str]) -> Left {
    let mut command = command(home, "executor");
    Left::of(command.env("DOCKER_CONFIG", home.path().join("config")).args(arguments).output().unwrap())
}

/// The image's configuration in the registry, as skopeo has it.
fn config(name: &str) -> Value {
    let flags =
        ["inspect", "--config", "--tls-verify=false", "--creds", &format!("{USER}:{PASSWORD}"), &format!("docker://{name}")];
    serde_json::from_str(&skopeo(&flags)).unwrap()
}

fn digest(name: &str) -> String {
    let credentials = format!("{USER}:{PASSWORD}");
    let flags =
        ["inspect", "--format", "{{.Digest}}", "--tls-verify=false", "--creds", &credentials, &format!("docker://{name}")];
    skopeo(&flags).trim().to_owned()
}

#[test]
fn a_job_with_two_destinations_and_a_cache_finds_both_and_its_cache() {
    let home = Home::new();
    let registry = private_registry(&home, true);
    let image = format!("{}/team/worker", registry.address);
    let project =
        folder(&home, "src", "FROM scratch\nARG INDEX\nENV INDEX=$INDEX\nCOPY app /app\nUSER 1000:1000\nCMD [\"/app\"]\n");
    let big = project.join("app/big");
    std::fs::write(&big, crate::registry::fixture::noise(1, 2 << 20)).unwrap();
    let (first, second) = (format!("{image}:v1"), format!("{image}:latest"));
    let (path, file) = (text(&project), project.join("Dockerfile"));
    let arguments = [
        "--context",
        path,
        "--dockerfile",
        text(&file),
        "--build-arg",
        "INDEX=http://pypi/simple",
        "--insecure",
        "--insecure-pull",
        "--skip-tls-verify",
        "--cache=true",
        "--destination",
        &first,
        "--destination",
        &second,
    ];
    let left = executor(&home, &arguments).done();
    assert_eq!(left.out, "", "the log is on standard error");
    assert_eq!(digest(&first), digest(&second));
    let found = config(&second);
    assert_eq!((&found["config"]["User"], &found["config"]["Env"][1]), (&"1000:1000".into(), &"INDEX=http://pypi/simple".into()));
    let tags = skopeo(&[
        "list-tags",
        "--tls-verify=false",
        "--creds",
        &format!("{USER}:{PASSWORD}"),
        &format!("docker://{image}/cache"),
    ]);
    assert!(tags.contains("step-"), "{tags}");
}

#[test]
fn a_task_reads_its_results_from_files() {
    let home = Home::new();
    let registry = private_registry(&home, false);
    let image = format!("{}/team/store", registry.address);
    folder(&home, "ws/source/service", DOCKERFILE);
    let at = |name: &str| home.path().join(name).display().to_string();
    let (first, second) = (format!("{image}:7"), format!("{image}:8"));
    let context = format!("--context=dir://{}", at("ws/source"));
    let left = executor(
        &home,
        &[
            "--dockerfile=./Dockerfile",
            &context,
            "--context-sub-path=service",
            "-d",
            &first,
            &format!("--destination={second}"),
            &format!("--digest-file={}", at("results/deep/digest")),
            &format!("--image-name-tag-with-digest-file={}", at("results/tagged")),
            &format!("--image-name-with-digest-file={}", at("results/named")),
            "--label=version=7",
            "--insecure=true",
            "--verbosity=info",
        ],
    );
    let _ = left.done();
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let digest = digest(&first);
    assert_eq!(read("results/deep/digest"), digest, "nothing else, no line feed");
    let lines = format!("{first}@{digest}\n{second}@{digest}\n");
    assert_eq!((read("results/tagged"), read("results/named")), (lines.clone(), lines), "with both files both have the tag");
    assert_eq!(config(&first)["config"]["Labels"], serde_json::json!({"version": "7"}));
    // One of them alone, and without its own tag.
    executor(
        &home,
        &[
            "-c",
            &at("ws/source/service"),
            "-d",
            &first,
            "--insecure",
            "--label",
            "version=7",
            "--image-name-with-digest-file",
            &at("alone"),
        ],
    )
    .done();
    assert_eq!(read("alone"), format!("{image}@{digest}\n"));
}

#[test]
fn a_gate_builds_to_a_tar_and_pushes_nothing() {
    let home = Home::new();
    let registry = distribution("");
    let project = folder(&home, "job", DOCKERFILE);
    let host = registry.address.to_string();
    let (file, path, tar) = (project.join("Dockerfile"), text(&project), project.join("build/gate-1.tar"));
    let left = executor(
        &home,
        &[
            "-f",
            text(&file),
            "-c",
            path,
            "--no-push",
            "--tarPath",
            text(&tar),
            "--destination",
            "gate:118",
            "--insecure-registry",
            &host,
            "--skip-tls-verify-registry",
            &host,
            "--cleanup",
            "--single-snapshot",
        ],
    )
    .done();
    assert_eq!(left.err.matches("note: --cleanup has no effect here").count(), 1, "{}", left.err);
    let manifest = Command::new("tar").args(["-xOf", text(&tar), "manifest.json"]).output().unwrap().stdout;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert!(manifest[0]["RepoTags"][0].as_str().unwrap().ends_with("gate:118"), "{manifest}");
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 1, "one snapshot of two COPYs");
    // KANIKO_NO_PUSH wins over what the flags say; without a destination there is nothing to push
    // to.
    let mut no_push = command(&home, "kaniko");
    Left::of(no_push.env("KANIKO_NO_PUSH", "true").args(["-c", path, "-d", "127.0.0.1:1/a:1"]).output().unwrap()).done();
    let left = executor(&home, &["-c", path]);
    assert_eq!(left.code, Some(1));
    assert!(left.err.starts_with("error: you must provide --destination, or use --no-push\nhint: "), "{}", left.err);
}

#[test]
fn a_context_is_a_tar_or_standard_input_and_a_bucket_is_refused() {
    let home = Home::new();
    let project = folder(&home, "job", DOCKERFILE);
    let tar = Command::new("tar").args(["-C", text(&project), "-cz", "."]).output().unwrap().stdout;
    write(&home.path(), "unrelated", "");
    std::fs::write(home.path().join("context.tar.gz"), &tar).unwrap();
    let digest_of = |left: Left, file: &str| {
        let _ = left.done();
        std::fs::read_to_string(home.path().join(file)).unwrap()
    };
    let expected = digest_of(executor(&home, &["-c", text(&project), "--no-push", "--digest-file", "a"]), "a");
    let of_tar = format!("tar://{}", home.path().join("context.tar.gz").display());
    assert_eq!(digest_of(executor(&home, &["-c", &of_tar, "--no-push", "--digest-file", "b"]), "b"), expected);
    let mut child = command(&home, "executor");
    child.args(["--context", "tar://stdin", "--no-push", "--digest-file", "c"]).stdin(Stdio::piped());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&tar).unwrap();
    assert_eq!(digest_of(Left::of(child.wait_with_output().unwrap()), "c"), expected);
    // A path from here, though the folder below counts only behind a scheme.
    let left = executor(&home, &["-c", text(&project), "--context-sub-path", "nowhere", "--no-push", "--digest-file", "d"]);
    assert_eq!(digest_of(left, "d"), expected);
    for (arguments, message) in [
        (
            ["-c", "s3://bucket/context.tar.gz", "--no-push"].as_slice(),
            "mpimg does not fetch the build context `s3://bucket/context.tar.gz`",
        ),
        (&["-c", "gs://b/c", "--no-push"], "hint: fetch it in a step before, and give it as --context tar://FILE"),
        (&["-c", "https://acc.blob.core.windows.net/c/x.tar.gz", "--no-push"], "mpimg does not fetch the build context"),
        (&["-c", text(&project), "--no-push", "--bucket", "b"], "mpimg does not have kaniko's `--bucket`"),
        (&["-c", text(&project), "--no-push", "--nope"], "Error: unknown flag: --nope"),
        (
            &["-c", &format!("dir://{}", text(&project)), "--context-sub-path", "../..", "--no-push"],
            "leads out of the build context",
        ),
        (&["-c", text(&project), "--no-push", "-f", "none"], "`none` is neither a Dockerfile here nor one in the build context"),
    ] {
        let left = executor(&home, arguments);
        assert_eq!(left.code, Some(1), "{arguments:?}");
        assert!(left.err.contains(message), "{arguments:?}: {}", left.err);
    }
    let version = Left::of(command(&home, "executor").arg("version").output().unwrap()).done();
    assert!(version.out.starts_with("Kaniko version :  v1.24.0 (mpimg "), "{}", version.out);
}
