//! What a container's starter and its monitor send each other over their socket.
//!
//! ```text
//! starter ── Job, lock ──────────────────► monitor
//!         ◄─ MonitorEvent ────────────────
//!         ── MonitorCommand (attached) ──►
//! ```

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{NetworkMode, Outcome, PortMapping, Stream, TmpfsMount, Volume};
use crate::oci::{Descriptor, DiffId};
use crate::sandbox::wire::ErrorMessage;
use crate::sandbox::{IsolationMode, Ulimit};

/// `argv[0]` of the process that holds a container.
pub const MONITOR_NAME: &str = "mpimg-container";

/// What the monitor has to run, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) store: PathBuf,
    pub(super) id: String,
    pub(super) layers: Vec<LayerFile>,
    pub(super) env: Vec<(String, String)>,
    pub(super) user: String,
    pub(super) workdir: String,
    pub(super) hostname: String,
    pub(super) volumes: Vec<Volume>,
    pub(super) tmpfs: Vec<TmpfsMount>,
    pub(super) ports: Vec<PortMapping>,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) shm_size: Option<u64>,
    pub(super) extra_hosts: Vec<(String, IpAddr)>,
    pub(super) network: NetworkMode,
    pub(super) isolation: IsolationMode,
    pub(super) interactive: bool,
    pub(super) terminal: bool,
    pub(super) remove: bool,
    pub(super) keep_changes: bool,
    pub(super) end_with: Option<u32>,
    /// Whether the starter stays: then it gets the output, and the container ends with it.
    pub(super) attached: bool,
}

/// A layer and the file that has its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LayerFile {
    pub(super) diff_id: DiffId,
    pub(super) descriptor: Descriptor,
    pub(super) file: PathBuf,
}

/// What the monitor sends to its starter.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum MonitorEvent {
    /// Something that the user should know.
    Note(String),
    /// The command runs. If it has an input and its starter stays, the descriptor to write that
    /// input to follows.
    Started,
    /// The command cannot be started.
    Failed(ErrorMessage),
    /// What the command wrote.
    Output(Stream, Vec<u8>),
    /// The command has ended.
    Ended(Outcome),
}

/// What a starter that stays asks of the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum MonitorCommand {
    /// Send the container's command this signal.
    Signal(i32),
    /// Kill the command and everything that it has started.
    Kill,
}
