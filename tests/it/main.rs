//! The integration tests: one binary, one module a room.

#![allow(clippy::expect_used, clippy::print_stdout, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod serve;

use std::process::Command;

/// An outside program that judges what this crate made; a test without its judge fails.
pub(crate) fn judge(program: &str) -> Command {
    let found =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "install {program}: it judges this test");
    Command::new(program)
}
