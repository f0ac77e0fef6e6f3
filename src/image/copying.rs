//! A reader whose bytes another thread gets as well.
//!
//! Does not run far ahead: it waits where the other is slow.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Parts under way at most.
const PARTS: usize = 64;

/// `reader`, and what gets the same bytes. The copy ends where the reader is dropped, and nobody
/// has to read it.
pub(super) fn copying<R: Read>(reader: R) -> (Copying<R>, Copy) {
    let (parts, copy) = sync_channel(PARTS);
    (Copying { reader, parts }, Copy { parts: copy, current: Vec::new(), at: 0 })
}

pub(super) struct Copying<R> {
    reader: R,
    parts: SyncSender<Vec<u8>>,
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if read > 0 {
            // Where the other thread has ended, it says itself why.
            let _ = self.parts.send(buffer[..read].to_vec());
        }
        Ok(read)
    }
}

pub(super) struct Copy {
    parts: Receiver<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Read for Copy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let Ok(next) = self.parts.recv() else { return Ok(0) };
            (self.current, self.at) = (next, 0);
        }
        let length = buffer.len().min(self.current.len() - self.at);
        buffer[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_the_same_bytes_and_ends_with_the_reader() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (mut reader, mut copy) = copying(&bytes[..]);
        let copied = std::thread::spawn(move || {
            let mut copied = Vec::new();
            copy.read_to_end(&mut copied).unwrap();
            copied
        });
        let (mut read, mut buffer) = (Vec::new(), [0; 1000]);
        while let length @ 1.. = reader.read(&mut buffer).unwrap() {
            read.extend_from_slice(&buffer[..length]);
        }
        drop(reader);
        assert!(read == bytes && copied.join().unwrap() == bytes);
    }

    #[test]
    fn a_copy_that_nobody_reads_holds_nothing_up() {
        let bytes = vec![7; 100_000];
        let (mut reader, copy) = copying(&bytes[..]);
        drop(copy);
        let mut buffer = [0; 100];
        while reader.read(&mut buffer).unwrap() > 0 {}
    }
}
