//! Build contexts in git repositories and on the web, as docker has them. git's own daemon serves
//! the repositories.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fixture::{Left, run, text, write};
use crate::git_daemon::GitDaemon;
use crate::home::Home;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for (name, value) in [("NAME", "a"), ("EMAIL", "a@example.com"), ("DATE", "1700000000 +0000")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    crate::run(command.args(["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"]).args(arguments))
}

/// A repository with two commits: `v1` is a tag of the first.
fn repository(home: &Home) -> PathBuf {
    let folder = home.path().join("repositories/app");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    git(&folder, &["init", "--quiet"]);
    write(&folder, "Dockerfile", "FROM scratch\nCOPY . /\n");
    write(&folder, "file", "one\n");
    write(&folder, "sub/Dockerfile", "FROM scratch\nCOPY inner /\n");
    write(&folder, "sub/inner", "inner\n");
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "--quiet", "-m", "one"]);
    git(&folder, &["tag", "v1"]);
    write(&folder, "file", "two\n");
    git(&folder, &["commit", "--quiet", "-am", "two"]);
    folder
}

/// The image's files, and when it was made.
fn built(home: &Home, arguments: &[&str]) -> (Vec<String>, String) {
    let mut command = home.mpimg();
    Left::of(command.args(["build", "-q", "-t", "built"]).args(arguments).output().unwrap()).done();
    let image = run(&mut home.mpimg(), ["inspect", "--json", "--files", "built"]).done().json();
    let files = image["layers"].as_array().unwrap().iter().flat_map(|layer| layer["files"].as_array().unwrap());
    let files = files.map(|file| file["path"].as_str().unwrap().trim_matches('/').to_owned()).collect();
    (files, image["created"].as_str().unwrap().to_owned())
}

#[test]
fn a_commit_of_a_repository_is_built_as_a_clone_of_it_is() {
    let home = Home::new();
    let folder = repository(&home);
    let daemon = GitDaemon::start(&home.path().join("repositories"));
    let url = daemon.url("app");
    let (files, created) = built(&home, &[&url]);
    assert_eq!(files, ["Dockerfile", "file", "sub", "sub/Dockerfile", "sub/inner"], ".git is no part of it");
    assert_eq!(created, "2023-11-14T22:13:20Z", "the time of the commit");
    let digest = |context: &str| run(&mut home.mpimg(), ["build", "-q", context]).done().out;
    // A clone has the same image once .git is left out.
    write(&folder, ".dockerignore", ".git\n.dockerignore\n");
    assert_eq!(digest(&url), digest(text(&folder)));
    git(&folder, &["checkout", "--quiet", "v1"]);
    for reference in ["v1", git(&folder, &["rev-parse", "v1"]).trim(), "refs/tags/v1"] {
        assert_eq!(digest(&format!("{url}#{reference}")), digest(text(&folder)), "{reference}");
    }
    assert_eq!(built(&home, &[&format!("{url}#main:sub")]).0, ["inner"]);
}

