//! `mpimg mp-build`: hands over to the Integration SDK's own `mp-build`, which this package's
//! Python runs without Docker.
//!
//! Neither Python nor the SDK is installed here: the ones on this machine are found, and an error
//! says where they were looked for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::Value;

use crate::cli::message::error_json;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, ErrorKind, Result};

const EXAMPLES: &str = "\
The Python is the first of these that has both packages, `mpimg` and `vmware-aria-operations-integration-sdk`: $MPIMG_PYTHON \
(then no other), the active virtual environment, the one beside this command, the one of the `mp-build` on the PATH, python3. \
Exit code and messages are those of mp-build.

Examples:
  mpimg mp-build                                 The project in this folder
  mpimg mp-build -p ~/nsx -P 8081 -i             With flags of mp-build
  mpimg mp-build --no-ttl -r harbor.example.com/mp/nsx --registry-username robot --registry-password $TOKEN
  mpimg mp-build --no-cache --allow-secret-file app/test.pem
  mpimg mp-build -- --help                       What mp-build takes, and what mpimg adds";

/// What a Python must say of itself: 0, or 1 for no SDK, 2 for no mpimg, 3 for neither; and 4 more
/// for another package of that name. It is not imported: who knows what it does.
const PROBE: &str = "import sys, os
sys.path[:] = [path for path in sys.path if path]
import importlib.util as u
def own(spec):
    return any(os.path.isfile(os.path.join(folder, 'sdk_compatibility.json')) for folder in spec.submodule_search_locations or ())
sdk, mpimg = u.find_spec('vmware_aria_operations_integration_sdk'), u.find_spec('mpimg')
wrong = mpimg is not None and not own(mpimg)
sys.exit((sdk is None) + 2 * (mpimg is None or wrong) + 4 * wrong)";

/// Runs the module `{}` as `python -m` does, but never one of the folder that the command is run
/// in: a project that was downloaded must not be able to run its own `mpimg` or `json` here.
const RUN_MODULE: &str = "import sys
sys.path[:] = [path for path in sys.path if path]
import runpy
runpy.run_module('{}', run_name='__main__', alter_sys=True)";

/// Run the Integration SDK's mp-build without Docker
///
/// The installed SDK's own tool makes the .pak; mpimg builds, runs and pushes the images.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MpBuild {
    /// What mp-build is given
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl MpBuild {
    pub(super) fn run(mut self, terminal: &Terminal) -> Result<()> {
        // It stands before or after the command, as for every other.
        let wants_json = self.arguments.iter().any(|argument| argument == "--json");
        if terminal.wants_json() && !wants_json {
            self.arguments.insert(0, "--json".into());
        }
        let done = hand_over("mpimg.mp_build", &self.arguments);
        if let (Err(error), true, false) = (&done, wants_json, terminal.wants_json()) {
            let text = format!("{}\n", error_json(error));
            terminal.answer(&Answer { quiet: text.clone(), text, json: Value::Null })?;
        }
        done
    }
}

/// Becomes the Python that runs this module; only a failure comes back.
pub(super) fn hand_over(module: &str, arguments: &[OsString]) -> Result<()> {
    let python = find_python()?;
    let mut command = Command::new(&python);
    command.args(["-c", &RUN_MODULE.replace("{}", module)]).args(arguments);
    // The same mpimg plays Docker's part, whatever else is on the PATH.
    if std::env::var_os("MPIMG_COMMAND").is_none()
        && let Ok(this) = std::env::current_exe()
    {
        command.env("MPIMG_COMMAND", this);
    }
    Err(Error::io("start", &python, command.exec()))
}

