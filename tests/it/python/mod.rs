//! The Python package: the wheel is built once, installed into a fresh virtual environment, and
//! judged there by CPython, mypy and stubtest; then the README's example pushes an image.

pub(crate) mod mp_build;
mod native;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::Home;
use crate::registry::fixture::{distribution, distribution_in};
use crate::{judge, judge_path, judges, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The wheel, installed into a virtual environment that has nothing else.
struct Installed {
    home: Home,
    wheel: PathBuf,
}

impl Installed {
    fn new() -> Self {
        let home = Home::new();
        let wheels = home.path().join("wheels");
        let mut build = Command::new(Path::new(ROOT).join("python/build"));
        // What cargo says to tests of this package, ring's build script takes for a change, here
        // and in the next build outside.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_")))
        {
            build.env_remove(name);
        }
        build.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH").env_remove("CARGO_MANIFEST_LINKS");
        run(build.arg(&wheels).arg("dev").env("MATURIN", judges().join("python/bin/maturin")));
        let wheel = wheels.read_dir().unwrap().next().unwrap().unwrap().path();
        run(judge("python3").args(["-m", "venv"]).arg(home.path().join("venv")));
        let installed = Self { home, wheel };
        run(installed.command("pip").args(["install", "-q", "--no-index", "--disable-pip-version-check"]).arg(&installed.wheel));
        installed
    }

    /// A program of the environment, with the home's settings.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.home.path().join("venv/bin").join(program));
        // The same surroundings as the command has in its own tests.
        command.env_clear().envs(self.home.mpimg().get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.home.path());
        command
    }

    fn packages(&self) -> PathBuf {
        let versions = self.home.path().join("venv/lib");
        versions.read_dir().unwrap().next().unwrap().unwrap().path().join("site-packages")
    }
}

/// The newest glibc that a program asks for: N of 2.N.
fn glibc(program: &Path) -> u32 {
    let bytes = std::fs::read(program).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let versions =
        text.split("GLIBC_2.").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    versions.max().unwrap()
}

/// The code blocks of Python in a document of the project that are whole programs.
fn examples(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(document)).unwrap();
    text.split("```python\n").skip(1).map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// An adapter's server that runs on nothing: busybox is all that it has.
const SERVER: &str = r#"FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/httpd
COPY app /www/app
COPY apiVersion /www/
ENTRYPOINT ["sh", "-c", "echo Uvicorn running on 8080; exec httpd -f -p 8080 -h /www"]
"#;

#[test]
fn the_wheel_does_in_a_fresh_environment_what_its_stubs_and_the_readme_say() {
    let installed = Installed::new();
    let name = installed.wheel.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(&format!("aria_mpimg-{}-cp39-abi3-", env!("CARGO_PKG_VERSION"))), "{name}");
    // maturin looks at the library for that; the command must not ask for more.
    let (_, platform) = name.split_once("-manylinux_2_").unwrap();
    let tag: u32 = platform.split('_').next().unwrap().parse().unwrap();
    assert!(glibc(&installed.home.path().join("venv/bin/mpimg")) <= tag, "{name}");
    let version = run(installed.command("mpimg").arg("--version"));
    assert_eq!(version, format!("mpimg {}\n", env!("CARGO_PKG_VERSION")));

    // Types: of the sources, of the tests that use them, and of the native part against its stubs.
    let python = judges().join("python/bin/python");
    let mypy = |arguments: &[&str]| {
        let mut mypy = Command::new(&python);
        mypy.args(arguments).current_dir(Path::new(ROOT).join("python")).env("MYPYPATH", installed.packages());
        run(mypy.env("MYPY_CACHE_DIR", installed.home.path().join("mypy")));
    };
    mypy(&["-m", "mypy", "--strict", "mpimg", "tests"]);
    let mut stubtest = Command::new(&python);
    run(stubtest
        .args(["-m", "mypy.stubtest", "mpimg"])
        .current_dir(installed.home.path())
        .env("PYTHONPATH", installed.packages()));

    let registry = distribution("");
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    std::fs::write(&passwords, run(judge("htpasswd").args(["-Bbn", "user", "pass word"]))).unwrap();
    let auth = format!("auth:\n  htpasswd: {{realm: here, path: {}}}\n", passwords.display());
    let private = distribution_in(folder, &auth);
    let mut tests = installed.command("python");
    let folder = Path::new(ROOT).join("python/tests");
    tests.args(["-m", "unittest", "discover", "--start-directory"]).arg(folder).env("BUSYBOX", judge_path("busybox"));
    tests.env("REGISTRY", registry.address.to_string()).env("PRIVATE_REGISTRY", private.address.to_string());
    run(&mut tests);

    let project = installed.home.path().join("my-adapter");
    for document in ["README.md", "python/README.md", "docs/library.md"] {
        let examples = examples(document);
        assert_eq!(examples.len(), if document == "docs/library.md" { 2 } else { 1 });
        for example in examples {
            let example = example.replace("harbor.example.com", &registry.address.to_string());
            let example = example.replace("password=token", "password=\"token\"");
            run(judge("cp").arg("-rT").arg(Path::new(ROOT).join("fixtures/hello-adapter")).arg(&project));
            if example.contains("mpimg.run(") {
                std::fs::copy(judge_path("busybox"), project.join("busybox")).unwrap();
                std::fs::write(project.join("Dockerfile"), SERVER).unwrap();
                std::fs::write(project.join("apiVersion"), "{\"majorVersion\": 1}").unwrap();
            }
            let printed = run(installed.command("python").arg("-c").arg(&example));
            let digest = printed.split_once("DIGEST=").unwrap_or_else(|| panic!("{document}: {printed}")).1.trim();
            let image = format!("docker://{}/mp/my-adapter@{digest}", registry.address);
            run(judge("skopeo").args(["inspect", "--raw", "--tls-verify=false", &image]));
        }
    }

    // The SDK, as if pip had installed it into the same environment.
    let mut sdk = judges().join("python/lib").read_dir().unwrap();
    let sdk = sdk.next().unwrap().unwrap().path().join("site-packages");
    std::fs::write(installed.packages().join("sdk.pth"), sdk.to_str().unwrap()).unwrap();
    mp_build::make_a_pak_with(installed.command("mpimg"), &installed.home);
}
