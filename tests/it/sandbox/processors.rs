//! On `emulated`, a thread that makes many calls is kept beside the supervisor: nobody is to notice
//! but by the time it takes.

use std::process::Command;

use super::own_program::project_that_runs;
use super::plain_users::{ONE_ID, as_user, give};
use crate::home::Home;
use crate::run;
use crate::skip::{needs_emulated, needs_root};

const PROGRAM: &str = include_str!("processors.c");

#[test]
fn commands_on_emulated_see_all_processors_and_may_run_on_each() {
    needs_root!();
    needs_emulated!();
    let home = Home::new();
    let context = project_that_runs(&home, PROGRAM);
    give(&home);
    let output =
        as_user(&home, ONE_ID).args(["build", "--progress", "plain", "--isolation", "emulated"]).arg(&context).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let all = run(&mut Command::new("nproc"));
    for who in ["itself", "thread", "busy thread", "child", "program", "status"] {
        assert!(said.contains(&format!(" {who}: {}\n", all.trim())), "{who}, of {all}: {said}");
    }
}
