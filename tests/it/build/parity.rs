//! Images built by mpimg equal those that today's BuildKit builds from the same Dockerfile: files,
//! owners, modes, links, configuration.
//!
//! Each folder of fixtures/dockerfiles is a build context. `prepare.sh` in it, if there, makes what
//! git cannot keep (modes, links, archives) and runs in a copy of the folder.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::buildkit::{self, Build, Buildkit};
use crate::git_daemon::GitDaemon;
use crate::home::Home;
use crate::registry::fixture::free_address;
use crate::skip::{Missing, skip};
use crate::tree::{Tree, config_of_layout};
use crate::{judge, judges, run};

/// The image that fixtures name in FROM.
const BASE: &str = "fixture-base:1";

/// What the configurations are compared by.
const CONFIG: &[&str] = &[
    "User",
    "Env",
    "Entrypoint",
    "Cmd",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "Shell",
    "OnBuild",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dockerfiles")
}

/// A copy of a fixture's folder, prepared: the build context, without what is not part of it.
struct Case {
    folder: TempDir,
    /// Serves the fixture's folder `served`, or the git repositories in its folder `repositories`.
    server: Option<Server>,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path().join("context");
        run(judge("cp").arg("-a").arg(fixtures().join(name)).arg(&context));
        // A clone's modes and owners are those of whoever cloned.
        run(judge("chmod").args(["-R", "u=rwX,go=rX"]).arg(&context));
        run(judge("chown").args(["-R", "0:0"]).arg(&context));
        let script = context.join("prepare.sh");
        if script.exists() {
            run(judge("bash").args(["-euc", "umask 022; . ./prepare.sh"]).current_dir(&context));
            std::fs::remove_file(&script).unwrap();
        }
        let there = |name: &str| Some(context.join(name)).filter(|folder| folder.is_dir());
        let server = match there("repositories") {
            Some(folder) => Some(Server::Git(GitDaemon::start(&folder))),
            None => there("served").map(|folder| Server::Web(WebServer::start(&folder))),
        };
        Self { folder, server }
    }

    fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    /// Flags for the build: a line of the Dockerfile that begins with `# flags:`. `@SERVER@` in
    /// them is the host and port of the server.
    fn flags(&self) -> Vec<String> {
        let read = |name: &str| std::fs::read(self.context().join(name));
        let text = read("Dockerfile").or_else(|_| read("dockerfile")).unwrap();
        let text = String::from_utf8_lossy(&text);
        let flags = text.lines().filter_map(|line| line.strip_prefix("# flags:"));
        let server = self.server.as_ref().map_or(String::new(), |server| server.address().to_string());
        flags.flat_map(str::split_whitespace).map(|flag| flag.replace("@SERVER@", &server)).collect()
    }
}

/// What serves a fixture's files or repositories.
enum Server {
    Web(WebServer),
    Git(GitDaemon),
}

impl Server {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Web(server) => server.address,
            Self::Git(daemon) => daemon.address,
        }
    }
}

/// A web server that ends with the test.
struct WebServer {
    address: SocketAddr,
    process: Child,
}

impl WebServer {
    fn start(folder: &Path) -> Self {
        let address = free_address();
        let mut httpd = judge("busybox");
        httpd.args(["httpd", "-f", "-p", &address.to_string(), "-h"]).arg(folder);
        let server = Self { address, process: httpd.spawn().unwrap() };
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Paths in which a fixture's image differs, with the reason. The test holds exactly these: a row
/// goes when its fault goes.
const DIFFERENCES: &[(&str, &[&str])] = &[
    // A file that replaces one of the destination keeps its second name; BuildKit's layer parts
    // them.
    ("copy-folders", &["/opt/data/one"]),
    // Meant: a new link to a file of an earlier layer is one. BuildKit's layer has a second file.
    ("run-files", &["/made/new"]),
    ("run-links", &["/d/c", "/d/e"]),
];

/// Builds the fixture with mpimg and with BuildKit, and compares the images.
fn compare(name: &str) {
    if !buildkit::is_built() {
        skip!(Missing::BuildKit);
    }
    let case = Case::new(name);
    let flags = case.flags();
    let layout = build_with_mpimg(&case, &flags);
    let base = judges().join("base");
    let buildkit = Buildkit::start();
    let build = Build { context: &case.context(), images: &[(BASE, &base, "base")], flags: &flags };
    let expected = buildkit.build(&build);
    let tree = Tree::of_layout(&layout, "built");
    let mut differences = tree.differences("mpimg   ", &Tree::of_layout(&expected, "built"), "BuildKit");
    let config = |layout: &Path| comparable(config_of_layout(layout, "built")["config"].take());
    differences.extend(config_differences(&config(&layout), &config(&expected)));
    let found: Vec<&str> = differences.iter().map(|difference| difference.lines().next().unwrap_or_default()).collect();
    let known = DIFFERENCES.iter().find(|(fixture, _)| *fixture == name).map_or(&[][..], |(_, paths)| paths);
    assert_eq!(found, known, "{name} differs:\n{}", differences.join("\n"));
}

/// The compared fields; an empty one is one that is not there.
fn comparable(config: Value) -> Map<String, Value> {
    let Value::Object(fields) = config else { return Map::new() };
    let mut fields: Map<String, Value> = fields.into_iter().filter(|(name, _)| CONFIG.contains(&name.as_str())).collect();
    if let Some(Value::Object(check)) = fields.get_mut("Healthcheck") {
        // 0 means inherited, as does an absent value.
        check.retain(|_, value| value != 0 && !value.is_null());
    }
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
        _ => true,
    });
    fields
}

