//! Integration tests: one file a room, and outside programs as judges.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, in their helper functions too")]

mod context;
mod project;

/// An outside program that judges what mpimg made. Without it the test fails and says what to install.
fn judge(program: &str) -> std::process::Command {
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(found, "`{program}` is missing: install it with `apt-get install {program}`");
    std::process::Command::new(program)
}
