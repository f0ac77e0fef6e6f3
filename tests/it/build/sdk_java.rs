//! A Java project of the SDK: two stages, `RUN gradle build`, on an isolation with mounts and on
//! the one without.
//!
//! The Dockerfile is the SDK's. Gradle and the SDK's Java library come from places that a test
//! cannot reach: fixtures/java has sources without that library, and a script that does Gradle's
//! part with javac and jar.

use std::path::{Path, PathBuf};

use super::sdk::{generate, import_python};
use crate::home::Home;
use crate::{judge, judges, run};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/java")
}

/// Gives the store the two images that the SDK's Dockerfile names.
fn build_bases(home: &Home) {
    let java = judges().join("java.tar");
    assert!(java.exists(), "`{}` is missing: run tests/setup", java.display());
    let context = home.path().join("jdk");
    run(judge("cp").arg("-r").arg(fixtures().join("jdk")).arg(&context));
    // The tar is large: linked where that is possible.
    if std::fs::hard_link(&java, context.join("java.tar")).is_err() {
        std::fs::copy(&java, context.join("java.tar")).unwrap();
    }
    for (target, name) in [("gradle", "gradle:8.3.0-jdk17"), ("adapter", "base-adapter:java-1.2.0")] {
        run(home.mpimg().args(["build", "-q", "--compression", "gzip:1", "--target", target, "-t", name]).arg(&context));
    }
}

#[test]
fn a_java_project_is_built_alike_with_and_without_mounts_and_runs() {
    let home = Home::new();
    import_python(&home);
    build_bases(&home);
    let project = generate(&home, "java", "new");
    std::fs::remove_dir_all(project.join("src")).unwrap();
    run(judge("cp").arg("-r").arg(fixtures().join("src")).arg(project.join("src")));
    let build = |isolation: &str| {
        let mut command = home.mpimg();
        command
            .args(["build", "-q", "--no-cache", "--isolation", isolation, "-o", &format!("oci:{isolation}:built")])
            .arg(&project);
        run(command.env("SOURCE_DATE_EPOCH", "1000000000"))
    };
    assert_eq!(build("root"), build("chroot"));

    let bundle = home.path().join("bundle");
    run(judge("umoci").args(["unpack", "--image"]).arg(format!("{}:built", home.path().join("chroot").display())).arg(&bundle));
    let mut java = judge("unshare");
    java.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--root"]).arg(bundle.join("rootfs"));
    java.args(["--wd", "/home/aria-ops-adapter-user/src/app", "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"]);
    java.args(["-classpath", "app.jar:dependencies/library.jar", "com.example.adapter.Adapter"]);
    assert_eq!(run(&mut java), "{\"adapter_key\": \"HelloJava\", \"java\": 17}\n");
}
