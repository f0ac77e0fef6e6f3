//! Tests against the world outside: other programs judge what mpimg does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod registry;

/// The path of a program that judges; a test without its judge fails.
fn judge(program: &str) -> std::path::PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&folders).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("install {program}"))
}
