//! Tests against the world outside: other programs judge what mpimg does.

mod registry;

/// The path of a program that judges; a test without its judge fails.
fn judge(program: &str) -> std::path::PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&folders).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("install {program}"))
}

#[cfg(target_os = "linux")]
mod sandbox;
//! The integration tests: one binary, one module a room.
mod serve;
use std::process::Command;
/// An outside program that judges what this crate made; a test without its judge fails.
pub(crate) fn judge(program: &str) -> Command {
    let found =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "install {program}: it judges this test");
    Command::new(program)
//! Integration tests: one file a room, and outside programs as judges.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, in their helper functions too")]
mod context;
mod project;
/// An outside program that judges what mpimg made. Without it the test fails and says what to install.
fn judge(program: &str) -> std::process::Command {
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(found, "`{program}` is missing: install it with `apt-get install {program}`");
    std::process::Command::new(program)
