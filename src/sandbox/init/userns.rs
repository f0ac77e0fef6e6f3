//! Enters a user namespace. For one with a range of ids a second process, outside, writes the maps;
//! one id everybody may map.
//!
//! Two ways: a process that may set ids maps all the ids it has onto themselves; any other asks the
//! set-id programs newuidmap and newgidmap for the range that /etc/subuid and /etc/subgid give its
//! user.
//!
//! A range that is too small for an ordinary image is an error.

use std::io::{Read as _, Write as _};
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::{CapabilitySet, Gid, Uid, UnshareFlags, capabilities};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::descriptors::pipe;
use super::process::{Fork, exit_now, fork, unshare};
use crate::sandbox::IsolationKind;
use crate::sandbox::channel::{read_message, write_message};
use crate::sandbox::setup_error::{BecauseOf as _, Cause, SetupError, Step as _};

/// `nobody` is 65534 in every distribution: a map must reach it.
const NEEDED: u64 = 65536;

/// Where the set-id programs are; the environment of this process is empty.
const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

/// Enters the user namespace that `isolation` needs, as its root; none for the kinds without.
pub(super) fn enter(isolation: IsolationKind) -> Result<(), SetupError> {
    match isolation {
        IsolationKind::Root | IsolationKind::Chroot | IsolationKind::Emulated => return Ok(()),
        IsolationKind::UserNamespace => {}
        IsolationKind::SingleId => return enter_as(0, 0),
    }
    let (mut started, mut start) = pipe()?;
    let (mapped, report) = pipe()?;
    let me = rustix::process::getpid();
    let mapper = match fork().step(|| "fork".into())? {
        Fork::Child => {
            drop((start, mapped));
            let outcome = match started.read_exact(&mut [0]) {
                Ok(()) => map(me),
                Err(error) => Err(error).step(|| "unshare(CLONE_NEWUSER)".into()).because_of(Cause::Namespace),
            };
            exit_now(i32::from(write_message(&report, &outcome).is_err()))
        }
        Fork::Parent(mapper) => mapper,
    };
    drop((started, report));
    let entered = unshare(UnshareFlags::NEWUSER).step(|| "unshare(CLONE_NEWUSER)".into()).because_of(Cause::Namespace);
    if entered.is_ok() {
        start.write_all(&[1]).step(|| "write to a pipe".into())?;
    }
    drop(start);
    let outcome = read_message::<Result<(), SetupError>>(&mapped).step(|| "read from a pipe".into());
    let _ = rustix::process::waitpid(Some(mapper), WaitOptions::empty());
    entered?;
    outcome?.unwrap_or_else(|| Err(SetupError::new("map ids", None)))?;
    become_root()
}

/// Enters a new user namespace with one id, which is `uid:gid` in it and what it was outside.
/// Without privileges that costs the right to set supplementary groups.
pub(super) fn enter_as(uid: u32, gid: u32) -> Result<(), SetupError> {
    let (outer_uid, outer_gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(UnshareFlags::NEWUSER).step(|| "unshare(CLONE_NEWUSER)".into()).because_of(Cause::Namespace)?;
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{uid} {outer_uid} 1")),
        ("gid_map", format!("{gid} {outer_gid} 1")),
    ] {
        write_map("self", file, &text)?;
    }
    Ok(())
}

/// Writes a file of a process that says which ids its user namespace has.
fn write_map(process: &str, file: &str, text: &str) -> Result<(), SetupError> {
    let cause = if file == "uid_map" { Cause::UidMap } else { Cause::Other };
    std::fs::write(format!("/proc/{process}/{file}"), text).step(|| format!("write {file}")).because_of(cause)
}

/// Names the ids that files on disk get from [`enter`] on [`IsolationKind::UserNamespace`].
pub(in crate::sandbox) fn name_of_map() -> String {
    let uid = rustix::process::geteuid().as_raw();
    match subordinate("/etc/subuid") {
        Ok((first, _)) if uid != 0 => format!("userns.{uid}-{first}"),
        _ => format!("userns.{uid}"),
    }
}

pub(super) fn become_root() -> Result<(), SetupError> {
    set_thread_groups(&[]).step(|| "setgroups in the user namespace".into())?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).step(|| "setresgid in the user namespace".into())?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).step(|| "setresuid in the user namespace".into())
}

fn map(pid: Pid) -> Result<(), SetupError> {
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let own = capabilities(None).step(|| "capget".into())?.effective;
    if own.contains(wanted) && rustix::process::geteuid().is_root() {
        return map_itself(pid);
    }
    for (program, file, id) in [
        ("newuidmap", "/etc/subuid", rustix::process::getuid().as_raw()),
        ("newgidmap", "/etc/subgid", rustix::process::getgid().as_raw()),
    ] {
        let (first, count) = subordinate(file).because_of(Cause::IdRange)?;
        let numbers = [0, id, 1, 1, first, count].map(|number| number.to_string());
        let found =
            FOLDERS.iter().map(|folder| format!("{folder}/{program}")).find(|path| std::fs::exists(path).unwrap_or(false));
        let path = found.ok_or(Errno::NOENT).step(|| format!("find {program}")).because_of(Cause::IdProgram)?;
        let output = Command::new(path)
            .arg(pid.as_raw_nonzero().to_string())
            .args(numbers)
            .output()
            .step(|| program.into())
            .because_of(Cause::IdProgram)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_lowercase();
            let errno = text.contains("operation not permitted").then_some(Errno::PERM.raw_os_error());
            let step = if text.is_empty() { program.to_owned() } else { text };
            return Err(SetupError::new(step, errno).with_cause(Cause::IdProgram));
        }
    }
    Ok(())
}

/// Every id that this process can set, onto itself.
fn map_itself(pid: Pid) -> Result<(), SetupError> {
    for file in ["uid_map", "gid_map"] {
        let own = std::fs::read_to_string(format!("/proc/self/{file}")).step(|| format!("read {file}"))?;
        let mut map = String::new();
        let mut reach = 0;
        for line in own.lines() {
            let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
            let (Some(first), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else { continue };
            // The last id means "none".
            let count = count.min(u64::from(u32::MAX).saturating_sub(first));
            map += &format!("{first} {first} {count}\n");
            if first <= reach {
                reach = reach.max(first + count);
            }
        }
        if reach < NEEDED {
            return Err(SetupError::new(format!("map ids: this container itself has only {reach}"), None));
        }
        write_map(&pid.as_raw_nonzero().to_string(), file, &map)?;
    }
    Ok(())
}

/// The first range of this user in /etc/subuid or /etc/subgid that is large enough (subuid(5): name
/// or number, first, count).
fn subordinate(file: &str) -> Result<(u32, u32), SetupError> {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let name = crate::sandbox::users::name_of(&passwd, uid);
    let lines = std::fs::read_to_string(file).step(|| format!("read {file}"))?;
    let mut found = None;
    for line in lines.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [user, first, count] = fields[..] else { continue };
        let mine = user == uid.to_string() || name.as_deref() == Some(user.as_bytes());
        if let (true, Ok(first), Ok(count)) = (mine, first.parse::<u32>(), count.parse::<u32>()) {
            found = Some(count);
            if u64::from(count) + 1 >= NEEDED {
                return Ok((first, count));
            }
        }
    }
    match found {
        Some(count) => Err(SetupError::new(format!("a range of only {count} ids in {file}"), None)),
        None => Err(SetupError::new(format!("find a range of ids for uid {uid} in {file}"), None)),
    }
}
