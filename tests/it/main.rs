//! Integration tests, one module a room. Programs from outside judge what mpimg makes; a missing one fails its test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, in their helper functions too")]

mod image;
mod store;

/// A command that runs an outside program.
fn judge(program: &str) -> std::process::Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(there, "install {program}: it judges this test");
    std::process::Command::new(program)
}

/// Runs a command to its end; what it printed.
fn run(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
