//! `mpimg login`: tries a password, then stores it where docker would.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, read_password};
use crate::cli::prompt;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::registry_name;
use crate::registry::CredentialStore;

const EXAMPLES: &str = "\
Stored with the credential helper that docker's config.json names, else in that file (in $DOCKER_CONFIG, else ~/.docker), \
where the password is not encrypted, only base64-encoded. docker and podman use it, too.

Examples:
  mpimg login harbor.example.com
  echo $TOKEN | mpimg login ghcr.io -u me --password-stdin
  mpimg login                                     Docker Hub";

/// Log in to a registry
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Login {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    registry: String,

    /// The user name [default: asked for]
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// The password or access token; other users of this machine can see it while mpimg runs
    /// [default: asked for]
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,

    /// Read the password or access token from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Login {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let registry = registry_name(&self.registry);
        let username = match self.username {
            Some(username) => username,
            None => prompt::username(terminal, &registry)?,
        };
        let password = match self.password {
            Some(password) => {
                let hint = "use `--password-stdin`";
                terminal.warn("a password on the command line can be seen by other users of this machine", Some(hint));
                password
            }
            None if self.password_stdin => read_password("--password-stdin")?,
            None => prompt::password(terminal, &registry, "`--password-stdin`")?,
        };
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        if let CredentialStore::File(path) = mpimg.client().credential_store(&registry)? {
            let hint = "configure a credential helper with `credsStore` in that file to keep it safe";
            terminal.warn(&format!("the password will stand unencrypted in `{}`", path.display()), Some(hint));
        }
        let store = mpimg.login(&registry, &username, &password).await?;
        let place = match store {
            CredentialStore::File(path) => path.display().to_string(),
            CredentialStore::Helper(helper) => format!("docker-credential-{helper}"),
        };
        terminal.answer(&Answer {
            text: "Login Succeeded\n".into(),
            quiet: String::new(),
            json: json!({ "registry": registry, "username": username, "stored_in": place }),
        })
    }
}
