//! The build cache: what is unchanged is not done again, and what has changed is never taken for
//! unchanged.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::home::Home;

const DOCKERFILE: &str = "FROM scratch\nCOPY --chown=7:8 app /app\nADD app/a.py app/pack.tar /added/\n";

/// A project whose store is its own.
struct Project {
    home: Home,
    folder: PathBuf,
}

/// What a build said.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    digest: String,
    /// Whether each step was taken from the cache.
    cached: Vec<bool>,
    err: String,
}

impl Project {
    fn new(dockerfile: &str) -> Self {
        let home = Home::new();
        let folder = home.path().join("project");
        fs::create_dir_all(folder.join("app/sub")).unwrap();
        let project = Self { home, folder };
        project.write("Dockerfile", dockerfile);
        project.write("app/a.py", "print(1)\n");
        project.write("app/b.py", "print(2)\n");
        project.write("app/sub/.env", "TOKEN=1\n");
        symlink("a.py", project.folder.join("app/link")).unwrap();
        project.write("packed", "in the archive\n");
        let tar = std::process::Command::new("tar").args(["-cf", "app/pack.tar", "packed"]).current_dir(&project.folder).status();
        assert!(tar.unwrap().success());
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn build(&self, flags: &[&str]) -> Built {
        build(&self.home, &self.folder, flags)
    }

    /// Builds twice: with this store, and with an empty one, which must give the same image.
    fn build_and_judge(&self) -> Built {
        let built = self.build(&[]);
        let fresh = build(&Home::new(), &self.folder, &[]);
        assert_eq!(built.digest, fresh.digest, "{}", built.err);
        built
    }
}

fn build(home: &Home, folder: &Path, flags: &[&str]) -> Built {
    let output = home.mpimg().args(["build", "--progress", "plain"]).args(flags).arg(folder).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    let ends = err.lines().filter(|line| line.starts_with('[') && (line.ends_with("] cached") || line.contains("] done in")));
    Built { digest: out.trim_end().to_owned(), cached: ends.map(|line| line.ends_with("] cached")).collect(), err }
}

/// Waits until the times of files that were just written prove something.
fn settle() {
    std::thread::sleep(Duration::from_millis(3100));
}

fn set_mtime(path: &Path, like: &fs::Metadata) {
    fs::File::open(path).unwrap().set_modified(like.modified().unwrap()).unwrap();
}

type Change = (&'static str, fn(&Project), [bool; 2]);

/// What is done to a project between two builds, and which of the steps COPY and ADD must still
/// come from the cache.
const CHANGES: &[Change] = &[
    ("nothing", |_| {}, [true, true]),
    (
        "new times",
        |project| {
            fs::File::open(project.path("app/a.py")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        },
        [true, true],
    ),
    (
        "the same size and time, other content",
        |project| {
            let before = project.path("app/a.py").metadata().unwrap();
            project.write("app/a.py", "print(3)\n");
            set_mtime(&project.path("app/a.py"), &before);
            assert_eq!(project.path("app/a.py").metadata().unwrap().mtime_nsec(), before.mtime_nsec());
        },
        [false, false],
    ),
    (
        "another file of the same size and time in its place",
        |project| {
            let before = project.path("app/b.py").metadata().unwrap();
            project.write("app/new", "print(4)\n");
            set_mtime(&project.path("app/new"), &before);
            fs::rename(project.path("app/new"), project.path("app/b.py")).unwrap();
        },
        [false, true],
    ),
    (
        "two files change places",
        |project| {
            fs::rename(project.path("app/a.py"), project.path("app/c")).unwrap();
            fs::rename(project.path("app/b.py"), project.path("app/a.py")).unwrap();
            fs::rename(project.path("app/c"), project.path("app/b.py")).unwrap();
        },
        [false, false],
    ),
    (
        "a mode",
        |project| fs::set_permissions(project.path("app/a.py"), PermissionsExt::from_mode(0o755)).unwrap(),
        [false, false],
    ),
    (
        "a folder's mode",
        |project| fs::set_permissions(project.path("app/sub"), PermissionsExt::from_mode(0o700)).unwrap(),
        [false, true],
    ),
    ("a name", |project| fs::rename(project.path("app/b.py"), project.path("app/c.py")).unwrap(), [false, true]),
    (
        "a link's text",
        |project| {
            fs::remove_file(project.path("app/link")).unwrap();
            symlink("b.py", project.path("app/link")).unwrap();
        },
        [false, true],
    ),
    (
        "two files become one with two names",
        |project| {
            fs::remove_file(project.path("app/b.py")).unwrap();
            fs::hard_link(project.path("app/a.py"), project.path("app/b.py")).unwrap();
        },
        // The tar differs, the file that ADD takes does not.
        [false, true],
    ),
    ("a file that is left out", |project| project.write(".dockerignore", "app/b.py\n"), [false, true]),
    ("an archive's content", |project| flip(&project.path("app/pack.tar"), b"in the archive"), [false, false]),
    ("an empty folder more", |project| fs::create_dir(project.path("app/empty")).unwrap(), [false, true]),
    (
        "another owner",
        |project| project.write("Dockerfile", &DOCKERFILE.replace("7:8", "7:9")),
        // What lies below ADD is another layer.
        [false, false],
    ),
];

/// Changes a byte of `text` where it stands in a file.
fn flip(path: &Path, text: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn no_change_is_overlooked_and_nothing_else_is_done_again() {
    for settled in [true, false] {
        let projects: Vec<Project> = CHANGES.iter().map(|_| Project::new(DOCKERFILE)).collect();
        if settled {
            settle();
        }
        for ((change, make, cached), project) in CHANGES.iter().zip(projects) {
            let first = project.build(&[]);
            assert_eq!(first.cached, [false, false]);
            make(&project);
            let second = project.build_and_judge();
            let expected = if second.digest == first.digest { [true, true] } else { *cached };
            // ADD stands on COPY's layer: a change below is a change of what ADD depends on.
            let expected = [expected[0], expected[0] && expected[1]];
            assert_eq!(second.cached, expected, "{change}, settled: {settled}\n{}", second.err);
            assert_eq!(second.digest == first.digest, cached == &[true, true], "{change}");
            assert_eq!(project.build(&[]).cached, [true, true], "{change}, once more");
        }
    }
}

#[test]
fn link_does_not_depend_on_what_lies_below() {
    let project = Project::new(&DOCKERFILE.replace("ADD", "ADD --link"));
    project.build(&[]);
    project.write("app/b.py", "print(5)\n");
    assert_eq!(project.build_and_judge().cached, [false, true]);
}

#[test]
fn a_clone_elsewhere_is_recognized_by_its_content() {
    let project = Project::new(DOCKERFILE);
    let first = project.build(&[]);
    let clone = project.home.path().join("clone");
    assert!(std::process::Command::new("cp").arg("-r").arg(&project.folder).arg(&clone).status().unwrap().success());
    let second = build(&project.home, &clone, &[]);
    assert_eq!((second.digest, second.cached), (first.digest, vec![true, true]));
}

#[test]
fn copies_between_stages_and_new_folders_are_not_made_again() {
    let dockerfile = "FROM scratch AS a\nWORKDIR /one/two\nCOPY app/a.py .\n\
                      FROM scratch\nCOPY --from=a /one /three\nCOPY --from=a /one/*/a.py /four\nCOPY <<EOF /five\nsix\nEOF\n";
    let project = Project::new(dockerfile);
    assert_eq!(project.build(&[]).cached, [false; 5]);
    assert_eq!(project.build_and_judge().cached, [true; 5]);
    assert_eq!(project.build(&["--no-cache"]).cached, [false; 5]);
    project.write("Dockerfile", &dockerfile.replace("six", "ten"));
    assert_eq!(project.build_and_judge().cached.iter().filter(|cached| **cached).count(), 4);
    project.write("app/a.py", "print(6)\n");
    let cached = project.build_and_judge().cached;
    assert_eq!(cached.iter().filter(|cached| **cached).count(), 1, "WORKDIR alone: {cached:?}");
}

#[test]
fn codec_and_time_are_part_of_what_a_layer_depends_on() {
    let project = Project::new(DOCKERFILE);
    let first = project.build(&[]);
    let zstd = project.build(&["--compression", "zstd"]);
    assert_eq!(zstd.cached, [false, false]);
    assert_ne!(zstd.digest, first.digest);
    let timed = project.build(&["--build-arg", "SOURCE_DATE_EPOCH=1700000000"]);
    assert_eq!(timed.cached, [false, false]);
    let again = project.build(&[]);
    assert_eq!((again.digest, again.cached), (first.digest, vec![true, true]));
}

#[test]
fn a_cached_step_still_stops_at_secrets_and_warns_of_them() {
    let project = Project::new(DOCKERFILE);
    settle();
    for _ in 0..2 {
        let built = project.build(&[]);
        assert_eq!(built.err.matches("`app/sub/.env` holds").count(), 1, "{}", built.err);
    }
    // The same folder as an SDK project; built before with the file let through.
    project.write("manifest.txt", "{\"name\": \"iSDK_Hello\", \"version\": \"1.2.3\", \"adapter_kinds\": [\"HelloAdapter\"]}");
    assert_eq!(project.build(&["--allow-secret-file", "app/sub/.env"]).cached, [true, true]);
    let stopped = project.home.mpimg().args(["build", "-q"]).arg(&project.folder).output().unwrap();
    assert_eq!(stopped.status.code(), Some(1));
    assert!(String::from_utf8(stopped.stderr).unwrap().contains("`app/sub/.env` holds"));
}

#[test]
fn a_layer_that_is_gone_is_made_again() {
    let project = Project::new(DOCKERFILE);
    let first = project.build(&[]);
    fs::remove_dir_all(project.home.store().join("blobs")).unwrap();
    let second = project.build(&[]);
    assert_eq!((second.digest, second.cached), (first.digest, vec![false, false]));
}

/// A RUN that sees files of the project; what it makes is never the same twice, so equal images
/// show that it was not run.
fn bound(mount: &str) -> String {
    let base = crate::judges().join("base").display().to_string();
    format!(
        "FROM oci:{base}:base AS one\nCOPY app/a.py /seen/a.py\nFROM oci:{base}:base\n\
         RUN --mount={mount} ls -lR /app >/opt/seen; head -c 9 /dev/urandom >/opt/random\n"
    )
}

#[test]
fn a_run_with_files_of_the_project_mounted_is_done_again_when_they_change() {
    let dockerfile = bound("type=bind,source=app,target=/app");
    for (settled, changes) in [(true, &CHANGES[..CHANGES.len() - 1]), (false, &CHANGES[..3])] {
        let projects: Vec<Project> = changes.iter().map(|_| Project::new(&dockerfile)).collect();
        if settled {
            settle();
        }
        for ((change, make, cached), project) in changes.iter().zip(projects) {
            let first = project.build(&[]);
            assert_eq!(first.cached.last(), Some(&false), "{change}");
            make(&project);
            let second = project.build(&[]);
            assert_eq!(second.cached.last(), Some(&cached[0]), "{change}, settled: {settled}\n{}", second.err);
            assert_eq!(second.digest == first.digest, cached[0], "{change}");
            let third = project.build(&[]);
            assert_eq!((third.cached.last(), third.digest), (Some(&true), second.digest), "{change}, once more");
        }
    }
}

#[test]
fn a_run_with_files_mounted_is_not_done_again_for_files_that_were_seen_before() {
    let project = Project::new(&bound("type=bind,source=app,target=/app"));
    let first = project.build(&[]);
    project.write("app/a.py", "print(9)\n");
    let second = project.build(&[]);
    project.write("app/a.py", "print(1)\n");
    let third = project.build(&[]);
    assert_ne!(second.digest, first.digest);
    assert_eq!((third.cached.last(), third.digest), (Some(&true), first.digest));
    // Where it is mounted counts, and whether it can be written to.
    for other in ["type=bind,source=app,target=/app,rw", "type=bind,source=app/sub,target=/app", "type=bind,target=/app"] {
        project.write("Dockerfile", &bound(other));
        assert_eq!(project.build(&[]).cached.last(), Some(&false), "{other}");
        assert_eq!(project.build(&[]).cached.last(), Some(&true), "{other}");
    }
}

#[test]
fn the_log_says_that_a_mounted_file_had_a_run_done_again() {
    let project = Project::new(&bound("type=bind,source=app,target=/app"));
    let reasons = || {
        let built = project.build(&["-v"]);
        built.err.lines().filter(|line| line.contains("not taken from the build cache")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(reasons().iter().all(|line| line.contains("no step has had exactly these inputs")));
    assert_eq!(reasons(), Vec::<String>::new());
    project.write("app/a.py", "print(9)\n");
    let reasons = reasons();
    let of_run: Vec<&String> = reasons.iter().filter(|line| line.contains("a mounted file is new or gone")).collect();
    assert_eq!((of_run.len(), reasons.len()), (1, 1), "{reasons:?}");
}

#[test]
fn a_run_with_a_stage_mounted_is_done_again_when_the_stage_changes() {
    let project = Project::new(&bound("type=bind,from=one,source=/seen,target=/app"));
    let first = project.build(&[]);
    project.write("app/b.py", "not in the stage\n");
    let second = project.build(&[]);
    assert_eq!((second.cached.last(), &second.digest), (Some(&true), &first.digest));
    project.write("app/a.py", "print(7)\n");
    let third = project.build(&[]);
    assert_eq!(third.cached.last(), Some(&false));
    assert_ne!(third.digest, first.digest);
}
