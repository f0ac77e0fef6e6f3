//! Deeply nested folders: what a RUN leaves is a layer, a source of COPY and of mounts, and a base
//! image; and trees of many folders.

use std::path::Path;

use crate::home::Home;
use crate::{judge, judges, run};

const DEPTH: usize = 400;

fn build(home: &Home, dockerfile: &str, flags: &[&str]) {
    let context = home.path().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    run(home.mpimg().args(["build", "-q"]).args(flags).arg(&context));
}

#[test]
fn an_image_with_400_nested_folders_is_built_copied_mounted_and_built_on() {
    for isolation in ["root", "chroot"] {
        let home = Home::new();
        run(home.mpimg().args(["load", "-q", "-t", "base:1"]).arg(judges().join("base")));
        let nest = format!(
            "FROM base:1\nRUN mkdir /n && cd /n && i=0 && while [ $i -lt {DEPTH} ]; do mkdir d && cd d && i=$((i+1)); done && touch end\n"
        );
        let layout = home.path().join("layout");
        let output = format!("oci:{}:deep", layout.display());
        build(&home, &nest, &["--isolation", isolation, "--output", &output]);
        // Another store: what is unpacked there comes out of the layers.
        let other = Home::new();
        let on_it = "FROM @DEEP@ AS deep\nRUN test -n \"$(find /n -name end)\"\nFROM @DEEP@\nCOPY --from=deep /n /copy\n\
                     RUN --mount=from=deep,source=/n,target=/m,rw test -n \"$(find /m -name end)\" && test -n \"$(find /copy -name end)\" && rm -r /n\n";
        build(&other, &on_it.replace("@DEEP@", &format!("oci:{}:deep", layout.display())), &["--isolation", isolation]);
    }
}

/// As `build`, with few descriptors.
fn build_with_few(home: &Home, context: &Path, flags: &[&str]) -> String {
    let mut command = home.mpimg();
    command.args(["build", "-q", "--isolation", "root"]).args(flags).arg(context);
    let mut limited = judge("prlimit");
    limited.arg("--nofile=300:300").arg(command.get_program()).args(command.get_args());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut limited)
}

#[test]
fn trees_with_more_folders_than_descriptors_are_copied() {
    let home = Home::new();
    let folder = |name: &str, dockerfile: &str| {
        let folder = home.path().join(name);
        std::fs::create_dir_all(folder.join("app")).unwrap();
        std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        folder
    };
    let many = folder("many", "FROM scratch\nCOPY app other /dest/\n");
    for number in 0..1000 {
        std::fs::create_dir(many.join(format!("app/{number:04}"))).unwrap();
        std::fs::write(many.join(format!("app/{number:04}/file")), number.to_string()).unwrap();
    }
    std::fs::create_dir(many.join("other")).unwrap();
    std::fs::write(many.join("other/file"), "other").unwrap();
    let enough = run(Home::new().mpimg().args(["build", "-q"]).arg(&many));
    assert_eq!(build_with_few(&home, &many, &[]), enough);

    // Another project's layer begins with the same folder, and its first segment has many entries.
    let links = folder("links", "FROM scratch\nCOPY app /app/\n");
    for number in 0..9000 {
        std::os::unix::fs::symlink(
            format!("target-{number}-{}", number * 7919 % 104_729),
            links.join(format!("app/{number:05}")),
        )
        .unwrap();
    }
    build_with_few(&home, &links, &["--compression", "zstd"]);
    std::fs::write(many.join("Dockerfile"), "FROM scratch\nCOPY app /app/\n").unwrap();
    let beside = build_with_few(&home, &many, &["--compression", "zstd"]);
    let alone = build_with_few(&Home::new(), &many, &["--compression", "zstd"]);
    assert_eq!(beside, alone);
}
