//! `mpimg serve`: a registry on this machine, for development and for a Cloud Proxy on the same
//! network.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::cli::flags::ConnectionFlags;
use crate::cli::progress::shown_time;
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::ServeRequest;
use crate::serve::{Served, TlsOptions};

const EXAMPLES: &str = "\
Without --tls the registry speaks plain HTTP. Docker accepts that from other machines only if they list HOST:PORT under \
\"insecure-registries\" in /etc/docker/daemon.json; mpimg needs --insecure-registry HOST:PORT. With --tls it makes a \
certificate, keeps it, and says how a client trusts it. -v shows every request.

Examples:
  mpimg serve                            For this machine alone
  mpimg serve --addr 0.0.0.0:5000        For the network, such as a Cloud Proxy
  mpimg serve --addr 0.0.0.0:5000 --tls --htpasswd users --anonymous-pull
                                         The same, encrypted; only the users of the file may push
  mpimg serve --addr 127.0.0.1:0 --json  On a free port, which the JSON names";

/// Run a registry on this machine until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    addr: String,

    /// Keep the data in this folder [default: registry in the local store's folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Refuse pushes and deletions
    #[arg(long)]
    read_only: bool,

    /// Encrypt connections, with a certificate that is made for this machine
    #[arg(long)]
    tls: bool,

    /// Encrypt connections, with this certificate in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Let only the users of this file in, as `htpasswd -B` writes it
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,

    /// Let anybody pull, too
    #[arg(long, requires = "htpasswd")]
    anonymous_pull: bool,
}

impl Serve {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let mut request = ServeRequest::new(self.addr);
        request.dir = self.dir;
        request.read_only = self.read_only;
        request.tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsOptions::Files { certificate, key }),
            _ => self.tls.then_some(TlsOptions::Made),
        };
        let encrypted = request.tls.is_some();
        (request.htpasswd, request.anonymous_pull) = (self.htpasswd, self.anonymous_pull);
        request.log = terminal.verbose().then(|| log(terminal));
        let server = mpimg.serve(request).await?;
        terminal.handle_signals();

        let addresses: Vec<String> = server.reachable_addrs().iter().map(ToString::to_string).collect();
        let first = addresses.first().cloned().unwrap_or_default();
        let dir = server.dir().display().to_string();
        let certificate = server.certificate().map(|path| path.display().to_string());
        terminal.answer(&Answer {
            text: addresses.iter().map(|addr| format!("{addr}\n")).collect(),
            quiet: format!("{first}\n"),
            json: json!({
                "addr": server.addr().to_string(),
                "addresses": addresses,
                "dir": dir,
                "read_only": self.read_only,
                "tls": encrypted,
                "certificate": certificate,
            }),
        })?;
        let rights = if self.read_only { " (read only)" } else { "" };
        let trust = certificate.as_ref().map(|path| format!(" --ca-file {path}")).unwrap_or_default();
        terminal.say(&format!("serving {dir}{rights} until Ctrl-C; push with:\n  mpimg push -r {first}/NAME{trust}"));
        if let Some(path) = certificate {
            let trusted = format!("/etc/docker/certs.d/{first}/ca.crt");
            terminal.say(&format!("docker and mpimg on other machines trust it with:\n  install -D {path} {trusted}"));
        }

        let requests = server.run().await?;
        terminal.say(&format!("served {requests} requests"));
        Ok(())
    }
}

/// A line a request.
fn log(terminal: &Terminal) -> Arc<dyn Fn(&Served) + Send + Sync> {
    let progress = terminal.progress().clone();
    Arc::new(move |served| {
        let request = &served.request;
        let status = served.status.map_or_else(|| "cut".to_owned(), |status| status.as_str().to_owned());
        let bytes = Size(served.request_bytes.max(served.response_bytes));
        let time = shown_time(served.elapsed);
        progress.note(&format!("{} {} {} {status} {bytes} {time}", request.peer, request.method, request.path));
    })
}
