//! The helper's `main`: takes one request from the control socket, carries it out, and replies
//! there.

use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};

use super::descriptors::remove_tree;
use super::{chroot, emulated, join, namespaces, process, userns};
use crate::layer::diff::{Change, changes};
use crate::layer::unpack::{UnpackOptions, Whiteouts, unpack};
use crate::sandbox::IsolationKind;
use crate::sandbox::channel::{read_message, receive_file, send_file, write_message};
use crate::sandbox::setup_error::{SetupError, Step as _};
use crate::sandbox::wire::{self, Reply, Request};

/// The helper's `main`. Returns its exit status.
pub(in crate::sandbox) fn main() -> i32 {
    // Started by /proc/self/exe or from memory, it has no name that says what it is.
    let _ = rustix::thread::set_name(c"mpimg-sandbox");
    let Ok(control) = take_control() else { return 1 };
    let Ok(Some(request)) = read_message::<Request>(&control) else { return 1 };
    if matches!(request, Request::Run { stdin: true, .. } | Request::Join { stdin: true, .. }) && take_stdin(&control).is_err() {
        return 1;
    }
    let reply = carry_out(request, &control).unwrap_or_else(Reply::Failed);
    i32::from(write_message(&control, &reply).is_err())
}

/// Makes standard input the control socket, then `/dev/null`, and sees that no other descriptor
/// reaches the command.
fn take_control() -> Result<UnixStream, SetupError> {
    process::heed_children();
    process::close_others_on_exec().step(|| "close_range".into())?;
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).step(|| "dup".into())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(|| "open /dev/null".into())?;
    rustix::stdio::dup2_stdin(&null).step(|| "dup2".into())?;
    rustix::process::umask(Mode::empty());
    // Out of the terminal's process group: Ctrl-C is the caller's to handle.
    rustix::process::setsid().step(|| "setsid".into())?;
    Ok(UnixStream::from(control))
}

/// The command's standard input, which follows the request.
fn take_stdin(control: &UnixStream) -> Result<(), SetupError> {
    let stdin = receive_file(control).step(|| "receive standard input".into())?;
    rustix::stdio::dup2_stdin(&stdin).step(|| "dup2".into())
}

fn carry_out(request: Request, control: &UnixStream) -> Result<Reply, SetupError> {
    match request {
        Request::Run { isolation, spec, probe, .. } => match isolation {
            IsolationKind::Root | IsolationKind::UserNamespace | IsolationKind::SingleId => {
                namespaces::run(isolation, &spec, probe, control).map(|(exit, pretended)| Reply::Ended(exit, pretended))
            }
            IsolationKind::Chroot => chroot::run(&spec, probe, control).map(|(exit, touched)| Reply::EndedInTree(exit, touched)),
            IsolationKind::Emulated => {
                emulated::run(&spec, probe, control).map(|(exit, touched)| Reply::EndedInTree(exit, touched))
            }
        },
        Request::Join { isolation, pid, spec, .. } => {
            join::run(isolation, pid, &spec, control).map(|exit| Reply::Ended(exit, false))
        }
        Request::Unpack { isolation, into, lower, limits, recorded } => {
            userns::enter(isolation)?;
            let options = UnpackOptions { whiteouts: Whiteouts::UserOverlay, lower, limits, recorded, owner_table: false };
            let unpacked = unpack(control, &into, &options);
            Ok(unpacked.map_or_else(|error| Reply::Refused(error.into()), Reply::Unpacked))
        }
        Request::Changes { isolation, upper, lower } => {
            let entered = userns::enter(isolation);
            let sent = entered.map(|()| changes(&upper, &lower).and_then(|changes| send_changes(changes, control)));
            // The reply follows the last change, even if there was none.
            write_message(control, &wire::Change::End).step(|| "report the changes".into())?;
            Ok(sent?.map_or_else(|error| Reply::Refused(error.into()), |()| Reply::Done))
        }
        Request::Remove { isolation, path } => {
            userns::enter(isolation)?;
            remove_tree(&path).step(|| format!("remove `{}`", path.display())).map(|()| Reply::Done)
        }
    }
}

fn send_changes(changes: Vec<Change>, control: &UnixStream) -> crate::Result<()> {
    let lost = |error| crate::Error::new(crate::ErrorKind::Io, "cannot report the changes").with_source(error);
    for change in changes {
        let file = change.open()?;
        write_message(control, &wire::Change::Entry(change.entry)).map_err(lost)?;
        if let Some(file) = file {
            send_file(control, file).map_err(lost)?;
        }
    }
    Ok(())
}
