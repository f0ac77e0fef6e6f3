//! How many chunks may be in flight at once: as many as fill the link, and no more.
//!
//! Every chunk under way is one that a kill, or a link that breaks, cuts in the middle;
//! distribution 2.8 and Harbor then cancel that blob's session with all it held. One chunk at a
//! time fills a short link, and a long one needs as many as there are bytes on their way. No blob
//! waits for one that was offered after it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Bytes in flight per additional chunk. Below that, a second chunk saves less than a fifth of the
/// time (5 MiB chunks).
const BYTES_PER_CHUNK: f64 = (1280 << 10) as f64;

/// Bytes a second until something has been measured: 200 Mbit/s.
const ASSUMED: f64 = 25e6;

/// From this round trip on there are two permits at least: one connection alone may be slower than
/// the link.
const LONG: Duration = Duration::from_millis(20);

/// Bytes of a request that needs no permit: configs.
const WITHOUT_PERMIT: u64 = 64 << 10;

/// Bytes a second per permit on a fast link, whatever its round trip. There a chunk waits for the
/// registry, which computes its digest and puts it onto the disk, and not for the link: three
/// layers side by side take two thirds of the time. What a break costs is sent again in a moment.
const FAST: f64 = 50e6;

/// No more than this many on a fast link, because each chunk that breaks may take its blob's
/// session along.
const MOST_ON_FAST: u64 = 4;

/// What is too short to tell anything about the link's speed.
const TELLING: u64 = 1 << 20;

/// Limits the chunks that all blobs of one push have in flight.
pub(crate) struct UploadLimiter {
    /// Bytes that one permit stands for: small requests share one.
    width: u64,
    most: u64,
    state: Mutex<Occupancy>,
}

struct Occupancy {
    /// How many chunks may be in flight.
    permits: u64,
    /// Bytes a second of all chunks together.
    speed: Option<f64>,
    /// Bytes of a chunk that the link called for last.
    chunk: Option<u64>,
    taken: u64,
    waiting: BTreeMap<(usize, u64), Waiter>,
    tickets: u64,
}

struct Waiter {
    width: u64,
    grant: oneshot::Sender<UploadPermit>,
}

/// The right to send; given back when dropped.
pub(crate) struct UploadPermit {
    limiter: Arc<UploadLimiter>,
    width: u64,
}

impl UploadLimiter {
    /// At most `most` permits for chunks of `width` bytes.
    pub(crate) fn new(most: usize, width: u64) -> Arc<Self> {
        let state = Occupancy { permits: 1, speed: None, chunk: None, taken: 0, waiting: BTreeMap::new(), tickets: 0 };
        Arc::new(Self { width: width.max(1), most: (most as u64).max(1), state: Mutex::new(state) })
    }

    /// Waits until `bytes` of the blob that was offered as number `order` may be sent.
    /// `round_trip`: of the link, if it is known.
    pub(crate) async fn acquire(self: &Arc<Self>, order: usize, bytes: u64, round_trip: Option<Duration>) -> UploadPermit {
        if bytes <= WITHOUT_PERMIT {
            return UploadPermit { limiter: self.clone(), width: 0 };
        }
        let (grant, granted) = oneshot::channel();
        let width = bytes.min(self.width);
        {
            let mut state = self.lock();
            if let Some(round_trip) = round_trip {
                state.permits = permits(state.speed.unwrap_or(ASSUMED), round_trip).min(self.most);
            }
            state.tickets += 1;
            let ticket = state.tickets;
            state.waiting.insert((order, ticket), Waiter { width, grant });
        }
        self.grant_next();
        // The sender is only dropped after it has granted.
        granted.await.unwrap_or_else(|_| UploadPermit { limiter: self.clone(), width: 0 })
    }

    /// Takes in how long `bytes` took, waiting for the response included.
    pub(crate) fn measured(&self, bytes: u64, took: Duration, round_trip: Duration) {
        if bytes < TELLING {
            return;
        }
        let sending = took.saturating_sub(round_trip).max(Duration::from_millis(1)).as_secs_f64();
        let mut state = self.lock();
        // Those under way share the link.
        let beside = (state.taken as f64 / self.width as f64).max(1.0);
        let speed = bytes as f64 / sending * beside;
        state.speed = Some(state.speed.map_or(speed, |before| f64::midpoint(before, speed)));
    }

