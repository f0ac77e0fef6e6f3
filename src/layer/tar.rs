//! A reader of tar streams: ustar, pax (POSIX.1-2001) and GNU's long names and sparse files.
//!
//! Refuses damaged headers, sizes beyond the limits, and streams that break off. The `tar` crate reads the fields of a
//! header; the records are read here, because the crate ends a pax record at its first newline, and a file capability
//! (`security.capability`) may well contain one.

use std::collections::BTreeMap;
use std::io::{self, Read};

use ::tar::{self, EntryType, Header};

use crate::error::{Error, ErrorKind, Result, ResultExt as _};

const BLOCK: usize = 512;
/// A pax header or long name beyond this is an attack.
const MOST_EXTENSION: u64 = 8 << 20;

/// Reads the entries of a tar, one after the other.
pub struct TarReader<R> {
    inner: R,
    /// Content and padding of the current entry that nobody has read.
    rest: u64,
    padding: u64,
    holes: Option<Holes>,
}

/// The header of an entry with everything that extends it.
pub struct RawEntry {
    /// The fields of the header.
    pub header: Header,
    /// The name, as long as it is.
    pub path: Vec<u8>,
    /// The link's target, as long as it is.
    pub link: Vec<u8>,
    /// Bytes of content, holes included.
    pub size: u64,
    /// The records of its pax header.
    pub pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Where the data of a sparse file is; between it are zeros.
struct Holes {
    /// Offset and length, in order.
    data: std::collections::VecDeque<(u64, u64)>,
    position: u64,
    size: u64,
}

fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the tar is damaged: {why}"))
}

