//! A reader that hashes what passes through it.
//!
//! Does not judge: the caller knows what the digest must be, and compares.

use std::io::{self, Read};

use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, Hasher};

/// Hashes and counts the bytes that are read through it.
#[derive(Debug)]
pub(crate) struct HashingReader<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self::with(reader, Hasher::new())
    }

    pub(super) fn with(reader: R, hasher: Hasher) -> Self {
        Self { reader, hasher }
    }

    /// Reads to the end; tells the digest of everything that was read, and its length.
    pub(crate) fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        let length = self.hasher.length();
        Ok((self.hasher.finish(), length))
    }

    /// Reads to the end and compares everything that was read with `expected`.
    pub(super) fn expect(self, expected: &Descriptor) -> Result<()> {
        let cannot = |error| Error::new(ErrorKind::Io, format!("cannot read blob `{}`", expected.digest)).with_source(error);
        let (digest, length) = self.finish().map_err(cannot)?;
        let damaged =
            |error: Error| Error::new(ErrorKind::Corrupt, format!("blob `{}` is damaged", expected.digest)).with_source(error);
        if length != expected.size {
            let message = format!("it has {length} bytes, {} expected", expected.size);
            return Err(damaged(Error::new(ErrorKind::Corrupt, message)));
        }
        expected.digest.expect(digest).map_err(damaged)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// An error while something was read (or, on the way, written). What decoders say counts as damage.
pub(super) fn unreadable(what: String, error: io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        // What the store's writer says is not about the reading.
        Ok(error) => return error,
        Err(error) => error,
    };
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            ErrorKind::Corrupt
        }
        _ => ErrorKind::Io,
    };
    Error::new(kind, what).with_source(error)
}
