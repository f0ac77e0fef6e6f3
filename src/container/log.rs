//! A container's log: what it wrote to standard output and standard error, in the order in which it
//! came.
//!
//! A record is one byte (the stream), eight bytes (nanoseconds since 1970), four bytes (the
//! length), all little-endian, and the text.
//!
//! Never shows half a record: one that a crash cut off is left out.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

const HEAD: usize = 13;

/// The writing side; threads share it.
#[derive(Debug)]
pub(super) struct LogWriter(Mutex<Writing>);

#[derive(Debug)]
struct Writing {
    file: File,
    /// Where the last whole record ends.
    end: u64,
    /// Bytes of text that could not be written since.
    lost: u64,
}

impl LogWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| Error::io("write", path, error))?;
        Ok(Self(Mutex::new(Writing { file, end: 0, lost: 0 })))
    }

    /// Appends one record. A full disk must not stop the container: what cannot be written is not
    /// in the log, which tells so as soon as there is room again.
    pub(super) fn append(&self, stream: Stream, bytes: &[u8]) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::with_capacity(HEAD + bytes.len());
        if log.lost > 0 {
            let note = format!("mpimg: {} bytes of output are missing here: the log could not be written\n", log.lost);
            push_record(&mut records, Stream::Error, note.as_bytes());
        }
        push_record(&mut records, stream, bytes);
        log.write(&records, bytes.len() as u64);
    }
}

impl Writing {
    fn write(&mut self, records: &[u8], text: u64) {
        match self.file.write_all_at(records, self.end) {
            Ok(()) => (self.end, self.lost) = (self.end + records.len() as u64, 0),
            Err(_) => {
                // Half a record would make one with the next.
                let _ = self.file.set_len(self.end);
                self.lost += text;
            }
        }
    }
}

fn push_record(records: &mut Vec<u8>, stream: Stream, bytes: &[u8]) {
    let Ok(length) = u32::try_from(bytes.len()) else { return };
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
    records.push(u8::from(stream == Stream::Error));
    records.extend_from_slice(&now.to_le_bytes());
    records.extend_from_slice(&length.to_le_bytes());
    records.extend_from_slice(bytes);
}

/// The reading side, which may wait for more.
#[derive(Debug)]
pub(super) struct LogReader {
    path: PathBuf,
    file: File,
    at: u64,
}

impl LogReader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("read", path, error))?;
        Ok(Self { path: path.to_owned(), file, at: 0 })
    }

    /// The next record, if it is all there: its stream, its time since 1970, and its text.
    pub(super) fn next(&mut self) -> Result<Option<(Stream, Duration, Vec<u8>)>> {
        let record = self.read();
        if !matches!(record, Ok(Some(_))) {
            self.file.seek(SeekFrom::Start(self.at)).map_err(|error| Error::io("read", &self.path, error))?;
        }
        record.map_err(|error| Error::io("read", &self.path, error))
    }

    fn read(&mut self) -> std::io::Result<Option<(Stream, Duration, Vec<u8>)>> {
        let mut head = [0; HEAD];
        if !fill(&mut self.file, &mut head)? {
            return Ok(None);
        }
        let [stream, time @ .., a, b, c, d] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let left = self.file.metadata()?.len().saturating_sub(self.at + HEAD as u64);
        if left < length as u64 {
            return Ok(None);
        }
        let mut text = vec![0; length];
        if !fill(&mut self.file, &mut text)? {
            return Ok(None);
        }
        self.at += (HEAD + length) as u64;
        let stream = if stream == 0 { Stream::Out } else { Stream::Error };
        Ok(Some((stream, Duration::from_nanos(u64::from_le_bytes(time)), text)))
    }
}

/// Reads exactly as much as there is room for; false where the file ends before.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_half_of_one_waits_for_its_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let writer = LogWriter::create(&path).unwrap();
        writer.append(Stream::Out, b"one\n");
        writer.append(Stream::Error, b"two");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let mut reader = LogReader::open(&path).unwrap();
        let mut next = || reader.next().unwrap().map(|(stream, _, text)| (stream, text));
        assert_eq!(next(), Some((Stream::Out, b"one\n".to_vec())));
        assert_eq!(next(), None);
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(next(), Some((Stream::Error, b"two".to_vec())));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_could_not_be_written_is_told_where_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let writer = LogWriter::create(&path).unwrap();
        writer.append(Stream::Out, b"one\n");
        // A file that cannot be written stands for a disk that is full.
        let whole = std::mem::replace(&mut writer.0.lock().unwrap().file, File::open(&path).unwrap());
        writer.append(Stream::Out, b"two\n");
        writer.append(Stream::Error, b"three\n");
        writer.0.lock().unwrap().file = whole;
        writer.append(Stream::Out, b"four\n");
        writer.append(Stream::Out, b"five\n");
        let mut reader = LogReader::open(&path).unwrap();
        let mut read = Vec::new();
        while let Some((stream, _, text)) = reader.next().unwrap() {
            read.push((stream, String::from_utf8(text).unwrap()));
        }
        let note = "mpimg: 10 bytes of output are missing here: the log could not be written\n";
        let expected = [(Stream::Out, "one\n"), (Stream::Error, note), (Stream::Out, "four\n"), (Stream::Out, "five\n")];
        assert_eq!(read, expected.map(|(stream, text)| (stream, text.to_owned())));
    }
}
