//! Reads a layer's tar entry by entry, as Go's archive/tar does, because that is what every engine
//! reads layers with.
//!
//! The header's fields come from the `tar` crate; framing and PAX records are read here: that crate
//! splits PAX records at newlines, which breaks binary values such as `security.capability`, knows
//! no PAX sparse files, and reads long names of any length into memory.
//!
//! Refuses what two readers could read differently: a damaged checksum, two long names for one
//! entry, sizes that disagree, an extension header larger than [`MAX_EXTENSION`].

use std::io::{ErrorKind as IoErrorKind, Read};

use ::tar::{EntryType, Header};

use super::header_field::{corrupt, number, unsigned};
use super::sparse::{self, Segment};
use super::{Entry, Kind, LayerPath, Metadata, Xattrs};
use crate::error::{Error, ErrorKind, Result};

const BLOCK: usize = 512;

/// The largest long name or PAX header, in bytes. Go's limit is the same.
const MAX_EXTENSION: u64 = 1 << 20;

/// The entries of an uncompressed tar.
#[derive(Debug)]
pub struct TarReader<R> {
    input: R,
    /// Bytes of the current entry that are still in the tar, padding included.
    pending: u64,
    /// How many of them are padding.
    padding: u64,
    content: Content,
    /// Bytes of a hole that `read` has yet to give.
    hole: u64,
    ended: bool,
    /// Whether names may have `..`.
    climbs: bool,
}

/// How the content of the current entry lies in the tar.
#[derive(Debug, Default)]
struct Content {
    /// Stretches of bytes at their offsets; what lies between is zero.
    segments: std::collections::VecDeque<Segment>,
    /// Position in the file.
    at: u64,
    /// Size of the file.
    size: u64,
    holes: bool,
}

/// A stretch of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// This many bytes were put into the buffer.
    Data(usize),
    /// This many bytes are zero and were not.
    Hole(u64),
    /// No more.
    End,
}

/// PAX records and long names that precede an entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Extensions {
    /// The last record of a key counts (pax(1), "Keyword precedence").
    fn record(&self, key: &[u8]) -> Option<&[u8]> {
        let records = self.pax.as_deref().unwrap_or_default();
        records.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>> {
        let parse = |value: &[u8]| std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        match self.record(key).filter(|value| !value.is_empty()) {
            Some(value) => parse(value).map(Some).ok_or_else(|| corrupt(format!("PAX record `{}` is not a number", lossy(key)))),
            None => Ok(None),
        }
    }
}

impl<R: Read> TarReader<R> {
    /// Reads `input` from its start.
    pub fn new(input: R) -> Self {
        Self { input, pending: 0, padding: 0, content: Content::default(), hole: 0, ended: false, climbs: false }
    }

    /// Reads an archive that is not a layer: `..` in a name leads up, but never out of the folder
    /// that it is unpacked into (as tar in a chroot).
    pub fn of_archive(input: R) -> Self {
        Self { climbs: true, ..Self::new(input) }
    }

    fn path(&self, name: impl AsRef<[u8]>) -> Result<LayerPath> {
        if self.climbs { LayerPath::clean(name) } else { LayerPath::parse(name) }
    }

