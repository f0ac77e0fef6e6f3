//! How large a chunk should be on this link: large enough that waiting for its answer costs little.
//!
//! Refuses to grow chunks on short links: what a kill costs is one chunk.

use std::time::Duration;

/// Round trips shorter than this cost nothing worth a larger chunk.
const LONG: Duration = Duration::from_millis(20);

/// A chunk is to take this many round trips: waiting for its answer then costs 2.5 % of the time.
const ROUND_TRIPS: u32 = 40;

/// No chunk is to take longer than this: it is what a kill can cost.
const AT_MOST: Duration = Duration::from_secs(3);

/// The chunk, in bytes, that the link calls for after `length` bytes took so long; `None`: no reason for another.
pub(super) fn chunk_for(round_trip: Duration, length: u64, took: Duration) -> Option<u64> {
    let sending = took.saturating_sub(round_trip).max(Duration::from_millis(1));
    let wanted = (round_trip * ROUND_TRIPS).min(AT_MOST);
    (round_trip >= LONG).then(|| (length as f64 * wanted.as_secs_f64() / sending.as_secs_f64()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(round_trip: u64, took: u64) -> Option<u64> {
        chunk_for(Duration::from_millis(round_trip), 5_000_000, Duration::from_millis(took))
    }

    #[test]
    fn a_long_link_calls_for_larger_chunks_up_to_three_seconds() {
        // 20 MB/s: 250 ms and the round trip.
        assert_eq!(chunk(50, 300), Some(40_000_000));
        assert_eq!(chunk(200, 5_200), Some(3_000_000));
    }

    #[test]
    fn a_short_link_calls_for_none() {
        assert_eq!(chunk(2, 300), None);
    }
}