impl<R: Read> TarReader<R> {
    /// Reads a tar from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, rest: 0, padding: 0, holes: None }
    }

    /// The next entry; its content is then read through this reader. `None` at the end of the tar.
    pub fn next_entry(&mut self) -> Result<Option<RawEntry>> {
        let mut path = None;
        let mut link = None;
        let mut pax = BTreeMap::new();
        loop {
            if !self.skip_entry()? {
                return Ok(None);
            }
            self.holes = None;
            let Some(header) = self.read_header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| damaged("an entry without a size"))?;
            self.expect(size);
            match header.entry_type() {
                EntryType::XHeader => pax = parse_pax(&self.read_extension()?)?,
                EntryType::GNULongName => path = Some(self.read_name()?),
                EntryType::GNULongLink => link = Some(self.read_name()?),
                // Comments, and defaults that no layer relies on: docker and containerd pass over them, too.
                EntryType::XGlobalHeader => {}
                _ => return self.finish_entry(header, path, link, pax).map(Some),
            }
        }
    }

    fn finish_entry(
        &mut self,
        header: Header,
        path: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
        mut pax: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<RawEntry> {
        if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(Error::new(ErrorKind::Unsupported, "sparse files in pax format cannot be read")
                .with_hint("write the archive without `--sparse`, or with `tar --format=gnu`"));
        }
        let path = pax.remove(&b"path"[..]).or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.remove(&b"linkpath"[..]).or(link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().map_or_else(Vec::new, |link| link.into_owned()));
        if let Some(size) = pax.get(&b"size"[..]) {
            let size = std::str::from_utf8(size).ok().and_then(|text| text.parse().ok());
            self.expect(size.ok_or_else(|| damaged("a pax size that is no number"))?);
        }
        let mut size = self.rest;
        if header.entry_type().is_gnu_sparse() {
            size = self.read_holes(&header)?;
        }
        // Links and folders have no content, whatever their header says (GNU tar gives a hard link its file's size).
        if !(header.entry_type().is_file() || header.entry_type().is_contiguous() || header.entry_type().is_gnu_sparse()) {
            if header.entry_type().is_hard_link() || header.entry_type().is_symlink() || header.entry_type().is_dir() {
                self.expect(0);
            }
            size = 0;
        }
        Ok(RawEntry { header, path, link, size, pax })
    }

    fn expect(&mut self, size: u64) {
        self.rest = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn read_header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        match read_full(&mut self.inner, header.as_mut_bytes())? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(damaged("it ends in the middle of a header")),
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        if header.cksum().ok() != Some(sum) {
            return Err(damaged("the checksum of a header does not match"));
        }
        Ok(Some(header))
    }

    fn read_extension(&mut self) -> Result<Vec<u8>> {
        if self.rest > MOST_EXTENSION {
            return Err(damaged("an extended header of more than 8 MiB"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).context(ErrorKind::Corrupt, || "the tar is damaged".into())?;
        Ok(bytes)
    }

    fn read_name(&mut self) -> Result<Vec<u8>> {
        let mut name = self.read_extension()?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    /// GNU's old sparse format: a list of data in the header, continued in blocks after it (GNU tar manual, "Sparse Formats").
    fn read_holes(&mut self, header: &Header) -> Result<u64> {
        let gnu = header.as_gnu().ok_or_else(|| damaged("a sparse file without a list of its data"))?;
        let wrong = |_| damaged("a sparse file with a damaged list of its data");
        let size = gnu.real_size().map_err(wrong)?;
        let mut data = std::collections::VecDeque::new();
        let mut end = 0;
        let mut add = |part: &tar::GnuSparseHeader| {
            if part.is_empty() {
                return Ok(());
            }
            let (offset, length) = (part.offset().map_err(wrong)?, part.length().map_err(wrong)?);
            let fits = offset >= end && offset.checked_add(length).is_some_and(|end| end <= size);
            if !fits {
                return Err(damaged("the data of a sparse file overlap"));
            }
            end = offset + length;
            data.push_back((offset, length));
            Ok(())
        };
        gnu.sparse.iter().try_for_each(&mut add)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extension = tar::GnuExtSparseHeader::new();
            if read_full(&mut self.inner, extension.as_mut_bytes())? != BLOCK {
                return Err(damaged("it ends in a sparse file's list of data"));
            }
            extension.sparse().iter().try_for_each(&mut add)?;
            more = extension.is_extended();
        }
        if data.iter().map(|(_, length)| length).sum::<u64>() != self.rest {
            return Err(damaged("a sparse file has more or less data than its list says"));
        }
        self.holes = Some(Holes { data, position: 0, size });
        Ok(size)
    }

    /// Passes over what is left of the current entry; `false` where the tar ends before the next header could begin.
    fn skip_entry(&mut self) -> Result<bool> {
        if self.skip(self.rest)? < self.rest {
            return Err(damaged("it ends in the middle of a file"));
        }
        // Go's archive/tar, and so docker, takes an end inside the padding as the end of the tar; umoci's layers end so.
        let whole = self.skip(self.padding)? == self.padding;
        (self.rest, self.padding) = (0, 0);
        Ok(whole)
    }

    fn skip(&mut self, length: u64) -> Result<u64> {
        io::copy(&mut (&mut self.inner).take(length), &mut io::sink())
            .context(ErrorKind::Corrupt, || "the tar cannot be read".into())
    }

    /// Reads what follows the end of the tar: it belongs to the digest, too.
    pub fn read_trailer(mut self) -> Result<()> {
        io::copy(&mut self.inner, &mut io::sink()).context(ErrorKind::Corrupt, || "the tar cannot be read".into())?;
        Ok(())
    }

    fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the tar ends in the middle of a file"));
        }
        self.rest -= read as u64;
        Ok(read)
    }
}

/// The content of the current entry.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(holes) = &mut self.holes else { return self.read_data(buffer) };
        while holes.data.front().is_some_and(|(offset, length)| holes.position >= offset + length) {
            holes.data.pop_front();
        }
        let (zeros, data) = match holes.data.front() {
            Some((offset, length)) if *offset <= holes.position => (0, offset + length - holes.position),
            Some((offset, _)) => (offset - holes.position, 0),
            None => (holes.size - holes.position, 0),
        };
        let most = |length: u64, buffer: &[u8]| buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let read = if data > 0 {
            let want = most(data, buffer);
            self.read_data(&mut buffer[..want])?
        } else {
            let length = most(zeros, buffer);
            buffer[..length].fill(0);
            length
        };
        if let Some(holes) = &mut self.holes {
            holes.position += read as u64;
        }
        Ok(read)
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::new(ErrorKind::Corrupt, "the tar cannot be read").with_source(error)),
        }
    }
    Ok(filled)
}

/// Records are `LENGTH KEY=VALUE\n`, LENGTH counting itself (POSIX.1-2001, pax, "Extended Header").
fn parse_pax(mut bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let wrong = || damaged("a pax header with a damaged record");
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
        let record = bytes.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Ok(records)
}