    /// The next entry; `None` at the end, when `input` has been read to its end. Content of the
    /// entry before that was not read is skipped.
    ///
    /// AUFS's own files (`.wh..wh.plnk` and the like) are left out, as engines do.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for what is not a tar, or not a layer; [`ErrorKind::Io`] from
    /// `input`.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            if !self.skip_entry()? {
                return self.end();
            }
            self.content = Content::default();
            self.hole = 0;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => set_once(&mut extensions.path, self.long_name(&header)?)?,
                EntryType::GNULongLink => set_once(&mut extensions.link, self.long_name(&header)?)?,
                EntryType::XHeader => {
                    let records = parse_pax(&self.extension(&header)?)?;
                    if extensions.pax.replace(records).is_some() {
                        return Err(corrupt("two PAX headers for one entry"));
                    }
                }
                EntryType::XGlobalHeader => drop(self.extension(&header)?),
                _ => {
                    if let Some(entry) = self.entry(&header, &extensions)? {
                        return Ok(Some(entry));
                    }
                    extensions = Extensions::default();
                }
            }
        }
    }

    /// Reads on in the content of the current entry: data into `buffer`, or how long a hole is.
    pub fn read_piece(&mut self, buffer: &mut [u8]) -> Result<Piece> {
        let content = &mut self.content;
        if content.at >= content.size {
            return Ok(Piece::End);
        }
        let next = content.segments.front().map_or(content.size, |segment| segment.offset);
        if content.at < next {
            let hole = next - content.at;
            content.at = next;
            return Ok(Piece::Hole(hole));
        }
        let Some(segment) = content.segments.front_mut() else { return Ok(Piece::End) };
        let wanted = usize::try_from(segment.length).unwrap_or(usize::MAX).min(buffer.len());
        let read = read_some(&mut self.input, &mut buffer[..wanted])?;
        segment.offset += read as u64;
        segment.length -= read as u64;
        content.at += read as u64;
        self.pending -= read as u64;
        if segment.length == 0 {
            content.segments.pop_front();
        }
        Ok(Piece::Data(read))
    }

    /// Whether the content of the current entry is stored with holes.
    pub fn is_sparse(&self) -> bool {
        self.content.holes
    }

    fn header(&mut self) -> Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return self.end();
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            let mut second = [0; BLOCK];
            if self.block(&mut second)? && second.iter().any(|byte| *byte != 0) {
                return Err(corrupt("a block of zeros stands in the middle of the tar"));
            }
            return self.end();
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(corrupt("the checksum of an entry is wrong"));
        }
        Ok(Some(header))
    }

    // What follows the end mark is read as well: to check the digest of the tar, a caller needs
    // every byte.
    fn end<T>(&mut self) -> Result<Option<T>> {
        self.ended = true;
        std::io::copy(&mut self.input, &mut std::io::sink()).map_err(read_error)?;
        Ok(None)
    }

    fn entry(&mut self, header: &Header, extensions: &Extensions) -> Result<Option<Entry>> {
        let kind = header.entry_type();
        let mut size = match extensions.number(b"size")? {
            Some(size) => size,
            None => unsigned(&header.as_old().size, "size")?,
        };
        let header_only = matches!(
            kind,
            EntryType::Link | EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Directory | EntryType::Fifo
        );
        if header_only {
            size = 0;
        }
        self.pending = padded(size)?;
        self.padding = self.pending - size;
        self.content = self.content_of(header, extensions, size)?;
        let header_path = header.path_bytes();
        let raw = extensions.record(b"GNU.sparse.name").or(extensions.path.as_deref()).or(extensions.record(b"path"));
        let raw = raw.unwrap_or(&header_path);
        let path = self.path(raw)?;
        let metadata = metadata(header, extensions).map_err(|error| error.wrap(format!("entry `{path}` is damaged")))?;
        let link = || {
            let field = header.link_name_bytes().map(|name| name.into_owned());
            extensions.link.clone().or_else(|| extensions.record(b"linkpath").map(<[u8]>::to_vec)).or(field).unwrap_or_default()
        };
        let file = Kind::File { size: self.content.size };
        let kind = match kind {
            // Old tars mark folders by their name only.
            EntryType::Regular if raw.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => file,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink { target: link() },
            EntryType::Link => Kind::Hardlink { target: self.path(link())? },
            EntryType::Char | EntryType::Block => device(header, kind)?,
            EntryType::Fifo => Kind::Fifo,
            other => return Err(corrupt(format!("entry `{path}` has the unknown type {:?}", char::from(other.as_byte())))),
        };
        whiteout(Entry { path, kind, metadata })
    }

    fn content_of(&mut self, header: &Header, extensions: &Extensions, stored: u64) -> Result<Content> {
        let map = if header.entry_type() == EntryType::GNUSparse {
            Some(sparse::old_gnu(header, || {
                let mut block = [0; BLOCK];
                self.block(&mut block)?.then_some(block).ok_or_else(truncated)
            })?)
        } else if extensions.record(b"GNU.sparse.major") == Some(b"1") {
            let real = extensions.number(b"GNU.sparse.realsize")?.or(extensions.number(b"GNU.sparse.size")?).unwrap_or(0);
            let map = sparse::pax_1_0(real, || {
                let mut block = [0; BLOCK];
                self.pending = self.pending.checked_sub(BLOCK as u64).ok_or_else(truncated)?;
                self.block(&mut block)?.then_some(block).ok_or_else(truncated)
            })?;
            Some(map)
        } else if let Some(map) = extensions.record(b"GNU.sparse.map") {
            let real = extensions.number(b"GNU.sparse.size")?.unwrap_or(0);
            Some(sparse::pax_0_1(real, map)?)
        } else if extensions.record(b"GNU.sparse.numblocks").is_some() {
            let real = extensions.number(b"GNU.sparse.size")?.unwrap_or(0);
            Some(sparse::pax_0_0(real, extensions.pax.as_deref().unwrap_or_default())?)
        } else {
            None
        };
        let Some(map) = map else {
            let whole = (stored > 0).then_some(Segment { offset: 0, length: stored });
            return Ok(Content { segments: whole.into_iter().collect(), at: 0, size: stored, holes: false });
        };
        let listed: u64 = map.segments.iter().map(|segment| segment.length).sum();
        if padded(listed)? != self.pending {
            return Err(corrupt("the map of a sparse file does not match its size"));
        }
        Ok(Content { segments: map.segments.into(), at: 0, size: map.size, holes: true })
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>> {
        let mut name = self.extension(header)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = unsigned(&header.as_old().size, "size")?;
        if size > MAX_EXTENSION {
            return Err(corrupt(format!("an extension header has {size} bytes, more than {} MiB", MAX_EXTENSION >> 20)));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.input.read_exact(&mut bytes).map_err(read_error)?;
        self.pending = padded(size)? - size;
        self.padding = self.pending;
        Ok(bytes)
    }

    /// Reads a block; false at the end of the input.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(truncated()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        Ok(true)
    }

    /// Passes over what is left of the current entry; false where the tar ends inside its padding.
    /// Go's archive/tar, and so docker, takes that as the end of the tar, and umoci's layers end
    /// so.
    fn skip_entry(&mut self) -> Result<bool> {
        let (pending, padding) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.padding));
        if pending == 0 {
            return Ok(true);
        }
        let skipped = std::io::copy(&mut (&mut self.input).take(pending), &mut std::io::sink()).map_err(read_error)?;
        if skipped + padding < pending { Err(truncated()) } else { Ok(skipped == pending) }
    }
}

