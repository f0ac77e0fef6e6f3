//! What a file system says of a file besides its content.

use crate::oci::Hasher;

/// A file must not have changed for so many seconds before it was looked at: the coarsest times are
/// whole seconds.
const SETTLED: i64 = 2;

/// What changes in a regular file's metadata whenever its content changes, on file systems with
/// reliable times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content was last changed, unless somebody set it: seconds since 1970, and
    /// nanoseconds.
    pub mtime: (i64, u32),
    /// When anything of it was last changed: seconds since 1970, and nanoseconds.
    pub ctime: (i64, u32),
}

impl Stamp {
    /// Makes it a part of what `hasher` hashes.
    pub(crate) fn update(&self, hasher: &mut Hasher) {
        let Self { device, inode, size, mtime, ctime } = self;
        [*device, *inode, *size].iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        [mtime, ctime].iter().for_each(|(seconds, nanoseconds)| {
            hasher.update(&seconds.to_le_bytes());
            hasher.update(&nanoseconds.to_le_bytes());
        });
    }
}

/// Which stamps prove that content is what it was.
#[derive(Debug, Clone, Copy)]
pub struct StampRule {
    /// The device whose times are reliable; `None`: no times are.
    pub device: Option<u64>,
    /// When the first file was looked at, in seconds since 1970.
    pub since: i64,
}

impl StampRule {
    /// Whether a change after this stamp would show in the next one. A second change within the
    /// clock's grain would leave no trace (git calls such files racy).
    pub(super) fn proves(&self, stamp: &Stamp) -> bool {
        self.device == Some(stamp.device) && is_settled(stamp.ctime.0, self.since)
    }
}

/// Whether what changed last at `changed` was old enough when it was looked at.
pub(crate) fn is_settled(changed: i64, since: i64) -> bool {
    changed.saturating_add(SETTLED) < since
}
