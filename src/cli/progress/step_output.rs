//! What a RUN step printed, kept until it is known whether it succeeded.
//!
//! Long output goes to a temporary file.

use std::io::{BufRead as _, BufReader, Seek as _, Write as _};

use tempfile::SpooledTempFile;

use super::lines::Lines;

/// How much is kept in memory, in bytes.
const MEMORY: usize = 256 * 1024;

/// How many lines are handed over at once.
const PAGE: usize = 200;

/// The output of one step, whole.
#[derive(Debug)]
pub(super) struct StepOutput(SpooledTempFile);

impl Default for StepOutput {
    fn default() -> Self {
        Self(SpooledTempFile::new(MEMORY))
    }
}

impl StepOutput {
    /// Keeps `bytes`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // A full disk loses the log, not the build.
        let _ = self.0.write_all(bytes);
    }

    /// All lines, cleaned, some at a time.
    pub(super) fn pages(self, mut each: impl FnMut(&[String])) {
        let mut file = self.0;
        if file.rewind().is_err() {
            return;
        }
        let (mut lines, mut page) = (Lines::default(), Vec::new());
        let mut reader = BufReader::new(file);
        while let Ok(bytes) = reader.fill_buf() {
            if bytes.is_empty() {
                break;
            }
            let length = bytes.len();
            lines.push(bytes, |line| {
                page.push(line.to_owned());
                if page.len() == PAGE {
                    each(&std::mem::take(&mut page));
                }
            });
            reader.consume(length);
        }
        page.extend(lines.rest());
        if !page.is_empty() {
            each(&page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_comes_back_whole_and_in_order() {
        let mut log = StepOutput::default();
        for number in 0..100_000 {
            log.push(format!("line {number}\n").as_bytes());
        }
        log.push(b"end");
        let mut lines = Vec::new();
        log.pages(|page| lines.extend_from_slice(page));
        assert_eq!(lines.len(), 100_001);
        assert_eq!((lines[70_000].as_str(), lines[100_000].as_str()), ("line 70000", "end"));
    }
}
