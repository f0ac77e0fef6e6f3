//! A stream of which what comes next can be looked at before it is read.

use std::io::{self, BufRead, Read};

/// So many bytes are read at a time, if not more.
pub(super) const CHUNK: usize = 256 * 1024;

/// A stream, and the part of it that is in memory.
pub(super) struct Window<'a> {
    bytes: Vec<u8>,
    /// So many of these were read.
    start: usize,
    content: &'a mut dyn Read,
    ended: bool,
}

impl<'a> Window<'a> {
    /// A stream that begins with `start`.
    pub(super) fn new(start: &[u8], content: &'a mut dyn Read) -> Self {
        Self { bytes: start.to_vec(), start: 0, content, ended: false }
    }

    /// What comes next: at least `length` bytes, unless the stream ends before.
    pub(super) fn ahead(&mut self, length: usize) -> io::Result<&[u8]> {
        let missing = length.saturating_sub(self.bytes.len() - self.start);
        if missing > 0 && !self.ended {
            self.bytes.drain(..self.start);
            self.start = 0;
            let most = missing.max(CHUNK);
            self.ended = self.content.take(most as u64).read_to_end(&mut self.bytes)? < most;
        }
        Ok(&self.bytes[self.start..])
    }

    /// Whether nothing comes after what [`ahead`](Self::ahead) has shown.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Window<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.start == self.bytes.len() {
            true => self.ahead(CHUNK),
            false => Ok(&self.bytes[self.start..]),
        }
    }

    fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.bytes.len());
    }
}
