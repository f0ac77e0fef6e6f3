//! Programs: what the Go linker and cargo-auditable have put into them, found as the bytes pass by.
//!
//! Both are looked for by how they begin and not by the names of sections, whose table stands at a
//! program's end: so no program is kept, however large.

use std::io::{self, BufRead as _, Read};

use flate2::{Decompress, FlushDecompress};
use memchr::{memchr, memmem};

use super::window::{CHUNK, Window};
use super::{go, rust};
use crate::sbom::package::PackageRecord;

/// This much of a compressed list shows how it begins.
const GLANCE: usize = 1024;
/// The largest list that is read, in bytes, packed or not.
const LARGEST: usize = 8 << 20;

/// Whether a file that begins so is a program or library: ELF, PE, Mach-O (little-endian, 64 bits).
pub(super) fn is_program(start: &[u8]) -> bool {
    [&b"\x7fELF"[..], b"MZ", b"\xcf\xfa\xed\xfe"].iter().any(|magic| start.starts_with(magic))
}

/// The packages that a program was built of. `start` is what was read of it.
pub(super) fn packages(start: &[u8], content: &mut dyn Read) -> io::Result<Vec<PackageRecord>> {
    let mut window = Window::new(start, content);
    let mut inflate = Decompress::new(true);
    let (mut found, mut go_found) = (Vec::new(), false);
    let mut done = 0_usize;
    loop {
        let length = window.ahead(CHUNK)?.len();
        // What could begin in the rest is looked at when there is more of it.
        let end = if window.has_ended() { length } else { length.saturating_sub(GLANCE) };
        let mut at = 0;
        while let Some(offset) = memmem::find(&window.ahead(0)?[at..], go::MAGIC).filter(|offset| at + offset < end && !go_found)
        {
            at += offset;
            if (done + at).is_multiple_of(16)
                && let Some(modules) = go::build_info(&window.ahead(at + LARGEST)?[at..])
            {
                found.extend(modules);
                go_found = true;
            }
            at += 1;
        }
        let mut at = 0;
        while let Some(offset) = memchr(0x78, &window.ahead(0)?[at..]).filter(|offset| at + offset < end) {
            at += offset;
            let bytes = &window.ahead(0)?[at..];
            // RFC 1950, section 2.2: the second byte tells the level and makes both divisible by
            // 31.
            if matches!(bytes.get(1), Some(0x01 | 0x5e | 0x9c | 0xda)) && begins_list(&mut inflate, bytes) {
                let bytes = &window.ahead(at + LARGEST)?[at..];
                if let Some(crates) = inflated(&mut inflate, bytes).and_then(|list| rust::auditable(&list)) {
                    found.extend(crates);
                }
            }
            at += 1;
        }
        if window.has_ended() && end == window.ahead(0)?.len() {
            return Ok(found);
        }
        window.consume(end);
        done += end;
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
