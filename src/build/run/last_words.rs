//! What the output of a failed command says of the failure.

/// How the lines begin in which pip, apt, npm, git and others tell why they give up.
const BEGINNINGS: [&str; 8] = ["ERROR: ", "E: ", "npm ERR! ", "npm error ", "fatal: ", "error: ", "curl: (", "FAILURE: "];

/// What a command has run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    Space,
    OpenFiles,
    FileSize,
    Processes,
}

/// The words of the kernel and of libc, and of programs that have their own. EAGAIN alone says
/// nothing: a lock that is taken gives it as well.
const COMPLAINTS: [(&str, Lack); 13] = [
    ("No space left on device", Lack::Space),
    // apt looks before it writes.
    ("You don't have enough free space", Lack::Space),
    ("Too many open files", Lack::OpenFiles),
    ("File too large", Lack::FileSize),
    ("File size limit exceeded", Lack::FileSize),
    ("fork: Resource temporarily unavailable", Lack::Processes),
    ("fork: retry: Resource temporarily unavailable", Lack::Processes),
    ("Cannot fork", Lack::Processes),
    ("BlockingIOError: [Errno 11] Resource temporarily unavailable", Lack::Processes),
    ("can't start new thread", Lack::Processes),
    ("unable to create native thread", Lack::Processes),
    ("failed to create new OS thread", Lack::Processes),
    ("failed to spawn thread", Lack::Processes),
];

/// The longest line that is kept, in bytes.
const LONGEST: usize = 400;

/// Listens to a command.
#[derive(Default)]
pub(super) struct LastWords {
    line: Vec<u8>,
    reason: Option<String>,
    lack: Option<Lack>,
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
        let complaint = COMPLAINTS.iter().find(|(words, _)| line.contains(words));
        self.lack = self.lack.or(complaint.map(|(_, lack)| *lack));
        // Of several, the last tells the end: pip's first says which versions there are.
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            self.reason = Some(line);
        }
    }

    /// The line in which a program told why it gave up, and what was first missing.
    pub(super) fn end(mut self) -> (Option<String>, Option<Lack>) {
        self.end_line();
        (self.reason, self.lack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(output: &str, pieces: usize) -> (Option<String>, Option<Lack>) {
        let mut words = LastWords::default();
        output.as_bytes().chunks(pieces).for_each(|bytes| words.hear(bytes));
        words.end()
    }

    #[test]
    fn the_last_reason_counts_however_the_output_is_cut() {
        let pip = "Collecting nosuch\nERROR: Could not find a version that satisfies the requirement nosuch\n\
                   ERROR: No matching distribution found for nosuch\nWARNING: pip is old\n";
        for pieces in [1, 7, 1000] {
            let (reason, lack) = heard(pip, pieces);
            assert_eq!(reason.as_deref(), Some("ERROR: No matching distribution found for nosuch"));
            assert_eq!(lack, None);
        }
        assert_eq!(heard("E: Unable to locate package nosuch", 5).0.as_deref(), Some("E: Unable to locate package nosuch"));
        assert_eq!(heard("all is well\n", 3), (None, None));
    }

    #[test]
    fn what_was_missing_is_heard() {
        for (line, lack) in [
            ("dd: error writing '/x': No space left on device\n", Some(Lack::Space)),
            ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", Some(Lack::Space)),
            ("E: You don't have enough free space in /var/cache/apt/archives/.", Some(Lack::Space)),
            ("/bin/sh: can't fork: Resource temporarily unavailable\n", Some(Lack::Processes)),
            ("bash: fork: retry: Resource temporarily unavailable\n", Some(Lack::Processes)),
            ("/bin/sh: 1: Cannot fork\n", Some(Lack::Processes)),
            ("OSError: [Errno 24] Too many open files: 'a'\n", Some(Lack::OpenFiles)),
            ("head: error writing 'standard output': File too large\n", Some(Lack::FileSize)),
            ("E: Could not get lock /var/lib/dpkg/lock - open (11: Resource temporarily unavailable)\n", None),
        ] {
            assert_eq!(heard(line, 7).1, lack, "{line}");
        }
    }
}
