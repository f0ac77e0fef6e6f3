//! A registry that uploads go to in the tests of the state machine. It checks the bytes themselves.

use super::step::{UploadResponse, UploadStep};

/// What sets registries apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) range: RangeDialect,
    /// distribution 2.8: an address names its offset, and any other is the end of the session.
    pub(super) strict: bool,
    /// Parts of a broken chunk stay.
    pub(super) keeps_parts: bool,
    /// Knows GET on a session.
    pub(super) knows_status: bool,
    /// Largest request body, and what it answers to a larger one.
    pub(super) largest: Option<(u64, u16)>,
    /// Refuses PATCH.
    pub(super) no_patch: bool,
    /// Appends bytes wherever they were meant to go.
    pub(super) ignores_offsets: bool,
    /// Names the right offset in a 416.
    pub(super) names_offset: bool,
    /// `OCI-Chunk-Min-Length`, enforced at the end.
    pub(super) least: Option<u64>,
    /// A chunk that breaks ends the session: zot, ACR.
    pub(super) fragile: bool,
    /// Gitea: a part of a chunk that broke off stays uncounted, and each later one gets 500.
    pub(super) jams: bool,
    /// Takes no second chunk: Google.
    pub(super) whole_only: bool,
    /// Refuses a PUT without bytes: ECR.
    pub(super) no_empty_put: bool,
    /// What it answers to a mount: 201, an ordinary session, or a refusal.
    pub(super) mount: u16,
}

impl Dialect {
    pub(super) const PLAIN: Self = Self {
        range: RangeDialect::Standard,
        strict: false,
        keeps_parts: true,
        knows_status: true,
        largest: None,
        no_patch: false,
        ignores_offsets: false,
        names_offset: false,
        least: None,
        fragile: false,
        jams: false,
        whole_only: false,
        no_empty_put: false,
        mount: 202,
    };
}

#[derive(Debug, Clone, Copy)]
pub(super) enum RangeDialect {
    Standard,
    Quay,
    Absent,
    /// ECR: stands still at the end of the first chunk.
    Stuck,
    /// Gitea: a status names the count of bytes.
    Counted,
}

pub(super) struct SimulatedRegistry {
    dialect: Dialect,
    pub(super) session: Option<SimulatedSession>,
    pub(super) sessions: u64,
    first_chunk: Option<u64>,
    pub(super) blob: Option<Vec<u8>>,
    pub(super) received: u64,
}

pub(super) struct SimulatedSession {
    id: u64,
    bytes: Vec<u8>,
    parts: Vec<u64>,
    jammed: bool,
}

