//! An upload as a state machine: what to send next, given the registry's responses (distribution
//! specification, "Pushing Blobs").
//!
//! It has no clock, network or file, so that it can be tried against any simulated registry.

use super::limits::UploadLimits;
use super::phase::{Phase, StatusReason};
use super::range::{StatusNumber, StatusReading, UploadedRange, counts, other_meaning, patched_offset, status_offset};
use super::step::{Available, Decision, UploadResponse, UploadStep};

/// So often a session may answer 500 after a chunk broke off: once is trouble that passes.
const JAMS: u32 = 2;

/// An upload of one blob.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    limits: UploadLimits,
    phase: Phase,
    location: Option<String>,
    /// Bytes of the next chunk, if they are there: at least the limits' chunk.
    preferred: u64,
    /// Bytes of the last chunk that was answered.
    last_length: u64,
    /// Bytes that the registry has confirmed.
    offset: u64,
    /// The most bytes that the session can hold: none beyond them were sent.
    sent: u64,
    /// The most that any session of this upload had confirmed: only what goes beyond it is
    /// progress.
    reached: u64,
    /// Things that went wrong since the last progress.
    faults: u32,
    /// Whether anything went wrong in this session: then a wrong digest may be the session's fault.
    tainted: bool,
    /// Whether the registry found a wrong digest before.
    wrong_digest: bool,
    /// How the number of a status is read.
    reading: StatusReading,
    /// The offset before that guess.
    before_guess: u64,
    /// Refusals without a known meaning.
    unexplained_errors: u32,
    /// How often the session has answered 500 since a chunk broke off, in this process or another.
    jams: Option<u32>,
}

impl Upload {
    /// A new upload; first it tries to mount, if there is something to mount from.
    pub(crate) fn new(limits: UploadLimits, mount: bool) -> Self {
        Self {
            preferred: limits.chunk_size,
            limits,
            phase: Phase::Begin { mount },
            location: None,
            last_length: 0,
            offset: 0,
            sent: 0,
            reached: 0,
            faults: 0,
            tainted: false,
            wrong_digest: false,
            reading: StatusReading { meaning: StatusNumber::Unknown, guessed: false },
            before_guess: 0,
            unexplained_errors: 0,
            jams: None,
        }
    }

    /// Takes up the session of another process, which had `offset` bytes confirmed.
    pub(crate) fn resume(limits: UploadLimits, location: String, offset: u64) -> Self {
        let phase = Phase::Status(StatusReason::Lost);
        // How far the other process sent, only the blob's end tells.
        let sent = u64::MAX;
        let location = Some(location);
        Self { phase, location, offset, sent, reached: offset, tainted: true, jams: Some(0), ..Self::new(limits, false) }
    }

    /// Where the session is; `None` if there is none.
    pub(crate) fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Bytes that the registry has confirmed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The offset for the record: the next process, which does not know what was tried, must be
    /// able to try the same again.
    pub(crate) fn recorded_offset(&self) -> u64 {
        if self.reading.guessed { self.before_guess } else { self.offset }
    }

    /// The shortest chunk that the registry takes, as it told when the session began.
    pub(crate) fn least_chunk(&self) -> Option<u64> {
        self.limits.announced
    }

    /// Failures since the last progress; the sender gives up when there are too many.
    pub(crate) fn faults(&self) -> u32 {
        self.faults
    }

