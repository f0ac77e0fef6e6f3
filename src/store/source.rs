//! Where the bytes of a blob come from: bytes that can be read again from any offset.
//!
//! Does not interpret them; the reader of a whole blob checks its digest.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, DiffId, Repository};

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// How much one read takes from a file.
const READ: usize = 256 * 1024;

/// The bytes of a blob.
#[derive(Clone)]
pub enum BlobSource {
    /// A complete file.
    File(PathBuf),
    /// Bytes in memory: a config.
    Memory(Bytes),
    /// A file that is still being written: reading waits for what is not there yet.
    Growing(Growing),
    /// A blob in a registry.
    Remote(Arc<dyn RemoteBlob>),
}

/// A blob in a registry, fetched only when its bytes are needed.
pub trait RemoteBlob: Send + Sync {
    /// Where it is, as the reference named it: a mount into another repository of the same registry
    /// can spare the bytes.
    fn repository(&self) -> &Repository;

    /// What it is.
    fn descriptor(&self) -> &Descriptor;

    /// Its bytes from `offset`; the whole is checked against the digest when read from 0 to the
    /// end.
    fn fetch(&self, offset: u64) -> ByteStream;
}

impl BlobSource {
    /// The bytes from `offset` to the end.
    pub fn read(&self, offset: u64) -> ByteStream {
        match self {
            Self::File(path) => read_file(path.clone(), offset),
            Self::Memory(bytes) => {
                let rest = bytes.slice(usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len())..);
                stream::iter([Ok(rest)]).boxed()
            }
            Self::Growing(growing) => growing.clone().read(offset),
            Self::Remote(remote) => remote.fetch(offset),
        }
    }
}

impl fmt::Debug for BlobSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::Growing(growing) => write!(f, "Growing({})", growing.path.display()),
            Self::Remote(remote) => write!(f, "Remote({}@{})", remote.repository(), remote.descriptor().digest),
        }
    }
}

fn read_file(path: PathBuf, offset: u64) -> ByteStream {
    let open = async move {
        let mut file = tokio::fs::File::open(&path).await.map_err(|error| Error::io("open", &path, error))?;
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|error| Error::io("seek in", &path, error))?;
        Ok(stream::try_unfold((file, path), |(mut file, path)| async move {
            let mut buffer = bytes::BytesMut::with_capacity(READ);
            let read = file.read_buf(&mut buffer).await.map_err(|error| Error::io("read", &path, error))?;
            Ok((read > 0).then(|| (buffer.freeze(), (file, path))))
        }))
    };
    stream::once(open).map(flatten).flatten().boxed()
}

fn flatten<S: Stream<Item = Result<Bytes>> + Send + 'static>(opened: Result<S>) -> ByteStream {
    match opened {
        Ok(stream) => stream.boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// How far a growing blob is.
#[expect(clippy::large_enum_variant, reason = "one value a blob")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Growth {
    /// This many bytes are in the file; more will follow.
    Written(u64),
    /// All bytes are in the file, and this is what they are.
    Complete(Descriptor, DiffId),
    /// The writer gave up; the error went to its own caller.
    Failed,
}

/// A blob that is still being written by another thread: the reading side.
#[derive(Debug, Clone)]
pub struct Growing {
    path: PathBuf,
    // The file stays readable through this handle when the path is renamed to its final name or
    // removed.
    file: Arc<std::fs::File>,
    growth: watch::Receiver<Growth>,
}

/// The writing side of a [`Growing`]. Dropped before `complete`, it tells the readers that the blob
/// failed.
#[derive(Debug)]
pub struct GrowthSender(watch::Sender<Growth>);

impl GrowthSender {
    /// `written` bytes are in the file.
    pub fn written(&self, written: u64) {
        self.0.send_replace(Growth::Written(written));
    }

    /// All bytes are in the file.
    pub fn complete(self, descriptor: Descriptor, diff_id: DiffId) {
        self.0.send_replace(Growth::Complete(descriptor, diff_id));
    }
}

impl Drop for GrowthSender {
    fn drop(&mut self) {
        self.0.send_if_modified(|growth| {
            let unfinished = matches!(growth, Growth::Written(_));
            if unfinished {
                *growth = Growth::Failed;
            }
            unfinished
        });
    }
}

impl Growing {
    /// Both sides of a blob that is being written to `file`, which was opened for reading at
    /// `path`.
    pub fn new(path: &Path, file: std::fs::File) -> (GrowthSender, Self) {
        let (sender, growth) = watch::channel(Growth::Written(0));
        (GrowthSender(sender), Self { path: path.to_owned(), file: Arc::new(file), growth })
    }

