//! A project whose only step runs a program in C.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::home::Home;
use crate::run;

/// The project, of nothing but the static program that is made of `source`.
pub(super) fn project_that_runs(home: &Home, source: &str) -> PathBuf {
    let context = home.path().join("context");
    fs::create_dir(&context).unwrap();
    let file = home.path().join("program.c");
    fs::write(&file, source).unwrap();
    run(Command::new("cc").args(["-static", "-pthread", "-o"]).arg(context.join("program")).arg(file));
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY program /\nRUN [\"/program\"]\n").unwrap();
    context
}
