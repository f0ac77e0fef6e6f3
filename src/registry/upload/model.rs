//! The state machine against simulated registries: every dialect of the field, faults at any
//! request, death at any moment. The simulated registry checks the bytes themselves.

use proptest::prelude::*;

use super::limits::UploadLimits;
use super::state::Upload;
use super::step::{Available, Decision, UploadResponse, UploadStep};

/// What sets registries apart.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    range: RangeDialect,
    /// distribution 2.8: an address names its offset, and any other is the end of the session.
    strict: bool,
    /// Parts of a broken chunk stay.
    keeps_parts: bool,
    /// Knows GET on a session.
    knows_status: bool,
    /// Largest request body, and what it answers to a larger one.
    largest: Option<(u64, u16)>,
    /// Refuses PATCH.
    no_patch: bool,
    /// Appends bytes wherever they were meant to go.
    ignores_offsets: bool,
    /// Names the right offset in a 416.
    names_offset: bool,
    /// `OCI-Chunk-Min-Length`, enforced at the end.
    least: Option<u64>,
    /// A chunk that breaks ends the session: zot, ACR.
    fragile: bool,
    /// Takes no second chunk: Google.
    whole_only: bool,
    /// Refuses a PUT without bytes: ECR.
    no_empty_put: bool,
    /// What it answers to a mount: 201, an ordinary session, or a refusal.
    mount: u16,
}

impl Dialect {
    const PLAIN: Self = Self {
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
        whole_only: false,
        no_empty_put: false,
        mount: 202,
    };
}

