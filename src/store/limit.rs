//! How much the build cache may take before what was unused for longest is removed: BuildKit's
//! default policy.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
use crate::size::{Units, parse_size};

use super::layout::failed;
use super::{PruneOptions, PruneReport, Store};

/// The file whose time says when the limit was looked at last.
const LOOKED: &str = "limit-looked-at";

/// How often it is looked at: measuring a store takes up to seconds.
const INTERVAL: Duration = Duration::from_secs(600);

const GB: u64 = 1_000_000_000;

/// How much the build cache may take: cache records with what they alone hold, folders of cache
/// mounts, unpacked layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheLimit {
    /// BuildKit's default (moby/buildkit, cmd/buildkitd/config/gcpolicy.go): 80 % of the disk, 100
    /// GB at most, and less where that would leave less than 20 % of the disk free, down to 10 % of
    /// it, 10 GB at most, which it may always have.
    #[default]
    Automatic,
    /// This many bytes.
    Bytes(u64),
    /// This share of the disk, in percent.
    Percent(u8),
    /// It grows until somebody prunes.
    None,
}

/// A file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub total: u64,
    /// What users may still take.
    pub free: u64,
}

impl CacheLimit {
    /// The bytes that a build cache of `used` bytes may keep on `disk`; `None`: all of them.
    pub fn keeps(self, used: u64, disk: Disk) -> Option<u64> {
        let share = |percent: u64| disk.total / 100 * percent;
        match self {
            Self::None => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => Some(share(percent.into())),
            Self::Automatic => {
                let missing = share(20).saturating_sub(disk.free);
                let most = share(80).min(100 * GB);
                Some(most.min(used.saturating_sub(missing)).max(share(10).min(10 * GB)))
            }
        }
        .filter(|keep| *keep < used)
    }
}

impl FromStr for CacheLimit {
    type Err = Error;

    /// Reads `auto`, `none`, a share of the disk (`30%`) or a size (`20GB`, `512MiB`).
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a limit of the build cache"))
                .with_hint("write a size (20GB), a share of the disk (30%), auto or none")
        };
        match text.trim() {
            "auto" => return Ok(Self::Automatic),
            "none" => return Ok(Self::None),
            _ => {}
        }
        if let Some(percent) = text.trim().strip_suffix('%') {
            let percent = percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent));
            return percent.map(Self::Percent).ok_or_else(wrong);
        }
        parse_size(text, Units::Disk).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl Store {
    /// The file system that the store is on.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: the system does not tell.
    pub fn disk(&self) -> Result<Disk> {
        let stat = rustix::fs::statvfs(self.root()).map_err(|errno| failed("look at", self.root(), errno.into()))?;
        Ok(Disk { total: stat.f_blocks * stat.f_frsize, free: stat.f_bavail * stat.f_frsize })
    }

    /// Removes what was unused for longest from a build cache that is over `limit`, except what
    /// processes use. Does nothing where another process has looked in the last ten minutes and
    /// less than a tenth of the disk has been filled since then.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: the store cannot be read or written.
    pub fn keep_to_limit(&self, limit: CacheLimit, foreign: &dyn Fn(&Path) -> Result<()>) -> Result<Option<PruneReport>> {
        if limit == CacheLimit::None || !self.is_time_to_look()? {
            return Ok(None);
        }
        let used = self.cache_usage()?;
        let Some(keep) = limit.keeps(used, self.disk()?) else { return Ok(None) };
        tracing::info!(used, keep, "the build cache is over its limit");
        let options = PruneOptions { keep_cache: Some(keep), ..PruneOptions::default() };
        self.prune_with(&options, foreign).map(Some)
    }

    /// Whether nobody has looked for a while; notes that somebody does now.
    fn is_time_to_look(&self) -> Result<bool> {
        let path = self.root().join(LOOKED);
        let free = self.disk()?.free;
        let before: Option<u64> = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let looked = path.metadata().and_then(|metadata| metadata.modified());
        let age = looked.ok().and_then(|looked| SystemTime::now().duration_since(looked).ok());
        let quiet = before.is_some_and(|before| free >= before / 10 * 9);
        if quiet && age.is_some_and(|age| age < INTERVAL) {
            return Ok(false);
        }
        std::fs::write(&path, format!("{free}\n")).map_err(|error| failed("write", &path, error))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_shares_or_words() {
        for (text, limit) in [
            ("auto", CacheLimit::Automatic),
            ("none", CacheLimit::None),
            ("30%", CacheLimit::Percent(30)),
            ("20GB", CacheLimit::Bytes(20 * GB)),
            ("1.5g", CacheLimit::Bytes(3 * GB / 2)),
            ("2MiB", CacheLimit::Bytes(2 << 20)),
            ("0", CacheLimit::Bytes(0)),
        ] {
            assert_eq!(text.parse::<CacheLimit>().unwrap(), limit, "{text}");
        }
        for text in ["", "x", "101%", "0%", "5 apples", "-1"] {
            assert!(text.parse::<CacheLimit>().unwrap_err().hint().is_some(), "{text}");
        }
    }

    #[test]
    fn the_automatic_limit_is_that_of_buildkit() {
        let keeps = |used: u64, total: u64, free: u64| {
            let disk = Disk { total: total * GB, free: free * GB };
            CacheLimit::Automatic.keeps(used * GB, disk).map(|bytes| bytes / GB)
        };
        // Room enough: up to 80 % of the disk, and no more than 100 GB.
        assert_eq!(keeps(50, 100, 40), None);
        assert_eq!(keeps(90, 100, 5), Some(75));
        assert_eq!(keeps(120, 1000, 700), Some(100));
        // A fifth of the disk stays free, unless the cache is down to a tenth of it, or 10 GB.
        assert_eq!(keeps(50, 100, 10), Some(40));
        assert_eq!(keeps(30, 100, 0), Some(10));
        assert_eq!(keeps(8, 100, 0), None);
        assert_eq!(keeps(50, 1000, 0), Some(10));
        let disk = Disk { total: 100 * GB, free: 0 };
        assert_eq!(CacheLimit::Percent(5).keeps(6 * GB, disk), Some(5 * GB));
        assert_eq!(CacheLimit::Bytes(7).keeps(7, disk), None);
        assert_eq!(CacheLimit::None.keeps(u64::MAX, disk), None);
    }
}
