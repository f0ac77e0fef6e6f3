//! Git repositories on the network: git's own daemon on a free port.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::registry::fixture::free_address;

/// A daemon that ends with the test.
pub(crate) struct GitDaemon {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl GitDaemon {
    /// Serves the repositories in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let address = free_address();
        let program = PathBuf::from(crate::run(Command::new("git").arg("--exec-path")).trim()).join("git-daemon");
        let mut command = Command::new(program);
        command.arg(format!("--port={}", address.port())).arg("--listen=127.0.0.1").arg("--export-all").arg("--reuseaddr");
        command.arg(format!("--base-path={}", folder.display())).arg(folder).stdin(Stdio::null());
        let daemon = Self { child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), address };
        let started = std::time::Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "git daemon does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("git://{}/{name}", self.address)
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
