//! What `mpimg mp-build` leaves for the next step of a job, and what it says of an image that the
//! product cannot pull.

use std::process::Command;

use serde_json::Value;

use super::{alone, make, make_bare, package, pak_in, python, read_pak, said, store};
use crate::cli::fixture::{Left, Serving};
use crate::home::Home;
use crate::registry::fixture::free_address;
use crate::skip::needs_root;

fn mp_build(home: &Home, arguments: &[&str]) -> Command {
    let mut mpimg = home.mpimg();
    mpimg.env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(home)).env("LC_ALL", "C.UTF-8");
    mpimg.arg("mp-build").args(arguments);
    mpimg
}

#[test]
fn a_job_reads_one_object_and_the_digest_and_one_warning_with_a_remedy() {
    needs_root!();
    let (home, registry) = (Home::new(), Serving::private());
    let project = home.path().join("project");
    make_bare(&home, &project);
    crate::run(home.mpimg().args(["login", &registry.host, "-u", "user", "-p", "pass word"]));
    let repository = format!("{}/mp/adapter", registry.host);
    let port = free_address().port().to_string();
    let usual = ["--no-ttl", "-i", "-p", "project", "-P", &port, "-r", &repository, "--digest-file", "digest", "--json"];
    let left = Left::of(mp_build(&home, &usual).output().unwrap()).done();
    let answer = left.json();
    let digest = std::fs::read_to_string(home.path().join("digest")).unwrap();
    let pak = pak_in(&project);
    assert_eq!(answer["pak"], pak.display().to_string());
    assert_eq!((answer["digest"].as_str(), answer["repository"].as_str()), (Some(digest.as_str()), Some(repository.as_str())));
    assert_eq!((&answer["anonymous_pull"], read_pak(&pak).1["DIGEST"].as_str()), (&Value::Bool(false), digest.as_str()));
    assert!(answer["seconds"].is_number() && answer["tag"].is_string(), "{answer}");
    assert!(left.err.contains("Build Succeeded"), "what the SDK prints is on standard error: {}", left.err);
    assert_eq!(left.err.matches("cannot pull").count(), 1, "one warning: {}", left.err);
    assert!(left.err.contains("hint: make the repository public"), "{}", left.err);

    std::fs::remove_file(home.path().join("digest")).unwrap();
    let required = [&usual[..], &["--require-anonymous-pull"]].concat();
    let left = Left::of(mp_build(&home, &required).output().unwrap());
    assert_eq!(left.code, Some(1), "{}", left.err);
    let error = left.json()["error"].take();
    assert!(error["message"].as_str().unwrap().contains("cannot pull it without logging in"), "{error}\n{}", left.err);
    assert!(error["hint"].as_str().unwrap().starts_with("make the repository public"), "{error}");
    assert!(!home.path().join("digest").exists());
}

#[test]
fn an_adapter_that_the_product_cannot_ask_is_warned_of() {
    needs_root!();
    let (home, registry) = (Home::new(), Serving::open());
    let project = home.path().join("project");
    make_bare(&home, &project);
    let (repository, port) = (format!("{}/mp/adapter", registry.host), free_address().port().to_string());
    // Without -i the product asks by HTTPS, which this adapter does not answer.
    let left =
        Left::of(mp_build(&home, &["--no-ttl", "--json", "-p", "project", "-P", &port, "-r", &repository]).output().unwrap());
    let left = left.done();
    let answer = left.json();
    assert_eq!(answer["as_product"]["passed"], false, "{answer}");
    pak_in(&project);
    let warning = "the product may not be able to run this adapter: https: the adapter answers plain HTTP on port 8080";
    assert!(left.err.contains(warning), "{}", left.err);
}

#[test]
fn without_a_python_standard_output_has_the_error_wherever_json_stands() {
    let home = Home::new();
    for arguments in [["mp-build", "--json"], ["--json", "mp-build"]] {
        let left = Left::of(home.mpimg().env("MPIMG_PYTHON", "/nowhere").args(arguments).output().unwrap());
        assert_eq!(left.code, Some(1), "{}", left.err);
        assert_eq!(left.json()["error"]["message"], "cannot find a Python with the Integration SDK", "{arguments:?}");
    }
}

