//! Results on standard output in three forms, and exit codes.

use std::path::Path;

use serde_json::Value;

use super::fixture::{DOCKERFILE, Serving, folder, is_digest, project, run, text, write};
use crate::home::Home;
use crate::judge;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn build_prints_the_digest_and_nothing_else_on_standard_output() {
    let home = Home::new();
    let project = project(&home);
    let plain = run(&mut home.mpimg(), ["build", text(&project)]).done();
    let digest = plain.out.trim_end();
    assert!(is_digest(digest), "{digest}");
    assert!(plain.err.contains("[1/3] COPY commands.cfg ."), "{}", plain.err);
    let quiet = run(&mut home.mpimg(), ["-q", "build", text(&project)]).done();
    assert_eq!((quiet.out, quiet.err.as_str()), (plain.out.clone(), ""));
    let json = run(&mut home.mpimg(), ["build", "--json", text(&project)]).done().json();
    assert_eq!(json["digest"], digest);
    assert_eq!(keys(&json), ["digest", "layers", "names", "outputs", "seconds", "size"]);
    assert_eq!(keys(&json["layers"][0]), ["created_by", "diff_id", "digest", "size"]);
    assert_eq!(json["layers"][0]["created_by"], "COPY commands.cfg . # buildkit");
}

#[test]
fn inspect_shows_the_layers_as_a_table() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let name = format!("{}/mp/hello:1", registry.host);
    run(&mut home.mpimg(), ["build", text(&project), "-t", &name, "--push"]).done();
    let rows = |home: &Home, image: &str| -> Vec<Vec<String>> {
        let shown = run(&mut home.mpimg(), ["inspect", image]).done().out;
        let (_, table) = shown.split_once("\nLayers\n").unwrap();
        table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let here = rows(&home, &name);
    let json = run(&mut home.mpimg(), ["inspect", "--json", &name]).done().json();
    assert_eq!(here[0], ["#", "DIGEST", "SIZE", "FILES", "UNPACKED", "CREATED", "BY"]);
    assert_eq!((&*here[1][0], &*here[1][4], &json["layers"][0]["unpacked_size"]), ("1", "11B", &Value::from(11)), "{here:?}");
    // How many files, and their bytes.
    assert_eq!(here[1][3], "1");
    assert_eq!(here[1][5..].join(" "), "COPY commands.cfg . # buildkit");
    // How many files a layer has, and what they take, is known only if it is in this store.
    let elsewhere = rows(&Home::new(), &format!("docker://{name}"));
    assert_eq!((&elsewhere[1][1..3], &elsewhere[1][3..5]), (&here[1][1..3], &["-".to_owned(), "-".to_owned()][..]));
}

