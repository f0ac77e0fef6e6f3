//! Tells the user what isolation `chroot` lacks when a step fails in it: nothing can be mounted,
//! so /proc shows no processes, and what leads through `/proc/self` (`/dev/stdout`, `/dev/fd`,
//! process substitution) leads nowhere.

use super::{Exit, IsolationKind};

/// Paths that programs name in their complaints.
const MISSING: [&[u8]; 5] = [b"/dev/stdout", b"/dev/stderr", b"/dev/stdin", b"/dev/fd/", b"/proc/"];

/// Looks through what a command prints.
#[derive(Debug)]
pub(super) struct ChrootHint {
    active: bool,
    /// The end of what was printed, in which a path may begin.
    tail: Vec<u8>,
    found: Option<&'static str>,
}

impl ChrootHint {
    pub(super) fn new(isolation: IsolationKind) -> Self {
        Self { active: !isolation.has_proc_self(), tail: Vec::new(), found: None }
    }

    pub(super) fn look_at(&mut self, bytes: &[u8]) {
        if !self.active || self.found.is_some() {
            return;
        }
        self.tail.extend_from_slice(bytes);
        let holds = |needle: &[u8]| self.tail.windows(needle.len()).any(|window| window == needle);
        let missing = MISSING.iter().find(|path| holds(path));
        self.found = missing.and_then(|path| std::str::from_utf8(path).ok());
        let longest = MISSING.iter().map(|path| path.len()).max().unwrap_or_default();
        self.tail.drain(..self.tail.len().saturating_sub(longest));
    }

    /// What to print after a command that has failed.
    pub(super) fn line(&self, exit: Exit) -> Option<String> {
        let path = self.found.filter(|_| !exit.success())?;
        Some(format!(
            "mpimg: `{path}` needs /proc/self, which isolation `chroot` cannot give; write to the descriptor itself (`>&2`), use a pipe \
             instead of process substitution, or see `mpimg doctor` for what would make a better isolation work\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_that_names_such_a_path_gets_the_line_and_no_other_does() {
        let seen = |isolation, printed: &[&str], exit| {
            let mut hint = ChrootHint::new(isolation);
            printed.iter().for_each(|bytes| hint.look_at(bytes.as_bytes()));
            hint.line(exit).is_some()
        };
        let (failed, printed) = (Exit::Code(2), ["sh: can't create /dev/st", "dout: nonexistent directory\n"]);
        assert!(seen(IsolationKind::Chroot, &printed, failed));
        assert!(!seen(IsolationKind::Root, &printed, failed));
        assert!(!seen(IsolationKind::Chroot, &printed, Exit::Code(0)));
        assert!(!seen(IsolationKind::Chroot, &["make: error 2\n"], failed));
    }
}
