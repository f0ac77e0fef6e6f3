//! The size of a chunk on this link: large enough that what each chunk costs beside its bytes is
//! little, and no larger than what a kill may cost.

use std::time::Duration;

/// A chunk is to take this long. Registries put each onto their disk before they answer
/// (docker-registry: 18 ms for 5 MiB), and the link stands idle meanwhile.
const WANTED: Duration = Duration::from_secs(1);

/// On a long link a chunk is to take this many round trips: waiting for its answer then costs 2.5 %
/// of the time.
const ROUND_TRIPS: u32 = 40;

/// No chunk is to take longer than this: it is what a kill can cost.
const AT_MOST: Duration = Duration::from_secs(3);

/// A shorter chunk tells more of the registry than of the link.
const TELLING: u64 = 1 << 20;

/// A chunk is at most this many times as large as the one before: what one chunk told may have been
/// an accident. With 4 in place of 8, 100 MB over 60 ms take one round trip more.
const GROWTH: u64 = 8;

/// A link whose round trips are no longer is a local one. There a registry's waiting for its disk
/// is much of what a chunk costs: 10 MB take 56 ms in one request and 65 ms in two.
const LOCAL: Duration = Duration::from_millis(2);

/// The first chunk on a local link, in bytes, where none has told yet what it carries; `least` is
/// the shortest that there may be.
pub(super) fn first_chunk(round_trip: Option<Duration>, least: u64) -> Option<u64> {
    // Who wishes for short chunks gets them.
    (round_trip? <= LOCAL && least >= TELLING).then_some(least.saturating_mul(4))
}

/// The chunk, in bytes, that the link calls for after `length` bytes took so long; `None`: that
/// told nothing.
pub(super) fn chunk_for(round_trip: Duration, length: u64, took: Duration) -> Option<u64> {
    if length < TELLING {
        return None;
    }
    let sending = took.saturating_sub(round_trip).max(Duration::from_millis(1));
    let speed = length as f64 / sending.as_secs_f64();
    let wanted = (round_trip * ROUND_TRIPS).clamp(WANTED, AT_MOST);
    Some(((speed * wanted.as_secs_f64()) as u64).min(length * GROWTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(round_trip: u64, took: u64) -> Option<u64> {
        chunk_for(Duration::from_millis(round_trip), 5_000_000, Duration::from_millis(took))
    }

    #[test]
    fn a_long_link_calls_for_larger_chunks_up_to_three_seconds() {
        // 5 MB/s: a second and the round trip.
        assert_eq!(chunk(50, 1_050), Some(10_000_000));
        assert_eq!(chunk(200, 5_200), Some(3_000_000));
    }

    #[test]
    fn any_other_link_calls_for_chunks_of_a_second() {
        assert_eq!(chunk(2, 5_002), Some(1_000_000));
        assert_eq!(chunk(2, 502), Some(10_000_000));
        assert_eq!(chunk_for(Duration::from_millis(2), 1 << 19, Duration::from_millis(100)), None, "too short to tell");
    }

    #[test]
    fn a_local_link_begins_with_longer_chunks_unless_short_ones_are_wished() {
        let (near, far) = (Some(Duration::from_micros(800)), Some(Duration::from_millis(5)));
        assert_eq!(first_chunk(near, 5 << 20), Some(20 << 20));
        assert_eq!(first_chunk(near, 64 << 10), None);
        assert_eq!(first_chunk(far, 5 << 20), None);
        assert_eq!(first_chunk(None, 5 << 20), None);
    }

    #[test]
    fn a_fast_link_gets_there_step_by_step() {
        assert_eq!(chunk(1, 11), Some(40_000_000));
        let next = chunk_for(Duration::from_millis(1), 40_000_000, Duration::from_millis(81));
        assert_eq!(next, Some(320_000_000));
    }
}
