//! `docker version`, and `docker --version`.

use serde_json::json;

use super::command::{Arguments, Command};
use super::format;
use super::invocation::{CommandResult, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::oci::Platform;

/// The version of docker whose words and output this is: scripts compare it with what they need.
pub(super) const DOCKER: &str = "28.2.2";

/// Its API's, and the oldest that it speaks.
const API: &str = "1.50";
const OLDEST_API: &str = "1.24";

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[Flag::value("format", "Format output using a custom template").short('f')]],
    differs: "names mpimg as what serves; the version is that of the docker whose words these are",
    ..Command::new(&["version"], "[OPTIONS]", "Show the Docker version information", |invocation, parsed| {
        Box::pin(async move { run(invocation, parsed) })
    })
};

/// `docker --version`
pub(super) fn line() -> String {
    format!("Docker version {DOCKER}, build mpimg-{}\n", env!("CARGO_PKG_VERSION"))
}

fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let platform = Platform::host();
    let (own, system) = (env!("CARGO_PKG_VERSION"), format!("{}/{}", platform.os, platform.architecture));
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    if let Some(format) = parsed.value("format").filter(|format| !format.is_empty()) {
        let values = json!({
            "Client": {
                "Version": DOCKER, "ApiVersion": API, "APIVersion": API, "DefaultAPIVersion": API, "GitCommit": format!("mpimg-{own}"),
                "GoVersion": "", "Os": platform.os, "Arch": platform.architecture, "BuildTime": "", "Context": "default",
                "Platform": { "Name": "mpimg" },
            },
            "Server": {
                "Version": DOCKER, "ApiVersion": API, "APIVersion": API, "MinAPIVersion": OLDEST_API, "GitCommit": format!("mpimg-{own}"),
                "GoVersion": "", "Os": platform.os, "Arch": platform.architecture, "KernelVersion": kernel, "BuildTime": "",
                "Experimental": false, "Platform": { "Name": "mpimg" }, "Components": [],
            },
        });
        invocation.print(format::one(format, &values)?)?;
        return Ok(0);
    }
    invocation.print(format!(
        "Client: mpimg {own}\n Version:           {DOCKER}\n API version:       {API}\n OS/Arch:           {system}\n \
         Context:           default\n\nServer: mpimg, without a daemon\n Engine:\n  Version:          {DOCKER}\n  \
         API version:      {API} (minimum version {OLDEST_API})\n  OS/Arch:          {system}\n  Experimental:     false\n"
    ))?;
    Ok(0)
}
