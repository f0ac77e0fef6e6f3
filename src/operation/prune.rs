//! Freeing the space of what nothing needs any more.

use super::{Mpimg, Settings, blocking};
use crate::error::Result;
use crate::sandbox::IsolationKind;
use crate::store::{PruneOptions, PruneReport};

/// What was removed, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrunedStore {
    /// What was removed.
    pub report: PruneReport,
    /// What the store takes now, in bytes on disk.
    pub left: u64,
}

impl Mpimg {
    /// After a build: keeps the build cache to the limit that the configuration file sets, beside
    /// what other processes do. What goes wrong is a warning: the build itself has its result.
    pub(super) async fn keep_to_limit(&self) {
        let kept = async {
            let limit = Settings::read()?.cache_limit;
            let store = self.open_store().await?;
            blocking(move || store.keep_to_limit(limit, &|path| IsolationKind::UserNamespace.remove_tree(path))).await
        };
        match kept.await {
            Ok(Some(report)) => self.progress().note(&format!(
                "the build cache was over its limit: {} MB that were unused for longest were removed",
                report.freed / 1_000_000
            )),
            Ok(None) => {}
            Err(error) => self.progress().warn(&format!("the build cache cannot be kept to its limit: {error}"), error.hint()),
        }
    }

    /// Removes from the local store what has no name and is not in use by another process, and what
    /// `options` say.
    ///
    /// # Errors
    /// [`ErrorKind::Store`](crate::ErrorKind::Store): the store cannot be read or written.
    pub async fn prune(&self, options: PruneOptions) -> Result<PrunedStore> {
        let store = self.open_store().await?;
        blocking(move || {
            // Trees that were unpacked in a user namespace belong to ids that are the user's own
            // only there.
            let report = store.prune_with(&options, &|path| IsolationKind::UserNamespace.remove_tree(path))?;
            Ok(PrunedStore { report, left: store.disk_usage()?.total() })
        })
        .await
    }
}
