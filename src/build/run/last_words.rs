//! What the output of a failed command says of the failure.

/// How the lines begin in which pip, apt, npm, git and others tell why they give up.
const BEGINNINGS: [&str; 8] = ["ERROR: ", "E: ", "npm ERR! ", "npm error ", "fatal: ", "error: ", "curl: (", "FAILURE: "];

/// The words of the kernel (ENOSPC), and of apt, which looks before it writes.
const NO_SPACE: [&str; 2] = ["No space left on device", "You don't have enough free space"];

/// The longest line that is kept, in bytes.
const LONGEST: usize = 400;

/// Listens to a command.
#[derive(Default)]
pub(super) struct LastWords {
    line: Vec<u8>,
    reason: Option<String>,
    no_space: bool,
}

impl LastWords {
    /// The command has written `bytes`.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim().to_owned();
        self.no_space |= NO_SPACE.iter().any(|words| line.contains(words));
        // Of several, the last tells the end: pip's first says which versions there are.
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            self.reason = Some(line);
        }
    }

    /// The line in which a program told why it gave up, and whether a disk was full.
    pub(super) fn end(mut self) -> (Option<String>, bool) {
        self.end_line();
        (self.reason, self.no_space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(output: &str, pieces: usize) -> (Option<String>, bool) {
        let mut words = LastWords::default();
        output.as_bytes().chunks(pieces).for_each(|bytes| words.hear(bytes));
        words.end()
    }

    #[test]
    fn the_last_reason_counts_however_the_output_is_cut() {
        let pip = "Collecting nosuch\nERROR: Could not find a version that satisfies the requirement nosuch\n\
                   ERROR: No matching distribution found for nosuch\nWARNING: pip is old\n";
        for pieces in [1, 7, 1000] {
            let (reason, no_space) = heard(pip, pieces);
            assert_eq!(reason.as_deref(), Some("ERROR: No matching distribution found for nosuch"));
            assert!(!no_space);
        }
        assert_eq!(heard("E: Unable to locate package nosuch", 5).0.as_deref(), Some("E: Unable to locate package nosuch"));
        assert_eq!(heard("all is well\n", 3), (None, false));
    }

    #[test]
    fn a_full_disk_is_heard() {
        assert!(heard("dd: error writing '/x': No space left on device\n", 4).1);
        assert!(heard("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", 9).1);
        assert!(heard("E: You don't have enough free space in /var/cache/apt/archives/.", 9).1);
    }
}
