//! Unpacks ONE layer into its own folder, so that the folder can be a lower layer of an overlay (or
//! several into one folder, applied).
//!
//! Never leaves that folder, whatever the tar says: parents are found inside it (`open_inside`),
//! the last component is always replaced and never followed, link texts are stored as they stand,
//! sources of hard links are looked up the same way. Never loses the owners that the layer names,
//! either: a process that may not give them gets an error, unless it asks for records of them.

mod confined;
mod entries;
mod options;
mod read_ahead;
mod stack;
mod table_rows;

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::layer::TarReader;

pub use super::owners::Identity;
pub(crate) use super::remove::remove;
pub(crate) use confined::is_folder;
pub use options::{Limits, UnpackOptions, UnpackStats, Whiteouts};
pub(crate) use stack::{Stack, is_opaque, is_whiteout, relative};

/// Unpacks the uncompressed tar `reader` into the folder `into`, which is created where it is
/// missing. `reader` is read to its end, so that a reader that checks a digest can do so, and on a
/// thread of its own, so that decompression and writing overlap.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) for a tar that is damaged, leaves its folder or exceeds
/// the limits; [`Io`](crate::ErrorKind::Io) otherwise. What was unpacked until then stays for the
/// caller to remove.
pub fn unpack(reader: impl Read + Send, into: &Path, options: &UnpackOptions) -> Result<UnpackStats> {
    std::fs::create_dir_all(into).map_err(|error| Error::io("create", into, error))?;
    std::thread::scope(|scope| {
        let mut tar = TarReader::new(read_ahead::start(scope, reader)?);
        if let Some(identity) = &options.recorded {
            identity.mark_tree(into).map_err(|errno| Error::io("record the owner of", into, errno.into()))?;
        }
        let mut unpacker = entries::Unpacker::new(into, options)?;
        while let Some(entry) = tar.next_entry()? {
            unpacker.entry(&entry, &mut tar)?;
        }
        unpacker.finish()
    })
}
