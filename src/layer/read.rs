//! A layer's tar back to entries: for the index, for unpacking, for `inspect`.
//!
//! Refuses whatever would leave the image's root, and tars that break off; nothing is written anywhere.

use std::io::Read;

use ::tar::EntryType;

use super::index::{KEPT_SIZE, LayerIndex};
use super::tar::{RawEntry, TarReader};
use super::writer::{OPAQUE, WHITEOUT};
use super::{Entry, Kind, LayerPath, Metadata};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::{DiffId, Hasher};

/// Calls `each` with every entry of the tar and a reader of its content, in order. Reads to the end of the stream.
pub fn read_entries(tar: impl Read, mut each: impl FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut tar = TarReader::new(tar);
    while let Some(raw) = tar.next_entry()? {
        each(parse(raw)?, &mut tar)?;
    }
    tar.read_trailer()
}

/// Reads a whole layer: its index and its diff ID.
pub fn index_layer(tar: impl Read) -> Result<(LayerIndex, DiffId)> {
    let mut index = LayerIndex::default();
    let mut tar = Hashing { inner: tar, hasher: Hasher::new() };
    read_entries(&mut tar, |entry, content| {
        index.push(&entry)?;
        if LayerIndex::keeps(&entry.path) && (1..=KEPT_SIZE).contains(&entry.kind.size()) {
            let mut kept = Vec::new();
            content.read_to_end(&mut kept).context(ErrorKind::Corrupt, || format!("cannot read `{}`", entry.path))?;
            index.push_content(&entry.path, kept)?;
        }
        Ok(())
    })?;
    Ok((index, DiffId(tar.hasher.finish())))
}

struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

fn parse(raw: RawEntry) -> Result<Entry> {
    let path = LayerPath::parse(&raw.path)?;
    let wrong = |what: &str| Error::new(ErrorKind::Corrupt, format!("entry `{path}` of the layer has {what}"));
    let header = &raw.header;
    let device = |number: std::io::Result<Option<u32>>| number.ok().flatten().ok_or_else(|| wrong("no device number"));
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            removal(&path).unwrap_or(Kind::File { size: raw.size })
        }
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink if raw.link.is_empty() => return Err(wrong("no link target")),
        EntryType::Symlink => Kind::Symlink { target: raw.link.clone() },
        EntryType::Link if raw.link.is_empty() => return Err(wrong("no link target")),
        EntryType::Link => Kind::Hardlink { target: LayerPath::parse(&raw.link)? },
        EntryType::Char => Kind::CharDevice { major: device(header.device_major())?, minor: device(header.device_minor())? },
        EntryType::Block => Kind::BlockDevice { major: device(header.device_major())?, minor: device(header.device_minor())? },
        EntryType::Fifo => Kind::Fifo,
        other => return Err(wrong(&format!("the unknown type `{}`", other.as_byte() as char))),
    };
    let metadata = metadata(&raw, &wrong)?;
    let path = match kind {
        Kind::OpaqueWhiteout => path.parent().unwrap_or_default(),
        Kind::Whiteout => {
            let name = path.name().unwrap_or_default()[WHITEOUT.len()..].to_vec();
            path.parent().unwrap_or_default().child(&name)?
        }
        _ => path,
    };
    Ok(Entry { path, kind, metadata })
}

fn metadata(raw: &RawEntry, wrong: &dyn Fn(&str) -> Error) -> Result<Metadata> {
    let header = &raw.header;
    let pax = |key: &str| {
        let text = std::str::from_utf8(raw.pax.get(key.as_bytes())?).ok()?;
        // Times may have a fraction; it is cut off, as docker does.
        text.split('.').next()?.parse::<i64>().ok()
    };
    let id = |key, header: std::io::Result<u64>| {
        let id = pax(key).map_or_else(|| header.ok(), |id| u64::try_from(id).ok());
        id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(&format!("a damaged {key}")))
    };
    let mtime = pax("mtime").or_else(|| header.mtime().ok().map(u64::cast_signed));
    let xattrs = raw.pax.iter().filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone())));
    Ok(Metadata {
        mode: header.mode().map_err(|_| wrong("a damaged mode"))? & 0o7777,
        uid: id("uid", header.uid())?,
        gid: id("gid", header.gid())?,
        mtime: mtime.ok_or_else(|| wrong("a damaged time"))?,
        xattrs: xattrs.collect(),
    })
}

fn removal(path: &LayerPath) -> Option<Kind> {
    match path.name()? {
        OPAQUE => Some(Kind::OpaqueWhiteout),
        // Other `.wh..wh.` names are aufs's own bookkeeping; docker skips them, and as whiteouts they remove nothing.
        name if name.len() > WHITEOUT.len() && name.starts_with(WHITEOUT) => Some(Kind::Whiteout),
        _ => None,
    }
}
