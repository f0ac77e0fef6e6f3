//! `mpimg stop`: stops containers, and removes them with `--rm`.
//!
//! Stopping a container that has ended succeeds. A wrong name does not keep the others from being
//! stopped.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::flags::ConnectionFlags;
use crate::cli::terminal::{Answer, Terminal, write_output};
use crate::error::Result;
use crate::operation::{StopRequest, StoppedContainers};

const EXAMPLES: &str = "\
The command gets the image's STOPSIGNAL (default: SIGTERM). If it does not end in time, it is killed with all processes \
that it started.

Examples:
  mpimg stop web             Ask it to end, kill it after 10 seconds
  mpimg stop -t 0 web        Kill it at once
  mpimg stop --rm web        The same, and remove its log and status";

/// Stop containers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stop {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,

    /// Seconds to wait before the container is killed
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u64,

    /// Remove the container: its log and status, too
    #[arg(long)]
    rm: bool,
}

impl Stop {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let mut request = StopRequest::new(self.containers);
        request.grace = Duration::from_secs(self.time);
        request.remove = self.rm;
        let StoppedContainers { ids, mut errors, .. } = mpimg.stop(request).await?;
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
}