#[test]
fn the_path_of_a_project_may_have_a_colon() {
    needs_root!();
    let (home, registry) = (Home::new(), Serving::open());
    let project = home.path().join("packs: new/my:adapter");
    std::fs::create_dir(project.parent().unwrap()).unwrap();
    make_bare(&home, &project);
    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    std::fs::write(project.join("Dockerfile"), dockerfile.replace("exec httpd", ": >/var/log/started; exec httpd")).unwrap();
    let (repository, port) = (format!("{}/mp/adapter", registry.host), free_address().port().to_string());
    let path = project.display().to_string();
    Left::of(mp_build(&home, &["--no-ttl", "-i", "-p", &path, "-P", &port, "-r", &repository]).output().unwrap()).done();
    let (files, conf) = read_pak(&pak_in(&project));
    assert!(files.iter().any(|(name, _)| name == "adapter.zip/NewPython/conf/describe.xml"), "{files:?}");
    assert_eq!(conf["REPOSITORY"], "/mp/adapter");
    assert!(project.join("logs/started").exists(), "the adapter's logs are elsewhere");
}

#[test]
fn a_folder_that_is_no_project_is_an_error_and_not_another_project() {
    let home = Home::new();
    let project = home.path().join("project");
    make_bare(&home, &project);
    std::fs::create_dir(home.path().join("empty")).unwrap();
    for (path, message) in [
        ("/nowhere/at/all", "`/nowhere/at/all` is not a folder"),
        ("../empty", "`../empty` is not a project, and the current folder is another one"),
    ] {
        let left = Left::of(mp_build(&home, &["--no-ttl", "-p", path]).current_dir(&project).output().unwrap());
        assert_eq!(left.code, Some(1));
        assert_eq!(left.err, format!("error: {message}\nhint: name the project's folder with -p\n"));
        let json = Left::of(mp_build(&home, &["--json", "--no-ttl", "-p", path]).current_dir(&project).output().unwrap());
        assert_eq!(json.json()["error"]["message"], message);
        assert!(!project.join("build").exists());
    }
}

