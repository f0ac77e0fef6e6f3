//! `mpimg stop`: ends containers, and forgets them where asked to.
//!
//! Refuses nothing that has ended already: stopping it is done. A wrong name keeps nothing else from being stopped.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::blocking;
use crate::cli::terminal::{Answer, Terminal, write_output};
use crate::container::Container;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

const EXAMPLES: &str = "\
The command gets the image's STOPSIGNAL (SIGTERM without one). What does not end in time is killed with all that it has \
started.

Examples:
  mpimg stop web             Ask it to end, kill it after 10 seconds
  mpimg stop -t 0 web        Kill it at once
  mpimg stop --rm web        The same, and forget its log and status";

/// Stop containers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Stop {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,

    /// Seconds until it is killed
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u64,

    /// Forget the container: its log and status, too
    #[arg(long)]
    rm: bool,
}

impl Stop {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let stopped = blocking(move || {
            let store = Store::open(Store::default_root()?)?;
            // At once: each may take its whole time.
            Ok(std::thread::scope(|scope| {
                let (this, store) = (&self, &store);
                let stop = |name| scope.spawn(move || this.stop(store, name));
                let threads: Vec<_> = self.containers.iter().map(|name| stop(name)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(lost()))).collect::<Vec<_>>()
            }))
        });
        let (ids, errors): (Vec<_>, Vec<_>) = stopped.await?.into_iter().partition(Result::is_ok);
        let ids: Vec<String> = ids.into_iter().flatten().collect();
        let mut errors: Vec<Error> = errors.into_iter().filter_map(Result::err).collect();
        let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let Some(last) = errors.pop() else {
            return terminal.answer(&Answer { text: text.clone(), quiet: text, json: json!({ "stopped": ids }) });
        };
        if !terminal.wants_json() {
            write_output(text.as_bytes())?;
        }
        errors.iter().for_each(|error| terminal.warn(&error.to_string(), None));
        Err(last)
    }

    fn stop(&self, store: &Store, name: &str) -> Result<String> {
        let container = Container::find(store, name)?;
        container.stop(Duration::from_secs(self.time))?;
        if self.rm {
            container.remove()?;
        }
        Ok(container.id().to_owned())
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Io, "the thread that stops a container was lost")
}
