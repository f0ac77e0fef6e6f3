//! SDK projects, the SDK's mp-build over them, and what is in a .pak.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::build::sdk::generate;
use crate::home::Home;
use crate::registry::fixture::{Server, free_address};
use crate::{judge, judges, run};

/// The projects whose .pak files are compared: as mp-init leaves them; with a static describe.xml;
/// with all that a .pak may hold.
pub(super) const PROJECTS: [&str; 4] = ["new", "sample", "static", "content"];

/// Makes one of them in `folder`, or one of [`WRONG`].
pub(super) fn make(home: &Home, name: &str, folder: &Path) {
    let template = if name == "sample" { "sample" } else { "new" };
    run(judge("cp").arg("-a").arg(generate(home, "python", template)).arg(folder));
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let edit = |path: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(folder.join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        std::fs::write(folder.join(path), text.replace(from, to)).unwrap();
    };
    let definition = "adapter_definition=/usr/local/bin/python app/adapter.py adapter_definition";
    match name {
        "static" => {
            write("conf/describe.xml", DESCRIBE);
            write("conf/resources/resources.properties", "version=1\n1=New Python\n2=New Python Instance\n3=Memory\n");
        }
        "content" => {
            edit("manifest.txt", r#""pak_icon": """#, r#""pak_icon": "icon.png""#);
            edit(
                "manifest.txt",
                r#""adapter_post_script": {
        "script": """#,
                r#""adapter_post_script": {
        "script": "post.py""#,
            );
            write("icon.png", "\u{89}PNG\r\n");
            write("eula.txt", "All rights reserved; naïve use allowed.\n");
            write("post.py", "print('installed')\n");
            write("content/dashboards/Overview.json", r#"{"dashboards": []}"#);
            write("content/reports/Weekly.xml", "<Content/>");
            write("content/reports/monthly/monthly.xml", "<Content/>");
            write("resources/resources_de.properties", "DISPLAY_NAME=Neu\n");
        }
        "no manifest" => std::fs::remove_file(folder.join("manifest.txt")).unwrap(),
        "two kinds" => edit("manifest.txt", r#""NewPython""#, r#""NewPython", "Other""#),
        "crash" => edit("Dockerfile", "COPY app app", "COPY app app\nCMD [\"-c\", \"import sys; sys.exit('no licence here')\"]"),
        "definition 204" => edit("commands.cfg", definition, "adapter_definition=/bin/false"),
        "definition 500" => edit("commands.cfg", definition, ""),
        _ => {}
    }
}

/// Ways to use mp-build wrongly.
pub(super) const WRONG: [&str; 7] =
    ["no manifest", "two kinds", "registry refused", "crash", "port taken", "definition 500", "definition 204"];

const DESCRIBE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<AdapterKind xmlns="http://schemas.vmware.com/vcops/schema" key="NewPython" nameKey="1" version="1">
    <ResourceKinds>
        <ResourceKind key="instance" nameKey="2" type="7" credentialKind="">
            <ResourceIdentifier key="container_memory_limit" nameKey="3" dispOrder="0" identType="2" type="integer" required="true" default="1024"/>
        </ResourceKind>
    </ResourceKinds>
</AdapterKind>
"#;

/// A run of mp-build that is yet to come.
pub(super) struct Build<'a> {
    pub(super) home: &'a Home,
    pub(super) project: &'a Path,
    pub(super) repository: String,
    pub(super) port: u16,
    /// Where mpimg finds what registries are called elsewhere.
    pub(super) registries_conf: PathBuf,
}

impl<'a> Build<'a> {
    pub(super) fn new(home: &'a Home, project: &'a Path, registry: &Server) -> Self {
        Self {
            home,
            project,
            repository: format!("{}/mp/adapter", registry.address),
            port: free_address().port(),
            registries_conf: "/dev/null".into(),
        }
    }

    /// The SDK's own command, for Docker.
    pub(super) fn with_docker(&self, docker: &super::docker::Docker) -> Output {
        let mut command = Command::new(judges().join("python/bin/mp-build"));
        docker.reach(self.arguments(&mut command).env("HOME", self.home.path())).output().unwrap()
    }

    /// `mpimg mp-build` with an SDK of this version.
    pub(super) fn with_mpimg(&self, store: &Path, python: &Path) -> Output {
        self.command(store, python).output().unwrap()
    }

    /// The command for that.
    pub(super) fn command(&self, store: &Path, python: &Path) -> Command {
        let mut command = self.home.mpimg();
        command.env("MPIMG_HOME", store).env("MPIMG_PYTHON", python).env("PYTHONPATH", package(self.home));
        self.prepared(command)
    }

    /// `mp-build` of this mpimg, which finds Python and packages by itself.
    pub(super) fn with(&self, mpimg: Command) -> Output {
        self.prepared(mpimg).output().unwrap()
    }

    fn prepared(&self, mut mpimg: Command) -> Command {
        mpimg.arg("mp-build").env("CONTAINERS_REGISTRIES_CONF", &self.registries_conf);
        self.arguments(&mut mpimg);
        mpimg
    }

    fn arguments<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.args(["--no-ttl", "-i", "-p"]).arg(self.project).args([
            "-P",
            &self.port.to_string(),
            "--registry-tag",
            &self.repository,
        ]);
        // Units of measurement come out of a set: without a fixed seed, two runs of mp-build differ
        // in describe.xml.
        command.args(["--registry-username", "user", "--registry-password", "secret"]).env("PYTHONHASHSEED", "0");
        command.env("LC_ALL", "C.UTF-8").stdin(std::process::Stdio::null())
    }
}

/// The part of the package that mp-build needs: without its native module, which is not there
/// before a wheel is built.
pub(crate) fn package(home: &Home) -> PathBuf {
    let folder = home.path().join("package");
    if folder.join("mpimg").exists() {
        // Another mp-build may be reading it.
        return folder;
    }
    std::fs::create_dir_all(folder.join("mpimg")).unwrap();
    std::fs::write(folder.join("mpimg/__init__.py"), "").unwrap();
    for file in [
        "as_product.py",
        "build_report.py",
        "mp_build.py",
        "mp_test.py",
        "speculative_build.py",
        "command.py",
        "docker_shim.py",
        "sdk_compatibility.py",
        "sdk_compatibility.json",
    ] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/mpimg").join(file);
        std::fs::copy(source, folder.join("mpimg").join(file)).unwrap();
    }
    folder
}

/// What mp-build wrote, asserting that it succeeded.
pub(super) fn pak_of(project: &Path, output: &Output) -> PathBuf {
    assert!(output.status.success() && project.join("build").exists(), "{}: {}", project.display(), said(output));
    pak_in(project)
}

/// The one .pak of a project.
pub(crate) fn pak_in(project: &Path) -> PathBuf {
    let mut paks = project.join("build").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let (pak, more) = (paks.next().unwrap(), paks.next());
    assert_eq!((pak.extension().unwrap().to_str(), more), (Some("pak"), None));
    pak
}

/// All that a command printed.
pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The files of a .pak, those of its adapter.zip included, as Python reads them; and the lines of
/// the adapter's .conf.
pub(crate) fn read_pak(pak: &Path) -> (Vec<(String, String)>, BTreeMap<String, String>) {
    const READ: &str = "
import hashlib, io, json, sys, zipfile
def files(archive, prefix=''):
    for name in archive.namelist():
        data = archive.read(name)
        if name == 'adapter.zip':
            yield from files(zipfile.ZipFile(io.BytesIO(data)), 'adapter.zip/')
        else:
            text = data.decode() if name.endswith('.conf') else hashlib.sha256(data).hexdigest()
            yield prefix + name, text
print(json.dumps(list(files(zipfile.ZipFile(sys.argv[1])))))";
    let files: Vec<(String, String)> = serde_json::from_str(&run(judge("python3").args(["-c", READ]).arg(pak))).unwrap();
    let (conf, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name.ends_with(".conf"));
    assert_eq!(conf.len(), 1, "{conf:?}");
    let lines = conf[0].1.lines().filter_map(|line| line.split_once('='));
    (files, lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}
