//! `mpimg serve`: a registry on this machine, for development and for a Cloud Proxy on the same network.
//!
//! Refuses TLS and users: what is served to more than a laboratory belongs into a real registry.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::progress::shown_time;
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Result, ResultExt as _};
use crate::serve::{Registry, RegistryOptions, Served};
use crate::store::Store;

const EXAMPLES: &str = "\
The registry speaks plain HTTP. Docker accepts that from other machines only if they list HOST:PORT under \
\"insecure-registries\" in /etc/docker/daemon.json; mpimg needs --insecure-registry HOST:PORT. -v shows every request.

Examples:
  mpimg serve                            For this machine alone
  mpimg serve --addr 0.0.0.0:5000        For the network, such as a Cloud Proxy
  mpimg serve --addr 127.0.0.1:0 --json  On a free port, told in JSON";

/// Run a registry on this machine until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Serve {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    addr: String,

    /// Keep the data in this folder [default: registry in the local store's folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Refuse pushes and deletions
    #[arg(long)]
    read_only: bool,
}

impl Serve {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let dir = match self.dir {
            Some(dir) => dir,
            // Opened first: the store does not move into a folder that something else has made.
            None => Store::open(Store::default_root()?)?.root().join("registry"),
        };
        let log = terminal.verbose().then(|| log(terminal));
        let registry = Registry::open(RegistryOptions { dir: Some(dir), read_only: self.read_only, log, ..Default::default() })?;
        let server = registry
            .bind(self.addr.as_str())
            .await
            .context(crate::ErrorKind::Network, || format!("cannot serve on `{}`", self.addr))?;
        terminal.handle_signals();

        let addresses: Vec<String> = server.reachable_addrs().iter().map(ToString::to_string).collect();
        let first = addresses.first().cloned().unwrap_or_default();
        let dir = registry.dir().display().to_string();
        terminal.answer(&Answer {
            text: addresses.iter().map(|addr| format!("{addr}\n")).collect(),
            quiet: format!("{first}\n"),
            json: json!({ "addr": server.addr().to_string(), "addresses": addresses, "dir": dir, "read_only": self.read_only }),
        })?;
        let rights = if self.read_only { " (read only)" } else { "" };
        terminal.say(&format!("serving {dir}{rights} until Ctrl-C; push with:\n  mpimg push -r {first}/NAME"));

        let stop: CancellationToken = terminal.interrupt().cancel().clone();
        server.run(async move { stop.cancelled().await }).await?;
        terminal.say(&format!("served {} requests", registry.requests()));
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
