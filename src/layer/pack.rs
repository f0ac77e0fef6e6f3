//! A tar that exists becomes a layer: its bytes stay as they are, and with them its diff ID; only
//! the compression is new.
//!
//! Refuses what is not a tar of a layer, before anybody takes it for one.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::blocks::BlockSource;
use super::codec::Codec;
use super::pipeline::Pipeline;
use super::read::index_layer;
use super::writer::FinishedLayer;
use crate::error::Result;

/// Compresses `tar` by `codec` on `threads` threads, the caller's included, into `sink`. Blocks
/// that `blocks` has are copied.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt): it is not a tar, or has entries that no layer
/// may have.
pub fn pack_tar<W: Write + Send + 'static>(
    tar: impl Read,
    codec: Codec,
    threads: usize,
    blocks: Option<Arc<dyn BlockSource>>,
    sink: W,
) -> Result<FinishedLayer<W>> {
    let mut pipeline = Pipeline::new(codec, threads, blocks, sink);
    let (index, _) = index_layer(Copying { tar, pipeline: &mut pipeline })?;
    let finished = pipeline.finish()?;
    Ok(FinishedLayer {
        descriptor: finished.descriptor,
        diff_id: finished.diff_id,
        unpacked_size: finished.unpacked_size,
        index,
        blocks: finished.blocks,
        sink: finished.sink,
    })
}

/// Writes what is read.
struct Copying<'a, R, W: Write + Send + 'static> {
    tar: R,
    pipeline: &'a mut Pipeline<W>,
}

impl<R: Read, W: Write + Send + 'static> Read for Copying<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tar.read(buffer)?;
        self.pipeline.write_all(&buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Entry, Kind, LayerPath, LayerWriter, Metadata};
    use crate::oci::{DiffId, Digest};

    #[test]
    fn the_bytes_of_the_tar_stay_and_are_indexed() {
        let mut writer = LayerWriter::new(Codec::parse("none").unwrap(), 1, Vec::new());
        let kind = Kind::File { size: 3 };
        let entry = Entry { path: LayerPath::parse("a").unwrap(), kind, metadata: Metadata::new(0o644, 0, 0, 0) };
        writer.append_file(&entry, &mut &b"abc"[..]).unwrap();
        let tar = writer.finish().unwrap().sink;
        // Padding after the end belongs to the tar, too.
        let padded = [tar, vec![0; 4096]].concat();
        let packed = pack_tar(&padded[..], Codec::default(), 2, None, Vec::new()).unwrap();
        assert_eq!(packed.diff_id, DiffId(Digest::of(&padded)));
        assert_eq!(packed.descriptor.digest, Digest::of(&packed.sink));
        assert_eq!(packed.index.entries().count(), 1);
    }

    #[test]
    fn what_is_no_tar_is_refused() {
        assert!(pack_tar(&[b'x'; 2048][..], Codec::default(), 1, None, Vec::new()).is_err());
    }
}
