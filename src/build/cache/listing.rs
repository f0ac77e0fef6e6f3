//! What the sources of a step in the build context were when they were looked at, as keys.
//!
//! A stamp that could hide a change is not trusted: that of a file that changed in the seconds
//! before it was read (a second change within the clock's grain would leave no trace; git calls
//! such files racy), or on a file system whose times of change say nothing. One change no stamp
//! shows: a program that keeps a file mapped may write into it for some seconds before its times
//! move.

use std::cell::RefCell;

use super::keys;
use crate::build::guarded_walk::GuardedWalk;
use crate::context::{Patterns, Source, WalkEntry};
use crate::error::Result;
use crate::layer::is_settled;
use crate::oci::Hasher;
use crate::store::CacheKey;

/// What a source was when it was looked at.
pub(in crate::build) struct Listing {
    /// Names, kinds, sizes, modes, and the stamps of files.
    exact: Hasher,
    /// As `exact`, without stamps.
    outline: Hasher,
    device: Option<u64>,
    /// When a file changed last.
    newest: i64,
    /// Whether the times of change of all files say that nothing changed.
    telling: bool,
    /// Bytes of all files.
    bytes: u64,
    /// Bytes of those that changed after `before`, in seconds since 1970.
    newer: u64,
    before: i64,
}

impl Listing {
    pub(super) fn new(source: &Source, device: Option<u64>) -> Self {
        let mut listing = Self {
            exact: Hasher::new(),
            outline: Hasher::new(),
            device,
            newest: i64::MIN,
            telling: device.is_some(),
            bytes: 0,
            newer: 0,
            before: i64::MAX,
        };
        listing.field(source.path().as_bytes());
        listing.field(format!("{:?}", source.kind()).as_bytes());
        listing
    }

    /// Adds a file of a source once the guard has seen it.
    pub(in crate::build) fn note(listing: &RefCell<Self>, walk: &GuardedWalk<'_>, walked: &WalkEntry) -> Result<()> {
        walk.check(walked)?;
        listing.borrow_mut().add(walked);
        Ok(())
    }

    /// All that a source holds; its files are not read. `before`: when they were looked at last.
    pub(super) fn of(
        source: &Source,
        device: Option<u64>,
        exclude: &Patterns,
        before: i64,
        check: impl Fn(&WalkEntry) -> Result<()>,
    ) -> Result<Self> {
        let mut listing = Self { before, ..Self::new(source, device) };
        for walked in source.walk(exclude)?.ahead() {
            let walked = walked?;
            check(&walked)?;
            listing.add(&walked);
        }
        Ok(listing)
    }

    fn field(&mut self, bytes: &[u8]) {
        self.exact.update_field(bytes);
        self.outline.update_field(bytes);
    }

    /// Takes an entry in.
    pub(in crate::build) fn add(&mut self, walked: &WalkEntry) {
        self.field(walked.entry.path.as_bytes());
        let form = postcard::to_stdvec(&(&walked.entry.kind, walked.entry.metadata.mode));
        self.field(&form.unwrap_or_default());
        let Some(stamp) = walked.stamp() else { return };
        self.newest = self.newest.max(stamp.ctime.0);
        self.bytes += stamp.size;
        self.newer += if stamp.ctime.0 >= self.before { stamp.size } else { 0 };
        self.telling &= self.device == Some(stamp.device);
        stamp.update(&mut self.exact);
    }
}

/// The listings of all sources as keys.
pub(super) struct ListingKeys {
    pub(super) outline: CacheKey,
    /// `None` where stamps prove nothing.
    pub(super) exact: Option<CacheKey>,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Whether files changed after they were looked at last, but those with less than half of the
    /// bytes.
    pub(super) few_changed: bool,
}

impl ListingKeys {
    /// `since`: when the first source was looked at.
    pub(super) fn new(step: CacheKey, listings: impl IntoIterator<Item = Listing>, since: i64) -> Self {
        let (mut exact, mut outline, mut trusted) = (String::new(), String::new(), true);
        let (mut newer, mut bytes) = (0, 0);
        for listing in listings {
            trusted &= listing.telling && is_settled(listing.newest, since);
            (newer, bytes) = (newer + listing.newer, bytes + listing.bytes);
            exact.push_str(&listing.exact.finish().to_string());
            outline.push_str(&listing.outline.finish().to_string());
        }
        let exact = keys::with(step, "files with their times", &format!("exact {exact}"));
        Self {
            outline: keys::with(step, "names, sizes and modes of files", &format!("outline {outline}")),
            exact: trusted.then_some(exact),
            few_changed: newer > 0 && newer < bytes / 2,
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::context::{BuildContext, ContextOptions};
    use crate::oci::Digest;

    /// Whether the stamp of a file is trusted, looked at this many seconds after it changed, on a
    /// device that tells or does not.
    fn trusted(after: i64, same_device: bool) -> bool {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "a").unwrap();
        let metadata = folder.path().join("a").metadata().unwrap();
        let context = BuildContext::open(folder.path(), ContextOptions::default()).unwrap();
        let source = &context.sources("a").unwrap()[0];
        let device = same_device.then(|| metadata.dev());
        let mut listing = Listing::new(source, device);
        listing.add(&source.walk(&Patterns::default()).unwrap().next().unwrap().unwrap());
        ListingKeys::new(CacheKey(Digest::of("step")), [listing], metadata.ctime() + after).exact.is_some()
    }

    #[test]
    fn a_stamp_is_trusted_only_when_a_change_would_show() {
        assert!(trusted(3, true));
        assert!(!trusted(2, true), "a change in the same two seconds");
        assert!(!trusted(-100, true), "a clock that was set back");
        assert!(!trusted(3, false), "a file system that does not tell");
    }
}
