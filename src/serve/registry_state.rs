//! What all requests to one registry share.

use std::sync::atomic::AtomicU64;

use tokio_util::task::TaskTracker;

use super::RegistryOptions;
use super::access_control::AccessControl;
use super::blocking::died;
use super::disk::Disk;
use super::error_response::ErrorResponse;
use super::upload_session::UploadSessions;

/// The registry's data and rules, and what is under way.
#[derive(Debug)]
pub(super) struct RegistryState {
    pub(super) options: RegistryOptions,
    pub(super) disk: Disk,
    pub(super) sessions: UploadSessions,
    pub(super) access_control: Option<AccessControl>,
    pub(super) requests: AtomicU64,
    // What goes on although its request may be gone.
    pub(super) tasks: TaskTracker,
}

impl RegistryState {
    /// Runs `work` to its end, whatever becomes of the request that waits for it.
    pub(super) async fn in_task<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ErrorResponse>> + Send + 'static,
    ) -> Result<T, ErrorResponse> {
        self.tasks.spawn(work).await.map_err(died)?
    }
}
