//! Berkeley DB's hash (`src/dbinc/db_page.h` of version 5.3), in either byte order. A header is far
//! longer than a page, so it is always in pages of its own.

/// `DB_HASHMAGIC`
const MAGIC: u32 = 0x0006_1561;
const HEADER: usize = 26;
/// `P_HASH_UNSORTED`, `P_HASH`
const HASH_PAGES: [u8; 2] = [2, 13];
const OVERFLOW_PAGE: u8 = 7;
/// `H_OFFPAGE`: the value is elsewhere.
const ELSEWHERE: u8 = 3;

struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    big_endian: bool,
}

impl<'a> Database<'a> {
    fn page(&self, number: u32) -> Option<&'a [u8]> {
        let start = usize::try_from(number).ok()?.checked_mul(self.page_size)?;
        self.bytes.get(start..)?.get(..self.page_size)
    }

    fn short(&self, page: &[u8], at: usize) -> Option<usize> {
        let bytes = *page.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }.into())
    }

    fn long(&self, page: &[u8], at: usize) -> Option<u32> {
        let bytes = *page.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The value that begins on an overflow page.
    fn value(&self, mut number: u32, length: usize) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        // Each page adds something, so a circle of pages ends here.
        while value.len() < length {
            let page = self.page(number)?;
            if page[25] != OVERFLOW_PAGE {
                return None;
            }
            let used = self.short(page, 22).filter(|used| *used > 0)?;
            value.extend_from_slice(page.get(HEADER..)?.get(..used.min(length - value.len()))?);
            number = self.long(page, 16)?;
        }
        Some(value)
    }
}

pub(super) fn blobs(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let magic = *bytes.get(12..)?.first_chunk()?;
    let big_endian = u32::from_be_bytes(magic) == MAGIC;
    if !big_endian && u32::from_le_bytes(magic) != MAGIC {
        return None;
    }
    let mut database = Database { bytes, page_size: 0, big_endian };
    database.page_size = usize::try_from(database.long(bytes, 20)?).ok().filter(|size| (512..=65536).contains(size))?;
    let (last, mut blobs, mut total) = (database.long(bytes, 32)?, Vec::new(), 0);
    for number in 1..=last {
        let Some(page) = database.page(number) else { break };
        if !HASH_PAGES.contains(&page[25]) {
            continue;
        }
        // Keys and values in turns.
        for index in (1..database.short(page, 20)?).step_by(2) {
            let at = database.short(page, HEADER + 2 * index)?;
            if *page.get(at)? != ELSEWHERE {
                continue;
            }
            let (first, length) = (database.long(page, at + 4)?, usize::try_from(database.long(page, at + 8)?).ok()?);
            total += length;
            // Several may claim the same pages.
            if total > bytes.len() {
                return None;
            }
            blobs.push(database.value(first, length)?);
        }
    }
    Some(blobs)
}