/// The content of the current entry, holes as zeros.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.hole == 0 {
            match self.read_piece(buffer).map_err(std::io::Error::other)? {
                Piece::Data(read) => return Ok(read),
                Piece::Hole(length) => self.hole = length,
                Piece::End => return Ok(0),
            }
        }
        let zeros = usize::try_from(self.hole).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..zeros].fill(0);
        self.hole -= zeros as u64;
        Ok(zeros)
    }
}

fn device(header: &Header, kind: EntryType) -> Result<Kind> {
    let fields = match (header.as_gnu(), header.as_ustar()) {
        (Some(gnu), _) => (&gnu.dev_major, &gnu.dev_minor),
        (None, Some(ustar)) => (&ustar.dev_major, &ustar.dev_minor),
        (None, None) => return Err(corrupt("a device in a tar without device numbers")),
    };
    let part =
        |field: &[u8]| u32::try_from(unsigned(field, "device number")?).map_err(|_| corrupt("a device number is too large"));
    let (major, minor) = (part(fields.0)?, part(fields.1)?);
    Ok(if kind == EntryType::Char { Kind::CharDevice { major, minor } } else { Kind::BlockDevice { major, minor } })
}

/// Turns the names of image specification, layer.md ("Whiteouts") into kinds; `None` for AUFS's own
/// files.
fn whiteout(mut entry: Entry) -> Result<Option<Entry>> {
    let reserved = entry.path.components().position(|name| name.starts_with(b".wh."));
    let Some(index) = reserved else { return Ok(Some(entry)) };
    let last = entry.path.components().count() - 1;
    let name = entry.path.name().unwrap_or_default().to_vec();
    let folder = entry.path.parent().unwrap_or_default();
    if name == b".wh..wh..opq" && index == last {
        entry.kind = Kind::OpaqueWhiteout;
        entry.path = folder;
    } else if entry.path.components().nth(index).is_some_and(|name| name.starts_with(b".wh..wh.")) {
        return Ok(None);
    } else if index == last && !matches!(&name[4..], b"" | b"." | b"..") {
        entry.kind = Kind::Whiteout;
        entry.path = folder.child(&name[4..])?;
    } else {
        return Err(corrupt(format!("`{}` is not a whiteout", entry.path)));
    }
    Ok(Some(entry))
}

