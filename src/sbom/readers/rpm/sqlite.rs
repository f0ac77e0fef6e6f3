//! SQLite's file format (sqlite.org/fileformat2.html), as much as one table of rpm's needs:
//! `Packages (hnum INTEGER PRIMARY KEY, blob BLOB)`.

const MAGIC: &[u8] = b"SQLite format 3\0";
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// The most pages from the root to a leaf: each holds at least two more.
const DEEPEST: usize = 40;

struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// What is left of a page for content.
    usable: usize,
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

/// A number of one to nine bytes, and how many.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (position, byte) in bytes.iter().enumerate().take(9) {
        if position == 8 {
            return Some((value << 8 | u64::from(*byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, position + 1));
        }
    }
    None
}

impl<'a> Database<'a> {
    fn page(&self, number: usize) -> Option<&'a [u8]> {
        let start = number.checked_sub(1)?.checked_mul(self.page_size)?;
        self.bytes.get(start..)?.get(..self.page_size)
    }

    /// The rows of a table, from its root page.
    fn rows(&self, root: usize) -> Option<Vec<Vec<u8>>> {
        let (mut rows, mut total, mut pages) = (Vec::new(), 0, 0);
        let mut next = vec![(root, 0)];
        while let Some((number, depth)) = next.pop() {
            pages += 1;
            // A circle of pages, or pages that several others claim.
            if depth > DEEPEST || pages > self.bytes.len() / self.page_size {
                return None;
            }
            let page = self.page(number)?;
            let start = if number == 1 { 100 } else { 0 };
            let kind = *page.get(start)?;
            let (cells, array) = (short(page, start + 3)?, start + if kind == INTERIOR { 12 } else { 8 });
            let mut below = Vec::new();
            for cell in 0..cells {
                let at = short(page, array + 2 * cell)?;
                match kind {
                    INTERIOR => below.push((long(page, at)?, depth + 1)),
                    LEAF => {
                        let row = self.row(page, at)?;
                        total += row.len();
                        if total > self.bytes.len() {
                            return None;
                        }
                        rows.push(row);
                    }
                    _ => return None,
                }
            }
            if kind == INTERIOR {
                below.push((long(page, start + 8)?, depth + 1));
            }
            next.extend(below.into_iter().rev());
        }
        Some(rows)
    }

    /// The record of a cell, with what of it is on overflow pages (section 1.6).
    fn row(&self, page: &[u8], at: usize) -> Option<Vec<u8>> {
        let (length, width) = varint(page.get(at..)?)?;
        let (_, key_width) = varint(page.get(at + width..)?)?;
        let (length, start) = (usize::try_from(length).ok()?, at + width + key_width);
        if length > self.bytes.len() {
            return None;
        }
        let (most, least) = (self.usable - 35, (self.usable - 12) * 32 / 255 - 23);
        if length <= most {
            return Some(page.get(start..)?.get(..length)?.to_vec());
        }
        let fitting = least + (length - least) % (self.usable - 4);
        let here = if fitting <= most { fitting } else { least };
        let mut row = page.get(start..)?.get(..here)?.to_vec();
        let mut number = long(page, start + here)?;
        while row.len() < length {
            let page = self.page(number)?;
            let part = (self.usable - 4).min(length - row.len());
            row.extend_from_slice(page.get(4..)?.get(..part)?);
            number = long(page, 0)?;
        }
        Some(row)
    }
}

/// The bytes of the column `wanted` of a record, and its serial type.
fn column(record: &[u8], wanted: usize) -> Option<(u64, &[u8])> {
    let (header, mut at) = varint(record)?;
    let (header, mut position) = (usize::try_from(header).ok()?, usize::try_from(header).ok()?);
    for number in 0.. {
        if at >= header {
            break;
        }
        let (kind, width) = varint(record.get(at..)?)?;
        at += width;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            _ => kind.checked_sub(12)? / 2,
        };
        let length = usize::try_from(length).ok()?;
        if number == wanted {
            return Some((kind, record.get(position..)?.get(..length)?));
        }
        position = position.checked_add(length)?;
    }
    None
}

pub(super) fn blobs(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let page_size = match short(bytes, 16)? {
        1 => 65536,
        size => size,
    };
    let usable = page_size.checked_sub(usize::from(*bytes.get(20)?)).filter(|usable| *usable >= 480)?;
    let database = Database { bytes, page_size, usable };
    // The schema: type, name, table, root page, SQL.
    let is_packages = |row: &Vec<u8>| {
        let text = |number| column(row, number).map(|(_, text)| text);
        text(0) == Some(b"table") && text(1) == Some(b"Packages")
    };
    let schema = database.rows(1)?;
    let (_, root) = column(schema.iter().find(|row| is_packages(row))?, 3)?;
    let root = root.iter().fold(0, |root, byte| root << 8 | usize::from(*byte));
    // An integer primary key is not in the record: its column is NULL.
    Some(database.rows(root)?.iter().filter_map(|row| column(row, 1)).map(|(_, blob)| blob.to_vec()).collect())
}
