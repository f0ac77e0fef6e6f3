//! The recipes of docs/ci, at the registries that they name: their own commands, with their own
//! addresses, secrets as their CI gives them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::aws::{Aws, ROLE, STS, TOKEN};
use super::http_server::{HttpServer, Reply, Request, Response, forward};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed};
use crate::cli::fixture::Left;
use crate::home::Home;
use crate::judges;
use crate::python::mp_build;
use crate::sbom;
use crate::skip::needs_root;

/// A recipe of docs/ci: its text.
fn recipe(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci").join(name)).unwrap()
}

/// The command of a recipe that has `part` in it, without what its CI puts before it.
fn command<'a>(recipe: &'a str, part: &str) -> &'a str {
    let mut lines = recipe.lines().map(str::trim).filter(|line| line.contains(part) && !line.starts_with('#'));
    let (line, more) = (lines.next().unwrap(), lines.next());
    assert_eq!(more, None);
    line.trim_start_matches("- ").trim_start_matches("run: ")
}

/// What a recipe sets a variable to, in each CI's way to write it.
fn variable<'a>(recipe: &'a str, name: &str) -> &'a str {
    let plain = |line: &'a str| line.trim().strip_prefix(name)?.trim_start().strip_prefix([':', '=']);
    let kubernetes = |line: &'a str| line.trim().strip_prefix("- { name: ")?.strip_prefix(name)?.strip_prefix(", value: ");
    let found = recipe.lines().find_map(|line| plain(line).or_else(|| kubernetes(line)));
    found.unwrap_or_else(|| panic!("no {name} in\n{recipe}")).trim_matches([' ', '}', '\'', '"'])
}

/// A job: an empty store, the project, and what the CI has set.
struct Job {
    home: Home,
}

impl Job {
    fn new() -> Self {
        let home = Home::new();
        let project = home.path().join("project");
        std::fs::create_dir(&project).unwrap();
        // As mp-init makes it: the base image is one that the SDK builds, and nothing has built it
        // here. A step of it gives something else each time: two jobs have the same image only if
        // they share its result.
        let base = judges().join("base").display().to_string();
        let dockerfile = "FROM base-adapter:python-1.2.0
RUN head -c 32 /dev/urandom >/opt/own
COPY manifest.txt .
COPY status /var/lib/dpkg/
COPY METADATA /usr/lib/python3/site-packages/aria-2.dist-info/
";
        std::fs::write(project.join("Dockerfile"), dockerfile).unwrap();
        // In the project's own environment: this machine may have the real SDK on its PATH.
        let environment = project.join(".venv");
        std::fs::create_dir_all(environment.join("bin")).unwrap();
        ["activate", "python"].iter().for_each(|name| std::fs::write(environment.join("bin").join(name), "").unwrap());
        let site = environment.join("lib/python3.11/site-packages");
        let files = [
            (
                "images/base-python-adapter/Dockerfile",
                format!("FROM oci:{base}:base\nRUN head -c 32 /dev/urandom >/opt/random\n"),
            ),
            (
                "vmware_aria_operations_integration_sdk/container_versions.json",
                r#"{"base_image": {"language": "Python", "path": "base-python-adapter", "version": "1.2.0"}}"#.into(),
            ),
        ];
        for (name, text) in files {
            std::fs::create_dir_all(site.join(name).parent().unwrap()).unwrap();
            std::fs::write(site.join(name), text).unwrap();
        }
        std::fs::write(project.join("status"), "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n").unwrap();
        std::fs::write(project.join("METADATA"), "Metadata-Version: 2.1\nName: aria\nVersion: 2\n").unwrap();
        let manifest = r#"{"name": "Hello", "version": "1.2.3", "adapter_kinds": ["HelloAdapter"]}"#;
        std::fs::write(project.join("manifest.txt"), manifest).unwrap();
        Self { home }
    }

    /// Runs lines of a recipe in the project's folder, with its variables for the repositories.
    fn run(&self, testbed: &Testbed, recipe: &str, line: &str, variables: &[(&str, &str)]) {
        let mpimg = testbed.mpimg();
        let mut shell = Command::new("sh");
        shell.env_clear().envs(mpimg.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
            .env("MPIMG_HOME", self.home.store())
            .env("HOME", self.home.path())
            .env("CI", "true")
            .current_dir(self.home.path().join("project"));
        let program = Path::new(mpimg.get_program()).parent().unwrap().display().to_string();
        shell.env("PATH", format!("{program}:{}", std::env::var("PATH").unwrap()));
        for name in ["REPOSITORY", "CACHE"] {
            shell.env(name, variable(recipe, name));
        }
        shell.envs(variables.iter().copied());
        let left = testbed.check(Left::of(shell.args(["-ec", line]).output().unwrap()));
        assert_eq!(left.code, Some(0), "{}\n{}", left.out, left.err);
        assert!(!left.err.contains("warning: the build cache"), "{}", left.err);
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join("project").join(name)).unwrap()
    }
}

/// What a recipe's push leaves for what comes after it.
const ARTEFACTS: [&str; 3] = ["digest", "push.json", "sbom.spdx.json"];

