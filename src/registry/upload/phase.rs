//! Where an upload is between two requests.

/// What is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Begin {
        mount: bool,
    },
    /// [`StatusReason`]: why the registry is asked decides what its response means.
    Status(StatusReason),
    Send,
    Find {
        session_gone: bool,
    },
    /// The session does not exist: it was cancelled, or ended by a PUT whose response was lost.
    SessionLost,
    Done {
        mounted: bool,
    },
}

/// Why the registry is asked how far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusReason {
    /// A request was lost, or the session is from another process.
    Lost,
    /// A chunk was taken, with a `Range` that does not fit.
    OddRange,
    /// A chunk was refused as too large or as out of place.
    Refused,
}
