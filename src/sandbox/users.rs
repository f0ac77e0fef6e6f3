//! Users and groups by name or number, from a root file system's own passwd and group (docker's
//! rules for USER and `--chown`).
//!
//! The users of this machine do not matter: only the bytes passed in are read.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::layer::unpack::Identity;

const ROOT: &str = "root";

/// Ids of a process or of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids, in the order of the group file. Files have none.
    pub groups: Vec<u32>,
}

impl User {
    /// The groups of a process, its own first. The own group is one of them: without it, a file
    /// that the group is denied could be read (CVE-2022-36109).
    pub(super) fn all_groups(&self) -> impl Iterator<Item = u32> {
        let others = self.groups.iter().copied().filter(|group| *group != self.gid);
        std::iter::once(self.gid).chain(others)
    }
}

impl From<&User> for Identity {
    fn from(user: &User) -> Self {
        Self { uid: user.uid, gid: user.gid, groups: user.groups.clone() }
    }
}

/// Looks up `user`, `user:group`, each a name or a number; empty parts mean root.
///
/// - Where there is no passwd, or no group, `root` is 0.
/// - A number always wins over a name that looks like it.
/// - Without a group: the gid of the user's passwd line and the groups that list the user. A number
///   without a passwd line has gid 0.
/// - With a group: that one alone, no supplementary groups.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a name that passwd or group does not have; [`ErrorKind::Usage`] for
/// a number that no id can have.
pub fn lookup_user(passwd: &[u8], group: &[u8], spec: &str) -> Result<User> {
    let (user, explicit_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let found = find_user(passwd, user)?;
    match explicit_group.filter(|name| !name.is_empty()) {
        Some(name) => Ok(User { uid: found.uid, gid: find_group(group, name)?, groups: Vec::new() }),
        None => Ok(User { uid: found.uid, gid: found.gid, groups: groups_of(group, &found.name) }),
    }
}

/// Looks up the owner that `--chown` names: as [`lookup_user`], but a number without a group is the
/// group's number too (Dockerfile reference, COPY --chown).
pub fn lookup_owner(passwd: &[u8], group: &[u8], spec: &str) -> Result<User> {
    let mut user = lookup_user(passwd, group, spec)?;
    if parse_id(spec)?.is_some() {
        user.gid = user.uid;
    }
    user.groups.clear();
    Ok(user)
}

/// The home folder of `uid`: that of its first passwd line, else `/`.
pub(super) fn home_of(passwd: &[u8], uid: u32) -> Vec<u8> {
    let line = lines(passwd).find(|fields| fields.len() > 3 && number(field(fields, 2)) == Some(uid));
    line.map(|fields| field(&fields, 5).to_vec()).filter(|home| !home.is_empty()).unwrap_or_else(|| b"/".to_vec())
}

/// The name of `uid`: that of its first passwd line.
pub(super) fn name_of(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    let line = lines(passwd).find(|fields| fields.len() > 3 && number(field(fields, 2)) == Some(uid));
    line.map(|fields| field(&fields, 0).to_vec())
}

struct Found {
    uid: u32,
    gid: u32,
    name: Vec<u8>,
}

fn find_user(passwd: &[u8], user: &str) -> Result<Found> {
    let user = if user.is_empty() { "0" } else { user };
    let wanted = parse_id(user)?;
    let line = lines(passwd).filter(|fields| fields.len() > 3).find(|fields| match wanted {
        Some(uid) => number(field(fields, 2)) == Some(uid),
        None => field(fields, 0) == user.as_bytes(),
    });
    match (line, wanted) {
        (Some(fields), _) => {
            let uid = number(field(&fields, 2)).unwrap_or(0);
            Ok(Found { uid, gid: number(field(&fields, 3)).unwrap_or(0), name: field(&fields, 0).to_vec() })
        }
        (None, Some(uid)) => Ok(Found { uid, gid: 0, name: Vec::new() }),
        (None, None) if user == ROOT && passwd.is_empty() => Ok(Found { uid: 0, gid: 0, name: ROOT.into() }),
        (None, None) => Err(Error::new(ErrorKind::NotFound, format!("user `{user}` is not in /etc/passwd of the image"))
            .with_hint(format!("create it first (`RUN useradd {user}`), or give its number"))),
    }
}

fn find_group(group: &[u8], name: &str) -> Result<u32> {
    if let Some(gid) = parse_id(name)? {
        return Ok(gid);
    }
    if name == ROOT && group.is_empty() {
        return Ok(0);
    }
    let line = lines(group).find(|fields| field(fields, 0) == name.as_bytes());
    line.and_then(|fields| number(field(&fields, 2))).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("group `{name}` is not in /etc/group of the image"))
            .with_hint(format!("create it first (`RUN groupadd {name}`), or give its number"))
    })
}

