//! `/proc/PID/stat` of a process (proc(5)).

use std::path::Path;

/// The text of `/proc/PID/stat` or of another file with its format; `None` if the process is gone.
/// The name in it need not be UTF-8.
pub(crate) fn read(path: &Path) -> Option<String> {
    std::fs::read(path).ok().map(|stat| String::from_utf8_lossy(&stat).into_owned())
}

/// The fields after the process's name, from the state (the third) on. The name itself may hold
/// anything, even spaces and `)`.
pub(crate) fn fields_after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace()
}

/// The number of the process's parent.
pub(crate) fn parent(stat: &str) -> Option<i32> {
    fields_after_name(stat).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_fields_is_skipped() {
        let stat = "12 (a) S 1 (b) R 7 12 12 0 -1";
        assert_eq!((fields_after_name(stat).next(), parent(stat)), (Some("R"), Some(7)));
        assert_eq!((fields_after_name("").next(), parent("")), (None, None));
    }
}