#[test]
fn json_of_a_push_has_the_promised_shape() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let json = run(&mut home.mpimg(), ["push", "--json", text(&project), "-r", &repository]).done().json();
    assert_eq!(
        keys(&json),
        [
            "anonymous_pull",
            "conf",
            "digest",
            "layers",
            "provenance",
            "repository",
            "sbom",
            "seconds",
            "signed",
            "size",
            "tag",
            "tags"
        ]
    );
    assert_eq!(json["repository"], repository);
    assert!(json["tag"].as_str().unwrap().starts_with("1.2.3_"), "{json}");
    assert!(is_digest(json["digest"].as_str().unwrap()));
    assert_eq!(json["layers"].as_array().unwrap().len(), 2);
    let layers: u64 = json["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert!(json["size"].as_u64().unwrap() > layers);
    assert!(json["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(json["anonymous_pull"], true);
    assert_eq!(json["conf"]["registry"], registry.host);
    assert_eq!(json["conf"]["repository"], "/mp/hello");
}

#[test]
fn an_error_is_one_json_object_too() {
    let home = Home::new();
    let folder = folder(&home, "bad", "FROM scratch\nCOP a b\n");
    let left = run(&mut home.mpimg(), ["build", "--json", text(&folder)]);
    assert_eq!(left.code, Some(1));
    let json = left.json();
    assert_eq!(keys(&json), ["error"]);
    assert_eq!(keys(&json["error"]), ["causes", "file", "hint", "kind", "line", "message", "text"]);
    assert_eq!(json["error"]["kind"], "dockerfile");
    assert_eq!(json["error"]["line"], 2);
    assert!(json["error"]["file"].as_str().unwrap().ends_with("bad/Dockerfile"));
    assert!(json["error"]["hint"].as_str().unwrap().contains("COPY"), "{json}");
}

#[test]
fn wrong_use_is_exit_code_2_also_in_json() {
    let home = Home::new();
    let left = run(&mut home.mpimg(), ["build", "--json", "--no-cahce"]);
    assert_eq!(left.code, Some(2));
    let json = left.json();
    assert_eq!(json["error"]["kind"], "usage");
    assert_eq!(json["error"]["hint"], "a similar argument exists: '--no-cache'");
    for arguments in [["build", "--compression", "lz4"], ["push", "-q", "-v"], ["images", "a:b:c", "-q"]] {
        let left = run(&mut home.mpimg(), arguments);
        assert_eq!((left.code, left.out.as_str()), (Some(2), ""), "{}", left.err);
    }
}

#[test]
fn the_digest_file_holds_the_digest_once_there_is_one() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let file = home.path().join("digest");
    let built = run(&mut home.mpimg(), ["build", "-q", text(&project), "--digest-file", text(&file)]).done();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), built.out.trim_end());
    std::fs::write(&file, "old").unwrap();
    let repository = format!("{}/mp/hello", registry.host);
    let pushed = run(&mut home.mpimg(), ["push", "-q", text(&project), "-r", &repository, "--digest-file", text(&file)]).done();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), pushed.out.trim_end());

    std::fs::write(&file, "old").unwrap();
    write(&project, "Dockerfile", "FROM scratch\nCOPY missing .\n");
    let failed = run(&mut home.mpimg(), ["push", "-q", text(&project), "-r", &repository, "--digest-file", text(&file)]);
    assert_eq!(failed.code, Some(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn plain_progress_is_a_line_when_a_step_starts_and_one_when_it_ends() {
    let home = Home::new();
    let project = project(&home);
    let left = run(&mut home.mpimg(), ["build", "--progress", "plain", text(&project)]).done();
    let steps: Vec<&str> = left.err.lines().filter(|line| line.starts_with("[2/3]")).collect();
    assert_eq!(steps.len(), 2, "{}", left.err);
    assert_eq!(steps[0], "[2/3] COPY app app");
    assert!(steps[1].starts_with("[2/3] done in "), "{}", left.err);
    assert!(!left.err.contains('\x1b'), "{:?}", left.err);
    let left = run(&mut home.mpimg(), ["build", "--progress", "none", text(&project)]).done();
    assert!(!left.err.contains("[2/3]"), "{}", left.err);
}

#[test]
fn colours_are_there_when_asked_for_and_never_without_a_terminal() {
    let home = Home::new();
    let missing = home.path().join("missing");
    let coloured = run(&mut home.mpimg(), ["build", "--color", "always", text(&missing)]);
    assert!(coloured.err.contains("\x1b[31m"), "{:?}", coloured.err);
    let plain = run(&mut home.mpimg(), ["build", text(&missing)]);
    assert!(!plain.err.contains('\x1b'), "{:?}", plain.err);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::new();
    let mut child = home
        .mpimg()
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn every_command_has_help_with_examples_and_a_manual_page() {
    let home = Home::new();
    let help = run(&mut home.mpimg(), ["--help"]).done().out;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 17, "{commands:?}");
    let man = home.path().join("man");
    let pages = run(&mut home.mpimg(), ["man", text(&man)]).done().out;
    for command in &commands {
        let help = run(&mut home.mpimg(), [command, "--help"]).done().out;
        assert!(help.contains("Examples:\n  "), "{command}:\n{help}");
        assert!(help.contains("--json"), "{command}:\n{help}");
        let page = man.join(format!("mpimg-{command}.1"));
        assert!(pages.contains(text(&page)) && page.is_file(), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&mut home.mpimg(), ["completions", shell]).done().out;
        assert!(script.contains("require-anonymous-pull"), "{shell}");
    }
}

#[test]
fn what_cannot_be_meant_is_wrong_use_before_anything_is_done() {
    let home = Home::new();
    let folder = folder(&home, "app", DOCKERFILE);
    write(&home.path(), "words.pem", "not a certificate");
    for (arguments, says) in [
        (&["build", text(&folder), "--platform", "windows/amd64"][..], "an image for `windows/amd64` cannot be built"),
        (&["build", text(&folder), "--platform", "linux/amd65"], "an image for `linux/amd65` cannot be built"),
        (&["check", "127.0.0.1:1/a/b", "--ca-file", "nowhere.pem"], "cannot read it: No such file"),
        (&["check", "127.0.0.1:1/a/b", "--ca-file", "words.pem"], "it has no PEM certificate"),
    ] {
        let left = run(home.mpimg().args(arguments), []);
        assert_eq!((left.code, left.err.contains(says)), (Some(2), true), "{arguments:?}: {}", left.err);
    }
}

#[test]
fn short_help_fits_a_screen() {
    let home = Home::new();
    for command in ["push", "build"] {
        let help = run(&mut home.mpimg(), [command, "-h"]).done().out;
        assert!(help.lines().count() <= 100, "{command}: {} lines", help.lines().count());
    }
}

#[test]
fn doctor_tells_where_things_are_and_no_secret() {
    let home = Home::new();
    let auth = r#"{"auths": {"ghcr.io": {"auth": "aHVudGVyMjpodW50ZXIy"}}}"#;
    write(&home.path(), "config.json", auth);
    let mut command = home.mpimg();
    command.env("DOCKER_AUTH_CONFIG", auth.replace("ghcr.io", "gitlab.example.com"));
    let left = run(&mut command, ["doctor", "--json"]).done();
    let json = left.json();
    assert!(Path::new(json["store"]["path"].as_str().unwrap()).is_dir());
    assert!(!json["isolation"]["attempts"].as_array().unwrap().is_empty());
    let registries: Vec<&str> =
        json["credentials"].as_array().unwrap().iter().map(|item| item["registry"].as_str().unwrap()).collect();
    assert_eq!(registries, ["gitlab.example.com", "ghcr.io"]);
    assert!(!left.out.contains("aHVudGVyMj"), "{}", left.out);
    run(&mut home.mpimg(), ["doctor"]).done();
}

#[test]
fn a_process_without_home_has_the_files_of_the_password_file_s_home_folder() {
    let home = Home::new();
    let user = rustix::process::geteuid().as_raw().to_string();
    let entry = crate::run(judge("getent").args(["passwd", &user]));
    let folder = entry.trim().split(':').nth(5).unwrap();
    let files = |value: Option<&str>| {
        let mut command = home.mpimg();
        command.env_remove("HOME").env_remove("DOCKER_CONFIG").env_remove("CONTAINERS_REGISTRIES_CONF");
        if let Some(value) = value {
            command.env("HOME", value);
        }
        let report = run(&mut command, ["doctor", "--json"]).done().json();
        let files = report["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned());
        files.filter(|path| !path.starts_with("/etc/")).collect::<Vec<_>>()
    };
    let unset = files(None);
    assert_eq!(unset, files(Some(folder)));
    assert!(unset.len() >= 3, "{unset:?}");
    assert_eq!(unset, files(Some("")), "an empty variable");
}
