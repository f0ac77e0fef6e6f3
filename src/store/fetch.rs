//! Fetching a blob from wherever it is into the store, once however many want it.
//!
//! Refuses bytes that do not have the expected digest and size.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::layout::{LOCKS, failed};
use super::lock::FileLock;
use super::writer::CheckedWriter;
use super::{BlobSource, Growing, Growth, Store, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, DiffId, Digest};

/// How many parts of a stream may wait for the disk.
const WAITING: usize = 8;

impl Store {
    /// Makes sure that the store has the blob, reading `source` if it does not, and returns its
    /// file. Tasks and processes that want the same blob at the same time wait for one of them to
    /// fetch it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the bytes have another digest or size; nothing is stored. Errors of
    /// the source as they come.
    pub async fn fetch(&self, source: &BlobSource, expected: &Descriptor) -> Result<PathBuf> {
        let path = self.blob_path(&expected.digest);
        if self.has_later(expected).await? {
            return Ok(path);
        }
        let lock_path = self.lock_path(&expected.digest);
        let _lock = FileLock::acquire_async(&lock_path).await.map_err(|error| failed("lock", &lock_path, error))?;
        if self.has_later(expected).await? {
            return Ok(path);
        }
        store_stream(self.blob_writer()?.expecting(expected), source).await
    }

    /// As [`fetch`](Self::fetch) of a layer, whose bytes `read` gets while they come: they are
    /// known to be right only when this function returns without an error. Blocks; `runtime` does
    /// the fetching.
    pub(crate) fn fetch_along<T>(
        &self,
        runtime: &Handle,
        source: &BlobSource,
        (expected, diff_id): (&Descriptor, DiffId),
        read: impl FnOnce(&mut (dyn Read + Send)) -> Result<T>,
    ) -> Result<T> {
        match runtime.block_on(self.begin_to_fetch(source, expected, diff_id))? {
            Begun::Here(path) => read(&mut std::fs::File::open(&path).map_err(|error| failed("open", &path, error))?),
            Begun::Coming(growing, fetching) => {
                let done = read(&mut growing.clone().reader(runtime.clone()));
                // What is wrong with the bytes, the digest says best; what went wrong on the way,
                // the fetching.
                let is_cause = |error: &Error| error.kind() != ErrorKind::Corrupt && growing.growth() != Growth::Failed;
                if done.as_ref().is_err_and(is_cause) {
                    fetching.abort();
                    return done;
                }
                let stopped = |error| Error::new(ErrorKind::Interrupted, "the work was stopped").with_source(error);
                runtime.block_on(fetching).map_err(stopped)?.and(done)
            }
        }
    }

    async fn begin_to_fetch(&self, source: &BlobSource, expected: &Descriptor, diff_id: DiffId) -> Result<Begun> {
        let path = self.blob_path(&expected.digest);
        if self.has_later(expected).await? {
            return Ok(Begun::Here(path));
        }
        let lock_path = self.lock_path(&expected.digest);
        let lock = FileLock::acquire_async(&lock_path).await.map_err(|error| failed("lock", &lock_path, error))?;
        if self.has_later(expected).await? {
            return Ok(Begun::Here(path));
        }
        let mut writer = self.blob_writer()?;
        let (growing, source) = (writer.growing()?, source.clone());
        let writer = writer.expecting(expected).of_layer(diff_id);
        let fetching = tokio::spawn(async move {
            let _lock = lock;
            store_stream(writer, &source).await
        });
        Ok(Begun::Coming(growing, fetching))
    }

    /// `has`, off the async threads: a unverified blob is read whole.
    async fn has_later(&self, expected: &Descriptor) -> Result<bool> {
        let (store, digest, size) = (self.clone(), expected.digest, expected.size);
        blocking(move || store.has(&digest, size)).await
    }

    pub(super) fn lock_path(&self, digest: &Digest) -> PathBuf {
        self.root().join(LOCKS).join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }
}

enum Begun {
    Here(PathBuf),
    Coming(Growing, JoinHandle<Result<PathBuf>>),
}

async fn store_stream(mut writer: CheckedWriter, source: &BlobSource) -> Result<PathBuf> {
    let write = move |parts: Parts| {
        for part in parts {
            writer.write_checked(&part?)?;
        }
        writer.commit()
    };
    write_stream(source, write).await
}

