//! A further command in a running container: in its namespaces or its chroot, with its environment,
//! user and limits.

use std::os::fd::OwnedFd;

use super::process::environment;
use super::{Container, ContainerState};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::layer::LayerPath;
use crate::sandbox::{RootSpec, RunSpec, Running, Streams};

/// Which command is run in a container, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's environment, over variables of the same name.
    pub env: Vec<(String, String)>,
    /// Instead of the container's user: `NAME|UID[:GROUP|GID]`.
    pub user: Option<String>,
    /// Instead of the container's working directory.
    pub workdir: Option<String>,
}

impl Container {
    /// That a further command can be started in it.
    pub(crate) fn expect_enterable(&self) -> Result<()> {
        match self.info()?.isolation {
            Some(isolation) if !isolation.can_be_joined() => {
                let message = format!("a container with isolation `{isolation}` cannot be entered");
                Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                    "run a container of the same image with the same volumes; `mpimg doctor` shows what a better isolation needs",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Starts a further command in the container (started from `image`) with these streams. It is
    /// killed when the returned value is dropped, and with this process or the container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: the container does not run. [`ErrorKind::Unsupported`]: its
    /// isolation is one that cannot be entered.
    pub fn exec(&self, image: &Image, exec: &ExecSpec, streams: Streams) -> Result<Running> {
        let info = self.info()?;
        let (ContainerState::Running, Some(pid), Some(isolation)) = (info.state, info.pid, info.isolation) else {
            return Err(Error::new(ErrorKind::NotFound, format!("container `{}` is not running", info.id)));
        };
        self.expect_enterable()?;
        let (config, spec) = (&image.config().config, &info.spec);
        let hostname = spec.hostname.clone().unwrap_or_else(|| info.id.clone());
        let mut all = spec.clone();
        all.env.extend(exec.env.clone());
        // A root that is mounted is found by its namespace; a tree has to be named.
        let root = if isolation.needs_tree() { self.scratch().join("tree") } else { "/".into() };
        let mut run = RunSpec::new(exec.command.iter().map(String::as_str), RootSpec::Tree { path: root });
        run.env = environment(config, &all, &hostname);
        run.user_name = Some(exec.user.clone().or_else(|| spec.user.clone()).unwrap_or_else(|| config.user.clone()));
        let workdir = exec.workdir.clone().or_else(|| spec.workdir.clone()).unwrap_or_else(|| config.working_dir.clone());
        run.cwd = LayerPath::clean(if workdir.is_empty() { "/" } else { &workdir })?;
        run.container = true;
        run.ulimits.clone_from(&spec.ulimits);
        Running::join(isolation, pid, run, streams, |helper| match &info.cgroup {
            Some(cgroup) => {
                cgroup.add(helper).map_err(|error| Error::new(ErrorKind::Sandbox, "cannot limit memory").with_source(error))
            }
            None => Ok(()),
        })
    }
}

/// This process's own streams; standard input only if `input` says so.
pub fn own_streams(input: bool) -> Result<Streams> {
    let copy = |stream: rustix::fd::BorrowedFd<'_>| -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(stream, 3).map_err(|errno| {
            Error::new(ErrorKind::Io, "cannot pass on a standard stream").with_source(std::io::Error::from(errno))
        })
    };
    Ok(Streams {
        stdin: if input { Some(copy(rustix::stdio::stdin())?) } else { None },
        stdout: copy(rustix::stdio::stdout())?,
        stderr: copy(rustix::stdio::stderr())?,
    })
}
