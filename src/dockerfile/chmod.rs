//! `--chmod`: octal or symbolic, parsed once, applied to each file.
//!
//! What chmod(1) rejects is an error. The rules are BSD's, as in BuildKit: the umask has no part in
//! it, `=` clears set-id bits of folders, too, and `X` asks what the file had before any of the
//! changes.

use crate::error::{Error, ErrorKind, Result};

/// A parsed `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod {
    text: String,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// All twelve bits are these.
    Octal(u32),
    /// Applied one after the other.
    Symbolic(Vec<Operation>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operation {
    /// Bits that `+`, `-` and `=` may change.
    who: u32,
    /// Bits that `=` clears first.
    cleared: u32,
    operator: u8,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Bits for all classes, and whether `X` is among them.
    Bits { bits: u32, execute_if_any: bool },
    /// What this class has; the number is how far its bits are shifted.
    CopyOf(u32),
}

impl Chmod {
    /// Parses octal (`755`, `0644`; 7777 at most) or symbolic (`u=rwX,go=rX`) permissions.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Dockerfile, format!("`{text}` is not a mode for `--chmod`"))
                .with_hint("write it in octal, such as 755, or as chmod takes it, such as u=rwX,go=rX")
        };
        let is_octal = text.starts_with(|c: char| c.is_ascii_digit());
        let change = if is_octal {
            let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777).ok_or_else(wrong)?;
            Change::Octal(bits)
        } else {
            let mut operations = Vec::new();
            text.split(',').try_for_each(|clause| parse_clause(clause, &mut operations)).ok_or_else(wrong)?;
            Change::Symbolic(operations)
        };
        Ok(Self { text: text.to_owned(), change })
    }

    /// The bits of an octal mode (`0o7777`); `None` for a symbolic one.
    pub fn octal(&self) -> Option<u32> {
        if let Change::Octal(bits) = self.change { Some(bits) } else { None }
    }

    /// What permission bits (`0o7777`) a file or folder with `mode` has afterwards.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.change {
            Change::Octal(bits) => *bits,
            Change::Symbolic(operations) => {
                let executable = is_dir || mode & 0o111 != 0;
                operations.iter().fold(mode & 0o7777, |mode, operation| operation.apply(mode, executable))
            }
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Operation {
    fn apply(self, mode: u32, executable: bool) -> u32 {
        let (bits, cleared) = match self.what {
            What::CopyOf(shift) => ((mode >> shift & 7) * 0o111, self.cleared & 0o777),
            What::Bits { bits, execute_if_any } => (if execute_if_any && executable { bits | 0o111 } else { bits }, self.cleared),
        };
        let bits = bits & self.who;
        match self.operator {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            _ => mode & !cleared | bits,
        }
    }
}

/// `[ugoa]*` and then one or more of `[-+=]` with permissions or one class.
fn parse_clause(clause: &str, operations: &mut Vec<Operation>) -> Option<()> {
    let classes = clause.find(['+', '-', '='])?;
    let (classes, mut rest) = clause.split_at(classes);
    let mut cleared = if classes.is_empty() { 0o6777 } else { 0 };
    for class in classes.bytes() {
        cleared |= match class {
            b'u' => 0o4700,
            b'g' => 0o2070,
            b'o' => 0o0007,
            b'a' => 0o6777,
            _ => return None,
        };
    }
    let who = if cleared == 0o0007 { cleared } else { cleared | 0o1000 };
    while let Some(operator) = rest.bytes().next() {
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        let what = parse_permissions(&rest[1..end])?;
        operations.push(Operation { who, cleared, operator, what });
        rest = &rest[end..];
    }
    Some(())
}

fn parse_permissions(text: &str) -> Option<What> {
    match text {
        "u" => return Some(What::CopyOf(6)),
        "g" => return Some(What::CopyOf(3)),
        "o" => return Some(What::CopyOf(0)),
        _ => {}
    }
    let mut bits = 0;
    let mut execute_if_any = false;
    for permission in text.bytes() {
        match permission {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= 0o111,
            b'X' => execute_if_any = true,
            b's' => bits |= 0o6000,
            b't' => bits |= 0o1000,
            _ => return None,
        }
    }
    Some(What::Bits { bits, execute_if_any })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_what_chmod_makes_of_them() {
        for (text, mode, is_dir, after) in [
            ("755", 0o600, false, 0o755),
            ("0", 0o777, true, 0),
            ("04755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o710, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("g=u", 0o640, false, 0o660),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("o+s,o+t", 0o755, false, 0o755),
            ("u=rw+x", 0o000, false, 0o700),
            ("g+w,o-r", 0o644, false, 0o660),
            ("=r", 0o4755, false, 0o444),
            ("g=rx", 0o2755, true, 0o755),
            ("a-x,+X", 0o755, false, 0o755),
            ("go=u-w", 0o700, false, 0o755),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, is_dir), after, "{text} of {mode:o}");
        }
    }

    #[test]
    fn other_modes_are_refused() {
        for text in ["", "8", "17777", "75x", "rwx", "u", "u=q", "z+r", "u+r,", "u=ug"] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}
