//! The Integration SDK's own mp-test on mpimg.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::home::Home;
use crate::registry::fixture::free_address;

use crate::{judge, judges, run};

use super::docker::Docker;
use super::project::{make, package, said};
use super::{alone, assert_nothing_runs, keep, make_bare, python, store};

/// A connection as mp-test writes it, for the SDK's sample adapter.
const CONNECTIONS: &str = r#"{"connections": [{"name": "lab", "credential": {}, "certificates": [], "identifiers": {
    "ID": {"value": "7", "required": true, "part_of_uniqueness": true},
    "container_memory_limit": {"value": "512", "required": true, "part_of_uniqueness": false}}}]}"#;

/// Starts a program on a new terminal, since mp-test draws on one. That has no size (0 rows, 0
/// columns), and nobody answers at it.
const TERMINAL: &str = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

fn mp_test(home: &Home, project: &Path, port: u16, arguments: &[&str]) -> Output {
    command(&store(), home, project, port, arguments).output().unwrap()
}

fn command(store: &Path, home: &Home, project: &Path, port: u16, arguments: &[&str]) -> Command {
    let mut command = judge("python3");
    let mpimg = home.mpimg();
    command.env_clear().envs(mpimg.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.path());
    command.args(["-c", TERMINAL]).arg(mpimg.get_program());
    command.arg("mp-test").env("MPIMG_HOME", store).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(home));
    command.arg("-p").arg(project).args(["-P", &port.to_string(), "-c", "lab"]).args(arguments);
    // On any other kind, mp-test asks where the cursor is and waits for the answer, a second each
    // time.
    command.env("LC_ALL", "C.UTF-8").env("TERM", "dumb").stdin(Stdio::null());
    command
}

#[test]
fn a_terminal_without_a_size_where_nobody_answers_will_do() {
    let home = Home::new();
    let project = home.path().join("bare");
    make_bare(&home, &project);
    std::fs::write(project.join("connections.json"), CONNECTIONS).unwrap();
    let mut command = command(&home.store(), &home, &project, free_address().port(), &["version"]);
    let output = command.env("TERM", "xterm").output().unwrap();
    let said = said(&output);
    assert!(output.status.success() && said.contains("Request completed in") && said.contains("\"majorVersion\": 1"), "{said}");
}

#[test]
fn an_adapter_is_tested_on_mpimg_with_statistics() {
    let _alone = alone();
    let home = Home::new();
    let project = home.path().join("project");
    make(&home, "sample", &project);
    std::fs::write(project.join("connections.json"), CONNECTIONS).unwrap();
    let methods: [(&str, &[&str]); 3] = [
        ("adapter_definition", &["\"adapter_key\": \"SamplePython\"", "Request completed in"]),
        ("connect", &["Request completed in"]),
        // With the statistics of the container: its limit is the connection's.
        ("collect", &["Avg CPU %", "Memory Limit", "512.0 MiB", "Network I/O"]),
    ];
    for (method, expected) in methods {
        let output = mp_test(&home, &project, free_address().port(), &[method]);
        let said = said(&output);
        assert!(output.status.success() && said.contains("Validation passed with no errors"), "{method:?}: {said}");
        for text in expected {
            assert!(said.contains(text), "{method:?}: no `{text}` in\n{said}");
        }
        assert_nothing_runs(&home);
    }
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let home = Home::new();
    let mut command = home.mpimg();
    command.args(["mp-test", "version"]).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(&home));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).starts_with("error: mp-test of the Integration SDK works on a terminal alone\nhint: "),
        "{}",
        said(&output)
    );
}

/// A wrong use: the words of mp-test with Docker, and those on mpimg, which tell more.
const WRONG: [(&str, &str, &str); 3] = [
    ("crash", "is not running", "the adapter ended with exit code 1 before it answered:\nno licence here"),
    ("port taken", "address already in use", "give mp-build another port with -P"),
    ("no image", "COPY failed: file not found in build context", "`nothing` is not in the build context"),
];

/// Its project and, where that is what is wrong, whoever has the port; else a free one.
fn wrong(home: &Home, name: &str) -> (PathBuf, u16, TcpListener) {
    let project = home.path().join(name);
    make_bare(home, &project);
    std::fs::write(project.join("connections.json"), CONNECTIONS).unwrap();
    let dockerfile = project.join("Dockerfile");
    let text = std::fs::read_to_string(&dockerfile).unwrap();
    let added = match name {
        "crash" => "ENTRYPOINT [\"sh\", \"-c\", \"echo no licence here >&2; exit 1\"]\n",
        "no image" => "COPY nothing .\n",
        _ => "",
    };
    std::fs::write(dockerfile, text + added).unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = if name == "port taken" { taken.local_addr().unwrap().port() } else { free_address().port() };
    (project, port, taken)
}

/// How mp-test with Docker ended in each, and what it said: kept, since it waits for a crashed
/// adapter for 20 seconds.
fn with_docker() -> Value {
    let file = keep("mp-test-wrong.json", |file| {
        let docker = Docker::start();
        let home = Home::new();
        let ended = WRONG.map(|(name, ..)| {
            let (project, port, _taken) = wrong(&home, name);
            let mut command = judge("python3");
            command.args(["-c", TERMINAL]).arg(judges().join("python/bin/mp-test")).arg("-p").arg(&project);
            command.args(["-P", &port.to_string(), "-c", "lab", "version"]).env("HOME", home.path()).env("TERM", "dumb");
            let output = docker.reach(&mut command).stdin(Stdio::null()).output().unwrap();
            (name, json!({ "code": output.status.code(), "said": said(&output) }))
        });
        std::fs::write(file, Value::from_iter(ended).to_string()).unwrap();
    });
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn wrong_use_of_mp_test_ends_as_with_docker() {
    let docker = with_docker();
    let home = Home::new();
    for (name, words, expected) in WRONG {
        let theirs = &docker[name];
        assert!(theirs["said"].as_str().unwrap().contains(words), "{name}: no `{words}` in\n{theirs}");
        let (project, port, _taken) = wrong(&home, name);
        let output = command(&home.store(), &home, &project, port, &["version"]).output().unwrap();
        let said = said(&output).replace('\r', "");
        assert_eq!(json!(output.status.code()), theirs["code"], "{name}: {said}");
        assert!(said.contains(expected), "{name}: no `{expected}` in\n{said}");
        let left: Value = serde_json::from_str(&run(home.mpimg().args(["ps", "--all", "--json"]))).unwrap();
        assert_eq!(left["containers"], json!([]), "{name}");
    }
}
