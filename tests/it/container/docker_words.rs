//! What somebody who knows docker types: understood where mpimg has it, answered with a remedy
//! where it has not.

use super::fixture::{Containers, Left};
use crate::skip::needs_root;

#[test]
fn docker_s_flags_that_are_not_there_are_answered_with_a_remedy_and_its_exit_code() {
    needs_root!();
    let containers = Containers::new();
    for (flag, expected) in [
        (
            "--privileged",
            "error: `mpimg run` has no `--privileged`\nhint: leave it out: a container has the rights that its isolation",
        ),
        ("--restart=always", "error: `mpimg run` has no `--restart`\nhint: leave it out: nothing watches a container here"),
        ("-P", "error: `mpimg run` has no `-P`\nhint: name the ports"),
        ("--detatch", "error: unexpected argument '--detatch' found\n\n  tip: a similar argument exists: '--detach'"),
        ("--volume=data:/data", "there are no named volumes; a folder of that name is `./data:/data`"),
        ("--volume=/data", "error: invalid value '/data' for '--volume <VOLUME>'"),
        ("--env==x", "the key is empty; write KEY=VALUE"),
        ("--publish=80:http", "error: invalid value '80:http' for '--publish <PORT>'"),
        (
            "--mount=type=bind,source=/nowhere,target=/x",
            "error: there is no `/nowhere` to mount\nhint: make the folder, or use -v",
        ),
        ("--workdir=relative", "error: the working directory `relative` is not an absolute path\nhint: write `/relative`"),
        ("--end-with=4294967295", "error: the container cannot end with the process 4294967295\n"),
        (
            "--volume=/etc/hostname:/usr",
            "a file cannot be mounted on `/usr`, which is a folder in the image\nhint: mount a folder there",
        ),
        ("--memory=1k", "error: the memory limit is too small to start anything\nhint: give it at least 6m"),
        ("--memory=much", "`much` is not a size of memory; write it in bytes, or as 512m or 2g"),
        ("--name=-x", "error: `-x` is not a name for a container\nhint: use letters"),
    ] {
        let left = containers.run(&[flag], "true");
        assert_eq!((left.code, left.out.as_str()), (Some(125), ""), "{flag}: {left:?}");
        assert!(left.err.contains(expected), "{flag}: {}", left.err);
    }
    let left = containers.run(&["--json", "-d", "--cpus=1"], "true");
    assert_eq!((left.code, left.err.as_str()), (Some(125), ""));
    let told: serde_json::Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!(told["error"]["message"], "`mpimg run` has no `--cpus`");
    assert_eq!(containers.list().len(), 0);

    std::fs::write(containers.home.path().join("env"), "export A=1\n").unwrap();
    let left = containers.run(&["--env-file", "env"], "true");
    assert!(
        left.err.contains("cannot read `env`\n  caused by: the name `export A` has spaces\nhint: write KEY=VALUE"),
        "{}",
        left.err
    );
    for (command, flag, expected) in [
        ("ps", "--format={{.ID}}", "error: `mpimg ps` has no `--format`\nhint: leave it out: `--json` prints all fields"),
        ("logs", "--since=1m", "error: `mpimg logs` has no `--since`\nhint: leave it out: `--tail LINES`"),
        ("stop", "--signal=INT", "error: `mpimg stop` has no `--signal`\nhint: leave it out: the image's STOPSIGNAL"),
    ] {
        let left = containers.mpimg(&[command, flag]);
        assert_eq!(left.code, Some(2));
        assert!(left.err.starts_with(expected), "{}", left.err);
    }

    for (command, expected) in [
        (
            "kill",
            "error: mpimg has no command `kill`\nhint: a link called `docker` to mpimg has it: `docker kill` (docs/docker.md)\n",
        ),
        ("exec", "error: mpimg has no command `exec`\nhint: a link called `docker` to mpimg has it: `docker exec`"),
        ("container", "error: mpimg has no command `container`\nhint: `mpimg ps`"),
    ] {
        let left = containers.mpimg(&[command, "web"]);
        assert_eq!(left.code, Some(2));
        assert!(left.err.starts_with(expected), "{}", left.err);
    }
}

#[test]
fn docker_s_spelling_is_understood() {
    needs_root!();
    let containers = Containers::new();
    let home = containers.home.path();
    std::fs::create_dir(home.join("data")).unwrap();
    std::fs::write(home.join("data/file"), "content\n").unwrap();
    let bind = format!("--mount=type=bind,source={},target=/data,readonly", home.join("data").display());
    let flags = [
        "--rm",
        "--init",
        "--net",
        "host",
        "--name",
        "web",
        bind.as_str(),
        "--env",
        "A=1",
        "--user",
        "aria",
        "--workdir",
        "/tmp",
    ];
    let left = containers.run(&flags, "cat /data/file; id -un; pwd; echo $A; touch /data/x");
    assert_eq!((left.code, left.out.as_str()), (Some(1), "content\naria\n/tmp\n1\n"), "{left:?}");
    assert!(left.err.contains("/data/x: Read-only file system"), "{}", left.err);
    for (script, code) in [("exit 9", 9), ("kill -TERM $$", 143), ("kill -9 $$", 137), ("/etc", 126), ("exec /nowhere", 127)] {
        assert_eq!(containers.run(&[], script).code, Some(code), "{script}");
    }
    // Without a shell in between, too.
    for (program, code) in [("/etc/passwd", 126), ("nowhere", 127)] {
        let left = Left::of(containers.command(&["run", &containers.image(), program]).output().unwrap());
        assert_eq!(left.code, Some(code), "{left:?}");
    }
}

#[test]
fn stop_does_what_it_can_where_one_name_is_wrong() {
    needs_root!();
    let containers = Containers::new();
    // Each needs its whole time; they get it at once.
    let stubborn = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let ids: Vec<String> =
        ["one", "two"].map(|name| containers.start(&["--name", name], stubborn)["id"].as_str().unwrap().to_owned()).into();
    assert_eq!(containers.mpimg(&["stats", "--no-stream"]).out.lines().count(), 3);
    let left = containers.mpimg(&["rm", "one"]);
    assert_eq!(left.code, Some(1));
    assert!(left.err.ends_with("hint: `one` is a container: `mpimg stop --rm one` removes it\n"), "{}", left.err);
    let left = containers.mpimg(&["stop", "--rm", "-t", "1", "one", "nobody", "two", "none"]);
    assert_eq!((left.code, left.out), (Some(1), format!("{}\n{}\n", ids[0], ids[1])));
    assert_eq!(
        left.err,
        "warning: there is no container `nobody`\nerror: there is no container `none`\nhint: `mpimg ps -a` lists what is there\n"
    );
    assert_eq!(containers.list().len(), 0);
}
