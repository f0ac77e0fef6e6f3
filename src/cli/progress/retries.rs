//! Which retries are told: what troubles a registry troubles all blobs at once, and is told once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// After so long without it, the same trouble is news again.
const OLD: Duration = Duration::from_secs(60);

/// The troubles that were told.
#[derive(Default)]
pub(super) struct Retries(HashMap<String, Told>);

struct Told {
    attempt: u32,
    at: Instant,
}

impl Retries {
    /// Whether the trouble `reason` is to be told, of which `attempt` is the next try: once a try,
    /// whichever of the transfers gets there first.
    pub(super) fn is_news(&mut self, reason: &str, attempt: u32, now: Instant) -> bool {
        let is_news = self.0.get(reason).is_none_or(|told| attempt > told.attempt || now.duration_since(told.at) > OLD);
        if is_news {
            self.0.insert(reason.to_owned(), Told { attempt, at: now });
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_of_several_transfers_is_told_once_a_try() {
        let mut retries = Retries::default();
        let now = Instant::now();
        let tries = [("500", 2), ("500", 2), ("500", 3), ("500", 2), ("reset", 2), ("500", 3), ("500", 4)];
        let told: Vec<_> = tries.into_iter().filter(|(reason, attempt)| retries.is_news(reason, *attempt, now)).collect();
        assert_eq!(told, [("500", 2), ("500", 3), ("reset", 2), ("500", 4)]);
        assert!(retries.is_news("500", 2, now + OLD + Duration::from_secs(1)), "an hour later it is news");
    }
}