/// The first Python that has the SDK and this package.
fn find_python() -> Result<PathBuf> {
    let (mut tried, mut wrong) = (Vec::new(), None);
    for python in candidates() {
        let lacks = match probe(&python) {
            Some(0) => return Ok(python),
            Some(1) => "no Integration SDK",
            Some(2) => "no package `mpimg`",
            Some(3) => "neither the Integration SDK nor the package `mpimg`",
            Some(6 | 7) => {
                wrong = Some(python.clone());
                "another package called `mpimg`, which is not this one"
            }
            _ => continue,
        };
        tried.push(format!("`{}` has {lacks}", python.display()));
    }
    let message = if tried.is_empty() { "there is no Python 3".to_owned() } else { tried.join(", ") };
    let hint = match wrong {
        Some(python) => format!(
            "`{} -m pip uninstall mpimg`, which belongs to somebody else, then install this project's wheel: its name begins with aria_mpimg",
            python.display()
        ),
        None => "install this project's wheel (its name begins with aria_mpimg) and `vmware-aria-operations-integration-sdk` in a virtual \
                 environment with pip, and activate it or set MPIMG_PYTHON to its python"
            .to_owned(),
    };
    Err(Error::new(ErrorKind::NotFound, "cannot find a Python with the Integration SDK")
        .with_source(std::io::Error::other(message))
        .with_hint(hint))
}

fn probe(python: &Path) -> Option<i32> {
    let mut command = Command::new(python);
    let quiet = command.args(["-c", PROBE]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().ok()?.code()
}

/// Where a Python may be, each place once.
fn candidates() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(python) = variable("MPIMG_PYTHON") {
        return vec![python];
    }
    let environment = variable("VIRTUAL_ENV").map(|folder| folder.join("bin/python"));
    let beside = std::env::current_exe().ok().map(|this| this.with_file_name("python"));
    let of_tool = on_path("mp-build").and_then(|tool| interpreter(&tool));
    let mut found: Vec<PathBuf> = Vec::new();
    for python in [environment, beside, of_tool, on_path("python3"), on_path("python")].into_iter().flatten() {
        if python.is_file() && !found.contains(&python) {
            found.push(python);
        }
    }
    found
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What the first line of a script names.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(script).ok()?.take(512).read_to_end(&mut start).ok()?;
    interpreter_of(&start).map(PathBuf::from)
}

fn interpreter_of(start: &[u8]) -> Option<&OsStr> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    // `#!/usr/bin/env python3` tells nothing that the PATH does not.
    (!line.is_empty() && !line.contains(' ')).then(|| OsStr::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_what_the_first_line_names_alone() {
        assert_eq!(interpreter_of(b"#!/venv/bin/python\nimport sys\n"), Some(OsStr::new("/venv/bin/python")));
        for other in [b"#!/usr/bin/env python3\n".as_slice(), b"#!/bin/sh -e\n", b"#!\n", b"\x7fELF", b""] {
            assert_eq!(interpreter_of(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn another_package_of_the_name_is_told_from_this_one() {
        let probed = |files: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "raise SystemExit(99)\n").unwrap();
            }
            let mut python = Command::new("python3");
            python.args(["-c", PROBE]).env("PYTHONPATH", folder.path()).env("PYTHONNOUSERSITE", "1");
            python.status().unwrap().code().unwrap() & 6
        };
        assert_eq!(probed(&["mpimg/__init__.py", "mpimg/sdk_compatibility.json"]), 0);
        assert_eq!(probed(&["mpimg/__init__.py"]), 6);
        assert_eq!(probed(&["mpimg.py"]), 6);
        assert_eq!(probed(&[]), 2);
    }

    #[test]
    fn a_module_in_the_folder_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["importlib.py", "runpy.py", "mpimg.py"] {
            std::fs::write(folder.path().join(name), "open('was-run', 'w')\n").unwrap();
        }
        for code in [PROBE.to_owned(), RUN_MODULE.replace("{}", "mpimg")] {
            let mut python = Command::new("python3");
            python.args(["-c", &code]).current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            assert!(!folder.path().join("was-run").exists(), "{code}");
        }
        // The folder is really looked in without that.
        let mut python = Command::new("python3");
        python.args(["-c", "import mpimg"]).current_dir(&folder).status().unwrap();
        assert!(folder.path().join("was-run").exists());
    }
}