fn groups_of(group: &[u8], user: &[u8]) -> Vec<u32> {
    if user.is_empty() {
        return Vec::new();
    }
    let listed = lines(group).filter(|fields| field(fields, 3).split(|byte| *byte == b',').any(|name| name.trim_ascii() == user));
    listed.filter_map(|fields| number(field(&fields, 2))).collect()
}

fn parse_id(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    // u32::MAX means "leave as it is" to chown and setuid.
    match text.parse::<u32>().ok().filter(|id| *id <= i32::MAX as u32) {
        Some(id) => Ok(Some(id)),
        None => Err(Error::new(ErrorKind::Usage, format!("`{text}` is not an id")).with_hint("ids go from 0 to 2147483647")),
    }
}

fn lines(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && line[0] != b'#').map(|line| line.split(|byte| *byte == b':').collect())
}

fn field<'a>(fields: &[&'a [u8]], index: usize) -> &'a [u8] {
    fields.get(index).copied().unwrap_or_default()
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a comment\naria:x:1000:1001:Aria:/home/aria:/bin/sh\n\n\
        1234:x:7:8::/home/odd:/bin/sh\nbroken\n";
    const GROUP: &[u8] = b"root:x:0:\naudio:x:29:aria\ngames:x:60:other\naria:x:1001:\nusers:x:100:other, aria\n";

    fn user(uid: u32, gid: u32, groups: &[u32]) -> User {
        User { uid, gid, groups: groups.to_vec() }
    }

    #[test]
    fn users_are_looked_up_as_docker_does() {
        for (spec, expected) in [
            ("", user(0, 0, &[])),
            ("root", user(0, 0, &[])),
            ("aria", user(1000, 1001, &[29, 100])),
            ("1000", user(1000, 1001, &[29, 100])),
            ("aria:", user(1000, 1001, &[29, 100])),
            ("aria:games", user(1000, 60, &[])),
            ("aria:60", user(1000, 60, &[])),
            ("1000:1000", user(1000, 1000, &[])),
            (":games", user(0, 60, &[])),
            ("4711", user(4711, 0, &[])),
            ("4711:games", user(4711, 60, &[])),
            ("1234", user(1234, 0, &[])),
            ("7", user(7, 8, &[])),
            ("2147483647:5", user(2147483647, 5, &[])),
        ] {
            assert_eq!(lookup_user(PASSWD, GROUP, spec).unwrap(), expected, "{spec}");
        }
    }

    #[test]
    fn unknown_names_and_impossible_numbers_are_errors() {
        for (spec, kind) in [
            ("nobody", ErrorKind::NotFound),
            ("aria:nogroup", ErrorKind::NotFound),
            ("broken", ErrorKind::NotFound),
            ("2147483648", ErrorKind::Usage),
            ("1:99999999999", ErrorKind::Usage),
            ("-1", ErrorKind::NotFound),
        ] {
            let result = lookup_user(PASSWD, GROUP, spec);
            assert_eq!(result.unwrap_err().kind(), kind, "{spec}");
        }
    }

    #[test]
    fn a_bare_number_owns_the_files_of_copy_as_user_and_group() {
        assert_eq!(lookup_owner(PASSWD, GROUP, "1000").unwrap(), user(1000, 1000, &[]));
        assert_eq!(lookup_owner(PASSWD, GROUP, "aria").unwrap(), user(1000, 1001, &[]));
        assert_eq!(lookup_owner(PASSWD, GROUP, "55:games").unwrap(), user(55, 60, &[]));
    }

    #[test]
    fn home_comes_from_passwd_and_is_the_root_without_a_line() {
        assert_eq!(home_of(PASSWD, 1000), b"/home/aria");
        assert_eq!(home_of(PASSWD, 4711), b"/");
    }
}
