//! Signals of STOPSIGNAL: numbers, and names with or without `SIG` in either case.
//!
//! 0 and names that Linux does not know are not signals.

/// Linux's signals but for the real-time ones (signal(7)): name without `SIG`, number.
const SIGNALS: [(&str, i32); 34] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

/// The names of [`SIGNALS`], and that of the first real-time signal.
fn names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|(name, _)| *name).chain(["RTMIN"])
}

/// Whether moby's signal package knows the signal.
pub(super) fn is_signal(text: &str) -> bool {
    match text.parse::<i32>() {
        Ok(number) => number != 0,
        Err(_) => named_signal(text).is_some(),
    }
}

/// The number of a signal's name, as moby's signal package has it: `RTMIN+1` to `RTMIN+15` and
/// `RTMAX-1` to `RTMAX-14` are real-time signals.
pub(crate) fn named_signal(text: &str) -> Option<i32> {
    /// What the C library leaves of them (signal(7)).
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, most: i32| {
        let digits = name.strip_prefix(prefix).filter(|digits| !digits.starts_with(['0', '+']))?;
        digits.parse().ok().filter(|offset| (1..=most).contains(offset))
    };
    let known = || SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => known().or_else(|| offset("RTMIN+", 15).map(|n| RTMIN + n)).or_else(|| offset("RTMAX-", 14).map(|n| RTMAX - n)),
    }
}

/// The known name nearest to a wrong one, with `SIG`.
pub(super) fn nearest(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    super::suggest::suggest(upper.strip_prefix("SIG").unwrap_or(&upper), names()).map(|name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_numbers_or_names() {
        for right in ["SIGTERM", "term", "9", "sigusr1", "RTMIN+3", "SIGRTMAX-2", "SIGRTMIN"] {
            assert!(is_signal(right), "{right}");
        }
        for wrong in ["", "0", "SIG", "SIGTREM", "RTMIN+16", "RTMIN+0", "KILL9"] {
            assert!(!is_signal(wrong), "{wrong}");
        }
        assert_eq!(nearest("SIGTREM").as_deref(), Some("SIGTERM"));
    }
}
