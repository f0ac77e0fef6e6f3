//! A layer's tar back to entries: for the index, for unpacking, for `inspect`.
//!
//! Refuses what would leave the image's root, and tars that break off; nothing is written anywhere.

use std::io::Read;

use super::Entry;
use super::index::{KEPT_SIZE, LayerIndex};
use super::tar::TarReader;
use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::oci::{DiffId, Hasher};

/// Calls `each` with every entry of the tar and a reader of its content, in order. Reads to the end
/// of the stream.
pub fn read_entries(tar: impl Read, mut each: impl FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut tar = TarReader::new(tar);
    while let Some(entry) = tar.next_entry()? {
        each(entry, &mut tar)?;
    }
    Ok(())
}

/// As `read_entries`, for an archive that is not a layer: names may have `..`, which ends at the
/// folder that it is unpacked into.
pub fn read_archive(tar: impl Read, mut each: impl FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut tar = TarReader::of_archive(tar);
    while let Some(entry) = tar.next_entry()? {
        each(entry, &mut tar)?;
    }
    Ok(())
}

/// Reads a whole layer: its index and its diff ID.
pub fn index_layer(tar: impl Read) -> Result<(LayerIndex, DiffId)> {
    index_layer_with(tar, |_, _| Ok(()))
}

/// As `index_layer`, and calls `each` with every entry and a reader of its content; of the few
/// files that the index keeps, with no content.
pub fn index_layer_with(
    tar: impl Read,
    mut each: impl FnMut(&Entry, &mut dyn Read) -> Result<()>,
) -> Result<(LayerIndex, DiffId)> {
    let mut index = LayerIndex::default();
    let mut tar = Hashing { inner: tar, hasher: Hasher::new() };
    read_entries(&mut tar, |entry, content| {
        index.push(&entry)?;
        if LayerIndex::keeps(&entry.path) && (1..=KEPT_SIZE).contains(&entry.kind.size()) {
            let mut kept = Vec::new();
            content.read_to_end(&mut kept).context(ErrorKind::Corrupt, || format!("cannot read `{}`", entry.path))?;
            index.push_content(&entry.path, kept)?;
        }
        each(&entry, content)
    })?;
    Ok((index, DiffId(tar.hasher.finish())))
}

struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