    /// Whether the registry has the blob.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done { .. })
    }

    /// Wishes for larger chunks, where a round trip a chunk costs much; within the limits.
    pub(crate) fn prefer(&mut self, chunk: u64) {
        self.preferred = chunk.clamp(self.limits.chunk_size, self.limits.max_chunk.max(self.limits.chunk_size));
    }

    /// What to do next.
    pub(crate) fn next(&mut self, available: Available) -> UploadStep {
        let Available { written, complete } = available;
        if complete {
            self.sent = self.sent.min(written);
        }
        if self.phase == Phase::Send && complete && self.offset > written {
            // The session holds more than the blob has: it is somebody else's, or garbage.
            self.restart();
        }
        match self.phase {
            // Only a whole blob has a digest to look for.
            Phase::SessionLost if complete => {
                self.phase = Phase::Find { session_gone: true };
                UploadStep::HeadBlob
            }
            Phase::SessionLost => {
                self.restart();
                UploadStep::Start { mount: false }
            }
            Phase::Begin { mount } => UploadStep::Start { mount },
            Phase::Status(_) => UploadStep::Status,
            Phase::Find { .. } => UploadStep::HeadBlob,
            Phase::Done { mounted } => UploadStep::Finished { mounted },
            Phase::Send if !complete => self.next_of_growing(written),
            Phase::Send => self.next_of_complete(written - self.offset),
        }
    }

    fn next_of_growing(&self, written: u64) -> UploadStep {
        let enough = if self.offset == 0 { self.limits.start_at.min(self.limits.chunk_size) } else { self.limits.chunk_size };
        let end = self.offset + enough;
        // One byte more than a chunk: the last one may have to go with the PUT.
        match written > end && !self.limits.single_request {
            true => UploadStep::Patch { offset: self.offset, length: self.preferred.min(written - 1 - self.offset) },
            false if self.limits.single_request => UploadStep::Wait { until: u64::MAX },
            false => UploadStep::Wait { until: end + 1 },
        }
    }

    fn next_of_complete(&self, left: u64) -> UploadStep {
        let UploadLimits { single_request, last_in_put, .. } = self.limits;
        let chunk = self.preferred;
        let whole = self.offset == 0 && left <= chunk;
        match left == 0 || single_request || whole || (last_in_put && left <= chunk) {
            true => UploadStep::Put { offset: self.offset, length: left },
            false => UploadStep::Patch { offset: self.offset, length: left.min(chunk) },
        }
    }

    /// Takes in the registry's answer to `step`.
    pub(crate) fn answered(&mut self, step: UploadStep, response: &UploadResponse) -> Decision {
        self.went(step);
        match step {
            UploadStep::Start { mount } => self.started(mount, response),
            UploadStep::Status => self.status_received(response),
            UploadStep::Patch { offset, length } => self.patched(offset, length, response),
            UploadStep::Put { length, .. } => self.put(length, response),
            UploadStep::HeadBlob => self.head_answered(response),
            UploadStep::Wait { .. } | UploadStep::Finished { .. } => Decision::Continue,
        }
    }

    /// Takes in that no answer came: the registry may have taken all, part or nothing.
    pub(crate) fn broken(&mut self, step: UploadStep) -> Decision {
        self.fault();
        if let Some(length) = self.went(step).filter(|length| *length > 0) {
            self.jams = self.jams.or(Some(0));
            match self.faults {
                // The link, perhaps.
                1 => self.preferred = (length / 2).max(self.limits.chunk_size),
                // A proxy ends requests that are too large or take too long for it, without a word.
                _ => drop(self.shrink()),
            }
        }
        match step {
            UploadStep::Start { .. } => self.phase = Phase::Begin { mount: false },
            UploadStep::Patch { .. } => self.phase = Phase::Status(StatusReason::Lost),
            UploadStep::Put { .. } => self.phase = Phase::Find { session_gone: false },
            UploadStep::Status | UploadStep::HeadBlob | UploadStep::Wait { .. } | UploadStep::Finished { .. } => {}
        }
        Decision::Backoff
    }

    /// Notes how far the bytes of `step` reach, and returns how many they are.
    fn went(&mut self, step: UploadStep) -> Option<u64> {
        let (UploadStep::Patch { offset, length } | UploadStep::Put { offset, length }) = step else { return None };
        self.sent = self.sent.max(offset + length);
        self.last_length = length;
        Some(length)
    }

    fn started(&mut self, mount: bool, response: &UploadResponse) -> Decision {
        match response.status {
            201 if mount => self.to(Phase::Done { mounted: true }),
            201 | 202 if response.location.is_some() => {
                self.follow(response);
                (self.offset, self.sent, self.tainted) = (0, 0, false);
                self.to(Phase::Send)
            }
            // Any trouble with a mount ends in a plain upload: Harbor refuses the whole POST if the
            // source may not be read (goharbor/harbor#17097), Docker Hub likewise
            // (go-containerregistry#1681).
            _ if mount => self.to(Phase::Begin { mount: false }),
            _ if response.transient => self.pause(),
            _ => Decision::Fail,
        }
    }

    fn status_received(&mut self, response: &UploadResponse) -> Decision {
        let Phase::Status(reason) = self.phase else { return Decision::Continue };
        match response.status {
            200..=204 => {
                let range = response.range.as_deref().and_then(UploadedRange::parse);
                let offset = range.map_or(self.offset, |range| self.held(range));
                self.follow(response);
                if reason == StatusReason::Refused && offset == self.offset {
                    if let Some(offset) = range.and_then(|range| self.read_otherwise(range)) {
                        self.confirm(offset);
                        return self.to(Phase::Send);
                    }
                    let offset = self.offset;
                    if !(self.shrink() || offset == 0 && self.tainted) {
                        return Decision::Fail;
                    }
                    if offset == 0 {
                        // `0-0` may be one byte that came through: it costs no more to begin again.
                        self.restart();
                        return Decision::Continue;
                    }
                    return self.to(Phase::Send);
                }
                self.confirm(offset);
                self.to(Phase::Send)
            }
            // Public ECR knows no status (dotnet/sdk-container-builds#33019): what it took by its
            // own word, it has.
            404 | 405 if reason == StatusReason::OddRange => self.to(Phase::Send),
            // It tells the right offset where the next chunk goes, or that the session is gone.
            404 | 405 if self.limits.no_status && (reason != StatusReason::Refused || self.shrink()) => self.to(Phase::Send),
            401 | 403 => Decision::Fail,
            _ if response.transient => self.pause(),
            404 | 410 if reason == StatusReason::Lost => {
                self.fault();
                self.to(Phase::SessionLost)
            }
            _ => {
                if reason == StatusReason::Refused {
                    // Wrong offset or wrong size? The registry cannot say; a smaller chunk is right
                    // either way.
                    self.shrink();
                }
                self.fault();
                self.restart();
                Decision::Continue
            }
        }
    }

    fn patched(&mut self, offset: u64, length: u64, response: &UploadResponse) -> Decision {
        match response.status {
            200..=204 => {
                self.jams = None;
                self.follow(response);
                let range = response.range.as_deref().filter(|_| !self.limits.ignore_range).and_then(UploadedRange::parse);
                match range.map_or(Some(offset + length), |range| patched_offset(range, offset, length)) {
                    Some(offset) => {
                        self.reading.guessed = false;
                        self.confirm(offset);
                        self.to(Phase::Send)
                    }
                    None => {
                        self.confirm(offset + length);
                        self.fault();
                        self.to(Phase::Status(StatusReason::OddRange))
                    }
                }
            }
            404 | 410 => {
                self.fault();
                self.restart();
                Decision::Continue
            }
            405 | 501 => self.all_at_once(),
            400 => self.unexplained(),
            _ => self.refused_chunk(response),
        }
    }

    fn put(&mut self, length: u64, response: &UploadResponse) -> Decision {
        match response.status {
            200 | 201 | 204 => self.to(Phase::Done { mounted: false }),
            // Taken, but not yet done, or so it says: look.
            202 => {
                self.fault();
                self.phase = Phase::Find { session_gone: false };
                Decision::Backoff
            }
            // The answer to an earlier PUT may have been lost.
            404 | 410 => {
                self.fault();
                self.to(Phase::Find { session_gone: true })
            }
            // Bytes may have been damaged on the way, or put together in a wrong order: once more,
            // unless there is a known reason.
            _ if response.wrong_digest && !self.tainted && self.wrong_digest => Decision::Fail,
            _ if response.wrong_digest => {
                self.wrong_digest = true;
                self.fault();
                self.restart();
                Decision::Continue
            }
            400 => self.unexplained(),
            _ if response.transient => {
                self.phase = Phase::Find { session_gone: length > 0 && self.is_jammed(response) };
                self.pause()
            }
            // Nothing to cut smaller, and no way to begin again with less.
            413 if self.limits.single_request || length == 0 => Decision::Fail,
            _ => self.refused_chunk(response),
        }
    }

    fn head_answered(&mut self, response: &UploadResponse) -> Decision {
        let Phase::Find { session_gone } = self.phase else { return Decision::Continue };
        match response.status {
            200 => self.to(Phase::Done { mounted: false }),
            _ if response.transient => self.pause(),
            _ if session_gone => {
                self.restart();
                Decision::Continue
            }
            _ => self.to(Phase::Status(StatusReason::Lost)),
        }
    }

    /// A chunk that was refused for its place or size, or not now.
    fn refused_chunk(&mut self, response: &UploadResponse) -> Decision {
        let range = response.range.as_deref().and_then(UploadedRange::parse);
        let named = response.named_offset.or(range.map(|range| self.held(range)));
        match (response.status, named) {
            (416, Some(offset)) if offset != self.offset => {
                self.fault();
                self.follow(response);
                self.confirm(offset);
                self.to(Phase::Send)
            }
            // The registry agrees about the place: it is the size that it refuses.
            (416, Some(_)) if !self.shrink() => Decision::Fail,
            (416, Some(_)) => self.to(Phase::Status(StatusReason::Lost)),
            (416, None) => {
                // No reason to believe that the session is damaged.
                self.faults += 1;
                self.to(Phase::Status(StatusReason::Refused))
            }
            (413, _) if !self.shrink() => Decision::Fail,
            (413, _) => self.to(Phase::Status(StatusReason::Lost)),
            _ if response.transient && self.is_jammed(response) => {
                self.fault();
                self.restart();
                Decision::Continue
            }
            _ if response.transient => {
                self.phase = Phase::Status(StatusReason::Lost);
                self.pause()
            }
            _ => Decision::Fail,
        }
    }

    /// Whether the session is lost although its status says that it goes on: Gitea 1.23 keeps the
    /// part of a chunk that came before the connection broke, does not count it, and answers 500 to
    /// all that follows (`services/packages/container/blob_uploader.go`, `errOffsetMissmatch`).
    fn is_jammed(&mut self, response: &UploadResponse) -> bool {
        self.jams = self.jams.map(|jams| jams + u32::from(response.status == 500));
        self.jams.is_some_and(|jams| jams >= JAMS)
    }

    /// A refusal without a known meaning: a fresh session may help, then everything in one request.
    fn unexplained(&mut self) -> Decision {
        self.unexplained_errors += 1;
        match self.unexplained_errors {
            1 => {
                self.fault();
                self.restart();
                Decision::Continue
            }
            2 => self.all_at_once(),
            _ => Decision::Fail,
        }
    }

    fn all_at_once(&mut self) -> Decision {
        if self.limits.single_request {
            return Decision::Fail;
        }
        self.limits.single_request = true;
        self.fault();
        self.restart();
        Decision::Continue
    }

    /// Makes chunks half as large as the refused one; `false` if that is as small as it gets.
    fn shrink(&mut self) -> bool {
        let half = self.preferred.min(self.last_length) / 2;
        let may = half >= self.limits.min_chunk && !self.limits.single_request;
        if may {
            (self.preferred, self.limits.max_chunk) = (half, half);
            self.limits.chunk_size = self.limits.chunk_size.min(half);
        }
        may
    }

    /// How many bytes the session holds by its status.
    fn held(&mut self, range: UploadedRange) -> u64 {
        if counts(range, self.sent) {
            self.reading = StatusReading { meaning: StatusNumber::Count, guessed: false };
        }
        status_offset(range, self.offset, self.reading.meaning)
    }

    /// The other meaning of a status that led to a refusal, once; `None` if it is not the place
    /// that is refused.
    fn read_otherwise(&mut self, range: UploadedRange) -> Option<u64> {
        match self.reading {
            StatusReading { meaning: StatusNumber::Unknown, .. } => {
                let meaning = other_meaning(range, self.offset)?;
                (self.reading, self.before_guess) = (StatusReading { meaning, guessed: true }, self.offset);
                Some(status_offset(range, u64::MAX, meaning))
            }
            // That was not it either: the first reading was right, and something else is refused.
            StatusReading { meaning: guess, guessed: true } => {
                let meaning = if guess == StatusNumber::Count { StatusNumber::LastByte } else { StatusNumber::Count };
                self.reading = StatusReading { meaning, guessed: false };
                self.offset = status_offset(range, u64::MAX, meaning);
                None
            }
            StatusReading { guessed: false, .. } => None,
        }
    }

    /// Gives up a session that makes no progress; the next step starts from the first byte.
    pub(crate) fn restart_session(&mut self) {
        self.restart();
        (self.reached, self.faults, self.wrong_digest, self.unexplained_errors) = (0, 0, false, 0);
    }

    fn restart(&mut self) {
        self.phase = Phase::Begin { mount: false };
        (self.location, self.offset, self.tainted, self.jams) = (None, 0, false, None);
    }

    fn follow(&mut self, response: &UploadResponse) {
        if response.location.is_some() {
            self.location.clone_from(&response.location);
        }
        self.limits.announce(response.least);
        self.preferred = self.preferred.max(self.limits.chunk_size);
    }

    fn confirm(&mut self, offset: u64) {
        self.offset = offset;
        if offset > self.reached {
            (self.reached, self.faults) = (offset, 0);
        }
    }

    fn fault(&mut self) {
        self.faults += 1;
        self.tainted = true;
    }

    fn pause(&mut self) -> Decision {
        self.fault();
        Decision::Backoff
    }

    fn to(&mut self, phase: Phase) -> Decision {
        self.phase = phase;
        Decision::Continue
    }
}