/// The parts of a stream as they come: an error at the end if it broke off.
pub(crate) struct Parts(mpsc::Receiver<Option<Bytes>>);

impl Iterator for Parts {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.blocking_recv() {
            Some(part) => part.map(Ok),
            // Only a sender that gave up leaves without the end mark; its own error is told.
            None => Some(Err(Error::new(ErrorKind::Interrupted, "the stream was not finished"))),
        }
    }
}

/// Writes the bytes of `source` on a thread that may block, while more of them come.
pub(crate) async fn write_stream<T: Send + 'static>(
    source: &BlobSource,
    write: impl FnOnce(Parts) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, parts) = mpsc::channel(WAITING);
    let write = blocking(move || write(Parts(parts)));
    let read = async move {
        let mut stream = source.read(0);
        while let Some(part) = stream.next().await {
            // The writer stops early only by failing, and says itself why.
            if sender.send(Some(part?)).await.is_err() {
                return Ok(());
            }
        }
        let _ = sender.send(None).await;
        Ok(())
    };
    let (read, written) = tokio::join!(read, write);
    read.and(written)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream;

    use super::*;
    use crate::oci::{MediaType, Repository};
    use crate::store::{ByteStream, RemoteBlob};

    /// A registry that gives `sent` in small parts, and breaks off where it has less than the
    /// descriptor says.
    struct Remote {
        repository: Repository,
        descriptor: Descriptor,
        sent: Vec<u8>,
    }

    impl RemoteBlob for Remote {
        fn repository(&self) -> &Repository {
            &self.repository
        }

        fn descriptor(&self) -> &Descriptor {
            &self.descriptor
        }

        fn fetch(&self, _: u64) -> ByteStream {
            let mut parts: Vec<Result<Bytes>> = self.sent.chunks(1000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
            if (self.sent.len() as u64) < self.descriptor.size {
                parts.push(Err(Error::new(ErrorKind::Network, "the line is cut")));
            }
            stream::iter(parts).boxed()
        }
    }

    /// What a reader gets of a layer while it comes, and whether the store has it then.
    fn along(
        expected: &[u8],
        sent: &[u8],
        read: impl FnOnce(&mut (dyn Read + Send)) -> Result<Vec<u8>>,
    ) -> (Result<Vec<u8>>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let descriptor = Descriptor::of(MediaType::Layer, expected);
        let repository = Repository::parse("registry.example.com/a").unwrap();
        let remote = Remote { repository, descriptor: descriptor.clone(), sent: sent.to_vec() };
        let source = BlobSource::Remote(Arc::new(remote));
        let done = store.fetch_along(runtime.handle(), &source, (&descriptor, DiffId(Digest::of("tar"))), read);
        // What was given up ends by itself.
        runtime.shutdown_timeout(std::time::Duration::from_secs(10));
        (done, store.has(&descriptor.digest, descriptor.size).unwrap())
    }

    fn all(reader: &mut (dyn Read + Send)) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "what came is not a tar").with_source(error))?;
        Ok(bytes)
    }

    #[test]
    fn a_layer_is_read_while_it_comes_and_counts_when_its_digest_is_right() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (read, stored) = along(&bytes, &bytes, all);
        assert!(read.unwrap() == bytes && stored);

        // Whatever the reader has made of them, other bytes are an error, and so is a cut line: the
        // cause is told.
        let mut other = bytes.clone();
        other[500_000] ^= 1;
        let (read, stored) = along(&bytes, &other, |_| Ok(Vec::new()));
        assert!(read.unwrap_err().to_string().contains("arrived damaged") && !stored);
        let (read, stored) = along(&bytes, &other, all);
        assert!(read.unwrap_err().to_string().contains("arrived damaged") && !stored);
        let (read, stored) = along(&bytes, &bytes[..700_000], all);
        assert!(read.unwrap_err().to_string().contains("the line is cut") && !stored);

        // A reader that fails by itself is not kept waiting.
        let (read, _) = along(&bytes, &bytes, |_| Err(Error::new(ErrorKind::Io, "the disk is full")));
        assert_eq!(read.unwrap_err().to_string(), "the disk is full");
    }
}