#[derive(Debug, Clone, Copy)]
enum RangeDialect {
    Standard,
    Quay,
    Absent,
    /// ECR: stands still at the end of the first chunk.
    Stuck,
    /// Gitea: a status names the count of bytes.
    Counted,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
enum InjectedFault {
    None,
    /// It never arrives.
    Lost,
    /// It is carried out, but its answer never arrives.
    Unanswered,
    /// The connection breaks after this share (of 256) of its body.
    Broken(u8),
    /// 503, nothing done.
    Busy,
    /// It is carried out, then a gateway says 503.
    Late,
    /// The registry forgets the session first.
    Forgotten,
    /// This process dies before it can send; another goes on from the record.
    Death,
    /// It dies after this share (of 256) of the body.
    Killed(u8),
}

struct SimulatedRegistry {
    dialect: Dialect,
    session: Option<SimulatedSession>,
    sessions: u64,
    first_chunk: Option<u64>,
    blob: Option<Vec<u8>>,
    received: u64,
}

struct SimulatedSession {
    id: u64,
    bytes: Vec<u8>,
    parts: Vec<u64>,
}

fn source(size: u64) -> Vec<u8> {
    (0..size).map(|at| (at * 31 % 251) as u8).collect()
}

impl SimulatedRegistry {
    fn new(dialect: Dialect) -> Self {
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
    fn handle(
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
                self.session = Some(SimulatedSession { id: self.sessions, bytes: Vec::new(), parts: Vec::new() });
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
        if whole || self.dialect.keeps_parts {
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

/// What an upload did.
struct Run {
    registry: SimulatedRegistry,
    refused: bool,
    steps: usize,
    /// The most things that went wrong without progress between them: what the sender's patience is
    /// measured by.
    faults: u32,
}

/// Uploads `size` bytes that become available `growth` at a time.
fn run(limits: &UploadLimits, dialect: Dialect, size: u64, growth: u64, faults: &[InjectedFault]) -> Run {
    let bytes = source(size);
    let mut run = Run { registry: SimulatedRegistry::new(dialect), refused: false, steps: 0, faults: 0 };
    let mut upload = Upload::new(limits.clone(), true);
    let mut record: Option<(String, u64)> = None;
    let mut written = growth.min(size);
    let mut faults = faults.iter().copied();
    loop {
        run.steps += 1;
        if run.steps > 2000 {
            return run;
        }
        let step = upload.next(Available { written, complete: written == size });
        let (offset, length) = match step {
            UploadStep::Finished { .. } => return run,
            UploadStep::Wait { until } => {
                assert!(written < size, "waits for bytes that cannot come");
                assert!(until > written, "waits for bytes that are there");
                written = (written + growth).min(size);
                continue;
            }
            UploadStep::Patch { offset, length } | UploadStep::Put { offset, length } => (offset, length),
            _ => (0, 0),
        };
        assert!(offset + length <= written, "sends bytes that are not there");
        let body = &bytes[offset as usize..(offset + length) as usize];
        let fault = faults.next().unwrap_or(InjectedFault::None);
        let location = upload.location().map(str::to_owned);
        let registry = &mut run.registry;
        let mut send = |body: &[u8], whole| registry.handle(step, location.as_deref(), body, length, whole, &bytes);
        let verdict = match fault {
            InjectedFault::None => {
                let answer = send(body, true);
                upload.answered(step, &answer)
            }
            InjectedFault::Lost => upload.broken(step),
            InjectedFault::Unanswered => {
                send(body, true);
                upload.broken(step)
            }
            InjectedFault::Broken(share) => {
                let arrived = body.len() * usize::from(share) / 256;
                send(&body[..arrived], false);
                upload.broken(step)
            }
            InjectedFault::Late => {
                send(body, true);
                upload.answered(step, &UploadResponse { status: 503, transient: true, ..UploadResponse::default() })
            }
            InjectedFault::Busy => {
                upload.answered(step, &UploadResponse { status: 503, transient: true, ..UploadResponse::default() })
            }
            InjectedFault::Forgotten => {
                run.registry.session = None;
                continue;
            }
            InjectedFault::Death | InjectedFault::Killed(_) => {
                if let InjectedFault::Killed(share) = fault {
                    send(&body[..body.len() * usize::from(share) / 256], false);
                }
                // The next process asks for the blob before anything else.
                if run.registry.blob.is_some() {
                    return run;
                }
                upload = match record.clone() {
                    Some((location, offset)) => Upload::resume(limits.clone(), location, offset),
                    None => Upload::new(limits.clone(), true),
                };
                continue;
            }
        };
        // As fast as the link allows, which is as fast as it gets.
        upload.prefer(u64::MAX);
        run.faults = run.faults.max(upload.faults());
        record = upload.location().map(|location| (location.to_owned(), upload.recorded_offset()));
        if verdict == Decision::Fail {
            run.refused = true;
            return run;
        }
    }
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let range = prop_oneof![
        Just(RangeDialect::Standard),
        Just(RangeDialect::Quay),
        Just(RangeDialect::Absent),
        Just(RangeDialect::Stuck),
        Just(RangeDialect::Counted)
    ];
    let largest = prop_oneof![3 => Just(None), 1 => (100u64..400, prop_oneof![Just(413u16), Just(416)]).prop_map(Some)];
    let least = prop_oneof![3 => Just(None), 1 => (1u64..400).prop_map(Some)];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    let habits = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    let mount = prop_oneof![4 => Just(202u16), 1 => Just(201), 1 => Just(401), 1 => Just(503)];
    (range, flags, largest, habits, least, mount).prop_map(|(range, flags, largest, habits, least, mount)| {
        let (strict, keeps_parts, knows_status, no_patch, ignores_offsets) = flags;
        let (names_offset, fragile, whole_only, no_empty_put) = habits;
        // What takes neither large requests nor several of them takes nothing.
        let wants_one = no_patch || least.is_some() || whole_only || no_empty_put;
        Dialect {
            range,
            strict,
            keeps_parts,
            knows_status,
            largest: largest.filter(|_| !wants_one),
            no_patch,
            ignores_offsets,
            names_offset,
            least,
            fragile,
            whole_only,
            no_empty_put,
            mount,
        }
    })
}

fn faults() -> impl Strategy<Value = Vec<InjectedFault>> {
    let fault = prop_oneof![
        4 => Just(InjectedFault::None),
        1 => Just(InjectedFault::Lost),
        1 => Just(InjectedFault::Unanswered),
        1 => any::<u8>().prop_map(InjectedFault::Broken),
        1 => Just(InjectedFault::Busy),
        1 => Just(InjectedFault::Forgotten),
        1 => Just(InjectedFault::Late),
        1 => Just(InjectedFault::Death),
        1 => any::<u8>().prop_map(InjectedFault::Killed),
    ];
    prop::collection::vec(fault, 0..16)
}

/// What is known of a registry beforehand.
fn known(dialect: Dialect, chunk_size: u64, max_chunk: u64, last_in_put: bool) -> UploadLimits {
    UploadLimits {
        chunk_size,
        start_at: chunk_size.min(60),
        max_chunk,
        min_chunk: 16,
        single_request: false,
        last_in_put,
        ignore_range: matches!(dialect.range, RangeDialect::Stuck),
        no_status: !dialect.knows_status && dialect.names_offset,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_the_registry_ends_up_with_the_blob(
        dialect in dialects(), size in 0u64..900, chunk in 100u64..300, growth in 20u64..1000,
        most in 100u64..1000, last_in_put: bool, faults in faults(),
    ) {
        // Without a byte there is nothing else to send.
        let dialect = Dialect { no_empty_put: dialect.no_empty_put && size > 0, ..dialect };
        let limits = known(dialect, chunk, most, last_in_put);
        let run = run(&limits, dialect, size, growth, &faults);
        prop_assert!(!run.refused, "refused after {} steps", run.steps);
        // A lost request costs two: itself, and the session that is found gone.
        let injected = faults.iter().filter(|fault| !matches!(fault, InjectedFault::None)).count();
        prop_assert!(run.faults as usize <= 2 * injected + 6, "{} faults without progress", run.faults);
        prop_assert!(run.registry.blob.as_deref() == Some(&source(size)[..]), "no blob after {} steps", run.steps);
    }

    #[test]
    fn without_faults_each_byte_is_sent_once(
        dialect in dialects(), size in 0u64..900, chunk in 100u64..300, growth in 20u64..1000, most in 100u64..1000,
        last_in_put: bool,
    ) {
        let no_empty_put = dialect.no_empty_put && last_in_put && size > 0;
        let mount = if dialect.mount == 201 { 202 } else { dialect.mount };
        let dialect = Dialect { no_patch: false, largest: None, whole_only: false, no_empty_put, mount, ..dialect };
        let limits = known(dialect, chunk, most, last_in_put);
        let run = run(&limits, dialect, size, growth, &[]);
        prop_assert_eq!(run.registry.received, size);
        prop_assert_eq!(run.registry.sessions, 1);
    }

    #[test]
    fn where_the_registry_keeps_its_session_a_fault_costs_one_chunk_at_most(
        size in 0u64..900, chunk in 100u64..300, faults in faults(),
    ) {
        let faults: Vec<_> = faults.into_iter().filter(|fault| !matches!(fault, InjectedFault::Forgotten)).collect();
        let run = run(&known(Dialect::PLAIN, chunk, chunk, false), Dialect::PLAIN, size, size.max(1), &faults);
        let bad = faults.iter().filter(|fault| !matches!(fault, InjectedFault::None)).count() as u64;
        prop_assert!(run.registry.received <= size + bad * chunk, "{} bytes for {size}", run.registry.received);
    }
}

#[test]
fn a_registry_that_lies_about_its_range_without_being_known_for_it_is_asked_once() {
    let dialect =
        Dialect { range: RangeDialect::Stuck, keeps_parts: false, knows_status: false, names_offset: true, ..Dialect::PLAIN };
    let limits = UploadLimits { ignore_range: false, no_status: false, ..known(dialect, 100, 100, true) };
    let run = run(&limits, dialect, 450, 450, &[]);
    assert_eq!((run.registry.received, run.registry.sessions), (450, 1));
}

#[test]
fn a_status_that_counts_is_understood_after_any_lost_answer() {
    let dialect = Dialect { range: RangeDialect::Counted, ..Dialect::PLAIN };
    for last_in_put in [false, true] {
        for lost in 0..8 {
            let mut faults = vec![InjectedFault::None; lost];
            faults.push(InjectedFault::Unanswered);
            let run = run(&known(dialect, 100, 100, last_in_put), dialect, 450, 450, &faults);
            // An answer to the start that is lost leaves a session without a byte.
            assert_eq!((run.registry.received, run.registry.blob.is_some()), (450, true), "request {lost}");
        }
    }
}

#[test]
fn a_session_that_a_put_has_ended_unheard_is_no_reason_to_send_the_blob_again() {
    let answer = |status| UploadResponse { status, ..UploadResponse::default() };
    let resumed = || Upload::resume(known(Dialect::PLAIN, 100, 100, false), "/session".into(), 450);
    let whole = Available { written: 450, complete: true };
    for (found, then) in [(200, UploadStep::Finished { mounted: false }), (404, UploadStep::Start { mount: false })] {
        let mut upload = resumed();
        assert_eq!(upload.next(whole), UploadStep::Status);
        assert_eq!(upload.answered(UploadStep::Status, &answer(404)), Decision::Continue);
        assert_eq!(upload.next(whole), UploadStep::HeadBlob);
        upload.answered(UploadStep::HeadBlob, &answer(found));
        assert_eq!(upload.next(whole), then);
    }
    // What is still being written has no digest to look for.
    let mut upload = resumed();
    upload.answered(UploadStep::Status, &answer(404));
    assert_eq!(upload.next(Available { written: 450, complete: false }), UploadStep::Start { mount: false });
}
