//! The key that signs, and its password.
//!
//! Invariant: a password is neither shown nor an argument.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::prompt;
use crate::cli::terminal::Terminal;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::read_signing_key;
use crate::signature::{PublicKey, SigningCommand, SigningKey};

/// cosign's variable, so that one secret of a CI job serves both.
const PASSWORD: &str = "COSIGN_PASSWORD";
const LIMIT: u64 = 64 << 10;

/// Where a push takes the key from with which it signs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signing options")]
pub(crate) struct PushSigningFlags {
    /// Sign the pushed image, and its SBOM, with this private key
    ///
    /// A PEM file of ECDSA on P-256, cosign's key files included. The password of an encrypted key
    /// comes from --key-password-fd, otherwise from $COSIGN_PASSWORD, otherwise from a prompt.
    #[arg(long = "sign", value_name = "KEY", conflicts_with = "command")]
    key: Option<PathBuf>,

    /// Sign with this shell command instead: it gets the message on standard input and prints the
    /// signature (ASN.1, or its base64)
    #[arg(long = "sign-command", hide_short_help = true, value_name = "COMMAND", requires = "public_key")]
    command: Option<String>,

    /// The public key that belongs to --sign-command's private key
    #[arg(long = "sign-public-key", hide_short_help = true, value_name = "FILE", requires = "command")]
    public_key: Option<PathBuf>,

    /// Read the private key's password from this file descriptor
    #[arg(long, value_name = "FD", hide_short_help = true)]
    key_password_fd: Option<u32>,
}

impl PushSigningFlags {
    /// The key, if the push is to sign.
    pub(crate) fn key(self, terminal: &Terminal) -> Result<Option<SigningKey>> {
        let Self { key, command, public_key, key_password_fd } = self;
        match (key, command) {
            (Some(path), _) => file_key(terminal, &path, key_password_fd).map(Some),
            (None, Some(command)) => {
                let key = command_key(terminal, command, public_key)?;
                // The image would be there without a signature.
                key.try_command()?;
                Ok(Some(key))
            }
            (None, None) => Ok(None),
        }
    }
}

/// The key of `mpimg sign`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SigningFlags {
    /// The private key: a PEM file of ECDSA on P-256, cosign's key files included
    ///
    /// The password of an encrypted key comes from --key-password-fd, otherwise from
    /// $COSIGN_PASSWORD, otherwise from a prompt.
    #[arg(short, long, value_name = "FILE", conflicts_with = "command", required_unless_present = "command")]
    key: Option<PathBuf>,

    /// Sign with this shell command instead: it gets the message on standard input and prints the
    /// signature (ASN.1, or its base64)
    #[arg(long = "key-command", value_name = "COMMAND", requires = "public_key")]
    command: Option<String>,

    /// The public key that belongs to --key-command's private key
    #[arg(long, value_name = "FILE", requires = "command")]
    public_key: Option<PathBuf>,

    /// Read the private key's password from this file descriptor
    #[arg(long, value_name = "FD")]
    key_password_fd: Option<u32>,
}

impl SigningFlags {
    /// The key.
    pub(crate) fn key(self, terminal: &Terminal) -> Result<SigningKey> {
        let Self { key, command, public_key, key_password_fd } = self;
        match (key, command) {
            (Some(path), _) => file_key(terminal, &path, key_password_fd),
            (None, command) => command_key(terminal, command.unwrap_or_default(), public_key),
        }
    }
}

fn file_key(terminal: &Terminal, path: &Path, descriptor: Option<u32>) -> Result<SigningKey> {
    read_signing_key(path, || password(terminal, path, descriptor))
}

fn command_key(terminal: &Terminal, command: String, public_key: Option<PathBuf>) -> Result<SigningKey> {
    let public = PublicKey::read(&public_key.unwrap_or_default())?;
    let command = SigningCommand::new(command).cancelled_by(terminal.interrupt().cancel().clone());
    Ok(SigningKey::from_command(command, public))
}

fn password(terminal: &Terminal, path: &Path, descriptor: Option<u32>) -> Result<String> {
    match given_password(descriptor)? {
        Some(password) => Ok(password),
        None => prompt::key_password(terminal, &path.display().to_string()),
    }
}

/// The password that a descriptor or the environment gives.
pub(crate) fn given_password(descriptor: Option<u32>) -> Result<Option<String>> {
    let Some(descriptor) = descriptor else { return Ok(std::env::var(PASSWORD).ok()) };
    let path = PathBuf::from(format!("/dev/fd/{descriptor}"));
    let cannot = |error| {
        Error::new(ErrorKind::Usage, format!("cannot read the password from file descriptor {descriptor}")).with_source(error)
    };
    let mut text = String::new();
    std::fs::File::open(&path).and_then(|file| file.take(LIMIT).read_to_string(&mut text)).map_err(cannot)?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}
