//! What the state machine of an upload takes and gives: bytes that are there, steps, responses,
//! decisions.

/// What is there to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available {
    /// Bytes that are there.
    pub(crate) written: u64,
    /// Whether they are all.
    pub(crate) complete: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadStep {
    /// POST: begin a session, or mount the blob from elsewhere.
    Start { mount: bool },
    /// GET on the session: how much has arrived?
    Status,
    /// Nothing, until this many bytes are there or the blob is complete.
    Wait { until: u64 },
    /// PATCH with these bytes.
    Patch { offset: u64, length: u64 },
    /// PUT with these bytes and the digest: the end.
    Put { offset: u64, length: u64 },
    /// HEAD: is the blob there after all?
    HeadBlob,
    /// Nothing any more.
    Finished { mounted: bool },
}

/// What of the registry's answer matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UploadResponse {
    pub(crate) status: u16,
    /// Whether the status means "not now".
    pub(crate) transient: bool,
    /// `Location`, resolved.
    pub(crate) location: Option<String>,
    /// `Range`.
    pub(crate) range: Option<String>,
    /// `OCI-Chunk-Min-Length`.
    pub(crate) least: Option<u64>,
    /// The offset that a refusal names in words.
    pub(crate) named_offset: Option<u64>,
    /// The registry says that the bytes do not have the digest.
    pub(crate) wrong_digest: bool,
}

/// What the sender does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Do the next step.
    Continue,
    /// Do the next step after a pause.
    Backoff,
    /// Stop: the registry refuses for good, and its words are the error.
    Fail,
}