    /// How far it is now.
    pub fn growth(&self) -> Growth {
        self.growth.borrow().clone()
    }

    /// Waits until at least `length` bytes are there, or the end; tells which.
    pub async fn wait_for(&mut self, length: u64) -> Growth {
        let reached = |growth: &Growth| !matches!(growth, Growth::Written(written) if *written < length);
        match self.growth.wait_for(reached).await {
            Ok(growth) => growth.clone(),
            Err(_) => Growth::Failed,
        }
    }

    /// Waits for the end: the blob's descriptor and diff ID, or an error if its writer gave up.
    pub async fn complete(&mut self) -> Result<(Descriptor, DiffId)> {
        match self.wait_for(u64::MAX).await {
            Growth::Complete(descriptor, diff_id) => Ok((descriptor, diff_id)),
            _ => Err(self.failed()),
        }
    }

    fn failed(&self) -> Error {
        Error::new(ErrorKind::Interrupted, format!("`{}` was not finished by its writer", self.path.display()))
    }

    /// The bytes for a thread that may block, from the first one on; `runtime` is that of the one
    /// who writes.
    pub(super) fn reader(self, runtime: Handle) -> GrowingReader {
        GrowingReader { growing: self, runtime, offset: 0 }
    }

    fn read(self, offset: u64) -> ByteStream {
        stream::try_unfold((self, offset), |(mut this, offset)| async move {
            let end = match this.wait_for(offset + 1).await {
                Growth::Written(written) => written,
                Growth::Complete(descriptor, _) => descriptor.size,
                Growth::Failed => return Err(this.failed()),
            };
            if offset >= end {
                return Ok(None);
            }
            let length = usize::try_from(end - offset).unwrap_or(READ).min(READ);
            let bytes = this.read_at(offset, length)?;
            let next = offset + bytes.len() as u64;
            Ok(Some((bytes, (this, next))))
        })
        .boxed()
    }

    /// Reads exactly `length` bytes at `offset`; they must be there. From the page cache: it does
    /// not wait for a disk.
    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        use std::os::unix::fs::FileExt as _;
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, offset).map_err(|error| Error::io("read", &self.path, error))?;
        Ok(buffer.into())
    }
}

/// Reads a blob that is still being written.
pub(super) struct GrowingReader {
    growing: Growing,
    runtime: Handle,
    offset: u64,
}

impl Read for GrowingReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        // Not woken for each packet: whole buffers, but for the last.
        let wanted = self.offset + buffer.len() as u64;
        let end = match self.runtime.block_on(self.growing.wait_for(wanted)) {
            Growth::Written(written) => written,
            Growth::Complete(descriptor, _) => descriptor.size,
            Growth::Failed => return Err(std::io::Error::other(self.growing.failed())),
        };
        let length = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(buffer.len());
        self.growing.file.read_exact_at(&mut buffer[..length], self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::oci::{Digest, MediaType};

    async fn all(mut stream: ByteStream) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_growing_blob_is_read_to_its_end_while_it_is_written() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (sender, growing) = Growing::new(file.path(), file.reopen().unwrap());
        let reader = tokio::spawn(all(BlobSource::Growing(growing.clone()).read(2)));
        for (written, part) in [(3, b"abc"), (6, b"def")] {
            file.write_all(part).unwrap();
            sender.written(written);
            tokio::task::yield_now().await;
        }
        let descriptor = Descriptor::of(MediaType::Layer, b"abcdef");
        sender.complete(descriptor.clone(), DiffId(Digest::of("abcdef")));
        assert_eq!(reader.await.unwrap().unwrap(), b"cdef");
        assert_eq!(growing.clone().complete().await.unwrap().0, descriptor);
    }

    #[tokio::test]
    async fn a_writer_that_gives_up_is_an_error_for_the_reader() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (sender, growing) = Growing::new(file.path(), file.reopen().unwrap());
        drop(sender);
        assert!(all(BlobSource::Growing(growing).read(0)).await.is_err());
    }

    #[tokio::test]
    async fn files_and_memory_are_read_from_an_offset() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"hello").unwrap();
        assert_eq!(all(BlobSource::File(file.path().into()).read(1)).await.unwrap(), b"ello");
        assert_eq!(all(BlobSource::Memory(Bytes::from_static(b"hello")).read(4)).await.unwrap(), b"o");
        assert_eq!(all(BlobSource::Memory(Bytes::new()).read(4)).await.unwrap(), b"");
    }
}