fn config_differences(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Vec<String> {
    let show = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
    let different = CONFIG.iter().filter(|field| ours.get(**field) != theirs.get(**field));
    different
        .map(|field| format!("config {field}\n  mpimg   : {}\n  BuildKit: {}", show(ours.get(*field)), show(theirs.get(*field))))
        .collect()
}

/// Builds the context with mpimg: an OCI layout with the tag `built`.
fn build_with_mpimg(case: &Case, flags: &[String]) -> PathBuf {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", BASE]).arg(judges().join("base")));
    let layout = case.folder.path().join("layout");
    let output = format!("oci:{}:built", layout.display());
    run(home.mpimg().args(["build", "-q", "--output", &output]).args(flags).arg(case.context()));
    layout
}

macro_rules! fixtures {
    ($($test:ident $folder:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            compare($folder);
        })*

        #[test]
        fn every_fixture_has_a_test() {
            let listed: BTreeSet<String> = [$($folder),*].into_iter().map(str::to_owned).collect();
            let found = fixtures().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(found.collect::<BTreeSet<String>>(), listed);
        }
    };
}

fixtures! {
    accounts_by_links "accounts-by-links",
    add_archives "add-archives",
    add_archives_climbing "add-archives-climbing",
    add_archives_implied "add-archives-implied",
    add_archives_over_links "add-archives-over-links",
    add_git "add-git",
    add_url "add-url",
    add_url_checksum "add-url-checksum",
    add_zstd "add-zstd",
    arg_after_env "arg-after-env",
    build_args "build-args",
    chmod "chmod",
    chmod_symbolic "chmod-symbolic",
    chown "chown",
    config "config",
    config_cmd_reset "config-cmd-reset",
    config_health_none "config-health-none",
    config_shell "config-shell",
    config_words "config-words",
    context_odd "context-odd",
    copy_exclude "copy-exclude",
    copy_files "copy-files",
    copy_folders "copy-folders",
    copy_from "copy-from",
    copy_from_special "copy-from-special",
    copy_hard_links "copy-hard-links",
    copy_heredoc "copy-heredoc",
    copy_into_setgid "copy-into-setgid",
    copy_left_out_folders "copy-left-out-folders",
    copy_link "copy-link",
    copy_links "copy-links",
    copy_names "copy-names",
    copy_onto_name "copy-onto-name",
    copy_over_files "copy-over-files",
    copy_over_links "copy-over-links",
    copy_parents "copy-parents",
    copy_patterns "copy-patterns",
    copy_special_bits "copy-special-bits",
    dockerignore "dockerignore",
    dockerignore_invert "dockerignore-invert",
    dockerignore_own "dockerignore-own",
    env_arg "env-arg",
    epoch_of_stage "epoch-of-stage",
    expansion "expansion",
    heredoc_beside_from "heredoc-beside-from",
    heredocs "heredocs",
    lower_case "lower-case",
    many_layers "many-layers",
    onbuild "onbuild",
    platform "platform",
    run_copy_mixed "run-copy-mixed",
    run_environment "run-environment",
    run_files "run-files",
    run_heredoc "run-heredoc",
    run_links "run-links",
    run_mounts "run-mounts",
    run_mounts_at_one_place "run-mounts-at-one-place",
    run_mounts_special "run-mounts-special",
    run_replace "run-replace",
    run_same_layer "run-same-layer",
    run_scratch "run-scratch",
    run_special "run-special",
    run_users "run-users",
    run_volume "run-volume",
    run_working_folder "run-working-folder",
    scratch "scratch",
    scratch_only "scratch-only",
    stage_names "stage-names",
    stages "stages",
    stages_target "stages-target",
    syntax "syntax",
    syntax_crlf "syntax-crlf",
    syntax_escape "syntax-escape",
    workdir "workdir",
    workdir_user "workdir-user",
}
