//! How old what is in a cache may be.

use std::time::Duration;

/// Whether what was made then may be taken now. What a clock that was set back shows as made later
/// may be of any age.
pub(super) fn is_young(made: i64, now: i64, max_age: Duration) -> bool {
    u64::try_from(now.saturating_sub(made)).is_ok_and(|age| age < max_age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_old_as_allowed_is_made_again() {
        let day = Duration::from_secs(86_400);
        for (made, young) in [(0, false), (13_600, false), (13_601, true), (100_000, true), (100_001, false)] {
            assert_eq!(is_young(made, 100_000, day), young, "{made}");
        }
        assert!(!is_young(100_000, 100_000, Duration::ZERO));
    }
}
