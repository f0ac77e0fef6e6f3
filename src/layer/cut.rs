//! Where the tar of a layer is cut into the blocks that are compressed one by one: where its
//! content decides, so that a change moves the borders near it and no others.
//!
//! A border is before the header of an entry, chosen by the entry's name and the bytes since the
//! header before it: on average, one comes a fixed number of bytes after the shortest block.
//! Without one, a block ends at the longest length, counted from its beginning or, in a large file,
//! from the file's header: so the blocks of a large file stay when one before it changes.
//!
//! Does not parse: any 512 bytes at a multiple of 512 that look like a header are one. In a tar in
//! a tar that is as good; elsewhere it does no harm.

/// Bytes of a tar block.
const TAR: usize = 512;

/// Lengths of blocks, in bytes; multiples of 512. Part of a digest's promise, as the level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockBounds {
    /// No border is chosen before.
    pub(super) min: usize,
    /// How many bytes after that there is one, on average.
    pub(super) mean_extra: usize,
    /// There is a border where none was chosen.
    pub(super) max: usize,
}

/// Finds the borders in one stream.
#[derive(Debug)]
pub(super) struct Cutter {
    bounds: BlockBounds,
    /// How many bytes of this block were looked at.
    seen: usize,
    /// Bytes since the last header.
    gap: usize,
    /// Where in this block the bytes begin that end at the longest length.
    anchor: usize,
}

impl Cutter {
    pub(super) fn new(bounds: BlockBounds) -> Self {
        Self { bounds, seen: 0, gap: 0, anchor: 0 }
    }

    /// The most bytes that this block can have, as far as it was looked at.
    pub(super) fn limit(&self) -> usize {
        self.anchor + self.bounds.max
    }

    /// Looks on in `block`, which is all that came since the last border and not longer than
    /// [`limit`](Self::limit); tells where it ends. The next block begins with the bytes behind.
    pub(super) fn find(&mut self, block: &[u8]) -> Option<usize> {
        while let Some(header) = block.get(self.seen..self.seen + TAR) {
            if is_header(header) {
                let gap = std::mem::take(&mut self.gap);
                if self.seen >= self.bounds.min && chosen(header, gap, self.bounds.mean_extra) {
                    return Some(self.restart(self.seen));
                }
                // In a tar it moves once at most, for the content of such a file reaches the limit.
                // Content that only looks like headers must not make a block as long as it likes.
                let is_long = size(header).is_none_or(|size| size >= self.bounds.max as u64);
                if is_long && self.anchor == 0 {
                    self.anchor = self.seen;
                }
            }
            self.seen += TAR;
            self.gap += TAR;
        }
        (block.len() == self.limit()).then(|| self.restart(block.len()))
    }

    /// Whether there is a border behind all that was looked at if `header` comes there.
    pub(super) fn cuts_before(&self, header: &[u8; TAR]) -> bool {
        self.seen >= self.bounds.min && is_header(header) && chosen(header, self.gap, self.bounds.mean_extra)
    }

    /// Begins anew at a border.
    pub(super) fn begin(&mut self) {
        (self.seen, self.gap, self.anchor) = (0, 0, 0);
    }

    fn restart(&mut self, end: usize) -> usize {
        (self.seen, self.anchor) = (0, 0);
        end
    }
}

/// ustar, pax and GNU all have this.
fn is_header(block: &[u8]) -> bool {
    block[257..262] == *b"ustar"
}

