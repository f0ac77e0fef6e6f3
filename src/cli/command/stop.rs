//! `mpimg stop`: ends containers, and forgets them where asked to.
//!
//! Refuses nothing that has ended already: stopping it is done.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::blocking;
use crate::cli::terminal::{Answer, Terminal};
use crate::container::Container;
use crate::error::Result;
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
            // All are looked up first: a wrong name must not leave half the work done.
            let all = self.containers.iter().map(|name| Container::find(&store, name)).collect::<Result<Vec<_>>>()?;
            for container in &all {
                container.stop(Duration::from_secs(self.time))?;
                if self.rm {
                    container.remove()?;
                }
            }
            Ok(all.iter().map(|container| container.id().to_owned()).collect::<Vec<_>>())
        });
        let ids = stopped.await?;
        let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
        terminal.answer(&Answer { text: text.clone(), quiet: text, json: json!({ "stopped": ids }) })
    }
}