#[test]
fn a_wrong_repository_or_file_of_certificates_is_told_before_anything_is_built() {
    let home = Home::new();
    let project = home.path().join("project");
    make_bare(&home, &project);
    let refused = |arguments: &[&str]| {
        let left = Left::of(mp_build(&home, &[&["--no-ttl", "-p", "project"], arguments].concat()).output().unwrap());
        assert!(!project.join("build").exists() && !left.err.contains("base image"), "{}", left.err);
        (left.code, left.err)
    };
    for (repository, message, hint) in [
        ("https://h.example.com/x", "is an address, not an image reference", "leave out the `https://`: `h.example.com/x`"),
        ("h.example.com", "is a host without a path", "write it as HOST[:PORT]/PATH: `h.example.com/project/adapter`"),
        ("h.example.com/x:1", "has a tag", "leave `:1` out: mp-build's tag is the version and the time"),
    ] {
        let told = (Some(1), format!("error: `{repository}` {message}\nhint: {hint}\n"));
        assert_eq!(refused(&["-r", repository]), told);
        assert_eq!(refused(&["-r", "h.example.com/x", "--push-registry", repository]), told);
        std::fs::write(project.join("config.json"), format!(r#"{{"container_repository": "{repository}"}}"#)).unwrap();
        assert_eq!(refused(&[]), told);
        std::fs::remove_file(project.join("config.json")).unwrap();
    }
    let manifest = std::fs::read_to_string(project.join("manifest.txt")).unwrap();
    let without = manifest.replace("\"NewPython\"", "");
    assert_ne!(without, manifest);
    std::fs::write(project.join("manifest.txt"), without).unwrap();
    let told = refused(&["-r", "h.example.com/x"]).1;
    assert!(told.contains("names no adapter kind\nhint: set `adapter_kinds`"), "{told}");
    std::fs::write(project.join("manifest.txt"), manifest).unwrap();
    for flag in ["--ca-file", "--run-ca-file"] {
        let (code, told) = refused(&["-r", "h.example.com/x", flag, "nosuch"]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.ends_with(&format!("error: argument {flag}: cannot read `nosuch`: No such file or directory\n")), "{told}");
    }
}

#[test]
fn in_json_a_refused_login_and_an_adapter_that_ends_are_what_they_are() {
    needs_root!();
    let (home, private, open) = (Home::new(), Serving::private(), Serving::open());
    let project = home.path().join("project");
    make_bare(&home, &project);
    let port = free_address().port().to_string();
    let failed = |host: &str, login: &[&str]| {
        let repository = format!("{host}/mp/adapter");
        let usual = ["--no-ttl", "--json", "-i", "-p", "project", "-P", &port, "-r", &repository];
        let left = Left::of(mp_build(&home, &[&usual[..], login].concat()).output().unwrap());
        assert_eq!(left.code, Some(1), "{}", left.err);
        left.json()["error"].take()
    };
    let login = format!("log in with `mpimg login {}`", private.host);
    let error = failed(&private.host, &[]);
    assert_eq!((&error["kind"], &error["hint"]), (&"auth".into(), &login.into()), "{error}");
    let error = failed(&private.host, &["--registry-username", "user", "--registry-password", "wrong"]);
    assert_eq!(error["kind"], "auth", "{error}");
    assert!(error["causes"][0].as_str().unwrap().contains("refuses the login as `user`"), "{error}");

    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    std::fs::write(project.join("Dockerfile"), dockerfile.replace("exec httpd", "echo no licence; exit 3; exec httpd")).unwrap();
    let error = failed(&open.host, &[]);
    assert_eq!(error["kind"], "project", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("the adapter ended with exit code 3 before it answered") && message.contains("no licence"),
        "{error}"
    );
}

#[test]
fn another_package_of_the_name_is_recognised() {
    let home = Home::new();
    let other = home.path().join("other/mpimg");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("__init__.py"), "raise SystemExit(99)\n").unwrap();
    let mut command = mp_build(&home, &["--no-ttl"]);
    let left = Left::of(command.env("PYTHONPATH", home.path().join("other")).output().unwrap());
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("has another package called `mpimg`, which is not this one"), "{}", left.err);
    assert!(left.err.contains("-m pip uninstall mpimg`, which belongs to somebody else"), "{}", left.err);
}

#[test]
fn no_text_tells_anybody_to_install_the_wrong_package() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = crate::run(Command::new("git").args(["-C", root.to_str().unwrap(), "ls-files"]));
    let wrong = regex::Regex::new(r"pip3? install (?:[-\w]+ )*mpimg\b[^-_/]").unwrap();
    let is_text = |name: &str| {
        [".md", ".rs", ".py", ".yml", ".yaml", ".toml", "Jenkinsfile", "build"].iter().any(|end| name.ends_with(end))
    };
    for name in listed.lines().filter(|name| is_text(name) && !name.ends_with("results.rs")) {
        let text = std::fs::read_to_string(root.join(name)).unwrap_or_default();
        assert!(wrong.find(&text).is_none(), "{name}: {:?}", wrong.find(&text));
    }
}

#[test]
fn a_build_that_fails_names_the_line_of_the_dockerfile() {
    let _alone = alone();
    let home = Home::new();
    let project = home.path().join("wrong");
    make(&home, "new", &project);
    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    for (line, says) in [
        ("COPIE commands.cfg .", "unknown instruction `COPIE`"),
        ("RUN echo 'E: Unable to locate package x'; exit 100", "E: Unable to locate package x"),
    ] {
        std::fs::write(project.join("Dockerfile"), format!("{dockerfile}\n{line}\n")).unwrap();
        let number = dockerfile.lines().count() + 2;
        let arguments = ["--no-ttl", "-i", "--json", "-r", "127.0.0.1:1/mp/wrong", "-p", project.to_str().unwrap()];
        let output = mp_build(&home, &arguments).env("MPIMG_HOME", store()).output().unwrap();
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains(says) && shown.contains(&format!("Dockerfile:{number}: {line}")), "{shown}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["error"]["line"], &answer["error"]["text"]), (&number.into(), &line.into()), "{answer}");
    }
}