impl SimulatedRegistry {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, session: None, sessions: 0, first_chunk: None, blob: None, received: 0 }
    }

    fn location(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        Some(format!("{}/{}", session.id, if self.dialect.strict { session.bytes.len() } else { 0 }))
    }

    /// Whether an address leads to the session; a strict registry ends a session that is asked for
    /// by a stale one.
    fn enter(&mut self, location: &str) -> bool {
        let (id, offset) = location.split_once('/').unwrap();
        let Some(session) = self.session.as_ref().filter(|session| session.id.to_string() == id) else { return false };
        if self.dialect.strict && offset != session.bytes.len().to_string() {
            self.session = None;
            return false;
        }
        true
    }

    fn range(&self, after_patch: bool) -> Option<String> {
        let held = self.session.as_ref()?.bytes.len() as u64;
        let last = held.saturating_sub(1);
        match self.dialect.range {
            RangeDialect::Standard => Some(format!("0-{last}")),
            RangeDialect::Absent if after_patch => None,
            RangeDialect::Absent => Some(format!("0-{last}")),
            RangeDialect::Quay if after_patch => Some(format!("0-{last}")),
            RangeDialect::Quay => Some(format!("bytes=0-{held}")),
            RangeDialect::Counted if after_patch => Some(format!("0-{last}")),
            RangeDialect::Counted => Some(format!("0-{held}")),
            RangeDialect::Stuck if after_patch => Some(format!("0-{}", self.first_chunk.unwrap_or(held) - 1)),
            RangeDialect::Stuck => Some(format!("0-{last}")),
        }
    }

    fn answer(&self, status: u16) -> UploadResponse {
        UploadResponse { status, transient: matches!(status, 429 | 503), location: self.location(), ..UploadResponse::default() }
    }

    /// Carries out a request; `body` is what of its bytes arrives, `whole` whether that is all of
    /// them.
    pub(super) fn handle(
        &mut self,
        step: UploadStep,
        location: Option<&str>,
        body: &[u8],
        length: u64,
        whole: bool,
        expected: &[u8],
    ) -> UploadResponse {
        match step {
            UploadStep::Start { mount: true } if self.dialect.mount == 201 => {
                self.blob = Some(expected.to_vec());
                self.answer(201)
            }
            UploadStep::Start { mount: true } if self.dialect.mount != 202 => self.answer(self.dialect.mount),
            UploadStep::Start { .. } => {
                self.sessions += 1;
                self.session = Some(SimulatedSession { id: self.sessions, bytes: Vec::new(), parts: Vec::new(), jammed: false });
                self.first_chunk = None;
                UploadResponse { least: self.dialect.least, range: Some("0-0".into()), ..self.answer(202) }
            }
            UploadStep::HeadBlob => UploadResponse { location: None, ..self.answer(if self.blob.is_some() { 200 } else { 404 }) },
            UploadStep::Status if !self.dialect.knows_status => self.answer(404),
            UploadStep::Status => match self.enter(location.unwrap()) {
                true => {
                    let location = self.location().filter(|_| !matches!(self.dialect.range, RangeDialect::Quay));
                    UploadResponse { range: self.range(false), location, ..self.answer(204) }
                }
                false => self.answer(404),
            },
            UploadStep::Patch { .. } if self.dialect.no_patch => self.answer(405),
            UploadStep::Patch { offset, .. } | UploadStep::Put { offset, .. } => {
                let put = matches!(step, UploadStep::Put { .. });
                self.take(location.unwrap(), offset, body, length, whole, put, expected)
            }
            UploadStep::Wait { .. } | UploadStep::Finished { .. } => unreachable!(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one request")]
    fn take(
        &mut self,
        location: &str,
        offset: u64,
        body: &[u8],
        length: u64,
        whole: bool,
        put: bool,
        expected: &[u8],
    ) -> UploadResponse {
        if !self.enter(location) {
            return self.answer(404);
        }
        if let Some((_, status)) = self.dialect.largest.filter(|(largest, _)| length > *largest) {
            return UploadResponse { location: None, ..self.answer(status) };
        }
        let session = self.session.as_mut().unwrap();
        let held = session.bytes.len() as u64;
        if offset != held && !self.dialect.ignores_offsets {
            let named_offset = self.dialect.names_offset.then_some(held);
            return UploadResponse { named_offset, location: None, ..self.answer(416) };
        }
        if (self.dialect.whole_only && held > 0 && length > 0) || (self.dialect.no_empty_put && put && length == 0) {
            return self.answer(400);
        }
        if session.jammed {
            return UploadResponse { transient: true, location: None, ..self.answer(500) };
        }
        session.jammed = self.dialect.jams && !whole && !body.is_empty();
        if whole || self.dialect.keeps_parts && !self.dialect.jams {
            session.bytes.extend_from_slice(body);
            session.parts.extend(Some(body.len() as u64).filter(|length| *length > 0));
            self.received += body.len() as u64;
        }
        if !whole {
            self.session = self.session.take().filter(|_| !self.dialect.fragile);
            return self.answer(500);
        }
        if !put {
            self.first_chunk.get_or_insert(length);
            return UploadResponse { range: self.range(true), ..self.answer(202) };
        }
        let SimulatedSession { bytes, parts, .. } = self.session.take().unwrap();
        let least = self.dialect.least.unwrap_or(0);
        if !self.dialect.keeps_parts && parts.iter().rev().skip(1).any(|part| *part < least) {
            return self.answer(400);
        }
        if bytes != expected {
            return UploadResponse { wrong_digest: true, ..self.answer(400) };
        }
        self.blob = Some(bytes);
        self.answer(201)
    }
}
