//! Reads and writes the memory of a command's threads.
//!
//! By process_vm_readv(2), or by /proc/PID/mem where the container's filter refuses that (Docker
//! before 20.10.10).

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use super::super::notify::{read_memory, write_memory};

/// `PATH_MAX`.
pub(super) const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// Most paths are shorter.
const FIRST_PIECE: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Memory {
    by_file: bool,
}

impl Memory {
    /// Finds out which way works for `thread`.
    pub(super) fn of(thread: i32) -> Self {
        let refused = |errno| matches!(errno, Errno::PERM | Errno::NOSYS);
        Self { by_file: read_memory(thread as u32, 0, &mut [0]).is_err_and(refused) }
    }

    /// Reads as much of `buffer` as there is at `address`.
    fn read_some(&self, thread: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        if !self.by_file {
            return read_memory(thread as u32, address, buffer);
        }
        let file = File::open(format!("/proc/{thread}/mem")).map_err(errno_of)?;
        file.read_at(buffer, address).map_err(|_| Errno::FAULT)
    }

    /// Fills `buffer` from `address`.
    pub(super) fn read(&self, thread: i32, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        match self.read_some(thread, address, buffer)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }

    /// Reads numbers of 64 bits.
    pub(super) fn read_words(&self, thread: i32, address: u64, count: usize) -> Result<Vec<u64>, Errno> {
        let words = self.read_words_up_to(thread, address, count)?;
        if words.len() == count { Ok(words) } else { Err(Errno::FAULT) }
    }

    /// Reads numbers of 64 bits from `address` on, as many as there are up to `limit`.
    pub(super) fn read_words_up_to(&self, thread: i32, address: u64, limit: usize) -> Result<Vec<u64>, Errno> {
        let mut bytes = vec![0; limit * 8];
        let read = self.read_some(thread, address, &mut bytes)?;
        Ok(bytes[..read].as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }

    /// Reads a string that ends with NUL, without it; `ENAMETOOLONG` where that is not among the
    /// first `limit` bytes.
    pub(super) fn read_string(&self, thread: i32, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        if address == 0 {
            return Err(Errno::FAULT);
        }
        let mut bytes: Vec<u8> = Vec::with_capacity(FIRST_PIECE);
        while bytes.len() < limit {
            let from = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
            let page = (PAGE - from % PAGE) as usize;
            let old = bytes.len();
            let size = if old == 0 { FIRST_PIECE } else { PATH_MAX };
            bytes.resize(old + size.min(page).min(limit - old), 0);
            match self.read_some(thread, from, &mut bytes[old..])? {
                0 => return Err(Errno::FAULT),
                read => bytes.truncate(old + read),
            }
            if let Some(end) = bytes[old..].iter().position(|byte| *byte == 0) {
                bytes.truncate(old + end);
                return Ok(bytes);
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Writes all of `bytes` at `address`.
    pub(super) fn write(&self, thread: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.by_file {
            return write_memory(thread as u32, address, bytes);
        }
        // By that file read-only pages can be written to as well, so nothing is written where a
        // program could not.
        let file = File::options().write(true).open(format!("/proc/{thread}/mem")).map_err(errno_of)?;
        file.write_all_at(bytes, address).map_err(|_| Errno::FAULT)
    }
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
