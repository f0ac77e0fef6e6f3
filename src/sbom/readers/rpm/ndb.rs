//! ndb (rpm's `lib/backend/ndb/rpmpkg.c`): pages of slots, each of which tells where a header is.
//! All numbers are little-endian.

const HEADER: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const BLOB: u32 = u32::from_le_bytes(*b"BlbS");
const SLOT_SIZE: usize = 16;
const BLOCK: usize = 16;
const PAGE: usize = 4096;

pub(super) fn blobs(database: &[u8]) -> Option<Vec<Vec<u8>>> {
    let number = |at: usize| Some(u32::from_le_bytes(*database.get(at..)?.first_chunk()?));
    if number(0)? != HEADER {
        return None;
    }
    let pages = usize::try_from(number(12)?).ok()?;
    let end = pages.checked_mul(PAGE)?.min(database.len());
    let (mut blobs, mut total) = (Vec::new(), 0);
    // The first two places are the header of the file.
    for slot in (2 * SLOT_SIZE..end).step_by(SLOT_SIZE) {
        if number(slot)? != SLOT {
            continue;
        }
        let (package, block) = (number(slot + 4)?, usize::try_from(number(slot + 8)?).ok()?);
        if package == 0 || block == 0 {
            continue;
        }
        let at = block.checked_mul(BLOCK)?;
        if (number(at)?, number(at + 4)?) != (BLOB, package) {
            return None;
        }
        let length = usize::try_from(number(at + 12)?).ok()?;
        total += length;
        // Several may claim the same bytes.
        if total > database.len() {
            return None;
        }
        blobs.push(database.get(at + 16..)?.get(..length)?.to_vec());
    }
    Some(blobs)
}
