//! `mpimg ps`: the containers of the local store.
//!
//! Containers of other stores on this machine are not shown.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::ConnectionFlags;
use crate::cli::table::Table;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::when;
use crate::container::{ContainerInfo, ContainerState, Outcome, PortOwner};
use crate::error::Result;
use crate::image::rfc3339;

const EXAMPLES: &str = "\
Examples:
  mpimg ps                        Running containers
  mpimg ps -a                     Also those that have ended
  mpimg stop --rm $(mpimg ps -aq) Stop and remove all of them";

/// Letters of the command that are shown.
const COMMAND: usize = 30;

/// List containers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ps {
    /// Also containers that have ended
    #[arg(short, long)]
    all: bool,
}

impl Ps {
    pub(super) fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let mut table = Table::new(["CONTAINER", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAME"], &[]);
        let (mut ids, mut list) = (String::new(), Vec::new());
        let now = when::now();
        let runs = |info: &ContainerInfo| matches!(info.state, ContainerState::Starting | ContainerState::Running);
        for info in mpimg.containers()?.into_iter().filter(|info| self.all || runs(info)) {
            let command = info.command.join(" ");
            let command = console::truncate_str(&command, COMMAND, "…").into_owned();
            let ports: Vec<String> = info.ports.iter().map(ToString::to_string).collect();
            let created = when::ago(Some(&rfc3339(info.created)), now);
            let name = info.name.clone().unwrap_or_default();
            table.row([info.id.clone(), info.image.clone(), command, created, status(&info), ports.join(", "), name]);
            ids += &format!("{}\n", info.id);
            list.push(json(&info));
        }
        terminal.answer(&Answer { text: table.draw(), quiet: ids, json: json!({ "containers": list }) })
    }
}

fn status(info: &ContainerInfo) -> String {
    match info.state {
        ContainerState::Created => "created".into(),
        ContainerState::Starting => "starting".into(),
        ContainerState::Running => "running".into(),
        ContainerState::Ended(Outcome { out_of_memory: true, .. }) => "ended: out of memory".into(),
        ContainerState::Ended(outcome) => format!("ended ({})", outcome.status()),
        ContainerState::Lost => "killed".into(),
    }
}

/// A container in the JSON of every command.
pub(super) fn json(info: &ContainerInfo) -> Value {
    let (state, outcome) = match info.state {
        ContainerState::Created => ("created", None),
        ContainerState::Starting => ("starting", None),
        ContainerState::Running => ("running", None),
        ContainerState::Ended(outcome) => ("ended", Some(outcome)),
        ContainerState::Lost => ("killed", None),
    };
    let ports = info.ports.iter().zip(info.port_owners()).map(|(port, owner)| {
        let (listener, process) = match owner {
            PortOwner::Container => ("container", None),
            PortOwner::Other(process) => ("other", process),
            _ => ("none", None),
        };
        json!({
            "ip": port.ip,
            "host": port.host,
            "container": port.container,
            "listener": listener,
            "listener_process": process,
        })
    });
    json!({
        "id": info.id,
        "name": info.name,
        "image": info.image,
        "digest": info.digest,
        "command": info.command,
        "created": rfc3339(info.created),
        "state": state,
        "status": outcome.map(|outcome| outcome.status()),
        "out_of_memory": outcome.is_some_and(|outcome| outcome.out_of_memory),
        "finished": outcome.map(|outcome| rfc3339(outcome.finished)),
        "ports": ports.collect::<Vec<_>>(),
        "network": info.network,
        "isolation": info.isolation.map(|isolation| isolation.to_string()),
        "memory": info.memory,
        "labels": info.spec.labels,
        "pid": info.pid,
    })
}
