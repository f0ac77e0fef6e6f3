//! The header of an installed package (rpm's `docs/manual/hregions.md` and `format_header.md`): a
//! table of tags, then their data.

use crate::sbom::package::{PackageKind, PackageRecord};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const DIR_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIR_NAMES: u32 = 1118;
const MODULARITY_LABEL: u32 = 5096;

struct Header<'a> {
    table: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (tags, rest) = number(bytes)?;
        let (length, rest) = number(rest)?;
        let (table, rest) = rest.split_at_checked(usize::try_from(tags).ok()?.checked_mul(16)?)?;
        Some(Self { table, data: rest.get(..usize::try_from(length).ok()?)? })
    }

    /// The data from where those of the tag begin, and how many there are.
    fn tag(&self, wanted: u32) -> Option<(&'a [u8], usize)> {
        let entry = self.table.chunks_exact(16).find(|entry| number(entry).is_some_and(|(tag, _)| tag == wanted))?;
        let (offset, count) = (number(&entry[8..])?.0, number(&entry[12..])?.0);
        Some((self.data.get(usize::try_from(offset).ok()?..)?, usize::try_from(count).ok()?))
    }

    fn texts(&self, tag: u32) -> Vec<&'a [u8]> {
        self.tag(tag).map(|(data, count)| data.split(|byte| *byte == 0).take(count).collect()).unwrap_or_default()
    }

    fn text(&self, tag: u32) -> Option<String> {
        let text = self.texts(tag).first().copied()?;
        Some(String::from_utf8_lossy(text).into_owned()).filter(|text| !text.is_empty())
    }

    fn numbers(&self, tag: u32) -> Vec<u32> {
        let (data, count) = self.tag(tag).unwrap_or_default();
        data.chunks_exact(4).take(count).filter_map(|four| number(four).map(|(number, _)| number)).collect()
    }
}

/// A number in network order, and the rest.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (four, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*four), rest))
}

/// The package. The keys that signatures are verified with are in the database, too: these have no
/// architecture.
pub(super) fn package(bytes: &[u8]) -> Option<PackageRecord> {
    let header = Header::new(bytes)?;
    let (name, version, release) = (header.text(NAME)?, header.text(VERSION)?, header.text(RELEASE)?);
    if name == "gpg-pubkey" {
        return None;
    }
    let mut found = PackageRecord::new(PackageKind::Rpm, &name, &format!("{version}-{release}"));
    found.qualify("arch", &header.text(ARCH).unwrap_or_default());
    found.qualify("epoch", &header.numbers(EPOCH).first().map(ToString::to_string).unwrap_or_default());
    found.qualify("upstream", &header.text(SOURCE_RPM).unwrap_or_default());
    found.qualify("rpmmod", &header.text(MODULARITY_LABEL).unwrap_or_default());
    found.licenses = header.text(LICENSE).into_iter().collect();
    let folders = header.texts(DIR_NAMES);
    for (name, folder) in header.texts(BASE_NAMES).iter().zip(header.numbers(DIR_INDEXES)) {
        if let Some(folder) = usize::try_from(folder).ok().and_then(|folder| folders.get(folder)) {
            found.owns.push([folder, *name].concat());
        }
    }
    Some(found)
}
