//! Writing one blob: a temporary file that becomes the blob when it is complete, and nothing when
//! it is not.
//!
//! Refuses to give a name to bytes that differ from what their descriptor says.

use std::io::{self, Write};
use std::path::PathBuf;

use tempfile::NamedTempFile;

use super::Store;
use super::blob_state::BlobState;
use super::layout::{create_folder, failed};
use super::source::{Growing, GrowthSender};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, DiffId, Digest, Hasher};

/// A blob that is being written. Dropped before [`commit`](Self::commit), it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    written: u64,
    growth: Option<(GrowthSender, Growing)>,
}

impl Store {
    /// Begins a blob whose digest is known only at its end.
    pub fn blob_writer(&self) -> Result<BlobWriter> {
        Ok(BlobWriter { store: self.clone(), file: self.temp_file()?, written: 0, growth: None })
    }
}

impl BlobWriter {
    /// A reader of the blob that follows the writing: it waits for bytes that are not there yet.
    pub fn growing(&mut self) -> Result<Growing> {
        if let Some((_, growing)) = &self.growth {
            return Ok(growing.clone());
        }
        let path = self.file.path();
        let file = self.file.reopen().map_err(|error| failed("open", path, error))?;
        let (sender, growing) = Growing::new(path, file);
        sender.written(self.written);
        self.growth = Some((sender, growing.clone()));
        Ok(growing)
    }

    /// How many bytes were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes what was written the blob of `descriptor`, whose digest the caller has computed on the
    /// way, and tells the growing readers that it is complete. If the store has the blob already,
    /// this copy is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: another number of bytes was written than `descriptor` says.
    pub fn commit(mut self, descriptor: Descriptor, diff_id: DiffId) -> Result<PathBuf> {
        let growth = self.growth.take();
        let path = self.commit_as(&descriptor)?;
        if let Some((sender, _)) = growth {
            sender.complete(descriptor, diff_id);
        }
        Ok(path)
    }

    /// What a failed write was about.
    pub(super) fn failure(&self, error: io::Error) -> Error {
        error.downcast().unwrap_or_else(|error| failed("write to", self.store.root(), error))
    }

    pub(super) fn commit_as(self, descriptor: &Descriptor) -> Result<PathBuf> {
        if self.written != descriptor.size {
            return Err(wrong(descriptor, format!("{} bytes were written, {} expected", self.written, descriptor.size)));
        }
        self.store.pin(&descriptor.digest)?;
        let path = self.store.blob_path(&descriptor.digest);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let cannot = |error| failed("write", &path, error);
        BlobState::Fresh.set_open(self.file.as_file()).map_err(cannot)?;
        // Never over a good blob: that one may be durable, ours is not yet.
        let refused = match self.file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => error.file,
            Err(error) => return Err(cannot(error.error)),
        };
        if !self.store.has(&descriptor.digest, descriptor.size)? {
            refused.persist(&path).map_err(|error| cannot(error.error))?;
        }
        Ok(path)
    }

    /// Turns this into a writer that knows what is coming.
    pub(super) fn expecting(self, expected: &Descriptor) -> CheckedWriter {
        CheckedWriter { writer: self, hasher: expected.digest.hasher(), expected: expected.clone(), diff_id: None }
    }
}

/// An error holds a [`crate::Error`] that says what to do about a full disk.
impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let cannot = |error: io::Error| io::Error::new(error.kind(), failed("write to", self.store.root(), error));
        let written = self.file.as_file_mut().write(bytes).map_err(cannot)?;
        self.written += written as u64;
        if let Some((sender, _)) = &self.growth {
            sender.written(self.written);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a blob of known digest and size, and stops at the first byte too many.
#[derive(Debug)]
pub(super) struct CheckedWriter {
    writer: BlobWriter,
    hasher: Hasher,
    expected: Descriptor,
    /// Of a layer that others read while it comes.
    diff_id: Option<DiffId>,
}

impl CheckedWriter {
    /// Of the layer with this diff ID, whose growing readers are told at the end.
    pub(super) fn of_layer(self, diff_id: DiffId) -> Self {
        Self { diff_id: Some(diff_id), ..self }
    }

    pub(super) fn write_checked(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        if self.hasher.length() > self.expected.size {
            return Err(wrong(&self.expected, format!("it is longer than {} bytes", self.expected.size)));
        }
        self.writer.write_all(bytes).map_err(|error| self.writer.failure(error))
    }

    pub(super) fn commit(self) -> Result<PathBuf> {
        let (length, size) = (self.hasher.length(), self.expected.size);
        if length != size {
            return Err(wrong(&self.expected, format!("it ends after {length} of {size} bytes")));
        }
        let actual: Digest = self.hasher.finish();
        self.expected.digest.expect(actual).map_err(|error| damaged(&self.expected).with_source(error))?;
        match self.diff_id {
            Some(diff_id) => self.writer.commit(self.expected, diff_id),
            None => self.writer.commit_as(&self.expected),
        }
    }
}

fn damaged(expected: &Descriptor) -> Error {
    Error::new(ErrorKind::Corrupt, format!("blob `{}` arrived damaged", expected.digest))
}

fn wrong(expected: &Descriptor, why: String) -> Error {
    damaged(expected).with_source(Error::new(ErrorKind::Corrupt, why))
}
