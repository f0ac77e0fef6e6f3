//! The tar header of an entry, with the pax records for what it cannot hold (POSIX.1-2001, pax).

use std::io;

use ::tar::{EntryType, Header};

use super::{Entry, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Hasher;

/// Name of the file in a folder that hides all that lower layers have in it.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
/// Before the name of what is removed.
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// Values that do not fit the header, by pax key.
type Pax = Vec<(String, Vec<u8>)>;

/// A header, and the records before it.
#[derive(Debug, Clone)]
pub(super) struct EntryHeader {
    pub(super) header: Header,
    pub(super) pax: Pax,
}

impl EntryHeader {
    pub(super) fn of(entry: &Entry) -> Result<Self> {
        header(entry).map(|(header, pax)| Self { header, pax })
    }

    /// Takes in all of it.
    pub(super) fn update(&self, hasher: &mut Hasher) {
        hasher.update(self.header.as_bytes());
        for (key, value) in &self.pax {
            hasher.update_field(key.as_bytes());
            hasher.update_field(value);
        }
    }

    /// Whether the entry has no records: then its header is the first that is seen of it.
    pub(super) fn begins_with_header(&self) -> bool {
        self.pax.is_empty()
    }

    /// What a border before the entry is chosen by: the name and prefix in the first header. That
    /// of records has the same name whatever they are.
    pub(super) fn border_name(&self) -> [&[u8]; 2] {
        let bytes = self.header.as_bytes();
        if self.begins_with_header() { [&bytes[..100], &bytes[345..500]] } else { [b"", b""] }
    }
}

fn header(entry: &Entry) -> Result<(Header, Pax)> {
    let mut header = Header::new_ustar();
    let mut pax = Pax::new();
    let removal = entry.kind.is_whiteout();
    let name = tar_name(entry)?;
    if !set_name(&mut header, &name) {
        pax.push(("path".into(), name));
    }
    header.set_entry_type(entry_type(&entry.kind));
    let link = match &entry.kind {
        Kind::Symlink { target } => target.as_slice(),
        Kind::Hardlink { target } => target.as_bytes(),
        _ => b"",
    };
    match header.as_ustar_mut() {
        Some(ustar) if link.len() <= ustar.linkname.len() => ustar.linkname[..link.len()].copy_from_slice(link),
        _ => pax.push(("linkpath".into(), link.to_vec())),
    }
    if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = entry.kind {
        let set = |result: io::Result<()>| result.map_err(|error| Error::io("describe", entry.path.as_path(), error));
        set(header.set_device_major(major))?;
        set(header.set_device_minor(minor))?;
    }
    // A whiteout has no owner or time of its own: what BuildKit writes.
    let metadata = if removal { &Default::default() } else { &entry.metadata };
    header.set_mode(metadata.mode);
    set_number(&mut pax, "uid", metadata.uid.into(), 0o7_777_777, |value| header.set_uid(value));
    set_number(&mut pax, "gid", metadata.gid.into(), 0o7_777_777, |value| header.set_gid(value));
    set_number(&mut pax, "size", entry.kind.size(), 0o77_777_777_777, |value| header.set_size(value));
    match u64::try_from(metadata.mtime) {
        Ok(mtime) => set_number(&mut pax, "mtime", mtime, 0o77_777_777_777, |value| header.set_mtime(value)),
        Err(_) => {
            header.set_mtime(0);
            pax.push(("mtime".into(), metadata.mtime.to_string().into_bytes()));
        }
    }
    for (name, value) in &metadata.xattrs {
        let name = std::str::from_utf8(name).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("an attribute of `{}` has a strange name", entry.path)).with_source(error)
        })?;
        pax.push((format!("SCHILY.xattr.{name}"), value.clone()));
    }
    pax.sort();
    header.set_cksum();
    Ok((header, pax))
}

fn entry_type(kind: &Kind) -> EntryType {
    match kind {
        Kind::Directory => EntryType::Directory,
        Kind::File { .. } | Kind::Whiteout | Kind::OpaqueWhiteout => EntryType::Regular,
        Kind::Symlink { .. } => EntryType::Symlink,
        Kind::Hardlink { .. } => EntryType::Link,
        Kind::CharDevice { .. } => EntryType::Char,
        Kind::BlockDevice { .. } => EntryType::Block,
        Kind::Fifo => EntryType::Fifo,
    }
}

fn tar_name(entry: &Entry) -> Result<Vec<u8>> {
    let mut name = match &entry.kind {
        Kind::Whiteout => {
            let removed = entry.path.name().unwrap_or_default();
            let parent = entry.path.parent().unwrap_or_default();
            parent.child(&[WHITEOUT, removed].concat())?.as_bytes().to_vec()
        }
        Kind::OpaqueWhiteout => entry.path.child(OPAQUE)?.as_bytes().to_vec(),
        _ if entry.path.name().is_some_and(|name| name.starts_with(WHITEOUT)) => {
            return Err(Error::new(ErrorKind::Context, format!("`{}` cannot be in an image", entry.path))
                .with_hint("names that begin with `.wh.` mean removed files in a layer: rename it or leave it out"));
        }
        _ => entry.path.as_bytes().to_vec(),
    };
    if name.is_empty() {
        name.push(b'.');
    }
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    Ok(name)
}

/// Puts `name` into the header's name and prefix; `false` if it does not fit, with a shortened one
/// in its place.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    let Some(ustar) = header.as_ustar_mut() else { return false };
    let most = ustar.name.len();
    if name.len() <= most {
        ustar.name[..name.len()].copy_from_slice(name);
        return true;
    }
    // The prefix ends before a slash that is not the name's last character, as late as the name
    // allows.
    let split = (name.len() - most - 1..name.len() - 1).find(|at| name[*at] == b'/');
    match split {
        Some(at) if at > 0 && at <= ustar.prefix.len() => {
            ustar.prefix[..at].copy_from_slice(&name[..at]);
            ustar.name[..name.len() - at - 1].copy_from_slice(&name[at + 1..]);
            true
        }
        _ => {
            ustar.name.copy_from_slice(&name[..most]);
            false
        }
    }
}

/// Numbers beyond the octal field go into a pax record: base-256 fields are GNU's, not POSIX's.
fn set_number(pax: &mut Pax, key: &str, value: u64, most: u64, set: impl FnOnce(u64)) {
    if value <= most {
        set(value);
    } else {
        set(0);
        pax.push((key.into(), value.to_string().into_bytes()));
    }
}
