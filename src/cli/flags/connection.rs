//! How registries are reached, and who asks.
//!
//! Invariant: a password is never shown.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;

use crate::cli::prompt;
use crate::cli::terminal::Terminal;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Mpimg, Options};
use crate::registry::{Credential, CredentialSources};

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// How registries are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct ConnectionFlags {
    /// Also trust the certificate authorities of this PEM file
    #[arg(long, value_name = "FILE", value_parser = certificates)]
    ca_file: Vec<PathBuf>,

    /// Use plain HTTP for this registry, or accept a certificate that fails verification
    ///
    /// Loopback addresses need no flag. `registries.conf` can say the same with `insecure = true`.
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,

    /// Ask this mirror before Docker Hub
    #[arg(long, value_name = "HOST[:PORT][/PATH]")]
    registry_mirror: Vec<String>,
}

impl ConnectionFlags {
    /// The library as these flags configure it, with `explicit` as the credential of one registry.
    pub(crate) fn mpimg(self, terminal: &Terminal, explicit: Option<(String, Credential)>) -> Mpimg {
        let explicit = explicit.into_iter().collect();
        Mpimg::new(Options {
            home: None,
            credentials: CredentialSources { explicit, ..CredentialSources::default() },
            ca_files: self.ca_file,
            insecure_registries: self.insecure_registry,
            registry_mirrors: self.registry_mirror,
            progress: terminal.progress().clone(),
            cancel: terminal.interrupt().cancel().clone(),
        })
    }
}

/// Who asks the registry that is pushed to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct LoginFlags {
    /// Log in under this name [default: what docker or podman have stored, see `mpimg login`]
    #[arg(long, value_name = "NAME")]
    registry_username: Option<String>,

    /// The password or access token; other users of this machine can see it while mpimg runs
    #[arg(long, value_name = "PASSWORD", requires = "registry_username", conflicts_with = "registry_password_stdin")]
    registry_password: Option<String>,

    /// Read the password or access token from standard input
    #[arg(long, requires = "registry_username")]
    registry_password_stdin: bool,
}

impl LoginFlags {
    /// The credential for `registry`, if the flags name one. Asks for the password where it is
    /// missing.
    pub(crate) fn credential(self, terminal: &Terminal, registry: &str) -> Result<Option<(String, Credential)>> {
        let Some(username) = self.registry_username else { return Ok(None) };
        let password = match self.registry_password {
            Some(password) => {
                let hint = "use `--registry-password-stdin`, or log in once with `mpimg login`";
                terminal.progress().warn("a password on the command line can be seen by other users of this machine", Some(hint));
                password
            }
            None if self.registry_password_stdin => read_password("--registry-password-stdin")?,
            None => prompt::password(terminal, registry, "`--registry-password-stdin`")?,
        };
        Ok(Some((registry.to_owned(), Credential::Basic { username, password })))
    }
}

/// A file with certificates. Looked at here, since a registry that needs none would hide a mistyped
/// name.
fn certificates(text: &str) -> Result<PathBuf, String> {
    let pem = std::fs::read(text).map_err(|error| format!("cannot read it: {error}"))?;
    match pem.windows(BEGIN.len()).any(|bytes| bytes == BEGIN) {
        true => Ok(text.into()),
        false => Err("it has no PEM certificate (`-----BEGIN CERTIFICATE-----`)".to_owned()),
    }
}

/// All of standard input without its trailing line ends: `echo` and password managers write one
/// that is not the password's. `flag` is the one that asked for it.
pub(crate) fn read_password(flag: &str) -> Result<String> {
    let mut password = String::new();
    let read = std::io::stdin().lock().take(64 * 1024).read_to_string(&mut password);
    read.map_err(|error| Error::new(ErrorKind::Io, "cannot read the password from standard input").with_source(error))?;
    let password = password.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "the password on standard input is empty")
            .with_hint(format!("pipe it in: `{flag} < FILE`")));
    }
    Ok(password.to_owned())
}
