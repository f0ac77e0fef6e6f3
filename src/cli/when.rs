//! Times as docker shows them: how long ago.

use jiff::Timestamp;

/// The first of January of the year 2, in seconds since 1970.
const YEAR_2: i64 = -62_104_060_800;

/// `5 minutes ago`, of an RFC 3339 time; another text stays as it is.
pub(super) fn ago(time: Option<&str>, now: Timestamp) -> String {
    let Some(time) = time else { return "-".into() };
    let Ok(parsed) = time.parse::<Timestamp>() else { return time.to_owned() };
    if is_unset(parsed) {
        return "-".into();
    }
    let seconds = now.duration_since(parsed).as_secs();
    let (number, unit) = match seconds {
        ..0 => return "in the future".into(),
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        172_800..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// The time itself; nothing for Go's zero time, the first of January of the year 1, which means
/// that none was set.
pub(super) fn shown(time: Option<&str>) -> String {
    let unset = |time: &&str| time.parse::<Timestamp>().is_ok_and(is_unset);
    time.filter(|time| !unset(time)).unwrap_or_default().to_owned()
}

fn is_unset(time: Timestamp) -> bool {
    time.as_second() < YEAR_2
}

/// Now.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_that_fits_is_shown() {
        let now = "2024-03-01T12:00:00Z".parse().unwrap();
        for (time, shown) in [
            ("2024-03-01T12:00:00Z", "0 seconds ago"),
            ("2024-03-01T11:59:00Z", "1 minute ago"),
            ("2024-03-01T13:30:00+02:00", "30 minutes ago"),
            ("2024-02-29T12:00:00Z", "24 hours ago"),
            ("2024-02-20T12:00:00Z", "10 days ago"),
            ("1970-01-01T00:00:00Z", "54 years ago"),
            ("2030-01-01T00:00:00Z", "in the future"),
            ("yesterday", "yesterday"),
            ("0001-01-01T00:00:00Z", "-"),
        ] {
            assert_eq!(ago(Some(time), now), shown);
        }
        assert_eq!(ago(None, now), "-");
        assert_eq!(shown(Some("0001-01-01T00:00:00Z")), "");
        assert_eq!(shown(Some("2024-03-01T12:00:00Z")), "2024-03-01T12:00:00Z");
    }
}
