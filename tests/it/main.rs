//! Tests against the world outside: other programs judge what mpimg does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, in their helper functions too")]

mod dockerfile;

/// A program that judges what mpimg made; a test without its judge fails.
fn judge(program: &str) -> std::process::Command {
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(found, "install {program}: it judges this test");
    std::process::Command::new(program)
}
