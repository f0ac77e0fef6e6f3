//! The size of a chunk on this link: large enough that waiting for its response costs little, and no larger than a kill may cost.

use std::time::Duration;

/// From this round trip on waiting for an answer costs something.
const LONG: Duration = Duration::from_millis(20);

/// On a long link a chunk is to take this many round trips: waiting for its answer then costs 2.5 % of the time.
const ROUND_TRIPS: u32 = 40;

/// No chunk is to take longer than this: it is what a kill can cost.
const AT_MOST: Duration = Duration::from_secs(3);

/// A link is slow if it carries fewer bytes a second: it is what a push waits for, not the compressor.
const SLOW: f64 = 50e6;

/// On a slow link a chunk is to take this long. Registries put each chunk onto their disk before they answer (docker-registry:
/// 18 ms for 5 MiB), and the link stands idle meanwhile.
const ON_SLOW: Duration = Duration::from_secs(1);

/// A shorter chunk tells more of the registry than of the link.
const TELLING: u64 = 4 << 20;

/// The chunk, in bytes, that the link calls for after `length` bytes took so long; `None`: no reason for another.
pub(super) fn chunk_for(round_trip: Duration, length: u64, took: Duration) -> Option<u64> {
    let sending = took.saturating_sub(round_trip).max(Duration::from_millis(1));
    let speed = length as f64 / sending.as_secs_f64();
    let long = (round_trip >= LONG).then(|| (round_trip * ROUND_TRIPS).min(AT_MOST));
    let slow = (length >= TELLING && speed < SLOW).then_some(ON_SLOW);
    long.max(slow).map(|wanted| (speed * wanted.as_secs_f64()) as u64)
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
    fn a_slow_link_calls_for_chunks_of_a_second() {
        assert_eq!(chunk(2, 252), Some(20_000_000));
        assert_eq!(chunk(2, 5_002), Some(1_000_000));
        assert_eq!(chunk_for(Duration::from_millis(2), 1 << 20, Duration::from_millis(100)), None, "too short to tell");
    }

    #[test]
    fn a_fast_and_short_link_calls_for_none() {
        assert_eq!(chunk(2, 102), None);
    }
}
