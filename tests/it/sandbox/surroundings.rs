//! What mpimg inherits from whatever starts it: limits, ignored signals; and what a failing step of
//! a container without /proc says.

use std::fs;
use std::process::{Command, Output};

use crate::home::Home;
use crate::judges;
use crate::skip::needs_root;

/// Runs `mpimg build` of `steps` by a shell that has done `first`.
fn build(home: &Home, first: &str, isolation: &str, steps: &str) -> Output {
    let context = home.path().join("context");
    fs::create_dir_all(&context).unwrap();
    let base = judges().join("base").display().to_string();
    fs::write(context.join("Dockerfile"), format!("FROM oci:{base}:base\n{steps}")).unwrap();
    let mpimg = home.mpimg();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{first}; exec \"$0\" build -q --no-cache --isolation {isolation} \"$1\"")]);
    command.arg(mpimg.get_program()).arg(&context);
    for (name, value) in mpimg.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

#[test]
fn a_parent_that_ignores_its_children_changes_nothing() {
    needs_root!();
    let expected = build(&Home::new(), "true", "root", "RUN echo x >/x\n");
    assert!(expected.status.success(), "{expected:?}");
    for isolation in ["root", "chroot"] {
        let output = build(&Home::new(), "trap '' CHLD", isolation, "RUN echo x >/x\n");
        assert!(output.status.success(), "{isolation}: {output:?}");
    }
}

#[test]
fn a_file_beyond_the_limit_is_an_error_and_not_a_silent_death() {
    needs_root!();
    let output = build(&Home::new(), "ulimit -f 100", "root", "RUN true\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{output:?}");
    assert!(errors.contains("File too large") && errors.contains("hint: "), "{errors}");
}

#[test]
fn a_step_that_fails_for_want_of_proc_says_so() {
    needs_root!();
    let output = build(&Home::new(), "true", "chroot", "RUN echo x >/dev/stdout\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("`/dev/stdout` needs /proc/self"), "{errors}");
}
