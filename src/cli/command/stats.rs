//! `mpimg stats`: what containers use at this moment.

use clap::Args;
use serde_json::json;

use crate::cli::flags::ConnectionFlags;
use crate::cli::size::Size;
use crate::cli::table::Table;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::ContainerStats;

const EXAMPLES: &str = "\
CPU is the processor time since the start. Memory does not count caches that can be dropped.

Examples:
  mpimg stats
  mpimg stats --json web";

/// Show what containers use
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatsCommand {
    /// Names, IDs or beginnings of IDs [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Docker's word for what this does anyway
    #[arg(id = "no_stream", long = "no-stream", hide = true)]
    _no_stream: bool,
}

impl StatsCommand {
    pub(super) fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let headings = ["CONTAINER", "NAME", "CPU", "MEMORY", "LIMIT", "READ", "WRITTEN", "RECEIVED", "SENT", "PROCESSES"];
        let mut table = Table::new(headings, &[2, 3, 4, 5, 6, 7, 8, 9]);
        let (mut ids, mut list) = (String::new(), Vec::new());
        for ContainerStats { info, stats, .. } in mpimg.stats(&self.containers)? {
            let size = |bytes| Size(bytes).to_string();
            table.row([
                info.id.clone(),
                info.name.clone().unwrap_or_default(),
                format!("{:.2} s", stats.cpu as f64 / 1e9),
                size(stats.memory),
                size(stats.memory_limit),
                size(stats.read),
                size(stats.written),
                size(stats.received),
                size(stats.sent),
                stats.processes.to_string(),
            ]);
            ids += &format!("{}\n", info.id);
            list.push(json!({
                "id": info.id,
                "name": info.name,
                "cpu_ns": stats.cpu,
                "system_cpu_ns": stats.system_cpu,
                "processors": stats.processors,
                "memory": stats.memory,
                "memory_limit": stats.memory_limit,
                "read": stats.read,
                "written": stats.written,
                "received": stats.received,
                "sent": stats.sent,
                "processes": stats.processes,
            }));
        }
        terminal.answer(&Answer { text: table.draw(), quiet: ids, json: json!({ "containers": list }) })
    }
}
