//! docker-credential-* programs: reads, stores and erases credentials with them.
//!
//! Invariants: a helper that hangs is stopped; no secret stands on a command line.

use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::credential::Credential;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::registry::environment::Environment;

/// A keychain may ask its user for a password.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What helpers print when they have nothing (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HelperCredential {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// What `helper` has for `server`.
pub(crate) async fn find(environment: &Environment, helper: &str, server: &str) -> Result<Option<Credential>> {
    let output = run(environment, helper, "get", server.as_bytes()).await?;
    let Some(text) = output else { return Ok(None) };
    // The parser's own error could quote the secret.
    let (username, secret) = parse_answer(&text).ok_or_else(|| {
        Error::new(ErrorKind::Auth, format!("`docker-credential-{helper}` gave an answer that is not in docker's form"))
            .with_hint(remedy(helper))
    })?;
    Ok(match username.as_str() {
        "" if secret.is_empty() => None,
        "<token>" => Some(Credential::IdentityToken { username: None, token: secret }),
        _ => Some(Credential::Basic { username, password: secret }),
    })
}

/// User name and secret, as docker's JSON reader takes them: keys in any case, `null` for nothing,
/// text after the value ignored.
fn parse_answer(text: &[u8]) -> Option<(String, String)> {
    let answer: Map<String, Value> = serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()?;
    let field = |name: &str| match answer.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
        None => None,
        Some((_, Value::Null)) => Some(String::new()),
        Some((_, value)) => value.as_str().map(str::to_owned),
    };
    Some((field("username")?, field("secret")?))
}

/// Has `helper` store a password or identity token for `server`.
pub(crate) async fn store(environment: &Environment, helper: &str, server: &str, username: &str, secret: &str) -> Result<()> {
    let answer = HelperCredential { server_url: server.into(), username: username.into(), secret: secret.into() };
    let text = serde_json::to_vec(&answer).context(ErrorKind::Auth, || "cannot write the credential".into())?;
    run(environment, helper, "store", &text).await.map(|_| ())
}

/// Has `helper` forget `server`; having nothing to forget is right, too.
pub(crate) async fn erase(environment: &Environment, helper: &str, server: &str) -> Result<()> {
    run(environment, helper, "erase", server.as_bytes()).await.map(|_| ())
}

/// Runs the helper; `None` if it says that it has nothing.
async fn run(environment: &Environment, helper: &str, action: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
    run_within(TIMEOUT, environment, helper, action, input).await
}

async fn run_within(
    timeout: Duration,
    environment: &Environment,
    helper: &str,
    action: &str,
    input: &[u8],
) -> Result<Option<Vec<u8>>> {
    let program = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err(Error::new(ErrorKind::Auth, format!("`{helper}` is not the name of a credential helper")));
    }
    let path = environment.var("PATH").unwrap_or_default();
    let mut child = Command::new(&program)
        .arg(action)
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Error::new(ErrorKind::Auth, format!("cannot run the credential helper `{program}`"))
                .with_hint(format!("install `{program}`, or take `{helper}` out of docker's config.json and log in again"))
                .with_source(error)
        })?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that fails early closes its input; its exit status tells more than our
            // broken pipe.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(timeout, talk)
        .await
        .map_err(|_| {
            let message = format!("`{program}` did not answer within {} s", timeout.as_secs());
            Error::new(ErrorKind::Auth, message).with_hint(remedy(helper))
        })?
        .context(ErrorKind::Auth, || format!("cannot talk to `{program}`"))?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    // Helpers print errors to standard output, and never a secret when they fail.
    let said = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout }).trim().to_owned();
    if said.contains(NOT_FOUND) {
        return Ok(None);
    }
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(Error::new(ErrorKind::Auth, format!("`{program} {action}` failed: {said}")).with_hint(remedy(helper)))
}

/// What to do about a helper that does not do its work.
fn remedy(helper: &str) -> String {
    format!("set `docker-credential-{helper}` up, or take `{helper}` out of docker's config.json and log in again")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_helper_that_hangs_is_given_up_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (program, pid) = (folder.path().join("docker-credential-stuck"), folder.path().join("pid"));
        std::fs::write(&program, format!("#!/bin/sh\necho $$ >{}\nexec sleep 600\n", pid.display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let environment = Environment::fixed([("PATH", path)]);
        let timeout = Duration::from_millis(500);
        let error = run_within(timeout, &environment, "stuck", "get", b"r.example.com").await.unwrap_err();
        assert_eq!(error.to_string(), "`docker-credential-stuck` did not answer within 0 s");
        let pid = std::fs::read_to_string(pid).unwrap();
        // The runtime reaps a killed child sooner or later.
        let process = format!("/proc/{}/cmdline", pid.trim());
        while std::fs::read(&process).is_ok_and(|line| !line.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
