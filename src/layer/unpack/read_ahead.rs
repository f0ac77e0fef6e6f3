//! Reads ahead on a thread of its own, a few buffers at most.
//!
//! Loses no error: it comes after the bytes that were read before it.

use std::io::{ErrorKind, Read, Result};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::threads::spawn_scoped;

/// Bytes of one buffer.
pub(super) const READ: usize = 256 * 1024;

/// Large files take longer to inflate than to write, small ones the other way round: enough to even
/// that out.
const BUFFERS: usize = 32;

pub(super) struct ReadAhead {
    full: Receiver<Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, reader: impl Read + Send + 'scope) -> crate::Result<ReadAhead> {
    let (full_in, full) = sync_channel(BUFFERS);
    let (empty, empty_out) = sync_channel(BUFFERS);
    spawn_scoped(scope, move || fill(reader, &full_in, &empty_out))?;
    Ok(ReadAhead { full, empty, current: Vec::new(), at: 0 })
}

fn fill(mut reader: impl Read, full: &SyncSender<Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut buffer = empty.try_recv().unwrap_or_default();
        // Used again, it needs no zeros.
        buffer.resize(READ, 0);
        let mut length = 0;
        let end = loop {
            match reader.read(&mut buffer[length..]) {
                Ok(0) => break Some(Ok(())),
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(Err(error)),
            }
            if length == READ {
                break None;
            }
        };
        buffer.truncate(length);
        // The receiving end is gone where unpacking has failed: nobody wants the rest.
        if length > 0 && full.send(Ok(buffer)).is_err() {
            return;
        }
        match end {
            None => {}
            Some(Ok(())) => return,
            Some(Err(error)) => return drop(full.send(Err(error))),
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.at == self.current.len() {
            let _ = self.empty.try_send(std::mem::take(&mut self.current));
            self.at = 0;
            match self.full.recv() {
                Ok(Ok(buffer)) => self.current = buffer,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(0),
            }
        }
        let length = into.len().min(self.current.len() - self.at);
        into[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

impl std::fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadAhead").finish_non_exhaustive()
    }
}