/// Whether a recipe has its CI keep these files.
fn keeps(recipe: &str, files: &[&str]) -> bool {
    let words = |line: &str| {
        let words = line.replace("\\n", " ");
        words.split([' ', ',', '[', ']', '"', '\'']).map(str::to_owned).collect::<Vec<_>>()
    };
    recipe
        .lines()
        .filter(|line| !line.contains("mpimg push"))
        .map(words)
        .any(|words| files.iter().all(|file| words.iter().any(|word| word == file)))
}

/// Runs the recipe's push as two jobs that share nothing but the registry: the same image, pullable
/// by strangers, with an SBOM.
fn pushes(testbed: &Testbed, recipe: &str, path: &str, before: &dyn Fn(&Job), variables: &[(&str, &str)]) {
    // A Kubernetes job has no artefacts: its volume keeps the files.
    assert!(keeps(recipe, &ARTEFACTS) || recipe.contains("kind: Job"), "{recipe}");
    let install = command(recipe, "pip install");
    assert!(install.contains("MPIMG_WHEEL") && install.contains("vmware-aria-operations-integration-sdk"), "{install}");
    let mut digests = Vec::new();
    for _ in 0..2 {
        let job = Job::new();
        before(&job);
        job.run(testbed, recipe, command(recipe, "mpimg push"), variables);
        let told: Value = serde_json::from_str(&job.file("push.json")).unwrap();
        assert_eq!((&told["digest"], &told["anonymous_pull"]), (&json!(job.file("digest")), &json!(true)));
        let digest = job.file("digest");
        testbed.service(|service| {
            service.registry.validate(path, &digest);
            let sbom = told["sbom"].as_str().unwrap();
            service.registry.validate(path, sbom);
            let attached = String::from_utf8_lossy(service.registry.payload(path, sbom));
            assert_eq!(attached, job.file("sbom.spdx.json"), "the artefact is what is attached");
        });
        let (name, version, purls) = sbom::read(&job.home.path().join("project/sbom.spdx.json"));
        assert!(name.ends_with(&format!("/{path}")), "{name}");
        assert_eq!((version, purls), (digest.clone(), vec!["pkg:deb/debian/libc6@2.36-9".into(), "pkg:pypi/aria@2".into()]));
        digests.push(digest);
    }
    assert_eq!(digests[0], digests[1], "the second job did the step again");
}

fn harbor(user: &str) -> Testbed {
    let scheme = Scheme::bearer("harbor.example.com", "/service/token", "harbor-registry");
    let mut auth = Auth::new(scheme, user, PASSWORD);
    auth.public = |repository| repository.starts_with("mp/");
    Testbed::new(&["harbor.example.com"], Service::new(Quirks::HARBOR, Some(auth)))
}

#[test]
fn gitlab_pushes_to_harbor_as_a_robot() {
    needs_root!();
    let robot = "robot$mp+ci";
    let variables = [("HARBOR_USER", robot), ("HARBOR_SECRET", PASSWORD)];
    pushes(&harbor(robot), &recipe("gitlab-ci.yml"), "mp/my-adapter", &|_| (), &variables);
}

#[test]
fn a_kubernetes_job_pushes_to_harbor_with_the_cluster_s_secret() {
    needs_root!();
    let testbed = harbor("robot$mp+ci").with_login("harbor.example.com", "robot$mp+ci");
    // What the volume `registry` holds as config.json.
    let secret = testbed.home.path().display().to_string();
    pushes(&testbed, &recipe("kubernetes-job.yaml"), "mp/my-adapter", &|_| (), &[("DOCKER_CONFIG", &secret)]);
}

#[test]
fn jenkins_pushes_to_docker_hub_with_a_token() {
    needs_root!();
    let mut auth = Auth::new(Scheme::bearer("auth.docker.io", "/token", "registry.docker.io"), "me", PASSWORD);
    auth.public = |_| true;
    let testbed = Testbed::new(&["registry-1.docker.io", "auth.docker.io"], Service::new(Quirks::HUB, Some(auth)));
    let variables = [("HUB_USR", "me"), ("HUB_PSW", PASSWORD)];
    pushes(&testbed, &recipe("Jenkinsfile"), "example/my-adapter", &|_| (), &variables);
}

