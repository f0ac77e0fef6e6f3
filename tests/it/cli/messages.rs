//! Errors as people read them.

use super::fixture::{folder, project, run, text, write};
use crate::home::Home;

/// What standard error says, without the home folder's name.
fn message<const N: usize>(home: &Home, arguments: [&str; N]) -> String {
    let left = run(&mut home.mpimg(), arguments);
    assert_eq!(left.out, "");
    left.err.replace(text(&home.path()), "~")
}

#[test]
fn a_mistake_in_a_dockerfile_is_shown_with_a_caret_and_the_way_on() {
    let home = Home::new();
    folder(&home, "bad", "FROM scratch\n\nCOP app app\n");
    insta::assert_snapshot!(message(&home, ["build", "bad"]), @r#"
    error: unknown instruction `COP`
      --> bad/Dockerfile:3
       |
     3 | COP app app
       | ^^^
    hint: did you mean `COPY`?
    "#);
}

#[test]
fn a_missing_source_is_shown_at_its_instruction() {
    let home = Home::new();
    folder(&home, "bad", "FROM scratch\nCOPY app app\nCOPY ap app2\n");
    insta::assert_snapshot!(message(&home, ["build", "-q", "bad"]), @r#"
    error: COPY failed
      caused by: `ap` is not in the build context
      --> bad/Dockerfile:3
       |
     3 | COPY ap app2
       | ^^^^^^^^^^^^
    hint: did you mean `app`?
    "#);
}

#[test]
fn an_unknown_flag_or_command_gets_a_suggestion() {
    let home = Home::new();
    insta::assert_snapshot!(message(&home, ["push", "--registry-tga", "x"]), @r#"
    error: unexpected argument '--registry-tga' found

      tip: a similar argument exists: '--registry-tag'

    Usage: mpimg push --repository <REPOSITORY> [PATH|NAME[:TAG]]

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(message(&home, ["psuh"]), @r#"
    error: unrecognized subcommand 'psuh'

      tip: some similar subcommands exist: 'ps', 'push'

    Usage: mpimg [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
}

#[test]
fn a_value_of_a_wrong_form_is_explained() {
    let home = Home::new();
    insta::assert_snapshot!(message(&home, ["build", "--platform", "linux/"]), @r#"
    error: invalid value 'linux/' for '--platform <PLATFORM>': `linux/` is not a platform; write it as os/architecture, such as linux/amd64

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(message(&home, ["build", "--output", "app:1"]), @r#"
    error: invalid value 'app:1' for '--output <TRANSPORT:PATH>': write oci:DIR, oci-archive:FILE or docker-archive:FILE; a name is given with --tag

    For more information, try '--help'.
    "#);
}

#[test]
fn a_folder_that_is_no_project_says_what_is_missing() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("empty")).unwrap();
    insta::assert_snapshot!(message(&home, ["push", "empty"]), @r#"
    error: `empty` is not an Integration SDK project
    hint: run the command in the folder that holds manifest.txt, or name that folder
    "#);
    insta::assert_snapshot!(message(&home, ["build", "empty"]), @r#"
    error: cannot read `empty/Dockerfile`
      caused by: No such file or directory (os error 2)
    hint: run it in the project's folder, or name it: `empty` has no Dockerfile
    "#);
    folder(&home, "plain", "FROM scratch\n");
    insta::assert_snapshot!(message(&home, ["push", "plain"]), @r#"
    error: no repository given
    hint: give it with `-r HOST/PATH`; only an Integration SDK project can keep it in config.json
    "#);
}

#[test]
fn without_a_terminal_a_missing_repository_names_flag_and_key() {
    let home = Home::new();
    project(&home);
    insta::assert_snapshot!(message(&home, ["push", "project"]), @r#"
    error: no repository given, and there is no terminal to ask on
    hint: give it with `-r HOST/PATH`, or set `container_repository` in `project/config.json`
    "#);
    write(&home.path().join("project"), "config.json", r#"{"container_repository": "host.example.com/a:1"}"#);
    insta::assert_snapshot!(message(&home, ["push", "project"]), @r#"
    error: `container_repository` in config.json cannot be used
      caused by: `host.example.com/a:1` is not a container repository: it must not have a tag, and `:1` looks like one
    hint: write it as HOST[:PORT]/PATH, such as harbor.example.com/project/adapter, or as NAMESPACE/NAME for Docker Hub
    "#);
}

#[test]
fn a_name_that_is_not_there_says_where_to_look() {
    let home = Home::new();
    insta::assert_snapshot!(message(&home, ["inspect", "app:1"]), @r#"
    error: there is no image `app:1` in the local store
    hint: `mpimg images` lists what is there; one in a registry is named `docker://app:1`
    "#);
    insta::assert_snapshot!(message(&home, ["rm", "app"]), @r#"
    error: there is no image `app:latest` in the local store
    hint: `mpimg images` lists what is there; nothing was removed
    "#);
    // A host in a name without a transport is no registry.
    insta::assert_snapshot!(message(&home, ["copy", "--referrers", "oci:there", "harbor.example.com/mp/app:1"]), @r#"
    error: the local store's `harbor.example.com/mp/app:1` cannot hold what refers to an image
    hint: leave out `--referrers`, or copy to `docker://harbor.example.com/mp/app:1`, `oci:` or `oci-archive:`
    "#);
}

#[test]
fn a_repository_that_is_an_address_or_a_host_alone_says_what_to_write() {
    let home = Home::new();
    project(&home);
    insta::assert_snapshot!(message(&home, ["push", "project", "-r", "https://harbor.example.com/mp/app"]), @r#"
    error: `https://harbor.example.com/mp/app` is an address, not an image reference
    hint: leave out the `https://`: `harbor.example.com/mp/app`
    "#);
    insta::assert_snapshot!(message(&home, ["push", "project", "-r", "harbor.example.com:8443"]), @r#"
    error: `harbor.example.com:8443` is a host without a path
    hint: write it as HOST[:PORT]/PATH: `harbor.example.com:8443/project/adapter`
    "#);
    // Each place that takes a repository, or an image in one.
    for arguments in [
        &["check", "harbor.example.com"][..],
        &["pull", "harbor.example.com:8443"],
        &["tags", "harbor.example.com"],
        &["copy", "docker://harbor.example.com", "oci:there"],
        &["build", "project", "--cache-repo", "harbor.example.com"],
        &["build", "project", "--sdk-base", "harbor.example.com"],
        &["sign", "harbor.example.com", "--key", "key"],
    ] {
        let left = run(home.mpimg().args(arguments), []);
        assert_eq!((left.code, left.err.contains("/project/adapter`")), (Some(2), true), "{arguments:?}: {}", left.err);
    }
    for arguments in [
        &["check", "http://harbor.example.com/a"][..],
        &["pull", "https://harbor.example.com/a"],
        &["inspect", "https://harbor.example.com/a"],
        &["copy", "docker://https://harbor.example.com/a", "oci:there"],
        &["build", "project", "--sdk-base", "https://harbor.example.com/a"],
        &["build", "project", "-t", "https://harbor.example.com/a"],
        &["run", "https://harbor.example.com/a"],
        &["check", "--as-product", "http://harbor.example.com/a"],
    ] {
        let left = run(home.mpimg().args(arguments), []);
        assert!(matches!(left.code, Some(2 | 125)), "{arguments:?}: {}", left.err);
        assert!(
            left.err.contains("leave out the `http") && left.err.contains(": `harbor.example.com/a`"),
            "{arguments:?}: {}",
            left.err
        );
    }
}

#[test]
fn a_subfolder_of_a_project_names_the_project_and_a_folder_that_is_not_there_is_told() {
    let home = Home::new();
    project(&home);
    for arguments in [["push", "project/app"], ["build", "project/app"]] {
        let said = message(&home, arguments);
        assert!(said.ends_with("hint: name the project's folder: `~/project`\n"), "{said}");
    }
    for arguments in [["push", "./nowhere"], ["build", "nowhere"], ["migrate", "nowhere"]] {
        let said = message(&home, arguments);
        assert!(said.starts_with("error: there is no folder `"), "{said}");
    }
    insta::assert_snapshot!(message(&home, ["pak", "inspect", "nowhere.pak"]), @r#"
    error: there is no file `nowhere.pak`
    hint: mp-build writes the .pak into the project's folder `build`
    "#);
}