    /// What a blob that begins now may take from those before it: the size of a chunk, in bytes,
    /// that the link called for.
    pub(crate) fn chunk(&self) -> Option<u64> {
        self.lock().chunk
    }

    /// Takes in what the link called for; `None`: a chunk was not taken, and the next blob finds
    /// out by itself.
    pub(crate) fn set_chunk(&self, chunk: Option<u64>) {
        self.lock().chunk = chunk;
    }

    /// Grants permits to the next in line, as long as there is room.
    fn grant_next(self: &Arc<Self>) {
        while let Some(Waiter { width, grant }) = self.next() {
            // One that does not wait any more returns the permit by dropping it.
            drop(grant.send(UploadPermit { limiter: self.clone(), width }));
        }
    }

    fn next(&self) -> Option<Waiter> {
        let mut state = self.lock();
        let room = (state.permits * self.width).saturating_sub(state.taken);
        let first = state.waiting.first_entry()?;
        if first.get().width > room {
            return None;
        }
        let waiting = first.remove();
        state.taken += waiting.width;
        Some(waiting)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Occupancy> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        self.limiter.lock().taken -= self.width;
        self.limiter.grant_next();
    }
}

/// One, and one more for each [`BYTES_PER_CHUNK`] that are on their way during a round trip; more
/// on a [`FAST`] link.
fn permits(speed: f64, round_trip: Duration) -> u64 {
    let under_way = 1 + (speed * round_trip.as_secs_f64() / BYTES_PER_CHUNK) as u64;
    let fast = ((speed / FAST) as u64).min(MOST_ON_FAST);
    under_way.max(fast).max(if round_trip < LONG { 1 } else { 2 })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const CHUNK: u64 = 5 << 20;

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn a_short_link_has_one_permit_a_long_one_as_many_as_fill_it_and_a_fast_one_some() {
        for (megabytes_a_second, round_trip, expected) in [
            (25.0, 1, 1),
            (90.0, 1, 1),
            (110.0, 1, 2),
            (400.0, 1, 4),
            (90.0, 15, 2),
            (1.0, 100, 2),
            (20.0, 50, 2),
            (20.0, 200, 4),
            (125.0, 50, 5),
        ] {
            assert_eq!(
                permits(megabytes_a_second * 1e6, milliseconds(round_trip)),
                expected,
                "{megabytes_a_second} {round_trip}"
            );
        }
    }

    #[test]
    fn chunks_go_one_by_one_and_the_blob_offered_first_goes_first() {
        let limiter = UploadLimiter::new(8, CHUNK);
        let acquire = |order| Box::pin(limiter.acquire(order, CHUNK, Some(milliseconds(1))));
        let first = acquire(0).now_or_never().unwrap();
        let (mut third, mut second, mut gone) = (acquire(2), acquire(1), acquire(0));
        assert!((&mut third).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!((&mut third).now_or_never().is_none());
        drop((&mut second).now_or_never().unwrap());
        assert!(third.now_or_never().is_some());
        assert_eq!(limiter.lock().taken, 0);
    }

    #[test]
    fn small_requests_share_a_permit() {
        let limiter = UploadLimiter::new(8, CHUNK);
        let acquire = || limiter.acquire(0, 2 << 20, None).now_or_never();
        let (one, two) = (acquire().unwrap(), acquire().unwrap());
        assert!(acquire().is_none());
        assert!(limiter.acquire(0, WITHOUT_PERMIT, None).now_or_never().is_some(), "a config waits for nobody");
        drop((one, two));
        assert_eq!(limiter.lock().taken, 0);
    }

    #[test]
    fn a_long_link_that_turns_out_slow_gets_fewer_permits() {
        let limiter = UploadLimiter::new(8, CHUNK);
        let all = || -> Vec<UploadPermit> {
            std::iter::from_fn(|| limiter.acquire(0, CHUNK, Some(milliseconds(50))).now_or_never()).collect()
        };
        assert_eq!(all().len(), 2);
        let held = all();
        // Two chunks had 100 MB/s together.
        limiter.measured(CHUNK, milliseconds(50 + 105), milliseconds(50));
        drop(held);
        assert_eq!(all().len(), 4);
        let held = all();
        // Four shared 20 MB/s.
        limiter.measured(CHUNK, milliseconds(50 + 1048), milliseconds(50));
        limiter.measured(CHUNK, milliseconds(50 + 1048), milliseconds(50));
        drop(held);
        assert_eq!(all().len(), 2);
    }
}
