//! Signals of STOPSIGNAL: numbers, and names with or without `SIG` in either case.
//!
//! 0 and names that Linux does not know are not signals.

const NAMES: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR",
    "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH",
    "XCPU", "XFSZ", "RTMIN",
];

/// Whether moby's signal package knows the signal.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i32>() {
        return number != 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |prefix: &str, most: u8| {
        let offset = name.strip_prefix(prefix).filter(|digits| !digits.starts_with(['0', '+']));
        offset.and_then(|digits| digits.parse().ok()).is_some_and(|offset: u8| (1..=most).contains(&offset))
    };
    NAMES.contains(&name) || name == "RTMAX" || real_time("RTMIN+", 15) || real_time("RTMAX-", 14)
}

/// The known name nearest to a wrong one, with `SIG`.
pub(super) fn nearest(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    super::suggest::suggest(upper.strip_prefix("SIG").unwrap_or(&upper), NAMES).map(|name| format!("SIG{name}"))
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