#[test]
fn github_pushes_to_ecr_public_by_web_identity() {
    needs_root!();
    const HOST: &str = "public.ecr.aws";
    const API: &str = "api.ecr-public.us-east-1.amazonaws.com";
    const REGIONAL: &str = "sts.us-east-1.amazonaws.com";
    let aws = Aws::new();
    let moto = aws.moto.address;
    let mut auth = Auth::new(Scheme::bearer(HOST, "/token/", HOST), "AWS", TOKEN);
    auth.public = |_| true;
    let mut service = Service::new(Quirks::ECR, Some(auth));
    // moto plays STS and not ECR Public: its token is for whoever comes with the role's own keys.
    service.before_auth = Box::new(move |request: &Request| match request.host.as_str() {
        STS | REGIONAL => Some(forward(moto, request)),
        API => {
            let signed = request.header("authorization").unwrap_or_default().to_owned();
            let by_role =
                signed.contains("/us-east-1/ecr-public/aws4_request") && request.header("x-amz-security-token").is_some();
            let token = json!({"authorizationData": {"authorizationToken": Auth::basic("AWS", TOKEN)}});
            Some(if by_role { Response::json(200, &token) } else { Response::new(403) }.into())
        }
        _ => None,
    });
    let testbed = Testbed::new(&[HOST, API, STS, REGIONAL], service).env("AWS_EC2_METADATA_DISABLED", "true");

    let recipe = recipe("github-actions.yml");
    // GitHub gives a job a token of its own for whom it names.
    let github = HttpServer::plain(|request: &Request| {
        let asked = request.header("authorization") == Some("bearer of-the-job");
        let whom = request.parameter("audience").as_deref() == Some("sts.amazonaws.com");
        Reply::Response(if asked && whom {
            Response::json(200, &json!({"value": "eyJhbGciOiJub25lIn0.e30."}))
        } else {
            Response::new(403)
        })
    });
    let url = format!("http://{}/token?version=1", github.address);
    let identity = |job: &Job| {
        let variables =
            [("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job"), ("ACTIONS_ID_TOKEN_REQUEST_URL", &url), ("HTTPS_PROXY", "")];
        job.run(&testbed, &recipe, command(&recipe, "ACTIONS_ID_TOKEN_REQUEST_URL"), &variables);
        assert_eq!(job.file(".token"), "eyJhbGciOiJub25lIn0.e30.");
        // The push, the base image's cache and the image's own may ask side by side.
        aws.let_pass(3);
    };
    let region = variable(&recipe, "AWS_REGION");
    let variables = [("AWS_WEB_IDENTITY_TOKEN_FILE", ".token"), ("AWS_ROLE_ARN", ROLE), ("AWS_REGION", region)];
    pushes(&testbed, &recipe, "example/my-adapter", &identity, &variables);
    let asked = testbed.server.seen().iter().filter(|request| [STS, REGIONAL].contains(&request.host.as_str())).count();
    assert!(asked >= 2, "a job had no identity of its own");
}

#[test]
fn the_snippet_makes_the_pak_with_the_sdk_s_own_tool_and_harbor() {
    needs_root!();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap();
    let (_, section) = page.split_once("\n## The .pak\n").unwrap();
    let snippet = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    // What it installs is here: the packages' sources, and the SDK.
    let (install, commands) = snippet.split_once('\n').unwrap();
    assert_eq!(install, "pip install \"$MPIMG_WHEEL\" vmware-aria-operations-integration-sdk");

    let (robot, job) = ("robot$mp+ci", Job { home: Home::new() });
    let project = job.home.path().join("project");
    mp_build::make_bare(&job.home, &project);
    std::fs::create_dir(project.join("own-1.dist-info")).unwrap();
    std::fs::write(project.join("own-1.dist-info/METADATA"), "Metadata-Version: 2.1\nName: own\nVersion: 1\n").unwrap();
    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    std::fs::write(project.join("Dockerfile"), format!("{dockerfile}COPY own-1.dist-info /usr/lib/own-1.dist-info\n")).unwrap();
    let packages = mp_build::package(&job.home).display().to_string();
    let python = mp_build::python("1.3.1").display().to_string();
    // Other tests run beside this one, and all adapters want port 8080.
    let port = crate::registry::fixture::free_address().port();
    let sdk = job.home.path().join(".vmware-aria-operations-integration-sdk");
    std::fs::create_dir_all(&sdk).unwrap();
    std::fs::write(sdk.join("config.json"), json!({"container_port": port}).to_string()).unwrap();
    let home = job.home.path().display().to_string();
    let variables = [
        ("HARBOR_USER", robot),
        ("HARBOR_SECRET", PASSWORD),
        ("HOME", &home),
        ("DOCKER_CONFIG", &home),
        ("MPIMG_PYTHON", &python),
        ("PYTHONPATH", &packages),
        ("LC_ALL", "C.UTF-8"),
    ];
    let testbed = harbor(robot);
    job.run(&testbed, &recipe("gitlab-ci.yml"), commands, &variables);
    let (files, conf) = mp_build::read_pak(&mp_build::pak_in(&project));
    assert!(files.iter().any(|(name, _)| name == "adapter.zip/NewPython/conf/describe.xml"), "{files:?}");
    assert_eq!((conf["REGISTRY"].as_str(), conf["REPOSITORY"].as_str()), ("harbor.example.com", "/mp/my-adapter"));
    testbed.service(|service| service.registry.validate("mp/my-adapter", &conf["DIGEST"]));
    let (name, version, purls) = sbom::read(&project.join("sbom.spdx.json"));
    assert_eq!(
        (name.as_str(), &version, purls),
        ("harbor.example.com/mp/my-adapter", &conf["DIGEST"], vec!["pkg:pypi/own@1".into()])
    );
    assert!(
        testbed.server.seen().iter().any(|request| request.path.contains("/mp/my-adapter-cache/manifests/step-")),
        "no cache"
    );
}
