//! Names that one process gives to images for as long as it lives: the repository [`REPOSITORY`],
//! and a tag that says which process.
//!
//! ```text
//! BOOT.NAMESPACE.PID.START.ANYTHING    the beginning of the boot's ID, the number of the PID namespace, the process's number there,
//!                                      and when it started (proc(5), `starttime`)
//! ```
//!
//! A process that is killed leaves its names. Never takes away those of a process that cannot be
//! looked at (another namespace's, another machine's) before a day has passed.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::{Store, process_stat};
use crate::error::Result;
use crate::oci::Reference;

/// That of the SDK's tools (python/mpimg/docker_part.py).
const REPOSITORY: &str = "mpimg-mp-build";
/// What images are called that a failed step stood on.
pub(crate) const FAILED_STEP: &str = "failed-step";
/// Longer than any of them works.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether the name is such a one.
pub(super) fn is_transient(name: &Reference) -> bool {
    let repository = name.repository().familiar();
    repository == REPOSITORY || repository == FAILED_STEP
}

impl Store {
    /// Takes away the names that processes left which are gone.
    pub(super) fn forget_transient(&self) -> Result<()> {
        let here = Here::look();
        for (name, _) in self.list()?.into_iter().filter(|(name, _)| is_transient(name)) {
            let old = || self.named_at(&name).is_none_or(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > DAY));
            let process = name.tag().map(|tag| tag.as_str().split('.').collect::<Vec<_>>());
            let gone = match process.as_deref() {
                Some([boot, namespace, pid, start, ..]) if here.is(boot, namespace) => started(pid).as_deref() != Some(*start),
                _ => old(),
            };
            if gone {
                self.untag(&name)?;
            }
        }
        Ok(())
    }
}

/// Which processes can be looked at.
struct Here {
    boot: String,
    namespace: String,
}

impl Here {
    fn look() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino().to_string());
        Self { boot, namespace: namespace.unwrap_or_default() }
    }

    fn is(&self, boot: &str, namespace: &str) -> bool {
        !boot.is_empty() && self.boot.starts_with(boot) && !namespace.is_empty() && self.namespace == namespace
    }
}

/// When a process started, in the kernel's own unit; none that is there has none.
fn started(pid: &str) -> Option<String> {
    let pid: u32 = pid.parse().ok()?;
    let stat = process_stat::read(format!("/proc/{pid}/stat").as_ref())?;
    // The 22nd field.
    process_stat::fields_after_name(&stat).nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_in_its_namespace_of_its_boot() {
        let here = Here::look();
        let (boot, own) = (&here.boot[..8], std::process::id().to_string());
        assert!(here.is(boot, &here.namespace));
        for (boot, namespace) in [("00000000", here.namespace.as_str()), (boot, "1"), ("", here.namespace.as_str())] {
            assert!(!here.is(boot, namespace), "{boot} {namespace}");
        }
        assert!(started(&own).unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!((started("4294967295"), started("self")), (None, None));
    }
}
