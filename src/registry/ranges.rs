//! The rest of a large blob in ranges that are read side by side: one connection is often slower
//! than the link (long round trips, a limit for each connection).
//!
//! Knows no registry: what reads a range, and tries again, is given to it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, ErrorKind, Result};

/// Ranges that all blobs of a client have under way at once at most. Their bytes are in memory
/// until their turn comes.
pub(super) const MOST_AT_ONCE: usize = 5;

/// Bytes of a range. Each costs a round trip beside its bytes: a ninth at 50 ms and 10 MB/s, so
/// that five ranges are as fast as four connections that never pause.
const RANGE: u64 = 4 << 20;

/// Smaller blobs come over one connection.
const LARGE: u64 = 32 << 20;

/// A connection's speed is known after so many bytes, and so long a wait for them: a pause of one
/// round trip says nothing. By bytes alone, two of three layers over a fast link of 60 ms came in
/// ranges, and took 1.3 times as long.
const TELLING: usize = 2 << 20;
const TELLING_WAIT: Duration = Duration::from_millis(200);

/// Bytes a second from which on one connection is enough: 400 Mbit/s.
const FAST: f64 = 50e6;

/// Whether a blob of `size` bytes may be read in ranges.
pub(super) fn is_large(size: u64) -> bool {
    size >= LARGE
}

/// How fast one connection is.
#[derive(Debug, Default)]
pub(super) struct ConnectionSpeed {
    bytes: usize,
    waited: Duration,
    slow: bool,
}

impl ConnectionSpeed {
    /// `bytes` came after `waited`. Only time in which somebody waited for the connection counts:
    /// a reader that is slow itself gets nothing faster.
    pub(super) fn add(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes;
        self.waited += waited;
        if self.bytes >= TELLING && self.waited >= TELLING_WAIT {
            self.slow = (self.bytes as f64) < FAST * self.waited.as_secs_f64();
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }
}

/// Reads all bytes of a range.
pub(super) type ReadRange = Arc<dyn Fn(Range<u64>) -> BoxFuture<'static, Result<Bytes>> + Send + Sync>;

/// The ranges of one blob, handed out in order. Those under way are given up when it is dropped.
pub(super) struct RangeReads {
    read: ReadRange,
    permits: Arc<Semaphore>,
    /// Under way, or waiting for their turn.
    reads: VecDeque<AbortOnDropHandle<Result<Bytes>>>,
    /// The next one, where somebody has waited for it.
    first: Option<Bytes>,
    /// Where the next one begins.
    begin: u64,
    /// From here on nothing was asked for.
    asked: u64,
    end: u64,
}

impl RangeReads {
    /// Starts to read what is a range or more behind `from`; `None`: too little is left.
    pub(super) fn start(from: u64, end: u64, permits: Arc<Semaphore>, read: ReadRange) -> Option<Self> {
        let begin = from.checked_add(RANGE)?;
        (begin + RANGE < end).then(|| {
            let mut ranges = Self { read, permits, reads: VecDeque::new(), first: None, begin, asked: begin, end };
            ranges.fill();
            ranges
        })
    }

    /// Where the bytes begin that [`next`](Self::next) gives.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// Waits until the next range is there.
    pub(super) async fn wait_for_first(&mut self) -> Result<()> {
        if self.first.is_none() {
            self.first = Some(self.take_first().await?);
        }
        Ok(())
    }

    /// The bytes of the next range.
    pub(super) async fn next(&mut self) -> Result<Bytes> {
        let bytes = match self.first.take() {
            Some(bytes) => bytes,
            None => self.take_first().await?,
        };
        self.begin += bytes.len() as u64;
        Ok(bytes)
    }

    async fn take_first(&mut self) -> Result<Bytes> {
        let stopped = |error| Error::new(ErrorKind::Interrupted, "the work was stopped").with_source(error);
        if self.reads.is_empty() && self.asked < self.end {
            // Other blobs have all permits.
            let permit = self.permits.clone().acquire_owned().await.map_err(|error| stopped(error.to_string()))?;
            self.ask(permit);
        }
        let Some(read) = self.reads.pop_front() else {
            return Err(Error::new(ErrorKind::Corrupt, "there is no range behind the last one"));
        };
        let bytes = read.await.map_err(|error| stopped(error.to_string()))??;
        self.fill();
        Ok(bytes)
    }

    fn fill(&mut self) {
        while self.reads.len() < MOST_AT_ONCE
            && self.asked < self.end
            && let Ok(permit) = self.permits.clone().try_acquire_owned()
        {
            self.ask(permit);
        }
    }

