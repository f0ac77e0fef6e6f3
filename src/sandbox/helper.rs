//! The helper process: how this program is started again as one, and the one call in `main` that
//! makes it so.
//!
//! A program that never called [`init_main`] is not started as a helper, because it would run its
//! own `main`.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::setup_error::KILLED_HINT;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};

/// `argv[0]` of the helper process.
pub const HELPER_NAME: &str = "mpimg-sandbox-init";

/// This program itself.
pub(super) const OWN_PROGRAM: &str = "/proc/self/exe";

static HELPER: OnceLock<PathBuf> = OnceLock::new();

/// Becomes the helper if this process was started as one, and then never returns; otherwise does
/// nothing but remember that this program can be its own helper. `main` must call it before
/// anything else, above all before it starts a thread.
#[expect(clippy::exit, reason = "the helper is a process of its own that ends here")]
pub fn init_main() {
    if std::env::args_os().next().is_some_and(|name| name == HELPER_NAME) {
        std::process::exit(super::init::main());
    }
    // SIGCHLD may be ignored, inherited from our parent: then the exit status would be lost.
    super::init::heed_children();
    super::init::outlive_file_limit();
    let _ = HELPER.set(OWN_PROGRAM.into());
}

/// Names the program that is started as the helper: one whose `main` calls [`init_main`]. For
/// programs that cannot do so themselves, such as a Python interpreter or a test harness. The first
/// call counts.
pub fn set_helper(program: PathBuf) {
    let _ = HELPER.set(program);
}

/// The program that is the helper, unless none has been named.
pub(super) fn path() -> Result<&'static Path> {
    HELPER.get().map(PathBuf::as_path).ok_or_else(|| {
        Error::new(ErrorKind::Sandbox, "this program cannot start the sandbox")
            .with_hint("call `mpimg::init_main()` first in `main`, or name the mpimg command with `mpimg::set_helper`")
    })
}

/// The helper as a sealed copy in memory. A command can make the kernel run its parent's program
/// once more (`#!/proc/self/exe`) and open it for writing afterwards; what it reaches that way must
/// not be the file on this machine (CVE-2019-5736).
///
/// Not a detached read-only mount, which would save 17 ms: who is root in any user namespace and
/// has its descriptor makes it writable (mount_setattr(2)).
fn program() -> Result<PathBuf> {
    static COPY: OnceLock<OwnedFd> = OnceLock::new();
    let program = path()?;
    let copy = match COPY.get() {
        Some(copy) => copy,
        None => {
            let copy = sealed_copy(program)
                .context(ErrorKind::Sandbox, || format!("cannot copy `{}` into memory", program.display()))?;
            COPY.get_or_init(|| copy)
        }
    };
    Ok(format!("/proc/self/fd/{}", copy.as_raw_fd()).into())
}

fn sealed_copy(program: &Path) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(HELPER_NAME, flags | MemfdFlags::EXEC) {
        // Older than Linux 6.3, where every such file can be executed.
        Err(Errno::INVAL) => rustix::fs::memfd_create(HELPER_NAME, flags),
        created => created,
    }?;
    let mut copy = File::from(copy);
    std::io::copy(&mut File::open(program)?, &mut copy)?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    seal(&copy, seals)?;
    Ok(copy.into())
}

/// Adds seals, again and again for up to a second while the kernel still references pages
/// of the file (EBUSY, fcntl(2)).
fn seal(copy: &File, seals: SealFlags) -> std::io::Result<()> {
    const ATTEMPTS: u32 = 100;
    for _ in 1..ATTEMPTS {
        match rustix::fs::fcntl_add_seals(copy, seals) {
            Err(Errno::BUSY) => std::thread::sleep(std::time::Duration::from_millis(10)),
            sealed => return Ok(sealed?),
        }
    }
    Ok(rustix::fs::fcntl_add_seals(copy, seals)?)
}

/// Starts the helper. It reads its request from the socket and replies there; `output`
/// and `errors` become its standard output and standard error.
pub(super) fn spawn(output: Stdio, errors: Stdio) -> Result<(Child, UnixStream)> {
    let program = program()?;
    let cannot = || "cannot start the sandbox".to_owned();
    let (ours, theirs) = UnixStream::pair().context(ErrorKind::Sandbox, cannot)?;
    let mut command = Command::new(program);
    // Nothing of this program's environment belongs inside.
    command.arg0(HELPER_NAME).env_clear().current_dir("/").stdin(OwnedFd::from(theirs)).stdout(output).stderr(errors);
    let child = command.spawn().context(ErrorKind::Sandbox, cannot)?;
    tracing::debug!(pid = child.id(), "helper started");
    Ok((child, ours))
}

/// Waits for the helper's end. Gives the error of one that has not said how its request went.
pub(super) fn wait(child: &mut Child) -> Result<Error> {
    let early = |status: &str| Error::new(ErrorKind::Sandbox, format!("the sandbox ended early: {status}"));
    match child.wait() {
        Ok(status) if status.signal() == Some(libc::SIGKILL) => Ok(early(&status.to_string()).with_hint(KILLED_HINT)),
        Ok(status) => Ok(early(&status.to_string())),
        // A program that ignores SIGCHLD gets no status (wait(2)); by then the child has ended.
        Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => Ok(early("exit status unknown")),
        Err(error) => Err(error).context(ErrorKind::Sandbox, || "lost the connection to the sandbox".into()),
    }
}
