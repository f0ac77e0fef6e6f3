//! /proc as the command is to see it: its own processes by their virtual ids, programs and folders;
//! no others.
//!
//! The supervisor opens this machine's /proc with its own rights, so other processes must not be
//! found there.

use std::os::fd::OwnedFd;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::state::{Caller, Result, Supervisor};
use super::threads::Thread;

/// Where a link leads.
pub(super) enum Link {
    /// To this path inside.
    To(Vec<u8>),
    /// To an open file, whether or not that has a path.
    Open,
    /// To what its text says.
    Plain,
}

/// A path of /proc that is about a process.
struct OfProcess<'a> {
    process: i32,
    /// What follows the process, or its thread.
    rest: &'a [u8],
}

/// Splits `/proc/PID/REST` and `/proc/PID/task/TID/REST`; the rest has no slash at its beginning.
fn split(path: &[u8]) -> Option<OfProcess<'_>> {
    let (process, rest) = number(path.strip_prefix(b"/proc/")?)?;
    let thread = rest.strip_prefix(b"task/").and_then(number);
    Some(OfProcess { process, rest: thread.map_or(rest, |(_, rest)| rest) })
}

/// A number up to a slash or the end, and what follows the slash.
fn number(text: &[u8]) -> Option<(i32, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, text.get(end + 1..).unwrap_or_default()))
}

impl Supervisor {
    /// Whether `name` in /proc is the number of a process that is not the command's.
    pub(super) fn is_foreign_process(&self, name: &[u8]) -> bool {
        number(name).is_some_and(|(number, rest)| rest.is_empty() && !self.threads.is_known(number))
    }

    /// Where the link `name` in the folder `folder` leads. `stat`: the link's own.
    pub(super) fn proc_link(&self, caller: &Caller, folder: &[u8], name: &[u8], stat: &Stat) -> Result<Link> {
        if !self.view.is_proc(stat) {
            return Ok(Link::Plain);
        }
        if folder == b"/proc" {
            return Ok(match name {
                b"self" => Link::To(caller.process.to_string().into_bytes()),
                b"thread-self" => Link::To(format!("{}/task/{}", caller.process, caller.thread).into_bytes()),
                _ => Link::Plain,
            });
        }
        let Some(of) = split(folder) else { return Ok(Link::Plain) };
        let files = || self.threads.files_of(of.process).ok_or(Errno::NOENT);
        match (of.rest, name) {
            (b"", b"exe") => match self.threads.program(of.process) {
                Some(program) if !program.is_empty() => Ok(Link::To(program.to_vec())),
                _ => Err(Errno::NOENT),
            },
            (b"", b"cwd") => Ok(Link::To(self.view.inside(&**files()?.folder.borrow())?)),
            (b"", b"root") => Ok(Link::To(self.view.inside(&**files()?.root.borrow())?)),
            (b"fd", _) => Ok(Link::Open),
            _ => Err(Errno::ACCESS),
        }
    }

    /// The text of the link at `path` in /proc, for readlink: that of a descriptor, too. `None`:
    /// the link's own.
    pub(super) fn proc_link_text(&self, caller: &Caller, path: &[u8], link: &OwnedFd, stat: &Stat) -> Result<Option<Vec<u8>>> {
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        match self.proc_link(caller, &path[..slash], &path[slash + 1..], stat) {
            Ok(Link::To(text)) => Ok(Some(text)),
            Ok(Link::Open) => Ok(Some(self.view.translate(rustix::fs::readlinkat(link, "", Vec::new())?.as_bytes()))),
            Ok(Link::Plain) | Err(Errno::ACCESS) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A text in place of the file of /proc at `path`, where the kernel's own would tell of this
    /// machine.
    pub(super) fn proc_text(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let of = split(path)?;
        match of.rest {
            b"mounts" => {
                Some(b"overlay / overlay rw,relatime 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n".to_vec())
            }
            b"mountinfo" => Some(
                b"30 1 0:30 / / rw,relatime - overlay overlay rw\n\
                  31 30 0:31 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
                    .to_vec(),
            ),
            b"status" => {
                // It says where the thread may run.
                self.placement.let_go();
                let thread = self.threads.thread(of.process)?;
                let text = std::fs::read_to_string(super::view::os(path)).ok()?;
                Some(text.lines().map(|line| status_line(line, thread) + "\n").collect::<String>().into_bytes())
            }
            _ => None,
        }
    }
}

/// A line of /proc/PID/status with what the thread takes for true.
fn status_line(line: &str, thread: &Thread) -> String {
    let Some((name, _)) = line.split_once(':') else { return line.to_owned() };
    let rights = &thread.rights;
    let ids = |ids: &super::credentials::Ids| format!("{}\t{}\t{}\t{}", ids.real, ids.effective, ids.saved, ids.files);
    let value = match name {
        "Umask" => format!("{:04o}", thread.files.umask.get()),
        "Uid" => ids(&rights.user),
        "Gid" => ids(&rights.group),
        "Groups" => rights.groups.iter().map(|gid| format!("{gid} ")).collect(),
        "CapInh" => format!("{:016x}", rights.inheritable),
        "CapPrm" => format!("{:016x}", rights.permitted),
        "CapEff" => format!("{:016x}", rights.effective),
        "CapBnd" => format!("{:016x}", rights.bounding),
        "CapAmb" => format!("{:016x}", rights.ambient),
        "NoNewPrivs" => u8::from(rights.no_new_privileges).to_string(),
        "TracerPid" => "0".into(),
        _ => return line.to_owned(),
    };
    format!("{name}:\t{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_about_processes_are_told_apart() {
        let rest = |path: &'static [u8]| split(path).map(|of| (of.process, of.rest));
        assert_eq!(rest(b"/proc/12"), Some((12, &b""[..])));
        assert_eq!(rest(b"/proc/12/fd"), Some((12, &b"fd"[..])));
        assert_eq!(rest(b"/proc/12/task/13"), Some((12, &b""[..])));
        assert_eq!(rest(b"/proc/12/task/13/fd/3"), Some((12, &b"fd/3"[..])));
        assert_eq!(rest(b"/proc/12/task"), Some((12, &b"task"[..])));
        assert_eq!(rest(b"/proc/sys/kernel"), None);
        assert_eq!(rest(b"/procs/1"), None);
    }
}
