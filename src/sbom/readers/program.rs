//! Programs: what the Go linker and cargo-auditable have put into them, found as the bytes pass by.
//!
//! Both are looked for by how they begin and not by the names of sections, whose table stands at a
//! program's end: so no program is kept, however large.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress};
use memchr::{memchr, memmem};

use super::{go, rust};
use crate::sbom::package::Found;

const CHUNK: usize = 256 * 1024;
/// So much of a compressed list tells how it begins.
const GLANCE: usize = 1024;
/// The largest list that is read, in bytes, packed or not.
const LARGEST: usize = 8 << 20;

/// Whether a file that begins so is a program or library: ELF, PE, Mach-O (little-endian, 64 bits).
pub(super) fn is_program(start: &[u8]) -> bool {
    [&b"\x7fELF"[..], b"MZ", b"\xcf\xfa\xed\xfe"].iter().any(|magic| start.starts_with(magic))
}

/// The packages that a program was built of. `start` is what was read of it.
pub(super) fn packages(start: &[u8], content: &mut dyn Read) -> io::Result<Vec<Found>> {
    let mut window = Window { bytes: start.to_vec(), content, ended: false };
    let mut inflate = Decompress::new(true);
    let (mut found, mut go_found) = (Vec::new(), false);
    let mut done = 0_usize;
    loop {
        window.fill(CHUNK)?;
        // What could begin in the rest is looked at when there is more of it.
        let end = if window.ended { window.bytes.len() } else { window.bytes.len().saturating_sub(GLANCE) };
        let mut at = 0;
        while let Some(offset) = memmem::find(&window.bytes[at..], go::MAGIC).filter(|offset| at + offset < end && !go_found) {
            at += offset;
            if (done + at).is_multiple_of(16) {
                window.fill(at + LARGEST)?;
                if let Some(modules) = go::build_info(&window.bytes[at..]) {
                    found.extend(modules);
                    go_found = true;
                }
            }
            at += 1;
        }
        let mut at = 0;
        while let Some(offset) = memchr(0x78, &window.bytes[at..]).filter(|offset| at + offset < end) {
            at += offset;
            // RFC 1950, section 2.2: the second byte tells the level and makes both divisible by
            // 31.
            if matches!(window.bytes.get(at + 1), Some(0x01 | 0x5e | 0x9c | 0xda))
                && begins_list(&mut inflate, &window.bytes[at..])
            {
                window.fill(at + LARGEST)?;
                if let Some(crates) = inflated(&mut inflate, &window.bytes[at..]).and_then(|list| rust::auditable(&list)) {
                    found.extend(crates);
                }
            }
            at += 1;
        }
        if window.ended && end == window.bytes.len() {
            return Ok(found);
        }
        window.bytes.drain(..end);
        done += end;
    }
}

/// The part of a file that is looked at.
struct Window<'a> {
    bytes: Vec<u8>,
    content: &'a mut dyn Read,
    ended: bool,
}

impl Window<'_> {
    /// Reads until it has `length` bytes, or the file ends.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        let missing = length.saturating_sub(self.bytes.len());
        if missing > 0 && !self.ended {
            let read = self.content.take(missing as u64).read_to_end(&mut self.bytes)?;
            self.ended = read < missing;
        }
        Ok(())
    }
}

fn begins_list(inflate: &mut Decompress, bytes: &[u8]) -> bool {
    let mut start = [0; rust::AUDITABLE.len()];
    inflate.reset(true);
    let glance = &bytes[..bytes.len().min(GLANCE)];
    inflate.decompress(glance, &mut start, FlushDecompress::None).is_ok() && start == *rust::AUDITABLE
}

fn inflated(inflate: &mut Decompress, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut list = Vec::with_capacity(CHUNK);
    inflate.reset(true);
    loop {
        let taken = usize::try_from(inflate.total_in()).ok()?;
        let status = inflate.decompress_vec(bytes.get(taken..)?, &mut list, FlushDecompress::None).ok()?;
        match status {
            flate2::Status::StreamEnd => return Some(list),
            _ if list.len() < list.capacity() || list.len() > LARGEST => return None,
            _ => list.reserve(CHUNK),
        }
    }
}
