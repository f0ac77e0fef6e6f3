use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::super::{ContextOptions, IgnoreFile};
use super::*;

/// A repository of real git's.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new(options: &[&str]) -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&[&["init", "-q", "-b", "main"], options].concat());
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, arguments: &[&str]) {
        self.git_at(arguments, 0);
    }

    fn git_at(&self, arguments: &[&str], time: i64) {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.path()).args(["-c", "user.name=A > B", "-c", "user.email=a@b"]).args(arguments);
        git.env("GIT_COMMITTER_DATE", format!("@{time} +0130")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "{arguments:?}");
    }

    fn commit(&self, message: &str, time: i64) {
        self.git_at(&["commit", "-q", "--allow-empty", "-m", message], time);
    }

    fn time(&self) -> Option<i64> {
        last_commit_time(self.path()).unwrap()
    }
}

#[test]
fn the_time_is_that_of_the_commit_that_is_checked_out() {
    for options in [&[][..], &["--object-format=sha256"]] {
        let repository = Repository::new(options);
        assert_eq!(repository.time(), None, "no commit yet");
        repository.commit("one", 1_600_000_000);
        assert_eq!(repository.time(), Some(1_600_000_000));
        repository.commit("two", 1_700_000_000);
        assert_eq!(repository.time(), Some(1_700_000_000));
        let below = repository.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        assert_eq!(last_commit_time(&below).unwrap(), Some(1_700_000_000));
        repository.git(&["worktree", "add", "-q", "tree", "HEAD~1"]);
        repository.git(&["pack-refs", "--all"]);
        repository.git(&["gc", "-q"]);
        assert_eq!(repository.time(), Some(1_700_000_000), "in a pack");
        assert_eq!(last_commit_time(&repository.path().join("tree")).unwrap(), Some(1_600_000_000), "an added work tree");
        let clone = tempfile::tempdir().unwrap();
        repository.git(&["clone", "-q", "--shared", ".", clone.path().to_str().unwrap()]);
        assert_eq!(last_commit_time(clone.path()).unwrap(), Some(1_700_000_000), "objects of another repository");
    }
    assert_eq!(last_commit_time(Path::new("/")).unwrap(), None);
}

#[test]
fn commits_that_are_deltas_are_put_together() {
    let repository = Repository::new(&[]);
    // Long messages that differ little: git stores commits as deltas of each other.
    let message: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    let times = 1_600_000_000..1_600_000_020;
    times.clone().for_each(|time| repository.commit(&format!("{message}{time}"), time));
    for setting in ["true", "false"] {
        repository.git(&["-c", &format!("repack.useDeltaBaseOffset={setting}"), "repack", "-q", "-a", "-d", "-f", "--depth=50"]);
        for time in times.clone().rev() {
            repository.git(&["checkout", "-q", "--detach", &format!("main~{}", times.end - 1 - time)]);
            assert_eq!(repository.time(), Some(time));
        }
    }
}

