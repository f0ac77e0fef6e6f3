//! The bytes of one chunk, ready to be sent as often as needed; only those of a remote blob are
//! held in memory.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::error::{Error, ErrorKind, Result};
use crate::registry::transport::OpenBody;
use crate::store::{BlobSource, ByteStream};

/// A chunk of a remote blob is held in memory up to this size; a larger one is fetched again if it
/// must be sent again.
const HELD: u64 = 16 << 20;

/// Cuts a blob into chunks.
pub(super) struct Chunks {
    source: BlobSource,
    /// A remote blob being read, and the offset it is at. The lock makes it shareable; it is never
    /// waited for.
    remote: Mutex<Option<(u64, ByteStream)>>,
    /// The last chunk of a remote blob.
    held: Option<(u64, u64, Vec<Bytes>)>,
    /// What has come of the next chunk while that one was sent.
    prefetched: Option<Filling>,
}

/// A chunk that fills.
struct Filling {
    offset: u64,
    bytes: u64,
    pieces: Vec<Bytes>,
}

impl Filling {
    fn at(offset: u64) -> Self {
        Self { offset, bytes: 0, pieces: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

impl Chunks {
    pub(super) fn new(source: BlobSource) -> Self {
        Self { source, remote: Mutex::default(), held: None, prefetched: None }
    }

    /// Opens `length` bytes at `offset`. `last`: the blob ends with them.
    pub(super) async fn open(&mut self, offset: u64, length: u64, last: bool) -> Result<OpenBody> {
        if matches!(self.source, BlobSource::Remote(_)) && length <= HELD {
            // Sent fast once it is here: a slow source must not keep the registry waiting in the
            // middle of a request.
            let pieces = self.hold(offset, length, last).await?;
            return Ok(Arc::new(move || stream::iter(pieces.clone().into_iter().map(Ok)).boxed()));
        }
        let source = self.source.clone();
        Ok(Arc::new(move || cut(source.read(offset), length)))
    }

    /// Fetches the chunk of a remote blob that comes next, while another is sent. May be dropped at
    /// any time: what has come stays.
    pub(super) async fn fetch_ahead(&mut self, offset: u64, length: u64) {
        if length > HELD || !matches!(self.source, BlobSource::Remote(_)) {
            return;
        }
        // What failed is tried again, and told, when the chunk is opened.
        if self.fill(offset, length).await.is_err() {
            self.prefetched = None;
        }
    }

    async fn hold(&mut self, offset: u64, length: u64, last: bool) -> Result<Vec<Bytes>> {
        if let Some((at, held, pieces)) = &self.held
            && (*at, *held) == (offset, length)
        {
            return Ok(pieces.clone());
        }
        self.held = None;
        self.fill(offset, length).await?;
        let pieces = self.prefetched.take().map(|filling| filling.pieces).unwrap_or_default();
        let remote = self.remote.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some((_, stream))) = (last, remote) {
            // The source checks its digest at its end: a damaged blob must not get away.
            while let Some(piece) = stream.next().await {
                piece?;
            }
        }
        self.held = Some((offset, length, pieces.clone()));
        Ok(pieces)
    }

    /// Fills what comes next. All that has come is kept wherever this stops.
    async fn fill(&mut self, offset: u64, length: u64) -> Result<()> {
        let filling = match self.prefetched.take() {
            Some(filling) if filling.offset == offset && filling.bytes <= length => filling,
            _ => Filling::at(offset),
        };
        let filling = self.prefetched.insert(filling);
        let remote = self.remote.get_mut().unwrap_or_else(PoisonError::into_inner);
        if remote.as_ref().is_none_or(|(at, _)| *at != filling.end()) {
            *remote = None;
        }
        let source = &self.source;
        let (at, stream) = remote.get_or_insert_with(|| (filling.end(), source.read(filling.end())));
        while filling.bytes < length {
            let left = length - filling.bytes;
            let mut piece = stream.next().await.ok_or_else(|| too_short(left))??;
            if piece.len() as u64 > left {
                // `left` is less than a piece's length here.
                let rest = piece.split_off(usize::try_from(left).unwrap_or(piece.len()));
                let before = std::mem::replace(stream, stream::empty().boxed());
                *stream = stream::iter([Ok(rest)]).chain(before).boxed();
            }
            filling.bytes += piece.len() as u64;
            *at += piece.len() as u64;
            filling.pieces.push(piece);
        }
        Ok(())
    }
}

/// The first `length` bytes of a stream; fewer are an error.
pub(super) fn cut(stream: ByteStream, length: u64) -> ByteStream {
    stream::try_unfold((stream, length), |(mut stream, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = stream.next().await.ok_or_else(|| too_short(left))??;
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Ok(Some((piece, (stream, left))))
    })
    .boxed()
}

fn too_short(missing: u64) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the blob ended {missing} bytes before its size"))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::oci::{Descriptor, MediaType, Repository};
    use crate::store::RemoteBlob;

    struct Letters(Repository, Descriptor);

    impl RemoteBlob for Letters {
        fn repository(&self) -> &Repository {
            &self.0
        }

        fn descriptor(&self) -> &Descriptor {
            &self.1
        }

        fn fetch(&self, offset: u64) -> ByteStream {
            let rest = b"abcdefghij"[offset as usize..].chunks(4).map(|piece| Ok(Bytes::from_static(piece)));
            stream::iter(rest.collect::<Vec<_>>()).boxed()
        }
    }

    async fn read(opener: &OpenBody) -> Result<Vec<u8>> {
        Ok(opener().try_collect::<Vec<_>>().await?.concat())
    }

    #[tokio::test]
    async fn chunks_of_a_remote_blob_are_cut_at_any_place_and_can_be_sent_again() {
        let letters = Letters(Repository::parse("r.io/a").unwrap(), Descriptor::of(MediaType::Layer, b"abcdefghij"));
        let mut chunks = Chunks::new(BlobSource::Remote(Arc::new(letters)));
        for (offset, length, expected) in [(0, 3, "abc"), (3, 6, "defghi"), (3, 6, "defghi"), (5, 5, "fghij")] {
            chunks.fetch_ahead(offset, 2).await;
            let opener = chunks.open(offset, length, offset + length == 10).await.unwrap();
            for _ in 0..2 {
                assert_eq!(read(&opener).await.unwrap(), expected.as_bytes());
            }
        }
    }

    #[tokio::test]
    async fn a_source_that_is_too_short_is_an_error() {
        let mut chunks = Chunks::new(BlobSource::Memory(Bytes::from_static(b"abc")));
        let opener = chunks.open(1, 5, true).await.unwrap();
        assert_eq!(read(&opener).await.unwrap_err().to_string(), "the blob ended 3 bytes before its size");
    }
}
