//! When and how soon a request is repeated.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// How often a failed request is repeated, and how long each wait may be.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// How many tries in all, at least 1. For an upload: tries without a byte of progress between
    /// them.
    pub attempts: u32,
    /// The wait before the second try; it doubles from then on.
    pub first_delay: Duration,
    /// The longest wait; a longer `Retry-After` ends the work instead.
    pub longest_delay: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still.
    pub stall_timeout: Duration,
    /// How long the registry may think after it has the whole request: it may be hashing gigabytes.
    pub response_timeout: Duration,
    /// How long all tries of a login take together: somebody waits in front of the terminal.
    pub login_deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 7,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
            response_timeout: Duration::from_secs(600),
            login_deadline: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The wait before try `attempt` (from 2), or `None` if that is one too many or the registry
    /// asks for too long a wait.
    pub(crate) fn delay(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempt > self.attempts {
            return None;
        }
        // `Retry-After: 0` says when, not how often.
        if let Some(wait) = retry_after.filter(|wait| !wait.is_zero()) {
            return (wait <= self.longest_delay.max(self.first_delay)).then_some(wait);
        }
        let doubled = self.first_delay.saturating_mul(1 << attempt.saturating_sub(2).min(16)).min(self.longest_delay);
        // Between half and all of it: clients that failed together do not come back together.
        Some(doubled.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

/// Whether a status means "not now". 499 is nginx's (the client went away, as seen by a proxy
/// behind another), 520 to 524 are Cloudflare's, for a server behind it that does not answer.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_then_end() {
        let policy = RetryPolicy { attempts: 5, longest_delay: Duration::from_secs(1), ..RetryPolicy::default() };
        for (attempt, whole) in [(2, 500), (3, 1000), (4, 1000), (5, 1000)] {
            let delay = policy.delay(attempt, None).unwrap();
            let whole = Duration::from_millis(whole);
            assert!(delay <= whole && delay >= whole / 2, "{attempt}: {delay:?}");
        }
        assert_eq!(policy.delay(6, None), None);
    }

    #[test]
    fn the_registrys_own_wait_is_kept_unless_it_is_too_long() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(2, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert!(policy.delay(2, Some(Duration::ZERO)).is_some_and(|wait| wait >= policy.first_delay / 2));
        assert_eq!(policy.delay(2, Some(Duration::from_secs(21_600))), None);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(reqwest::header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("12"), Some(Duration::from_secs(12)));
        assert_eq!(read("soon"), None);
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let wait = read(&date).unwrap();
        assert!(wait > Duration::from_secs(90) && wait <= Duration::from_secs(100));
    }
}
