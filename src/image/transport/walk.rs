//! Walking over the members of a tar without holding or trusting any of it.
//!
//! The tar crate's own walk reads an extended header of any size into memory; here a hostile
//! archive gets an error instead. Refuses headers with a wrong checksum, names over a megabyte, and
//! an end in the middle of a member.

use std::fs::File;
use std::io::{self, BufReader, Read};

use tar::{EntryType, GnuExtSparseHeader, Header, PaxExtensions};

use crate::error::{Error, Result};
use crate::image::hashing::{self, HashingReader};

const BLOCK: u64 = 512;

/// What long names and extended headers may take.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// One member, after long names and extended headers are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Member {
    pub(super) path: Vec<u8>,
    /// The target of a link.
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryType,
    /// Where its content is, in bytes from the start of the tar.
    pub(super) offset: u64,
    /// The length of its content.
    pub(super) size: u64,
}

/// Something whose next bytes can be left out.
pub(in crate::image) trait Skip: Read {
    /// Leaves out exactly `length` bytes.
    fn skip(&mut self, length: u64) -> io::Result<()> {
        match io::copy(&mut self.take(length), &mut io::sink())? {
            skipped if skipped == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: Read> Skip for &mut HashingReader<R> {}

impl Skip for BufReader<File> {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        let length = i64::try_from(length).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.seek_relative(length)
    }
}

/// The members of a tar in its order.
#[derive(Debug)]
pub(in crate::image) struct TarWalk<R> {
    reader: R,
    position: u64,
    next: u64,
}

/// What extension headers say of the member after them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Skip> TarWalk<R> {
    pub(in crate::image) fn new(reader: R) -> Self {
        Self { reader, position: 0, next: 0 }
    }

    /// The next member; `None` at the end-of-archive mark or the end of the file.
    pub(in crate::image) fn next_member(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.read_header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|error| self.damaged(error))?;
            match header.entry_type() {
                EntryType::GNULongName => extensions.path = Some(until_nul(self.read_extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.read_extension(size)?)),
                EntryType::XHeader => {
                    let records = self.read_extension(size)?;
                    extensions.apply(&records).map_err(|error| self.damaged(error))?;
                }
                EntryType::XGlobalHeader => self.set_next(size)?,
                kind => return self.member(&header, kind, size, extensions).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header, kind: EntryType, size: u64, extensions: Extensions) -> Result<Member> {
        if kind == EntryType::GNUSparse {
            self.skip_sparse_map(header)?;
        }
        // As Go has it: these have no content, whatever their size says.
        let bare = kind.is_dir() || kind.is_hard_link() || kind.is_symlink() || is_device(kind);
        let size = if bare { 0 } else { extensions.size.unwrap_or(size) };
        let offset = self.position;
        self.set_next(size)?;
        Ok(Member {
            path: extensions.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: extensions.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind,
            offset,
            size,
        })
    }

    /// The next header, checked; `None` at the end.
    fn read_header(&mut self) -> Result<Option<Header>> {
        let gap = self.next - self.position;
        self.reader.skip(gap).map_err(|error| self.damaged(error))?;
        self.position = self.next;
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        match self.reader.read_exact(&mut block[..1]) {
            Ok(()) => {}
            // Some writers leave out the mark at the end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(self.damaged(error)),
        }
        self.reader.read_exact(&mut block[1..]).map_err(|error| self.damaged(error))?;
        self.position += BLOCK;
        self.next = self.position;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
        let actual: u32 = block.iter().enumerate().map(sum).sum();
        match header.cksum() {
            Ok(written) if written == actual => Ok(Some(header)),
            _ => Err(self.damaged(io::Error::new(io::ErrorKind::InvalidData, "a header has a wrong checksum"))),
        }
    }

    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_LIMIT {
            return Err(self.damaged(io::Error::new(io::ErrorKind::InvalidData, "an extended header is over a megabyte long")));
        }
        self.set_next(size)?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(size).read_to_end(&mut bytes).map_err(|error| self.damaged(error))?;
        self.position += bytes.len() as u64;
        if bytes.len() as u64 != size {
            return Err(self.damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    /// Old GNU sparse files: more of the map may follow the header.
    fn skip_sparse_map(&mut self, header: &Header) -> Result<()> {
        let mut more = header.as_gnu().is_some_and(|gnu| gnu.is_extended());
        while more {
            let mut map = GnuExtSparseHeader::new();
            self.reader.read_exact(map.as_mut_bytes()).map_err(|error| self.damaged(error))?;
            self.position += BLOCK;
            more = map.is_extended();
        }
        Ok(())
    }

    /// The next header comes after `size` bytes of content, at a whole block.
    fn set_next(&mut self, size: u64) -> Result<()> {
        let end = size.checked_next_multiple_of(BLOCK).and_then(|length| self.position.checked_add(length));
        let too_long = || io::Error::new(io::ErrorKind::InvalidData, "a member's size is beyond measure");
        self.next = end.ok_or_else(|| self.damaged(too_long()))?;
        Ok(())
    }

    fn damaged(&self, error: io::Error) -> Error {
        hashing::unreadable(format!("the tar cannot be read at byte {}", self.position), error)
    }
}

impl Extensions {
    fn apply(&mut self, records: &[u8]) -> io::Result<()> {
        for record in PaxExtensions::new(records) {
            let record = record?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_owned()),
                b"linkpath" => self.link = Some(value.to_owned()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the size of an extended header is not a number");
                    self.size = Some(size.ok_or_else(wrong)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_device(kind: EntryType) -> bool {
    kind.is_character_special() || kind.is_block_special() || kind.is_fifo()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Skip for &[u8] {}

    fn walk(tar: &[u8]) -> Result<Vec<Member>> {
        let mut walk = TarWalk::new(tar);
        std::iter::from_fn(|| walk.next_member().transpose()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn members_are_found_where_the_tar_crate_put_them(
            files in proptest::collection::vec(("[a-z]{1,8}(/[a-z]{1,60}){0,4}", proptest::collection::vec(any::<u8>(), 0..1500)), 0..5),
        ) {
            let mut builder = tar::Builder::new(Vec::new());
            for (path, content) in &files {
                let mut header = Header::new_gnu();
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, &content[..]).unwrap();
            }
            let tar = builder.into_inner().unwrap();
            let members = walk(&tar).unwrap();
            prop_assert_eq!(members.len(), files.len());
            for (member, (path, content)) in members.iter().zip(&files) {
                prop_assert_eq!(&member.path, path.as_bytes());
                let start = member.offset as usize;
                prop_assert_eq!(&tar[start..start + member.size as usize], &content[..]);
            }
        }

        #[test]
        fn changed_bytes_end_in_an_error_or_in_fewer_members_never_in_a_panic(
            at in 0usize..3000, byte in any::<u8>(), end in 0usize..4000,
        ) {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = Header::new_gnu();
            header.set_size(700);
            builder.append_data(&mut header, "x".repeat(150), &[7; 700][..]).unwrap();
            let mut tar = builder.into_inner().unwrap();
            let length = tar.len();
            tar[at % length] = byte;
            let _ = walk(&tar[..end.min(length)]);
        }
    }

    #[test]
    fn the_size_in_an_extended_header_is_the_one_that_counts() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", &b"600"[..]), ("path", b"long")]).unwrap();
        let mut header = Header::new_ustar();
        header.set_path("short").unwrap();
        header.set_size(0);
        header.set_cksum();
        let mut tar = builder.get_ref().clone();
        tar.extend(header.as_bytes());
        tar.extend([1; 1024]);
        tar.extend([0; 1024]);
        let members = walk(&tar).unwrap();
        assert_eq!((&members[0].path[..], members[0].size, members.len()), (&b"long"[..], 600, 1));
        assert!(walk(&tar[..2048]).is_err(), "it ends before its content does");
    }
}
