//! Containers without a daemon: a local image's command, started with the same kinds of isolation
//! as RUN.
//!
//! ```text
//! mpimg run ──► monitor (one process a container: unpacks, limits, ports, log) ──► sandbox ──► the command
//! ```
//! The monitor is this program once more, under the name [`MONITOR_NAME`]; with `-d` it stays when
//! its starter ends. Whatever ends it, even `kill -9`, ends everything that it has started. What
//! others need to know of a container is in `containers/ID` of the store's folder:
//! `container.json`, `log`, `lock` (held while the monitor lives), `orders` (a pipe).
//!
//! ```no_run
//! # fn main() -> mpimg::Result<()> {
//! use mpimg::container::{Container, ContainerSpec};
//! use mpimg::image::Transport;
//! use mpimg::oci::Platform;
//! use mpimg::store::Store;
//! use std::time::Duration;
//!
//! // First in `main`; a program that cannot (Python) calls `mpimg::sandbox::set_helper` with the path of the mpimg command.
//! mpimg::container::init_main();
//! let store = Store::open(Store::default_root()?)?;
//! let image = Transport::parse("app:1.0")?.read(&store, &Platform::host(), None)?;
//! let mut spec = ContainerSpec::default();
//! spec.ports = vec!["127.0.0.1:0:8080".parse()?];
//! spec.memory = Some(1 << 30);
//! let container = Container::start(&store, &image, "app:1.0", &spec, &mut |note| eprintln!("{note}"))?;
//! println!("http://127.0.0.1:{}", container.info()?.ports[0].host);
//! println!("{} bytes of memory", container.stats()?.memory);
//! container.stop(Duration::from_secs(10))?;
//! container.logs(&mut |_stream, bytes| print!("{}", String::from_utf8_lossy(bytes)))?;
//! container.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! What a container has written goes when its command ends, unless it is asked to be kept until the
//! container is removed ([`ContainerSpec::keep_changes`]). What shall stay goes to a volume.

mod attached;
mod cgroup;
mod changes;
mod copied;
mod copy_in;
mod exec;
mod handle;
mod launch;
mod log;
mod monitor;
mod monitor_protocol;
mod mount;
mod nat;
mod network;
mod network_thread;
mod owner;
mod port_owner;
mod port_reservation;
mod process;
mod record;
mod signal;
mod spec;
mod stats;
mod streams;
mod watch;

pub use attached::{Attached, AttachedControl};
pub use changes::ChangesOver;
pub use exec::{ExecSpec, own_streams};
pub use handle::{Container, Follow};
pub use log::Stream;
pub use monitor_protocol::MONITOR_NAME;
pub use mount::MountFlag;
pub use port_owner::PortOwner;
pub use record::{ContainerInfo, ContainerState, Outcome};
pub use signal::parse_signal;
pub use spec::{ContainerSpec, NetworkMode, PortMapping, TmpfsMount, Volume, parse_memory};
pub use stats::Stats;

/// Becomes the monitor of a container or the sandbox's helper if this process was started as one,
/// and then never returns. `main` of a program that starts containers must call it first, before it
/// starts a thread; it includes
/// [`sandbox::init_main`](crate::sandbox::init_main).
#[expect(clippy::exit, reason = "the monitor is a process of its own that ends here")]
pub fn init_main() {
    if std::env::args_os().next().is_some_and(|name| name == MONITOR_NAME) {
        crate::sandbox::init_main();
        std::process::exit(monitor::main());
    }
    crate::sandbox::init_main();
    launch::allow();
}
