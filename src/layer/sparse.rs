//! Maps of sparse files in tars: GNU's old headers and the three PAX forms ("GNU tar", Sparse
//! Formats).
//!
//! Refuses maps that overlap, go backwards, pass the end, or list more than [`MAX_SEGMENTS`]
//! stretches.

use ::tar::Header;

use crate::error::Result;

use super::header_field::{corrupt, unsigned};

const BLOCK: usize = 512;

/// Far more than a real file has, little memory.
const MAX_SEGMENTS: usize = 1 << 20;

/// A stretch of bytes in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Where the stored bytes of a sparse file belong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) segments: Vec<Segment>,
    pub(super) size: u64,
}

impl Map {
    fn checked(segments: Vec<Segment>, size: u64) -> Result<Self> {
        let mut end = 0;
        for segment in &segments {
            if segment.offset < end {
                return Err(corrupt("the stretches of a sparse file overlap"));
            }
            end = segment.offset.checked_add(segment.length).ok_or_else(wrong)?;
        }
        if end > size || size > i64::MAX as u64 {
            return Err(corrupt("a sparse file is longer than it says"));
        }
        Ok(Self { segments: segments.into_iter().filter(|segment| segment.length > 0).collect(), size })
    }
}

fn wrong() -> crate::error::Error {
    corrupt("the map of a sparse file is damaged")
}

/// Type `S`: four stretches in the header, then blocks of 21, each with a flag that says whether
/// another follows.
pub(super) fn old_gnu(header: &Header, mut next_block: impl FnMut() -> Result<[u8; BLOCK]>) -> Result<Map> {
    let gnu = header.as_gnu().ok_or_else(wrong)?;
    let size = unsigned(&gnu.realsize, "real size")?;
    let mut segments = Vec::new();
    let mut extended = gnu.isextended[0] != 0;
    for stretch in &gnu.sparse {
        push(&mut segments, &stretch.offset, &stretch.numbytes)?;
    }
    while extended {
        let block = next_block()?;
        for stretch in block[..21 * 24].chunks_exact(24) {
            push(&mut segments, &stretch[..12], &stretch[12..])?;
        }
        extended = block[504] != 0;
    }
    Map::checked(segments, size)
}

fn push(segments: &mut Vec<Segment>, offset: &[u8], length: &[u8]) -> Result<()> {
    if offset[0] == 0 || length[0] == 0 {
        return Ok(());
    }
    if segments.len() == MAX_SEGMENTS {
        return Err(wrong());
    }
    segments.push(Segment { offset: unsigned(offset, "sparse offset")?, length: unsigned(length, "sparse length")? });
    Ok(())
}

/// Version 1.0: decimal numbers, one a line, in blocks at the start of the content: count, then
/// offset and length of each stretch.
pub(super) fn pax_1_0(size: u64, mut next_block: impl FnMut() -> Result<[u8; BLOCK]>) -> Result<Map> {
    let (mut block, mut at) = (next_block()?, 0);
    let mut number = || -> Result<u64> {
        let mut value: Option<u64> = None;
        loop {
            if at == BLOCK {
                (block, at) = (next_block()?, 0);
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => return value.ok_or_else(wrong),
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    value =
                        Some(value.unwrap_or(0).checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or_else(wrong)?);
                }
                _ => return Err(wrong()),
            }
        }
    };
    let count = number()?;
    if count > MAX_SEGMENTS as u64 {
        return Err(wrong());
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        segments.push(Segment { offset: number()?, length: number()? });
    }
    Map::checked(segments, size)
}

/// Version 0.1: `offset,length,offset,length…` in one PAX record.
pub(super) fn pax_0_1(size: u64, map: &[u8]) -> Result<Map> {
    let numbers = map.split(|byte| *byte == b',').map(decimal).collect::<Result<Vec<u64>>>()?;
    pairs(size, &numbers)
}

/// Version 0.0: the PAX records `GNU.sparse.offset` and `GNU.sparse.numbytes`, repeated in turn.
pub(super) fn pax_0_0(size: u64, records: &[(Vec<u8>, Vec<u8>)]) -> Result<Map> {
    let mut numbers = Vec::new();
    for (key, value) in records {
        let expected: &[u8] = if numbers.len() % 2 == 0 { b"GNU.sparse.offset" } else { b"GNU.sparse.numbytes" };
        if key == expected {
            numbers.push(decimal(value)?);
        } else if matches!(key.as_slice(), b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
            return Err(wrong());
        }
    }
    pairs(size, &numbers)
}

fn decimal(text: &[u8]) -> Result<u64> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

fn pairs(size: u64, numbers: &[u64]) -> Result<Map> {
    if !numbers.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let segments = numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect();
    Map::checked(segments, size)
}