/// The file's size; `None` of one that has more digits than the field.
fn size(header: &[u8]) -> Option<u64> {
    header[124..136].iter().take_while(|byte| !matches!(byte, 0 | b' ')).try_fold(0, |size, digit| match digit {
        b'0'..=b'7' => Some(size << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

/// Whether there is a border before `header`. Neither size nor time of the entry count: a file that
/// changes keeps its border.
fn chosen(header: &[u8], gap: usize, mean_extra: usize) -> bool {
    // FNV-1a, finished as MurmurHash3 does: the last characters of names that are counted up must
    // reach the high bits.
    let name = header[..100].iter().chain(&header[345..500]).take(255);
    let mut hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (u128::from(hash) * mean_extra as u128) >> 64 < gap as u128
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: BlockBounds = BlockBounds { min: 8 << 10, mean_extra: 8 << 10, max: 32 << 10 };

    /// A tar of files: number of the name, and size.
    fn tar(files: &[(u32, usize)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, size) in files {
            let mut header = ::tar::Header::new_ustar();
            header.set_path(format!("folder/file-{name}")).unwrap();
            header.set_size(*size as u64);
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            // No content looks like a header.
            tar.extend(std::iter::repeat_n(*name as u8, size.next_multiple_of(TAR)));
        }
        tar
    }

    /// The blocks of a stream that comes in parts of `step` bytes.
    fn blocks(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let (mut cutter, mut block, mut all) = (Cutter::new(BOUNDS), Vec::new(), Vec::new());
        let mut rest = stream;
        while !rest.is_empty() {
            let part = step.min(cutter.limit() - block.len()).min(rest.len());
            block.extend_from_slice(&rest[..part]);
            rest = &rest[part..];
            while let Some(end) = cutter.find(&block) {
                let next = block.split_off(end);
                all.push(std::mem::replace(&mut block, next));
            }
        }
        all.push(block);
        all
    }

    fn files() -> impl Strategy<Value = Vec<(u32, usize)>> {
        let size = prop_oneof![8 => 0..5000_usize, 1 => 5000..100_000_usize];
        prop::collection::vec((any::<u32>(), size), 0..150)
    }

    #[test]
    fn content_that_looks_like_headers_makes_no_longer_blocks() {
        // A size that no block reaches, and a name that is not chosen.
        let mut header = ::tar::Header::new_ustar();
        header.set_size(1 << 30);
        let name = (0..).map(|number| format!("file-{number}")).find(|name| {
            header.set_path(name).unwrap();
            !chosen(header.as_bytes(), TAR, BOUNDS.mean_extra)
        });
        assert!(name.is_some());
        let stream = header.as_bytes().repeat(20 * BOUNDS.max / TAR);
        let cut = blocks(&stream, 512);
        assert_eq!(cut.concat(), stream);
        assert!(cut.iter().all(|block| block.len() <= 2 * BOUNDS.max), "{:?}", cut.iter().map(Vec::len).max());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn borders_are_the_same_however_the_stream_comes(files in files(), step in 1..40_000_usize) {
            let stream = tar(&files);
            let cut = blocks(&stream, step);
            prop_assert_eq!(&cut, &blocks(&stream, 512));
            prop_assert_eq!(cut.concat(), stream);
            let (last, others) = cut.split_last().unwrap();
            for block in others {
                prop_assert!((BOUNDS.min..BOUNDS.max + BOUNDS.min + BOUNDS.max).contains(&block.len()));
            }
            prop_assert!(last.len() <= 2 * BOUNDS.max);
        }

        #[test]
        fn a_change_moves_the_borders_near_it_alone(files in files(), at in any::<prop::sample::Index>(), size in 0..5000_usize) {
            prop_assume!(files.len() > 20);
            let mut changed = files.clone();
            let at = at.index(files.len());
            changed[at].1 = size;
            let (before, after) = (blocks(&tar(&files), 512), blocks(&tar(&changed), 512));
            let old: std::collections::BTreeSet<_> = before.iter().collect();
            let new: usize = after.iter().filter(|block| !old.contains(block)).map(Vec::len).sum();
            // The block of the change, its neighbours, and what it takes until a border is chosen
            // again.
            let most = files[at].1 + size + 12 * BOUNDS.max;
            prop_assert!(new <= most, "{} of {} bytes are new", new, tar(&changed).len());
        }
    }

    #[test]
    fn the_blocks_of_a_large_file_stay_when_one_before_it_changes() {
        let with = |size| blocks(&tar(&[(1, size), (2, 20 * BOUNDS.max), (3, 100)]), 512);
        let (before, after) = (with(100), with(2000));
        assert_eq!(before[1..], after[1..]);
        assert_eq!(before.len(), after.len());
        assert!(before.len() > 15);
    }

    #[test]
    fn what_is_no_tar_is_cut_at_the_longest_length() {
        let cut = blocks(&vec![7; 5 * BOUNDS.max + 1], 4096);
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [[BOUNDS.max; 5].as_slice(), &[1]].concat());
    }

    #[test]
    fn blocks_have_the_length_that_they_shall_have_on_average() {
        // Whatever the size of the files.
        for size in [100, 2000, 6000] {
            let stream = tar(&(0..4_000_000 / (size + 512)).map(|name| (name as u32, size)).collect::<Vec<_>>());
            let average = stream.len() / blocks(&stream, 512).len();
            let goal = BOUNDS.min + BOUNDS.mean_extra;
            assert!((goal * 4 / 5..goal * 6 / 5).contains(&average), "{average} for files of {size} bytes");
        }
    }
}
