//! File capabilities, which `emulated` only records: a descriptor shows them as the kernel does
//! elsewhere, from the moment at which there is one.

use super::own_program::project_that_runs;
use crate::home::Home;
use crate::skip::{needs_emulated, needs_root};

const PROGRAM: &str = include_str!("file_capability.c");

#[test]
fn a_descriptor_on_emulated_shows_the_capability_that_its_file_gets() {
    needs_root!();
    needs_emulated!();
    let home = Home::new();
    let context = project_that_runs(&home, PROGRAM);
    let [by_kernel, emulated] = ["chroot", "emulated"].map(|isolation| {
        let build = ["build", "--progress", "plain", "--no-cache", "--isolation", isolation];
        let output = home.mpimg().args(build).arg(&context).env("SOURCE_DATE_EPOCH", "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let lines = said.lines().filter_map(|line| line.split_once("] ")).map(|(_, line)| line.to_owned());
        let of_program = |line: &String| line.starts_with("shown ");
        (lines.filter(of_program).collect::<Vec<_>>(), String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert_eq!(by_kernel.0.len(), 12, "{by_kernel:?}");
    assert_eq!(emulated, by_kernel);
}
