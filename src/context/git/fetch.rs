//! Fetching a commit of a git repository, with the program git.
//!
//! Neither the machine's nor the user's settings of git count, nor hooks, filters and credential
//! helpers: what is built must not depend on who builds it, and a repository that is fetched must
//! not be able to start a program here. A repository that is a folder of this machine is refused
//! (protocol.allow in git-config(1)), so a submodule cannot name one.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::context::GitAddress;
use crate::dockerfile::hide_credentials;
use crate::error::{Error, ErrorKind, Result};

/// Settings of every call.
const SETTINGS: [&str; 13] = [
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",
    "credential.helper=",
    "protocol.allow=never",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "protocol.git.allow=always",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
    "gc.auto=0",
];

/// Variables of this process that git needs: to find programs and name servers, the way to the
/// network, an SSH agent.
const PASSED_ON: [&str; 14] = [
    "PATH",
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// A commit that was fetched.
#[derive(Debug)]
pub struct GitCommit {
    /// Its ID, in hexadecimal digits.
    pub id: String,
    /// The folder in it that was wanted.
    pub folder: PathBuf,
}

/// Fetches the commit that `address` names into `folder`, which must be empty. The `.git` folder
/// lies beside the files, unless it is wanted, too: so the time of the commit is known there.
/// `authorization` is what an HTTP server is told with each request, such as `Basic …`.
///
/// # Errors
/// [`ErrorKind::Context`]: there is no such commit or folder; [`ErrorKind::NotFound`]: git is not
/// installed; [`ErrorKind::Network`]: the repository cannot be reached; [`ErrorKind::Interrupted`]:
/// stopped.
pub async fn fetch_git(
    address: &GitAddress,
    authorization: Option<String>,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<GitCommit> {
    let keep_git_dir = address.keep_git_dir == Some(true);
    let files = if keep_git_dir { folder.to_owned() } else { folder.join("context") };
    std::fs::create_dir_all(&files).map_err(|error| Error::io("create", &files, error))?;
    let git = Git { folder, files: &files, address, authorization, cancel };
    git.must(&["init", "--quiet", "--template="]).await?;
    let wanted = address.reference.as_deref().unwrap_or("HEAD");
    let shallow = git.run(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", &address.remote, wanted]).await?;
    if shallow.status.success() {
        git.must(&["checkout", "--quiet", "--force", "FETCH_HEAD"]).await?;
    } else {
        // Not every server gives a commit by its ID, and a short one is found only where all are.
        let all = ["fetch", "--quiet", "--tags", "--", &address.remote, "+refs/heads/*:refs/remotes/origin/*"];
        if !is_commit(wanted) || !git.run(&all).await?.status.success() {
            return Err(git.failed(&shallow));
        }
        git.must(&["checkout", "--quiet", "--force", "--detach", wanted, "--"]).await?;
    }
    let id = git.checked_commit().await?;
    if address.submodules && files.join(".gitmodules").exists() {
        git.must(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"]).await?;
    }
    if keep_git_dir {
        // An index without the times and inodes of this machine: so one commit is one image.
        git.must(&["read-tree", "HEAD"]).await?;
    }
    Ok(GitCommit { id, folder: git.wanted_folder()? })
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One repository that is being fetched.
struct Git<'a> {
    folder: &'a Path,
    files: &'a Path,
    address: &'a GitAddress,
    authorization: Option<String>,
    cancel: &'a CancellationToken,
}

impl Git<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("git");
        command.env_clear().envs(PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_ASKPASS", "").env("SSH_ASKPASS", "").env("GIT_ATTR_NOSYSTEM", "1").env("LC_ALL", "C");
        command.env("GIT_DIR", self.folder.join(".git")).env("GIT_WORK_TREE", self.files);
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        self.add_authorization(&mut command);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(arguments).current_dir(self.files);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = async {
            command.output().await.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    Error::new(ErrorKind::NotFound, "fetching a git repository needs the program `git`")
                        .with_hint("install git, or clone the repository before the build and name the folder")
                }
                _ => Error::new(ErrorKind::Io, "cannot start `git`").with_source(error),
            })
        };
        tokio::select! {
            output = output => output,
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::Interrupted, "the build was interrupted")),
        }
    }

    /// In the environment, which other users cannot read, and for this server alone.
    fn add_authorization(&self, command: &mut Command) {
        let (Some(authorization), Ok(url)) = (&self.authorization, url::Url::parse(&self.address.remote)) else { return };
        if matches!(url.scheme(), "http" | "https") {
            let origin = url.origin().ascii_serialization();
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", format!("http.{origin}/.extraheader"));
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: {authorization}"));
        }
    }

    async fn must(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.run(arguments).await?;
        if output.status.success() { Ok(output) } else { Err(self.failed(&output)) }
    }

    fn failed(&self, output: &Output) -> Error {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let shown = hide_credentials(&self.address.remote);
        let reference = self.address.reference.as_deref().unwrap_or("HEAD");
        let (kind, hint) = match &said {
            said if said.contains("couldn't find remote ref") || said.contains("did not match any") => {
                (ErrorKind::Context, "check the branch, tag or commit after `#`")
            }
            said if said.contains("could not read Username") || said.contains("uthentication failed") => {
                (ErrorKind::Auth, "give a token as `--secret id=GIT_AUTH_TOKEN,env=NAME`")
            }
            said if said.contains("not allowed") => {
                (ErrorKind::Context, "use a repository that has no part on this machine alone")
            }
            _ => (ErrorKind::Network, "check the address, and whether `git ls-remote` reaches it"),
        };
        Error::new(kind, format!("cannot fetch `{reference}` of the git repository `{shown}`"))
            .with_source(hide_credentials(&said))
            .with_hint(hint)
    }

    /// The ID of the commit, if it is the one that must come.
    async fn checked_commit(&self) -> Result<String> {
        let output = self.must(&["rev-parse", "HEAD"]).await?;
        let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let expected = self.address.checksum.as_deref().unwrap_or_default();
        if commit.starts_with(&expected.to_ascii_lowercase()) {
            return Ok(commit);
        }
        let message =
            format!("the git repository `{}` has commit {commit}, not {expected}", hide_credentials(&self.address.remote));
        Err(Error::new(ErrorKind::Context, message)
            .with_hint("check the checksum in the address, and whether the branch or tag moved"))
    }

    /// The folder that the address names. A link in the repository must not lead out of it.
    fn wanted_folder(&self) -> Result<PathBuf> {
        let Some(wanted) = &self.address.folder else { return Ok(self.files.to_owned()) };
        let missing = || {
            Error::new(ErrorKind::Context, format!("the git repository has no folder `{wanted}`"))
                .with_hint("check what comes after `:` in the address")
        };
        let root = self.files.canonicalize().map_err(|error| Error::io("open", self.files, error))?;
        let folder = root.join(wanted).canonicalize().map_err(|_| missing())?;
        if folder.is_dir() && folder.starts_with(&root) { Ok(folder) } else { Err(missing()) }
    }
}
