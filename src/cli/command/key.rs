//! `mpimg key`: makes keys that sign images.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::flags::given_password;
use crate::cli::prompt;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::generate_key;

const EXAMPLES: &str = "\
Examples:
  mpimg key generate                               Writes mpimg.key and mpimg.pub
  mpimg key generate release
  COSIGN_PASSWORD=$SECRET mpimg key generate release";

/// Make keys that sign images
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    Generate(Generate),
}

/// Make a key pair: PREFIX.key (private, encrypted with a password) and PREFIX.pub
///
/// The key is an ECDSA key on P-256 in cosign's format, so cosign can use it, too. The password
/// comes from --key-password-fd, otherwise from $COSIGN_PASSWORD, otherwise from a prompt. Existing
/// files are not replaced.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Generate {
    /// The names of the files, without .key and .pub
    #[arg(value_name = "PREFIX", default_value = "mpimg")]
    prefix: PathBuf,

    /// Read the password from this file descriptor
    #[arg(long, value_name = "FD")]
    key_password_fd: Option<u32>,
}

impl Key {
    pub(super) fn run(self, terminal: &Terminal) -> Result<()> {
        let KeyCommand::Generate(Generate { prefix, key_password_fd }) = self.command;
        let password = match given_password(key_password_fd)? {
            Some(password) => password,
            None => prompt::new_key_password(terminal)?,
        };
        if password.is_empty() {
            let hint =
                "delete the two files and make another key with a password, or keep the private key where nobody else reads it";
            terminal.warn("the password is empty: whoever reads the private key can sign with it", Some(hint));
        }
        let files = generate_key(&prefix, &password)?;
        let (private, public) = (files.private.display(), files.public.display());
        let fingerprint = files.key.public().fingerprint();
        terminal.answer(&Answer {
            text: format!("private key: {private} (keep it secret)\npublic key: {public}\n"),
            quiet: format!("{public}\n"),
            json: json!({ "private_key": files.private, "public_key": files.public, "fingerprint": fingerprint }),
        })
    }
}