#[test]
fn what_cannot_be_fetched_is_said_and_nothing_here_is_run_or_read() {
    let home = Home::new();
    let folder = repository(&home);
    // Settings of this user and hooks would start a program.
    let marker = home.path().join("was-run");
    write(&home.path(), ".gitconfig", &format!("[core]\n\tfsmonitor = touch {0}\n\tsshCommand = touch {0}\n", marker.display()));
    // A submodule that is a folder of this machine, and a link that leads out.
    git(&folder, &["submodule", "--quiet", "add", text(&folder), "part"]);
    std::os::unix::fs::symlink("/etc", folder.join("out")).unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "--quiet", "-m", "three"]);
    let daemon = GitDaemon::start(&home.path().join("repositories"));
    let url = daemon.url("app");
    for (address, message) in [
        (url.clone(), "transport 'file' not allowed"),
        (format!("{url}#none"), "cannot fetch `none` of the git repository"),
        (format!("{url}#v1:none"), "the git repository has no folder `none`"),
        (format!("{url}?submodules=false#main:out"), "the git repository has no folder `out`"),
        (format!("{url}?submodules=0&checksum=abcdef0"), ", not abcdef0"),
        ("https://127.0.0.1:1/a.git".into(), "cannot fetch `HEAD` of the git repository"),
        (format!("{url}#-x"), "`-x` would be a flag of git"),
    ] {
        let left = run(&mut home.mpimg(), ["build", &address]);
        assert_ne!(left.code, Some(0), "{address}");
        assert!(left.err.contains(message) && left.err.contains("\nhint: "), "{address}: {}", left.err);
    }
    assert!(!marker.exists());
    assert_eq!(home.work_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_repository_of_add_is_the_commit_that_was_asked_for_and_the_same_image_each_time() {
    let home = Home::new();
    let folder = repository(&home);
    let daemon = GitDaemon::start(&home.path().join("repositories"));
    let context = home.path().join("project");
    std::fs::create_dir(&context).unwrap();
    let build = |add: &str| {
        write(&context, "Dockerfile", &format!("FROM scratch\nADD {add} /\n"));
        run(&mut home.mpimg(), ["build", "-q", "--build-arg", "SOURCE_DATE_EPOCH=1", text(&context)])
    };
    let url = daemon.url("app");
    let (first, second) = (git(&folder, &["rev-parse", "v1"]), git(&folder, &["rev-parse", "main"]));
    let digest = build(&url).done().out;
    let kept = format!("--keep-git-dir=true {url}?tag=v1");
    let with_history = build(&kept).done().out;
    run(&mut home.mpimg(), ["prune", "--all"]).done();
    assert_eq!(build(&kept).done().out, with_history, "no time and no inode of this machine is in it");
    for checksum in [second.trim(), &second[..7]] {
        build(&format!("--checksum={checksum} {url}")).done();
    }
    // The repository moves on, and the cache does not hide it.
    write(&folder, "file", "three\n");
    std::os::unix::fs::symlink("/etc", folder.join("out")).unwrap();
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "--quiet", "-m", "three"]);
    assert_ne!(build(&url).done().out, digest);
    for (add, message) in [
        (format!("--checksum={} {url}", first.trim()), format!(", not {}", first.trim())),
        (format!("--checksum=abcdef0 {url}?checksum=1234567"), "`--checksum` and the address".into()),
        (format!("--keep-git-dir=true {url}?keep-git-dir=false"), "`--keep-git-dir` and the address".into()),
        (format!("{url}?mode=1"), "`mode` is not known".into()),
        (format!("{url}#none"), "cannot fetch `none`".into()),
        // CVE-2026-33748: a folder outside of the repository.
        (format!("{url}#main:../../../../etc"), "has no folder `../../../../etc`".into()),
        (format!("{url}#main:out"), "has no folder `out`".into()),
    ] {
        let left = build(&add);
        assert_ne!(left.code, Some(0), "{add}");
        assert!(left.err.contains(&message) && left.err.contains("Dockerfile:2"), "{add}: {}", left.err);
    }
    assert_eq!(home.work_files(), Vec::<PathBuf>::new());
}

/// Answers each request with these bytes.
fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len()).as_bytes());
            let _ = stream.write_all(&bytes);
        }
    });
    format!("http://{address}")
}

#[test]
fn a_tar_or_a_dockerfile_comes_from_the_web() {
    let home = Home::new();
    let folder = super::fixture::folder(&home, "plain", super::fixture::DOCKERFILE);
    let digest = |arguments: &[&str]| {
        let mut command = home.mpimg();
        Left::of(command.args(["build", "-q"]).args(arguments).output().unwrap()).done().out
    };
    let expected = digest(&[text(&folder)]);
    let tar = Command::new("tar").args(["-C", text(&folder), "-cz", "."]).output().unwrap().stdout;
    let url = serve(tar);
    assert_eq!(digest(&[&format!("{url}/context.tar.gz")]), expected);
    assert_eq!(digest(&["-f", "Dockerfile", &format!("{url}/context.tar.gz?x=1")]), expected);
    // As a build context with a name.
    write(&folder, "Dockerfile", "FROM scratch\nCOPY --from=web app /app\n");
    let named = format!("web={url}/a.tar.gz");
    let (files, _) = built(&home, &["--build-context", &named, text(&folder)]);
    assert_eq!(files, ["app", "app/adapter.py"]);
    let url = serve(b"FROM scratch\nLABEL of=the-web\n".to_vec());
    let (files, _) = built(&home, &[&format!("{url}/Dockerfile")]);
    assert_eq!(files, Vec::<String>::new());
    let left = run(&mut home.mpimg(), ["build", "http://127.0.0.1:1/x.tar"]);
    assert!(left.err.contains("cannot download the build context `http://127.0.0.1:1/x.tar`"), "{}", left.err);
}
