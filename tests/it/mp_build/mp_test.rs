//! The Integration SDK's own mp-test on mpimg.

use std::path::Path;
use std::process::{Output, Stdio};

use crate::home::Home;
use crate::registry::fixture::free_address;

use crate::judge;

use super::project::{make, package, said};
use super::{alone, assert_nothing_runs, make_bare, python, store};

/// A connection as mp-test writes it, for the SDK's sample adapter.
const CONNECTIONS: &str = r#"{"connections": [{"name": "lab", "credential": {}, "certificates": [], "identifiers": {
    "ID": {"value": "7", "required": true, "part_of_uniqueness": true},
    "container_memory_limit": {"value": "512", "required": true, "part_of_uniqueness": false}}}]}"#;

/// Starts a program on a new terminal of this size (rows, columns), since mp-test draws on one.
const TERMINAL: &str = r#"import os, pty, sys
sized = ["sh", "-c", f'stty rows {sys.argv[1]} cols {sys.argv[2]}; exec "$@"', "sh", *sys.argv[3:]]
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sized)))"#;

const SIZE: [&str; 2] = ["50", "200"];

fn mp_test(home: &Home, project: &Path, port: u16, arguments: &[&str]) -> Output {
    mp_test_on(SIZE, &store(), home, project, port, arguments)
}

fn mp_test_on(size: [&str; 2], store: &Path, home: &Home, project: &Path, port: u16, arguments: &[&str]) -> Output {
    let mut command = judge("python3");
    let mpimg = home.mpimg();
    command.env_clear().envs(mpimg.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.path());
    command.args(["-c", TERMINAL]).args(size).arg(mpimg.get_program());
    command.arg("mp-test").env("MPIMG_HOME", store).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(home));
    command.arg("-p").arg(project).args(["-P", &port.to_string(), "-c", "lab"]).args(arguments);
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_terminal_without_a_size_is_given_one() {
    let home = Home::new();
    let project = home.path().join("bare");
    make_bare(&home, &project);
    std::fs::write(project.join("connections.json"), CONNECTIONS).unwrap();
    let output = mp_test_on(["0", "0"], &home.store(), &home, &project, free_address().port(), &["version"]);
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

#[test]
fn wrong_use_of_mp_test_ends_as_with_docker() {
    let _alone = alone();
    let home = Home::new();
    for (name, expected) in [
        ("crash", "the adapter ended with exit code 1 before it answered"),
        ("port taken", "cannot listen on port"),
        ("no image", "Unable to build Docker file at"),
    ] {
        let project = home.path().join(name);
        make(&home, name, &project);
        std::fs::write(project.join("connections.json"), CONNECTIONS).unwrap();
        if name == "no image" {
            std::fs::write(project.join("Dockerfile"), "FROM base-adapter:python-1.2.0\nCOPY nothing .\n").unwrap();
        }
        let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = if name == "port taken" { taken.local_addr().unwrap().port() } else { free_address().port() };
        let output = mp_test(&home, &project, port, &["version"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(expected), "{name}: no `{expected}` in\n{said}");
        assert_nothing_runs(&home);
    }
}
