//! Base images that the installed SDK builds: found, built, named; and what is said where that
//! cannot be.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::home::{Home, in_own_mounts};
use crate::registry::fixture::distribution;
use crate::skip::needs_root;
use crate::{judge, judges, run};

/// An adapter project with an SDK in a virtual environment of its own, whose images need no other.
fn project_with_sdk(home: &Home, from: &str) {
    let write = |path: &str, text: &str| {
        let path = home.path().join("adapter").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("manifest.txt", r#"{"name": "Adapter", "version": "1.0.0", "adapter_kinds": ["Adapter"]}"#);
    write("Dockerfile", &format!("FROM {from}\nCOPY app app\n"));
    write("app/adapter.py", "print()\n");
    write("venv-Adapter/bin/activate", "");
    write("venv-Adapter/bin/python", "");
    let site = "venv-Adapter/lib/python3.11/site-packages";
    let versions = r#"{"base_image": {"language": "Python", "path": "base-python-adapter", "version": "1.2.0"},
        "secondary_images": [{"language": "Java", "path": "java-adapter", "version": "1.2.0"}]}"#;
    write(&format!("{site}/vmware_aria_operations_integration_sdk/container_versions.json"), versions);
    write(&format!("{site}/images/base-python-adapter/Dockerfile"), "FROM scratch\nWORKDIR /src\nCOPY server /server\n");
    write(&format!("{site}/images/base-python-adapter/server"), "server\n");
    write(&format!("{site}/vmware_aria_operations_integration_sdk-1.3.1.dist-info/METADATA"), "");
    write(&format!("{site}/images/java-adapter/Dockerfile"), "FROM base-adapter:python-1.2.0\nLABEL language=java\n");
}

fn names(home: &Home) -> Vec<String> {
    let images: Value = serde_json::from_str(&run(home.mpimg().args(["images", "--json"]))).unwrap();
    let name = |image: &Value| format!("{}:{}", image["repository"].as_str().unwrap(), image["tag"].as_str().unwrap());
    images["images"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_missing_base_image_is_built_from_the_sdk_with_the_one_below_it_and_both_are_named() {
    let home = Home::new();
    project_with_sdk(&home, "base-adapter:java-1.2.0");
    let build = |home: &Home| run(home.mpimg().args(["build", "--json", "adapter"]));
    let first: Value = serde_json::from_str(&build(&home)).unwrap();
    let steps: Vec<&str> =
        first["layers"].as_array().unwrap().iter().map(|layer| layer["created_by"].as_str().unwrap()).collect();
    assert_eq!(steps, ["WORKDIR /src", "COPY server /server # buildkit", "COPY app app # buildkit"]);
    assert_eq!(names(&home), ["base-adapter:java-1.2.0", "base-adapter:python-1.2.0"]);

    // What is in the store is used as it is, as mp-build does.
    std::fs::remove_dir_all(home.path().join("adapter/venv-Adapter")).unwrap();
    let second: Value = serde_json::from_str(&build(&home)).unwrap();
    assert_eq!(second["digest"], first["digest"]);
}

/// Hides an SDK that is installed for all users of this machine.
const WITHOUT_AN_SDK: &str =
    "for packages in /usr/lib/python3* /usr/local/lib/python3*; do ! [ -d \"$packages\" ] || mount -t tmpfs none \"$packages\"; done
export PATH=/nowhere";

fn fails(home: &Home, folder: &Path) -> String {
    // A registry that is not there: nothing outside this machine is asked.
    let mirrors = home.path().join("registries.conf");
    std::fs::write(&mirrors, "[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:1\"\ninsecure = true\n").unwrap();
    let mut build = home.mpimg();
    build.args(["build", "-q"]).arg(folder).env("CONTAINERS_REGISTRIES_CONF", mirrors);
    let output = in_own_mounts(build, WITHOUT_AN_SDK).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn another_version_than_the_sdks_is_an_error_that_names_those_it_has() {
    let home = Home::new();
    project_with_sdk(&home, "base-adapter:python-9.9.9");
    let error = fails(&home, Path::new("adapter"));
    assert!(
        error.contains("the installed SDK does not build `base-adapter:python-9.9.9`, but python-1.2.0, java-1.2.0"),
        "{error}"
    );
    assert!(
        error.contains(
            "hint: build on `base-adapter:python-1.2.0` of the installed SDK with `--sdk-base installed`, or let `mpimg migrate`"
        ),
        "{error}"
    );
    assert!(error.contains("--> adapter/Dockerfile:1"), "{error}");
}

#[test]
fn without_an_sdk_the_error_says_how_to_get_the_base_image() {
    let home = Home::new();
    project_with_sdk(&home, "base-adapter:python-1.2.0");
    std::fs::remove_dir_all(home.path().join("adapter/venv-Adapter")).unwrap();
    let error = fails(&home, Path::new("adapter"));
    assert!(
        error.contains("`base-adapter:python-1.2.0` is neither in the local store nor in a registry, and no SDK is installed"),
        "{error}"
    );
    assert!(
        error.contains("hint: install the SDK where mpimg finds it (`pip install vmware-aria-operations-integration-sdk`"),
        "{error}"
    );
}

const GONE: &str = "projects.packages.broadcom.com/vmware_aria_operations_integration_sdk/base-adapter:python-1.0.0";

#[test]
fn the_installed_sdks_image_stands_in_for_one_that_is_gone_where_that_is_wanted() {
    let built = |home: &Home, from: &str, flags: &[&str]| {
        project_with_sdk(home, from);
        let output = home.mpimg().args(["build", "-q", "adapter"]).args(flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    for from in [GONE, "base-adapter:python-0.11.0"] {
        let home = Home::new();
        let (digest, said) = built(&home, from, &["--sdk-base", "installed"]);
        assert!(
            said.contains(&format!("the image is built on `base-adapter:python-1.2.0` of the installed SDK, not on `{from}`")),
            "{said}"
        );
        assert_eq!(names(&home), ["base-adapter:python-1.2.0"]);
        assert_eq!(built(&home, "base-adapter:python-1.2.0", &[]).0, digest);
    }
    // Without being asked for, it is the remedy, beside the release that has the source.
    let home = Home::new();
    project_with_sdk(&home, GONE);
    let said = fails(&home, Path::new("adapter"));
    assert!(said.contains("the registry `projects.packages.broadcom.com` was shut down"), "{said}");
    assert!(
        said.contains("hint: build on `base-adapter:python-1.2.0` of the installed SDK with `--sdk-base installed`"),
        "{said}"
    );
    assert!(said.contains("; SDK 1.3.0 has the source of `python-1.0.0` itself (`pip install"), "{said}");
    // What is in the store under that name is what the Dockerfile asks for.
    let (base, _) = built(&home, "scratch", &["-t", GONE]);
    let (digest, said) = built(&home, GONE, &["--sdk-base", "installed"]);
    assert_ne!(digest, base);
    assert_eq!(said, "");
    assert_eq!(names(&home), [GONE]);
}

#[test]
fn migrate_shows_the_change_and_makes_it_only_when_told() {
    let home = Home::new();
    project_with_sdk(&home, GONE);
    let file = home.path().join("adapter/Dockerfile");
    let before = std::fs::read_to_string(&file).unwrap();
    let diff = format!(
        "--- adapter/Dockerfile\n+++ adapter/Dockerfile\n@@ -1,2 +1,2 @@\n-FROM {GONE}\n+FROM base-adapter:python-1.2.0\n COPY app app\n"
    );
    for flags in [&[][..], &["--dry-run"]] {
        assert_eq!(run(home.mpimg().args(["migrate", "adapter"]).args(flags)), diff);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    }
    let changed: Value = serde_json::from_str(&run(home.mpimg().args(["migrate", "--yes", "--json", "adapter"]))).unwrap();
    assert_eq!(changed["changes"], serde_json::json!([{"line": 1, "from": GONE, "to": "base-adapter:python-1.2.0"}]));
    assert_eq!((&changed["written"], &changed["diff"]), (&true.into(), &diff.into()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "FROM base-adapter:python-1.2.0\nCOPY app app\n");
    assert_eq!(run(home.mpimg().args(["migrate", "adapter"])), "");
}

/// A machine with a project whose base image gives something else each time that it is built.
fn machine() -> Home {
    let home = Home::new();
    project_with_sdk(&home, "base-adapter:python-1.2.0");
    let base = judges().join("base").display().to_string();
    let folder = home.path().join("adapter/venv-Adapter/lib/python3.11/site-packages/images/base-python-adapter");
    std::fs::write(folder.join("Dockerfile"), format!("FROM oci:{base}:base\nRUN head -c 32 /dev/urandom >/opt/random\n"))
        .unwrap();
    home
}

/// The digest of what was pushed, and its first layers: those of the base image.
fn push_from(home: &Home, repository: &str, flags: &[&str]) -> (String, Vec<Value>, String) {
    let mut command = home.mpimg();
    command.args(["push", "--no-ttl", "--json", "--progress", "plain", "-t", "1", "-r", repository, "adapter"]).args(flags);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let pushed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let layers = pushed["layers"].as_array().unwrap();
    let base = layers[..layers.len() - 1].iter().map(|layer| layer["digest"].clone()).collect();
    (pushed["digest"].as_str().unwrap().to_owned(), base, said)
}

#[test]
fn the_cache_repository_covers_the_base_image_whose_steps_have_a_heading() {
    needs_root!();
    let registry = distribution("");
    let (cache, repository) = (registry.repository("cache").to_string(), registry.repository("mp/a").to_string());
    let first = push_from(&machine(), &repository, &["--cache-repo", &cache]);
    let said = |pushed: &(String, Vec<Value>, String), line: &str| {
        assert!(pushed.2.lines().any(|said| said.starts_with(line)), "no `{line}` in:\n{}", pushed.2);
    };
    said(&first, "[base-adapter:python-1.2.0] build from SDK 1.3.1 (it is in no registry)");
    said(&first, "[base-adapter:python-1.2.0 1/1] RUN head");
    said(&first, "[base-adapter:python-1.2.0 1/1] done in ");
    said(&first, "[base-adapter:python-1.2.0] done in ");
    // Another machine: nothing but the repository can give it what is random.
    let second = push_from(&machine(), &repository, &["--cache-repo", &cache]);
    said(&second, "[base-adapter:python-1.2.0 1/1] cached");
    assert_eq!(second.0, first.0, "the base image was built again: {}", second.2);
    // Without the repository, and where no result of a cache is wanted, it is built.
    for flags in [&[][..], &["--cache-repo", &cache, "--no-cache"]] {
        let own = push_from(&machine(), &repository, flags);
        said(&own, "[base-adapter:python-1.2.0 1/1] done in ");
        assert_ne!(own.0, first.0);
    }
}

#[test]
fn every_installation_of_an_sdk_makes_the_same_base_image() {
    let made = |number: &str| {
        let home = Home::new();
        project_with_sdk(&home, "base-adapter:python-1.2.0");
        let folder = "adapter/venv-Adapter/lib/python3.11/site-packages/images/base-python-adapter";
        let at = home.path().join(folder);
        // pip puts its own time into files and into bytecode, and each job checks out a commit.
        std::fs::create_dir_all(at.join("swagger_server/models/__pycache__")).unwrap();
        std::fs::write(at.join("swagger_server/models/__init__.py"), "").unwrap();
        std::fs::write(at.join("swagger_server/models/__pycache__/__init__.cpython-311.pyc"), number).unwrap();
        std::fs::write(at.join("Dockerfile"), "FROM scratch\nCOPY . .\n").unwrap();
        std::fs::write(at.join(".dockerignore"), "Dockerfile").unwrap();
        let git = |arguments: &[&str]| {
            let mut git = judge("git");
            git.args(["-c", "user.name=t", "-c", "user.email=t"]).args(arguments).current_dir(home.path().join("adapter"));
            let date = format!("170000000{number} +0000");
            run(git.env("GIT_COMMITTER_DATE", &date).env("GIT_AUTHOR_DATE", &date));
        };
        git(&["init", "-q"]);
        git(&["add", "manifest.txt", "Dockerfile", "app"]);
        git(&["commit", "-q", "-m", number]);
        // By the project, and as the SDK's own mp-build asks for it.
        run(home.mpimg().args(["build", "-q", "adapter"]));
        let base = run(home.mpimg().args(["images", "-q", "base-adapter"]));
        assert_eq!(run(home.mpimg().args(["build", "-q", folder])), base);
        let files = run(home.mpimg().args(["inspect", "--files", "base-adapter:python-1.2.0"]));
        assert!(files.contains("swagger_server/models/__init__.py") && !files.contains("__pycache__"), "{files}");
        base
    };
    assert_eq!(made("1"), made("2"));
}

#[test]
fn sixteen_jobs_at_once_with_empty_repositories_end_and_the_next_one_takes_what_they_made() {
    needs_root!();
    let registry = distribution("");
    let (cache, bases) = (registry.repository("cache").to_string(), registry.repository("tools/base-adapter").to_string());
    let repository = registry.repository("mp/a").to_string();
    let flags = ["--cache-repo", &cache, "--sdk-base", &bases];
    let jobs: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| push_from(&machine(), &repository, &flags));
        let threads: Vec<_> = (0..16).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // Each is whole, whichever base image it stands on.
    for (digest, ..) in &jobs {
        run(judge("skopeo").args(["inspect", "--tls-verify=false"]).arg(format!("docker://{repository}@{digest}")));
    }
    let next = push_from(&machine(), &repository, &flags);
    assert!(jobs.iter().any(|job| job.1 == next.1), "the next job built a base image of its own");
    assert!(!next.2.contains("build from SDK"), "{}", next.2);
    assert_eq!(push_from(&machine(), &repository, &flags).0, next.0);
}

#[test]
fn a_base_image_is_published_by_push_alone_and_found_by_every_build() {
    needs_root!();
    let registry = distribution("");
    let (bases, repository) = (registry.repository("tools/base-adapter").to_string(), registry.repository("mp/a").to_string());
    let build = |home: &Home| run(home.mpimg().args(["build", "-q", "--sdk-base", &bases, "adapter"]));
    // What only builds puts nothing anywhere.
    build(&machine());
    let tags = |repository: &str| Command::new(env!("CARGO_BIN_EXE_mpimg")).args(["tags", "-q", repository]).output().unwrap();
    assert!(!tags(&bases).status.success());
    let (digest, ..) = push_from(&machine(), &repository, &["--sdk-base", &bases]);
    assert_eq!(String::from_utf8(tags(&bases).stdout).unwrap(), "python-1.2.0\n");
    // Also where no SDK is installed.
    let other = machine();
    std::fs::remove_dir_all(other.path().join("adapter/venv-Adapter")).unwrap();
    assert_eq!(build(&other).trim(), digest);
    // The old name of an image that the team has is found, too.
    let old = machine();
    project_with_sdk(&old, &GONE.replace("python-1.0.0", "python-1.2.0"));
    assert_eq!(build(&old).trim(), digest);
}
