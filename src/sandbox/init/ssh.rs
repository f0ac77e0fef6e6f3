//! `RUN --mount=type=ssh`: a socket inside whose connections are passed on to the agent outside.
//!
//! An agent asks the kernel who connects and answers its own user only, so its socket cannot simply
//! be bound: this process connects instead.
//!
//! Requests are not filtered: the agent decides what it answers.

use std::fs::File;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, WaitOptions};

use super::descriptors::{fd_path, open_folder, pipe};
use super::owners::Owners;
use super::process::die_with_parent;
use super::process::{Fork, exit_now, fork};
use crate::sandbox::setup_error::SetupError;
use crate::sandbox::setup_error::Step as _;
use crate::sandbox::{Mount, RunSpec};

/// Sockets that are listened on, each with the agent behind it.
pub(super) struct Agents(Vec<(UnixListener, PathBuf)>);

/// The name of the socket of the mount with this index.
pub(super) fn socket_name(index: usize) -> String {
    format!("ssh-{index}")
}

/// Makes the sockets of all mounts of type ssh in `folder`.
pub(super) fn listen(owners: &Owners, spec: &RunSpec, folder: &Path) -> Result<Agents, SetupError> {
    let mut agents = Vec::new();
    for (index, mount) in spec.mounts.iter().enumerate() {
        let Mount::Ssh { socket, mode, uid, gid, .. } = mount else { continue };
        let step = || "listen for the SSH agent".to_owned();
        let opened = open_folder(folder)?;
        let name = socket_name(index);
        // By descriptor: the path of a socket may have 107 bytes only.
        let listener = UnixListener::bind(format!("{}/{name}", fd_path(&opened))).step(step)?;
        owners.give_node(&opened, &name, *uid, *gid, *mode).step(step)?;
        agents.push((listener, socket.clone()));
    }
    Ok(Agents(agents))
}

impl Agents {
    /// Serves from a process of its own, which dies with this one; to be called before process
    /// namespaces are entered, because no thread can be started afterwards.
    pub(super) fn serve(self) -> Result<Server, SetupError> {
        if self.0.is_empty() {
            return Ok(Server(None));
        }
        let (alive, keep_alive) = pipe()?;
        match fork().step(|| "fork".into())? {
            Fork::Child => {
                drop(keep_alive);
                if die_with_parent(&alive.into()).is_ok() {
                    self.accept();
                }
                exit_now(0)
            }
            Fork::Parent(pid) => Ok(Server(Some((pid, keep_alive)))),
        }
    }

    fn accept(self) {
        std::thread::scope(|scope| {
            for (listener, agent) in self.0 {
                let accept = move || {
                    for client in listener.incoming().flatten() {
                        let agent = agent.clone();
                        let _ = std::thread::Builder::new().spawn(move || pass_on(&client, &agent));
                    }
                };
                let _ = std::thread::Builder::new().spawn_scoped(scope, accept);
            }
        });
    }
}

/// The serving process; it ends when this is dropped.
pub(super) struct Server(Option<(Pid, File)>);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((pid, _)) = self.0.take() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

fn pass_on(client: &UnixStream, agent: &Path) {
    // The client sees a closed connection where the agent cannot be reached.
    let Ok(agent) = UnixStream::connect(agent) else { return };
    std::thread::scope(|scope| {
        let _ = std::thread::Builder::new().spawn_scoped(scope, || copy(client, &agent));
        copy(&agent, client);
    });
}

fn copy(mut from: &UnixStream, mut to: &UnixStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