    fn ask(&mut self, permit: OwnedSemaphorePermit) {
        let range = self.asked..(self.asked + RANGE).min(self.end);
        self.asked = range.end;
        let read = (self.read)(range);
        self.reads.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
            let _permit = permit;
            read.await
        })));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    const SIZE: u64 = 20 * RANGE + 7;

    fn permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MOST_AT_ONCE))
    }

    /// What a range is filled with.
    fn mark(start: u64) -> u8 {
        (start / RANGE % 251) as u8
    }

    /// Ranges that are filled with their mark; the later ones of those at once come first.
    /// Counts how many are under way, and how many were at most.
    fn reader(counts: &Arc<(AtomicUsize, AtomicUsize)>) -> ReadRange {
        let counts = Arc::clone(counts);
        Arc::new(move |range| {
            let counts = Arc::clone(&counts);
            async move {
                let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                counts.1.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20 - 4 * (range.start / RANGE % 5))).await;
                counts.0.fetch_sub(1, Ordering::SeqCst);
                Ok(vec![mark(range.start); (range.end - range.start) as usize].into())
            }
            .boxed()
        })
    }

    #[tokio::test]
    async fn ranges_come_in_order_and_no_more_at_once_than_are_allowed() {
        let (counts, permits) = (Arc::default(), permits());
        let mut ranges = RangeReads::start(3, SIZE, permits.clone(), reader(&counts)).unwrap();
        let mut at = ranges.begin();
        assert_eq!(at, 3 + RANGE);
        ranges.wait_for_first().await.unwrap();
        while at < SIZE {
            let bytes = ranges.next().await.unwrap();
            assert!(bytes[..] == vec![mark(at); bytes.len()], "the bytes at {at}");
            at += bytes.len() as u64;
            assert_eq!(ranges.begin(), at);
        }
        assert_eq!((at, counts.1.load(Ordering::SeqCst)), (SIZE, MOST_AT_ONCE));
        assert_eq!(permits.available_permits(), MOST_AT_ONCE);
        assert!(ranges.next().await.is_err(), "there is nothing more");
    }

    #[tokio::test]
    async fn blobs_share_what_is_allowed_and_each_gets_on() {
        let (counts, permits) = (Arc::default(), permits());
        let blob = |_| RangeReads::start(0, SIZE, permits.clone(), reader(&counts)).unwrap();
        let blobs: Vec<_> = (0..3).map(blob).collect();
        let all = futures_util::future::join_all(blobs.into_iter().map(|mut ranges| async move {
            while ranges.begin() < SIZE {
                ranges.next().await.unwrap();
            }
        }));
        all.await;
        assert_eq!(counts.1.load(Ordering::SeqCst), MOST_AT_ONCE);
    }

    #[tokio::test]
    async fn a_failed_range_is_an_error_and_the_others_end() {
        let failing: ReadRange = Arc::new(|range| {
            async move {
                match range.start {
                    RANGE => Err(Error::new(ErrorKind::Network, "the line is cut")),
                    _ => futures_util::future::pending().await,
                }
            }
            .boxed()
        });
        let permits = permits();
        let mut ranges = RangeReads::start(0, SIZE, permits.clone(), failing).unwrap();
        assert_eq!(ranges.wait_for_first().await.unwrap_err().to_string(), "the line is cut");
        drop(ranges);
        // Each is ended as soon as the runtime gets to it.
        let all = permits.acquire_many(MOST_AT_ONCE as u32);
        assert!(tokio::time::timeout(Duration::from_secs(20), all).await.is_ok());
    }

    #[test]
    fn a_connection_is_slow_by_the_time_it_lets_others_wait() {
        let mut speed = ConnectionSpeed::default();
        let mut add = |bytes, milliseconds| {
            speed.add(bytes, Duration::from_millis(milliseconds));
            speed.is_slow()
        };
        assert!(!add(TELLING - 1, 1000), "too little has come");
        assert!(add(1, 0));
        assert!(!add(20 * TELLING, 200), "fast again");
        assert!(!add(TELLING, 60), "a pause of one round trip");
        assert!(!add(20 * TELLING, 140));
        assert!(add(TELLING, 200));
        assert!(is_large(LARGE) && !is_large(LARGE - 1));
    }

    #[test]
    fn what_is_nearly_done_is_not_split() {
        assert!(RangeReads::start(SIZE - 2 * RANGE, SIZE, permits(), reader(&Arc::default())).is_none());
    }
}
