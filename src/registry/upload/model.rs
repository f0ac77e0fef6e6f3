//! The state machine against simulated registries: every dialect of the field, faults at any
//! request, death at any moment. The simulated registry checks the bytes themselves.

use proptest::prelude::*;

use super::limits::UploadLimits;
use super::simulated::{Dialect, RangeDialect, SimulatedRegistry};
use super::state::Upload;
use super::step::{Available, Decision, UploadResponse, UploadStep};

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

fn source(size: u64) -> Vec<u8> {
    (0..size).map(|at| (at * 31 % 251) as u8).collect()
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

/// How large the chunks of an upload may be: larger and larger over a link that is as fast as it
/// gets, and half as large after a connection that broke under one.
struct ChunkSizes {
    /// Chunks are halved once to no less than this, and then to no less than the other.
    wished: u64,
    smallest: u64,
    /// The least bytes of a chunk that is not the last.
    least: u64,
    /// The most that the next chunk may have.
    most: Option<u64>,
}

impl ChunkSizes {
    fn new(limits: &UploadLimits, dialect: Dialect) -> Self {
        let least = dialect.least.unwrap_or(0);
        Self { wished: limits.chunk_size.max(least), smallest: limits.min_chunk.max(least), least, most: None }
    }

    fn check(&self, step: UploadStep, size: u64) {
        let UploadStep::Patch { offset, length } = step else { return };
        assert!(self.most.is_none_or(|most| length <= most), "{length} bytes after a break, not {:?}", self.most);
        assert!(length >= self.least || offset + length == size, "a chunk of {length} bytes, less than {}", self.least);
    }

    fn answered(&mut self, upload: &mut Upload, step: UploadStep, status: u16) {
        if let (UploadStep::Patch { length, .. }, 200..=204) = (step, status) {
            upload.prefer(length * 4);
            self.most = None;
        }
    }

    fn broken(&mut self, step: UploadStep, faults: u32) {
        let (UploadStep::Patch { length, .. } | UploadStep::Put { length, .. }) = step else { return };
        let half = length / 2;
        self.most = match faults {
            _ if length == 0 => self.most,
            1 => Some(half.max(self.wished)),
            // As small as it gets.
            _ if half < self.smallest => self.most,
            _ => Some(half),
        };
    }
}

/// Uploads `size` bytes that become available `growth` at a time.
fn run(limits: &UploadLimits, dialect: Dialect, size: u64, growth: u64, faults: &[InjectedFault]) -> Run {
    let bytes = source(size);
    let mut run = Run { registry: SimulatedRegistry::new(dialect), refused: false, steps: 0, faults: 0 };
    let mut upload = Upload::new(limits.clone(), true);
    let mut record: Option<(String, u64, Option<u64>)> = None;
    let mut written = growth.min(size);
    let mut faults = faults.iter().copied();
    let mut sizes = ChunkSizes::new(limits, dialect);
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
        sizes.check(step, size);
        let body = &bytes[offset as usize..(offset + length) as usize];
        let fault = faults.next().unwrap_or(InjectedFault::None);
        let location = upload.location().map(str::to_owned);
        let registry = &mut run.registry;
        let mut send = |body: &[u8], whole| registry.handle(step, location.as_deref(), body, length, whole, &bytes);
        let verdict = match fault {
            InjectedFault::None => {
                let answer = send(body, true);
                sizes.answered(&mut upload, step, answer.status);
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
                    Some((location, offset, least)) => {
                        let mut limits = limits.clone();
                        limits.announce(least);
                        Upload::resume(limits, location, offset)
                    }
                    None => Upload::new(limits.clone(), true),
                };
                sizes.most = None;
                continue;
            }
        };
        if matches!(fault, InjectedFault::Lost | InjectedFault::Unanswered | InjectedFault::Broken(_)) {
            sizes.broken(step, upload.faults());
        }
        run.faults = run.faults.max(upload.faults());
        record = upload.location().map(|location| (location.to_owned(), upload.recorded_offset(), upload.least_chunk()));
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
    let jams = prop::bool::weighted(0.1);
    let habits = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.2), jams);
    let mount = prop_oneof![4 => Just(202u16), 1 => Just(201), 1 => Just(401), 1 => Just(503)];
    (range, flags, largest, habits, least, mount).prop_map(|(range, flags, largest, habits, least, mount)| {
        let (strict, keeps_parts, knows_status, no_patch, ignores_offsets) = flags;
        let (names_offset, fragile, whole_only, no_empty_put, jams) = habits;
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
            jams,
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
        announced: None,
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
        // A lost request costs two: itself, and the session that is found gone; or three, where the
        // session has to refuse twice before it is given up.
        let injected = faults.iter().filter(|fault| !matches!(fault, InjectedFault::None)).count();
        prop_assert!(run.faults as usize <= (2 + usize::from(dialect.jams)) * injected + 6, "{} faults without progress", run.faults);
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
fn a_session_that_takes_nothing_after_a_chunk_broke_off_is_given_up_when_it_refuses_twice() {
    let dialect = Dialect { range: RangeDialect::Counted, jams: true, ..Dialect::PLAIN };
    for last_in_put in [false, true] {
        for (at, fault) in (1..6).flat_map(|at| [(at, InjectedFault::Broken(128)), (at, InjectedFault::Killed(128))]) {
            let mut faults = vec![InjectedFault::None; at];
            faults.push(fault);
            let run = run(&known(dialect, 100, 100, last_in_put), dialect, 450, 450, &faults);
            assert!(run.registry.blob.is_some() && run.registry.sessions <= 2 && run.faults <= 3, "request {at}: {}", run.faults);
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
