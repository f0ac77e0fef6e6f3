//! What stops an operation from outside: one switch for what builds and what is on the network.
//!
//! Refuses to know signals: a command and an interpreter each have their own.

use tokio_util::sync::CancellationToken;

use crate::sandbox::Cancel;

/// Stops the operations that it was given to, now or later: requests in flight end, a RUN step is killed, nothing new begins.
/// Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    build: Cancel,
    network: CancellationToken,
}

impl Stop {
    /// Throws the switch. The operation returns [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted) once it has cleaned up.
    pub fn stop(&self) {
        self.build.cancel();
        self.network.cancel();
    }

    /// Whether it was thrown.
    pub fn is_stopped(&self) -> bool {
        self.network.is_cancelled()
    }

    /// The part that a build looks at.
    pub fn build(&self) -> &Cancel {
        &self.build
    }

    /// The part that everything on the network looks at.
    pub fn token(&self) -> &CancellationToken {
        &self.network
    }
}