#[test]
fn nothing_in_the_folder_is_run() {
    let repository = Repository::new(&[]);
    repository.commit("one", 1_600_000_000);
    let program = repository.path().join("program");
    let mark = repository.path().join("mark");
    std::fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    for setting in ["gpg.program", "core.fsmonitor", "core.pager", "core.sshCommand"] {
        repository.git(&["config", setting, program.to_str().unwrap()]);
    }
    repository.git(&["config", "log.showSignature", "true"]);
    assert_eq!(repository.time(), Some(1_600_000_000));
    assert!(!mark.exists());
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let damage = |damage: &dyn Fn(&Path)| {
        let repository = Repository::new(&[]);
        repository.commit("one", 1_600_000_000);
        damage(&repository.path().join(".git"));
        let error = last_commit_time(repository.path()).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the last commit of `"), "{error}");
        error.causes().join(": ")
    };
    let write = |name: &'static str, text: &'static str| {
        move |git: &Path| {
            std::fs::write(git.join(name), text).unwrap();
        }
    };
    assert!(damage(&|git| std::fs::remove_dir_all(git.join("objects")).unwrap()).contains("is not in the repository"));
    assert!(damage(&write("HEAD", "ref: refs/heads/.invalid\n")).contains("reftable"));
    assert!(damage(&write("HEAD", "ref: ../../outside\n")).contains("not the name of a reference"));
    assert!(damage(&write("HEAD", "ref: HEAD\n")).contains("not the name of a reference"));
    assert!(damage(&write("refs/heads/main", "ref: refs/heads/main\n")).contains("too many"));
    assert!(damage(&write("refs/heads/main", "nothing\n")).contains("does not name a commit"));
}

#[test]
fn a_work_tree_whose_repository_is_gone_is_an_error_and_not_a_folder_without_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".git"), "gitdir: /nowhere/.git/worktrees/x\n").unwrap();
    let error = last_commit_time(folder.path()).unwrap_err();
    assert!(error.causes().iter().any(|cause| cause == "`/nowhere/.git/worktrees/x/HEAD` is not there"), "{error:?}");
}

#[test]
fn damaged_packs_do_not_panic() {
    let repository = Repository::new(&[]);
    (0..20).for_each(|number| repository.commit(&format!("message {number}"), 1_600_000_000 + number));
    repository.git(&["gc", "-q"]);
    let folder = repository.path().join(".git/objects/pack");
    let files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for path in files.iter().filter(|path| path.extension().is_some_and(|name| name == "idx" || name == "pack")) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let whole = std::fs::read(path).unwrap();
        for _ in 0..200 {
            let mut bytes = whole.clone();
            (0..8).for_each(|_| bytes[random.usize(..whole.len())] = random.u8(..));
            bytes.truncate(random.usize(..=whole.len()));
            std::fs::write(path, bytes).unwrap();
            let _ = last_commit_time(repository.path());
        }
        std::fs::write(path, whole).unwrap();
    }
    assert_eq!(repository.time(), Some(1_600_000_019));
}

#[test]
fn whether_the_work_tree_is_as_it_was_committed_is_what_git_says() {
    let long = "l".repeat(200);
    for options in [&[][..], &["--object-format=sha256"]] {
        let repository = Repository::new(options);
        let at = |name: &str| repository.path().join(name);
        assert_eq!(is_modified(repository.path()), None, "no commit yet");
        ["a", "a/b", "a-c", "empty"].iter().for_each(|name| std::fs::create_dir(at(name)).unwrap());
        for name in ["a/b/file", "a.txt", "a-c/x", "a0", "run", "a/b/\u{fc}", &long] {
            std::fs::write(at(name), name).unwrap();
        }
        std::fs::set_permissions(at("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("a/b/file", at("link")).unwrap();
        repository.git(&["add", "-A"]);
        assert_eq!(is_modified(repository.path()), None, "no commit yet");
        repository.commit("one", 1_700_000_000);
        std::fs::write(at("unknown"), "to git").unwrap();
        let expect = |modified: bool, why: &str| {
            for version in ["2", "3", "4"] {
                repository.git(&["update-index", "--index-version", version]);
                assert_eq!(is_modified(&at("a/b")), Some(modified), "{why}, version {version}, {options:?}");
            }
        };
        expect(false, "nothing");
        std::fs::write(at("a.txt"), "a.tXt").unwrap();
        expect(true, "content of the same length");
        std::fs::write(at("a.txt"), "a.txt").unwrap();
        expect(false, "written again");
        std::fs::set_permissions(at("a0"), std::fs::Permissions::from_mode(0o755)).unwrap();
        expect(true, "mode");
        repository.git(&["config", "core.fileMode", "false"]);
        expect(false, "a mode that does not count");
        std::fs::set_permissions(at("a0"), std::fs::Permissions::from_mode(0o644)).unwrap();
        repository.git(&["config", "--unset", "core.fileMode"]);
        std::fs::remove_file(at("link")).unwrap();
        expect(true, "gone");
        std::os::unix::fs::symlink("a/b/filE", at("link")).unwrap();
        expect(true, "another target");
        std::fs::remove_file(at("link")).unwrap();
        std::fs::write(at("link"), "a/b/file").unwrap();
        expect(true, "another type");
        repository.git(&["checkout", "-q", "link"]);
        expect(false, "as it was");
        std::fs::write(at("a-c/new"), "").unwrap();
        repository.git(&["add", "a-c/new"]);
        expect(true, "added, not committed");
        repository.commit("two", 1_700_000_001);
        expect(false, "committed");
        repository.git(&["rm", "-q", "--cached", "a0"]);
        expect(true, "to be removed");
        repository.git(&["reset", "-q"]);
        repository.git(&["update-index", "--skip-worktree", "a0"]);
        std::fs::remove_file(at("a0")).unwrap();
        assert_eq!(is_modified(repository.path()), Some(false), "left out on purpose");
        std::fs::write(at("a0"), "another").unwrap();
        assert_eq!(is_modified(repository.path()), Some(true), "left out, and there all the same");
        std::fs::remove_file(at("a0")).unwrap();
        repository.git(&["update-index", "--no-skip-worktree", "a0"]);
        repository.git(&["checkout", "-q", "a0"]);
        // What git may convert is not told by the bytes.
        std::fs::write(at(".gitattributes"), "*.txt text eol=crlf\n").unwrap();
        repository.git(&["add", "-A"]);
        repository.commit("three", 1_700_000_002);
        std::fs::write(at("a.txt"), "a.txt\r\n").unwrap();
        assert_eq!(is_modified(repository.path()), None);
        repository.git(&["update-index", "--split-index"]);
        assert_eq!(is_modified(repository.path()), None, "a part of the index is elsewhere");
    }
    assert_eq!(is_modified(Path::new("/")), None);
}

#[test]
fn a_repository_in_the_repository_counts_with_its_commit_and_its_files() {
    let (inner, repository) = (Repository::new(&[]), Repository::new(&[]));
    std::fs::write(inner.path().join("file"), "1").unwrap();
    inner.git(&["add", "-A"]);
    inner.commit("inner", 1_700_000_000);
    let source = inner.path().to_str().unwrap();
    repository.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", source, "sub"]);
    repository.commit("one", 1_700_000_000);
    assert_eq!(is_modified(repository.path()), Some(false));
    let file = repository.path().join("sub/file");
    std::fs::write(&file, "2").unwrap();
    assert_eq!(is_modified(repository.path()), Some(true), "its file");
    std::fs::write(&file, "1").unwrap();
    let sub = Repository(tempfile::tempdir().unwrap());
    sub.git(&["-C", file.parent().unwrap().to_str().unwrap(), "commit", "-q", "--allow-empty", "-m", "two"]);
    assert_eq!(is_modified(repository.path()), Some(true), "its commit");
    std::fs::remove_dir_all(repository.path().join("sub")).unwrap();
    std::fs::create_dir(repository.path().join("sub")).unwrap();
    assert_eq!(is_modified(repository.path()), Some(false), "not checked out");
}

#[test]
fn a_file_of_the_context_that_git_does_not_have_is_untracked() {
    let (inner, repository) = (Repository::new(&[]), Repository::new(&[]));
    let untracked = |folder: &str, ignore: Option<&str>| {
        let ignore = ignore.map(|text| IgnoreFile { name: ".dockerignore".to_owned(), text: text.into() });
        let context = BuildContext::open(&repository.path().join(folder), ContextOptions { ignore, sdk: false }).unwrap();
        has_untracked(&context)
    };
    assert_eq!(untracked("", None), None, "no commit yet");
    std::fs::write(inner.path().join("file"), "1").unwrap();
    inner.git(&["add", "-A"]);
    inner.commit("inner", 1_700_000_000);
    let source = inner.path().to_str().unwrap();
    repository.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", source, "sub"]);
    std::fs::create_dir_all(repository.path().join("app/src")).unwrap();
    for name in ["app/src/main", "app/src.txt", "app/src0", "top"] {
        std::fs::write(repository.path().join(name), name).unwrap();
    }
    std::fs::write(repository.path().join(".gitignore"), "*.log").unwrap();
    repository.git(&["add", "-A"]);
    repository.commit("one", 1_700_000_000);
    assert_eq!(untracked("", None), Some(false));
    assert_eq!(untracked("app", None), Some(false));
    std::fs::create_dir(repository.path().join("app/empty")).unwrap();
    assert_eq!(untracked("app", None), Some(false), "a folder is nothing to git");
    std::fs::write(repository.path().join("out.log"), "").unwrap();
    assert_eq!(untracked("", None), Some(true), "in the context, whatever .gitignore says");
    assert_eq!(untracked("", Some("out.log")), Some(false), "not in the context");
    assert_eq!(untracked("app", None), Some(false), "elsewhere");
    std::os::unix::fs::symlink("x", repository.path().join("app/src/link")).unwrap();
    assert_eq!(untracked("app", None), Some(true), "a link");
    assert_eq!(untracked("sub", None), Some(false), "another repository's");
    std::fs::remove_file(repository.path().join("out.log")).unwrap();
    std::fs::remove_file(repository.path().join("app/src/link")).unwrap();
    assert_eq!(untracked("", None), Some(false));
    let stranger = repository.path().join("sub/stranger");
    std::fs::write(&stranger, "").unwrap();
    assert_eq!(untracked("", None), Some(true), "in a submodule");
    std::fs::remove_dir_all(repository.path().join("sub")).unwrap();
    std::fs::create_dir(repository.path().join("sub")).unwrap();
    assert_eq!(untracked("", None), Some(false), "a submodule that is not checked out");
    std::fs::write(&stranger, "").unwrap();
    assert_eq!(untracked("", None), Some(true), "in the place of a submodule");
}

#[test]
fn a_damaged_index_is_no_crash() {
    let repository = Repository::new(&[]);
    std::fs::write(repository.path().join("file"), "1").unwrap();
    repository.git(&["add", "-A"]);
    repository.commit("one", 1_700_000_000);
    let index = repository.path().join(".git/index");
    let bytes = std::fs::read(&index).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        std::fs::write(&index, &damaged).unwrap();
        let _ = is_modified(repository.path());
        std::fs::write(&index, &bytes[..at]).unwrap();
        assert_ne!(is_modified(repository.path()), Some(false), "{at} bytes");
    }
}