fn metadata(header: &Header, extensions: &Extensions) -> Result<Metadata> {
    let old = header.as_old();
    let id = |key: &[u8], field: &[u8], what| -> Result<u32> {
        let value = match extensions.number(key)? {
            Some(value) => value,
            None => unsigned(field, what)?,
        };
        u32::try_from(value).ok().filter(|id| *id != u32::MAX).ok_or_else(|| corrupt(format!("{value} is not a valid {what}")))
    };
    let mtime = match extensions.record(b"mtime").filter(|value| !value.is_empty()) {
        Some(value) => pax_seconds(value)?,
        None => number(&old.mtime, "mtime")?,
    };
    let mode = (number(&old.mode, "mode")? & 0o7777) as u32;
    let uid = id(b"uid", &old.uid, "uid")?;
    let gid = id(b"gid", &old.gid, "gid")?;
    let mut xattrs = Xattrs::new();
    for (key, value) in extensions.pax.as_deref().unwrap_or_default() {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            xattrs.insert(name.to_vec(), value.clone());
        }
    }
    Ok(Metadata { mode, uid, gid, mtime, xattrs })
}

/// Whole seconds of a PAX time, rounded down: `-1.5` is -2.
fn pax_seconds(value: &[u8]) -> Result<i64> {
    let wrong = || corrupt(format!("`{}` is not a PAX time", lossy(value)));
    let text = std::str::from_utf8(value).map_err(|_| wrong())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| wrong())?;
    let down = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Ok(seconds - i64::from(down))
}

fn parse_pax(mut bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let wrong = || corrupt("a PAX record is damaged");
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
        let record = bytes.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Ok(records)
}

fn padded(size: u64) -> Result<u64> {
    size.checked_next_multiple_of(BLOCK as u64)
        .filter(|size| *size <= i64::MAX as u64)
        .ok_or_else(|| corrupt("an entry has a size that no file can have"))
}

fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(corrupt("two long names for one entry")),
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(buffer) {
            Ok(0) => return Err(truncated()),
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == IoErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error)),
        }
    }
}

fn read_error(error: std::io::Error) -> Error {
    // A verifying reader under this one already says what is wrong.
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        if let Some(Ok(inner)) = error.into_inner().map(|inner| inner.downcast::<Error>()) {
            return *inner;
        }
        return truncated();
    }
    match error.kind() {
        IoErrorKind::UnexpectedEof => truncated(),
        IoErrorKind::InvalidData | IoErrorKind::InvalidInput => corrupt("the layer is damaged").with_source(error),
        _ => Error::new(ErrorKind::Io, "cannot read the layer").with_source(error),
    }
}

fn truncated() -> Error {
    corrupt("the tar ends in the middle of an entry")
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(bytes: &[u8]) -> Result<usize> {
        let mut tar = TarReader::new(bytes);
        let (mut entries, mut buffer) = (0, [0; 4096]);
        while tar.next_entry()?.is_some() {
            entries += 1;
            while tar.read_piece(&mut buffer)? != Piece::End {}
        }
        Ok(entries)
    }

    #[test]
    fn numbers_are_octal_or_base_256_with_a_sign() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"  644 \0\0", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"\x80\0\0\0\0\0\x01\x00", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field, "field").unwrap(), value, "{field:?}");
        }
        for field in [&b"00008\0"[..], b"-1\0", b"x", b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(number(field, "field").is_err(), "{field:?}");
        }
        assert!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xfe", "field").is_err());
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, seconds) in [("0", 0), ("1.999999999", 1), ("-1", -1), ("-1.5", -2), ("-1.000", -1), ("-0.5", -1)] {
            assert_eq!(pax_seconds(text.as_bytes()).unwrap(), seconds, "{text}");
        }
        assert!(pax_seconds(b"soon").is_err());
    }

    #[test]
    fn pax_values_may_hold_anything() {
        let records = parse_pax(b"13 a=x\ny\n=z\n\n6 b=1\n").unwrap();
        assert_eq!(records, [(b"a".to_vec(), b"x\ny\n=z\n".to_vec()), (b"b".to_vec(), b"1".to_vec())]);
        for wrong in [&b"6 a=1"[..], b"99 a=1\n", b"6 a-1\n", b"a=1\n", b"2\n"] {
            assert!(parse_pax(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_the_reader_panic(
            kind in prop::sample::select(b"0123456LKSxg".to_vec()),
            name in prop::collection::vec(any::<u8>(), 0..100),
            changes in prop::collection::vec((0usize..512, any::<u8>()), 0..6),
            body in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(&name);
            header.set_entry_type(EntryType::new(kind));
            header.set_size(body.len() as u64);
            for (at, byte) in changes {
                header.as_mut_bytes()[at] = byte;
            }
            header.set_cksum();
            let _ = drain(&[header.as_bytes(), body.as_slice()].concat());
        }
    }
}
