//! Fetching a blob from wherever it is into the store, once however many want it.
//!
//! Refuses bytes that do not have the expected digest and size.

use std::path::PathBuf;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::layout::{LOCKS, failed};
use super::lock::FileLock;
use super::{BlobSource, Store, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest};

/// How many parts of a stream may wait for the disk.
const WAITING: usize = 8;

impl Store {
    /// Makes sure that the store has the blob, reading `source` if it does not, and returns its
    /// file. Tasks and processes that want the same blob at the same time wait for one of them to
    /// fetch it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the bytes have another digest or size; nothing is stored. Errors of the source as they come.
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
        self.write_stream(source, expected).await
    }

    /// `has`, off the async threads: a doubtful blob is read whole.
    async fn has_later(&self, expected: &Descriptor) -> Result<bool> {
        let (store, digest, size) = (self.clone(), expected.digest, expected.size);
        blocking(move || store.has(&digest, size)).await
    }

    async fn write_stream(&self, source: &BlobSource, expected: &Descriptor) -> Result<PathBuf> {
        let mut writer = self.blob_writer()?.expecting(expected);
        let (sender, mut parts) = mpsc::channel::<Option<bytes::Bytes>>(WAITING);
        let write = blocking(move || {
            while let Some(part) = parts.blocking_recv() {
                match part {
                    Some(bytes) => writer.write_checked(&bytes)?,
                    None => return writer.commit(),
                }
            }
            // Only a sender that gave up leaves without the end mark; nobody reads this.
            Err(Error::new(ErrorKind::Interrupted, "the stream was not finished"))
        });
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

    pub(super) fn lock_path(&self, digest: &Digest) -> PathBuf {
        self.root().join(LOCKS).join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }
}
