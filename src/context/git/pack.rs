//! Commits in a pack, found by its index of version 2 (gitformat-pack(5)).
//!
//! Reads only the parts that lead to the one object: a pack may have gigabytes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::file::{MAX_COMMIT_SIZE, corrupt, open};

/// The longest chain of deltas; git makes none over 4095.
const MAX_DELTAS: usize = 4096;

/// The start of an index of version 2: its signature and version.
const INDEX_HEADER: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// After the header comes, for each first byte of an id, how many ids are up to there.
const FANOUT: u64 = 256 * 4;

const COMMIT: u8 = 1;
const OFFSET_DELTA: u8 = 6;
const ID_DELTA: u8 = 7;

/// A pack with its index.
pub(super) struct Pack {
    index: File,
    pack: File,
    /// Bytes of an id.
    id_size: u64,
    /// How many objects there are.
    count: u64,
}

impl Pack {
    pub(super) fn open(index: &Path, id_size: usize) -> io::Result<Self> {
        let pack = open(&index.with_extension("pack"))?;
        let index = open(index)?;
        let mut header = [0; 8];
        index.read_exact_at(&mut header, 0)?;
        if header != INDEX_HEADER {
            return Err(corrupt("the index of a pack is not of version 2"));
        }
        let count = u64::from(read_u32(&index, 8 + FANOUT - 4)?);
        Ok(Self { index, pack, id_size: id_size as u64, count })
    }

    /// The bytes of a commit; `None` where the pack does not have it.
    pub(super) fn read_commit(&self, id: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(mut offset) = self.offset(id)? else { return Ok(None) };
        let mut deltas = Vec::new();
        let mut object = loop {
            let (kind, base, data) = self.entry(offset)?;
            match (kind, base) {
                (COMMIT, _) => break data,
                (_, Some(base)) if deltas.len() < MAX_DELTAS => {
                    deltas.push(data);
                    offset = base;
                }
                (_, Some(_)) => return Err(corrupt("a pack has a longer chain of deltas than git makes")),
                _ => return Err(corrupt("the object that HEAD names is not a commit")),
            }
        };
        while let Some(delta) = deltas.pop() {
            object = apply_delta(&object, &delta)?;
        }
        Ok(Some(object))
    }

    /// Where the object is in the pack.
    fn offset(&self, id: &[u8]) -> io::Result<Option<u64>> {
        let first = u64::from(id.first().copied().unwrap_or_default());
        let mut low = if first == 0 { 0 } else { u64::from(read_u32(&self.index, 8 + (first - 1) * 4)?) };
        let mut high = u64::from(read_u32(&self.index, 8 + first * 4)?).min(self.count);
        let ids = 8 + FANOUT;
        let mut found = vec![0; id.len()];
        while low < high {
            let middle = low + (high - low) / 2;
            self.index.read_exact_at(&mut found, ids + middle * self.id_size)?;
            match found.as_slice().cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.offset_of(middle).map(Some),
            }
        }
        Ok(None)
    }

    /// The offset of the object with this number: after all ids and their checksums, 4 bytes each;
    /// one with the highest bit set is the number of an offset of 8 bytes after those.
    fn offset_of(&self, number: u64) -> io::Result<u64> {
        let offsets = 8 + FANOUT + self.count * (self.id_size + 4);
        let offset = read_u32(&self.index, offsets + number * 4)?;
        if offset & 0x8000_0000 == 0 {
            return Ok(u64::from(offset));
        }
        let mut large = [0; 8];
        let number = u64::from(offset & 0x7fff_ffff);
        self.index.read_exact_at(&mut large, offsets + self.count * 4 + number * 8)?;
        Ok(u64::from_be_bytes(large))
    }

    /// The type of the entry at `offset`, where the base of a delta is, and the entry's data.
    fn entry(&self, offset: u64) -> io::Result<(u8, Option<u64>, Vec<u8>)> {
        let mut reader = At { file: &self.pack, offset };
        let first = read_byte(&mut reader)?;
        let kind = first >> 4 & 7;
        let mut more = first & 0x80 != 0;
        while more {
            // The size is told by the end of the data, too.
            more = read_byte(&mut reader)? & 0x80 != 0;
        }
        let base = match kind {
            OFFSET_DELTA => {
                let back = read_offset(&mut reader)?;
                Some(offset.checked_sub(back).filter(|_| back > 0).ok_or_else(|| corrupt("a delta in a pack has no base"))?)
            }
            ID_DELTA => {
                let mut id = vec![0; self.id_size as usize];
                reader.read_exact(&mut id)?;
                Some(self.offset(&id)?.ok_or_else(|| corrupt("the base of a delta is not in its pack"))?)
            }
            _ => None,
        };
        let mut data = Vec::new();
        ZlibDecoder::new(reader).take(MAX_COMMIT_SIZE).read_to_end(&mut data)?;
        Ok((kind, base, data))
    }
}

fn read_u32(file: &File, offset: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_byte(reader: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// A number in the "offset encoding" (gitformat-pack(5)): how far before a delta its base is, and
/// lengths in an index. 7 bits a byte, the highest first, each byte but the last adding one.
pub(super) fn read_offset(reader: &mut impl Read) -> io::Result<u64> {
    let mut byte = read_byte(reader)?;
    let mut distance = u64::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = read_byte(reader)?;
        let shifted = distance.checked_add(1).and_then(|distance| distance.checked_mul(128));
        distance = shifted.ok_or_else(|| corrupt("the base of a delta is too far away"))? | u64::from(byte & 0x7f);
    }
    Ok(distance)
}

/// Applies a delta: two sizes, then copies from the base and literal bytes.
fn apply_delta(base: &[u8], delta: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = || corrupt("a delta in a pack is damaged");
    let mut rest = delta;
    read_size(&mut rest)?;
    let size = read_size(&mut rest)?;
    if size > MAX_COMMIT_SIZE {
        return Err(wrong());
    }
    let mut object = Vec::new();
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        if code & 0x80 == 0 {
            let (literal, after) = rest.split_at_checked(usize::from(code)).filter(|_| code > 0).ok_or_else(wrong)?;
            object.extend_from_slice(literal);
            rest = after;
        } else {
            let mut number = |bits: std::ops::Range<u32>| -> io::Result<usize> {
                let mut number = 0;
                for (place, bit) in bits.enumerate() {
                    if code & 1 << bit != 0 {
                        number |= usize::from(read_byte(&mut rest)?) << (8 * place);
                    }
                }
                Ok(number)
            };
            let (offset, length) = (number(0..4)?, number(4..7)?);
            let length = if length == 0 { 0x10000 } else { length };
            object.extend_from_slice(base.get(offset..offset + length).ok_or_else(wrong)?);
        }
        if object.len() as u64 > size {
            return Err(wrong());
        }
    }
    if object.len() as u64 == size { Ok(object) } else { Err(wrong()) }
}

/// A size: 7 bits a byte, the lowest first.
fn read_size(rest: &mut &[u8]) -> io::Result<u64> {
    let (mut size, mut shift) = (0_u64, 0);
    loop {
        let byte = read_byte(rest)?;
        size |= u64::from(byte & 0x7f).checked_shl(shift).ok_or_else(|| corrupt("a size in a pack is too large"))?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}

/// Reads a file from an offset on.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
