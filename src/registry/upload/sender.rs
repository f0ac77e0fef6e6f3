//! Sends what the state machine decides for one blob. Decided here is only when to give up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::header::{LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::chunk::{Chunks, cut};
use super::chunk_size::{chunk_for, first_chunk};
use super::limiter::{UploadLimiter, UploadPermit};
use super::limits::UploadLimits;
use super::prefix::prefix_fits;
use super::session::{SessionLock, SessionRecord, Sessions};
use super::state::Upload;
use super::step::{Available, Decision, UploadResponse, UploadStep};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, Hasher, Repository};
use crate::progress::Task;
use crate::registry::client::Route;
use crate::registry::endpoint::{ApiRequest, CLOSED_POSTS};
use crate::registry::errors::Refusal;
use crate::registry::failure::RequestError;
use crate::registry::host::RegistryKind;
use crate::registry::retry::{is_transient, retry_after};
use crate::registry::transport::{OpenBody, header_text, interrupted};
use crate::store::{BlobSource, Growth};

/// A blob to be uploaded.
pub(crate) struct BlobUpload<'a> {
    pub(crate) route: &'a Route,
    pub(crate) source: BlobSource,
    /// What it is; `None` while it grows.
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) limits: UploadLimits,
    /// A repository of the same registry that has it.
    pub(crate) mount: Option<Repository>,
    pub(crate) session: Option<&'a SessionLock>,
    /// Where the session can be found under the digest, too, once that is known; and the
    /// repository's name there.
    pub(crate) sessions: Option<(&'a Sessions, String)>,
    pub(crate) task: Arc<Task>,
    /// Shared by the blobs of a push, and this one's place among them.
    pub(crate) limiter: &'a Arc<UploadLimiter>,
    pub(crate) order: usize,
    /// Stops between requests.
    pub(crate) cancel: &'a CancellationToken,
}

/// How an upload ended.
pub(crate) struct UploadResult {
    /// Still to be ended: done or cached.
    pub(crate) task: Arc<Task>,
    pub(crate) descriptor: Descriptor,
    pub(crate) mounted: bool,
    /// The registry had it before all was sent.
    pub(crate) existed: bool,
    /// Bytes that were sent and taken.
    pub(crate) bytes: u64,
}

/// Uploads one blob; returns when the registry has it.
pub(crate) async fn send(mut job: BlobUpload<'_>) -> Result<UploadResult> {
    let mut first = None;
    let mut upload = match job.session.and_then(SessionLock::read) {
        Some(record) if goes_on(&job, &record).await? => {
            job.limits.announce(record.least);
            Upload::resume(job.limits.clone(), record.location, record.offset)
        }
        _ => {
            // What comes from another registry comes at that one's speed.
            if !matches!(job.source, BlobSource::Remote(_)) {
                first = first_chunk(job.route.endpoint.round_trip(), job.limits.chunk_size);
            }
            Upload::new(job.limits.clone(), job.mount.is_some())
        }
    };
    if let Some(chunk) = job.limiter.chunk().or(first) {
        upload.prefer(chunk);
    }
    let keyed = job.descriptor.is_none();
    let chunks = Chunks::new(job.source.clone());
    let prefix = keyed.then(Hasher::new);
    let sender = Sender { job, upload, prefix, next_prefix: None, chunks, sent: 0, asked: !keyed, restarted: false };
    sender.run().await
}

/// Whether the recorded session is for this blob.
async fn goes_on(job: &BlobUpload<'_>, record: &SessionRecord) -> Result<bool> {
    match record.prefix {
        Some(prefix) => prefix_fits(&job.source, (record.offset, prefix), job.cancel).await,
        None => Ok(job.descriptor.is_some()),
    }
}

/// What follows a request.
enum AfterRequest {
    Continue,
    Pause(Duration),
    /// The registry has the blob.
    BlobExists,
}

pub(super) struct Sender<'a> {
    pub(super) job: BlobUpload<'a>,
    pub(super) upload: Upload,
    /// Of the confirmed bytes, while the blob's own digest is not known.
    prefix: Option<Hasher>,
    /// Of these and of the chunk that was sent last.
    next_prefix: Option<Hasher>,
    chunks: Chunks,
    sent: u64,
    /// Whether the registry was asked for the blob after its digest became known.
    asked: bool,
    /// Whether the upload has been restarted because it made no progress.
    restarted: bool,
}

impl Sender<'_> {
    async fn run(mut self) -> Result<UploadResult> {
        loop {
            let available = self.available()?;
            let step = self.upload.next(available);
            let then = match step {
                UploadStep::Finished { mounted } => return self.ended(mounted, false),
                _ if self.job.cancel.is_cancelled() => return Err(interrupted()),
                UploadStep::Wait { until } => {
                    self.wait(until).await?;
                    AfterRequest::Continue
                }
                UploadStep::Patch { length, .. } | UploadStep::Put { length, .. } if length > 0 => {
                    self.fetch(step).await?;
                    let _permit = self.permit(length).await?;
                    // A growing blob has grown meanwhile.
                    let available = self.available()?;
                    let step = self.upload.next(available);
                    let ask = self.must_ask(available);
                    self.perform(step, ask).await?
                }
                _ => self.perform(step, false).await?,
            };
            // The permit is somebody else's meanwhile.
            match then {
                AfterRequest::Continue => {}
                AfterRequest::Pause(wait) => self.pause(wait).await?,
                AfterRequest::BlobExists => return self.existed().await,
            }
        }
    }

    /// Fetches a remote blob's chunk beforehand: a slow source must not keep others from sending.
    async fn fetch(&mut self, step: UploadStep) -> Result<()> {
        if let (BlobSource::Remote(_), UploadStep::Patch { offset, length } | UploadStep::Put { offset, length }) =
            (&self.job.source, step)
        {
            self.open(offset, length).await?;
        }
        Ok(())
    }

    pub(super) async fn open(&mut self, offset: u64, length: u64) -> Result<OpenBody> {
        let last = self.job.descriptor.as_ref().is_some_and(|descriptor| descriptor.size == offset + length);
        tokio::select! {
            () = self.job.cancel.cancelled() => Err(interrupted()),
            open = self.chunks.open(offset, length, last) => open,
        }
    }

    async fn permit(&self, length: u64) -> Result<UploadPermit> {
        tokio::select! {
            biased;
            () = self.job.cancel.cancelled() => Err(interrupted()),
            permit = self.job.limiter.acquire(self.job.order, length, self.job.route.endpoint.round_trip()) => Ok(permit),
        }
    }

    fn available(&mut self) -> Result<Available> {
        if let BlobSource::Growing(growing) = &self.job.source {
            return match growing.growth() {
                Growth::Written(written) => Ok(Available { written, complete: false }),
                Growth::Complete(descriptor, _) => {
                    let written = descriptor.size;
                    if self.job.descriptor.is_none() {
                        self.completed(descriptor);
                    }
                    Ok(Available { written, complete: true })
                }
                Growth::Failed => Err(Error::new(ErrorKind::Interrupted, "the layer was not finished by its writer")),
            };
        }
        let written = self.descriptor()?.size;
        Ok(Available { written, complete: true })
    }

    /// The blob has stopped growing, and its digest is known.
    fn completed(&mut self, descriptor: Descriptor) {
        // Nobody else holds the task between two requests.
        Arc::get_mut(&mut self.job.task).into_iter().for_each(|task| task.set_total(descriptor.size));
        if let (Some(session), Some((sessions, repository))) = (self.job.session, &self.job.sessions) {
            sessions.link(repository, &descriptor.digest.to_string(), session);
        }
        self.job.descriptor = Some(descriptor);
    }

    async fn wait(&mut self, until: u64) -> Result<()> {
        let BlobSource::Growing(growing) = &self.job.source else { return Ok(()) };
        let mut growing = growing.clone();
        tokio::select! {
            () = self.job.cancel.cancelled() => Err(interrupted()),
            _ = growing.wait_for(until) => Ok(()),
        }
    }

    /// Whether to ask for a growing blob whose digest has just become known, if much is left.
    fn must_ask(&mut self, available: Available) -> bool {
        let left = available.written.saturating_sub(self.upload.offset());
        let ask = !self.asked && available.complete && left > self.job.limits.start_at;
        self.asked |= ask;
        ask
    }

    async fn existed(self) -> Result<UploadResult> {
        if let Some(location) = self.location() {
            // Registries forget sessions by themselves; some need a right for this that we lack.
            let _ = self.job.route.endpoint.send(&self.request(Method::DELETE, &location?)).await;
        }
        self.ended(false, true)
    }

    fn ended(self, mounted: bool, existed: bool) -> Result<UploadResult> {
        let descriptor = self.descriptor()?;
        self.job.session.iter().for_each(|session| session.clear());
        if let Some((sessions, repository)) = &self.job.sessions {
            sessions.forget(repository, &descriptor.digest.to_string());
        }
        Ok(UploadResult { task: self.job.task, descriptor, mounted, existed, bytes: self.sent })
    }

    /// Sends one request and takes in what came of it; with `ask`, asks beside it whether the
    /// registry has the blob.
    async fn perform(&mut self, step: UploadStep, ask: bool) -> Result<AfterRequest> {
        let before = self.upload.location().map(str::to_owned);
        let request = self.request_for(step).await?;
        let began = Instant::now();
        let mut chunks = std::mem::replace(&mut self.chunks, Chunks::new(self.job.source.clone()));
        let next = self.after(step);
        let (answer, ahead) = {
            let fetch_ahead = async {
                if let Some((offset, length)) = next {
                    chunks.fetch_ahead(offset, length).await;
                }
                // The answer is what is waited for.
                std::future::pending::<()>().await;
            };
            let exchange = async { tokio::join!(self.exchange(&request, ask), self.hash_ahead(step)) };
            tokio::select! {
                biased;
                done = exchange => done,
                () = fetch_ahead => return Err(interrupted()),
            }
        };
        self.chunks = chunks;
        self.next_prefix = ahead;
        let answer = match answer {
            Ok(None) => return Ok(AfterRequest::BlobExists),
            Ok(Some(response)) => {
                self.pace(step, response.status().is_success(), began.elapsed());
                Ok(response)
            }
            Err(RequestError::Transient(error)) => Err(error),
            // Docker Hub's token server knows no token for a `from` that it does not know
            // (go-containerregistry#1681).
            Err(RequestError::Permanent(_)) if step == (UploadStep::Start { mount: true }) && !self.job.cancel.is_cancelled() => {
                self.upload.answered(step, &UploadResponse::default());
                return Ok(AfterRequest::Continue);
            }
            Err(RequestError::Permanent(error)) => return Err(error),
        };
        let is_missing_on_ecr =
            answer.is_err() && matches!(step, UploadStep::Start { .. }) && self.job.route.endpoint.kind == RegistryKind::Ecr;
        let (offset, mut status) = (self.upload.offset(), None);
        let (decision, error, after) = match answer {
            Err(error) if is_missing_on_ecr => {
                let hint = self.job.route.endpoint.missing_on_ecr(&self.job.route.path);
                (self.upload.broken(step), error.with_hint(hint), None)
            }
            Err(error) => (self.upload.broken(step), error, None),
            Ok(response) => {
                let after = retry_after(response.headers());
                let (answer, refusal) = self.read(response).await?;
                status = Some(answer.status);
                let decision = self.upload.answered(step, &answer);
                let nowhere = matches!(step, UploadStep::Start { .. }) && refusal.status.is_success();
                let error = match nowhere && decision == Decision::Fail {
                    true => self.job.route.endpoint.no_location(answer.status),
                    false => self.error_of(decision, refusal).await,
                };
                (decision, error, after)
            }
        };
        if before.is_some() && self.upload.location().is_none() && offset > 0 {
            self.show_restart(&error);
        }
        self.account(step, before).await?;
        // A repository that ECR does not know does not appear by waiting.
        let hopeless = is_missing_on_ecr && self.upload.faults() >= CLOSED_POSTS;
        match decision {
            Decision::Backoff if hopeless => Err(error),
            Decision::Fail if !matches!(status, Some(409 | 416)) => Err(error),
            Decision::Continue if self.upload.faults() < self.policy().attempts => Ok(AfterRequest::Continue),
            Decision::Fail | Decision::Continue => self.restart_session(error.wrap("the upload makes no progress")),
            Decision::Backoff => {
                let attempt = self.upload.faults() + 1;
                let Some(wait) = self.policy().delay(attempt, after) else {
                    let in_vain = status.is_some() && attempt > self.policy().attempts;
                    return if in_vain { self.restart_session(error) } else { Err(self.kept(error)) };
                };
                let (cause, wait_ms) = (error.to_string(), wait.as_millis());
                tracing::debug!(?step, offset, attempt, wait_ms, cause, "retry of an upload step");
                self.job.task.retry(&cause, attempt, wait);
                Ok(AfterRequest::Pause(wait))
            }
        }
    }

    /// A session that the registry answers for, and that makes no progress, may be the trouble
    /// itself: once per blob, a new one replaces it. Its record stays until the registry has begun
    /// the new one.
    fn restart_session(&mut self, error: Error) -> Result<AfterRequest> {
        if self.restarted || self.upload.location().is_none() {
            return Err(self.kept(error));
        }
        self.restarted = true;
        self.show_restart(&error);
        self.upload.restart_session();
        Ok(AfterRequest::Continue)
    }

    fn show_restart(&self, error: &Error) {
        let cause = format!("{error}: the upload starts again");
        tracing::debug!(offset = self.upload.offset(), cause, "upload session given up");
        self.job.task.retry(&cause, self.upload.faults() + 1, Duration::ZERO);
    }

    /// The error that ends the upload, with what the next run makes of it where nothing better is
    /// known.
    fn kept(&self, error: Error) -> Error {
        let recorded = self.job.session.is_some() && self.upload.location().is_some() && self.upload.offset() > 0;
        match error.hint().is_none() && recorded {
            true => error.with_hint("run the same command again later: what the registry has of this upload is kept"),
            false => error,
        }
    }

    /// The error of a response; whether the login is to blame is asked only if the upload ends.
    async fn error_of(&self, decision: Decision, refusal: Refusal) -> Error {
        let Route { endpoint, path } = self.job.route;
        match decision {
            Decision::Fail => endpoint.error_for(refusal, path, true).await,
            Decision::Continue | Decision::Backoff => endpoint.error_of(refusal, path, true),
        }
    }

    async fn pause(&self, wait: Duration) -> Result<()> {
        tokio::select! {
            () = self.job.cancel.cancelled() => Err(interrupted()),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Larger chunks where the link carries them: a refusal may come before the bytes are through.
    fn pace(&mut self, step: UploadStep, taken: bool, took: Duration) {
        let (UploadStep::Patch { length, .. } | UploadStep::Put { length, .. }) = step else { return };
        if !taken {
            return self.job.limiter.set_chunk(None);
        }
        let Some(round_trip) = self.job.route.endpoint.round_trip() else { return };
        self.job.limiter.measured(length, took, round_trip);
        if let (UploadStep::Patch { .. }, Some(chunk)) = (step, chunk_for(round_trip, length, took)) {
            self.upload.prefer(chunk);
            self.job.limiter.set_chunk(Some(chunk));
        }
    }

    /// The answer to `request`; `None` if the registry says meanwhile that it has the blob: then
    /// the rest need not be sent.
    async fn exchange(&self, request: &ApiRequest, ask: bool) -> Result<Option<Response>, RequestError> {
        let send = self.job.route.endpoint.send(request);
        let (Some(blob), true) = (&self.job.descriptor, ask) else { return send.await.map(Some) };
        let is_there = async {
            let answer = self.job.route.endpoint.send(&self.head(&blob.digest)).await;
            // A registry that does not say gets the rest.
            if !matches!(answer, Ok(response) if response.status().is_success()) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            answer = send => answer.map(Some),
            () = is_there => Ok(None),
        }
    }

    /// Hashes on to the end of a chunk that is being sent, if the record will need that: afterwards
    /// the link would stand idle.
    async fn hash_ahead(&self, step: UploadStep) -> Option<Hasher> {
        let (UploadStep::Patch { offset, length }, Some(mut hasher)) = (step, self.prefix.clone()) else { return None };
        let mut bytes = cut(self.job.source.read(hasher.length()), (offset + length).checked_sub(hasher.length())?);
        while let Some(piece) = bytes.next().await {
            // What cannot be read now is an error when it is sent.
            hasher.update(&piece.ok()?);
            tokio::task::yield_now().await;
        }
        Some(hasher)
    }

    /// Reads an answer: what matters of it, and the registry's words.
    async fn read(&self, response: Response) -> Result<(UploadResponse, Refusal)> {
        let header = |name: &str| header_text(response.headers(), name);
        let status = response.status();
        let endpoint = &self.job.route.endpoint;
        let location = header(LOCATION.as_str()).map(|location| endpoint.resolve(response.url(), &location)).transpose();
        // Of a blob that is complete it does not matter.
        let location = if status == StatusCode::ACCEPTED { location? } else { location.ok().flatten() };
        let mut answer = UploadResponse {
            status: status.as_u16(),
            transient: is_transient(status),
            location: location.map(String::from),
            range: header(RANGE.as_str()),
            least: header("oci-chunk-min-length").and_then(|text| text.parse().ok()),
            ..UploadResponse::default()
        };
        if let Some(warning) = header("warning").filter(|warning| warning.starts_with("299")) {
            endpoint.warn(&warning);
        }
        let body = endpoint.transport.read_error_body(response).await;
        let refusal = Refusal::parse(status, if status.is_success() { &[] } else { &body });
        answer.named_offset = refusal.named_offset();
        answer.wrong_digest = refusal.has_code("DIGEST_INVALID") || refusal.says("none of the provided layer digests match");
        Ok((answer, refusal))
    }

    /// After each answer: counts what was taken, and records where the upload is.
    async fn account(&mut self, step: UploadStep, before: Option<String>) -> Result<()> {
        let offset = self.upload.offset();
        match step {
            UploadStep::Patch { offset: from, .. } if offset > from => self.sent += offset - from,
            UploadStep::Put { length, .. } if self.upload.is_done() => {
                self.sent += length;
                return Ok(());
            }
            _ if before.as_deref() == self.upload.location() => return Ok(()),
            _ => {}
        }
        let Some(session) = self.job.session else { return Ok(()) };
        let Some(location) = self.upload.location() else {
            session.drop_session();
            return Ok(());
        };
        let (location, offset) = (location.to_owned(), self.upload.recorded_offset());
        let (prefix, least) = (self.prefix_digest(offset).await?, self.upload.least_chunk());
        session.write(&SessionRecord { location, offset, prefix, least });
        Ok(())
    }

    /// The digest of the confirmed bytes, if the record needs it.
    async fn prefix_digest(&mut self, offset: u64) -> Result<Option<Digest>> {
        let Some(mut hasher) = self.prefix.take() else { return Ok(None) };
        if let Some(ahead) = self.next_prefix.take().filter(|ahead| ahead.length() == offset) {
            hasher = ahead;
        }
        if hasher.length() > offset {
            hasher = Hasher::new();
        }
        let mut bytes = cut(self.job.source.read(hasher.length()), offset - hasher.length());
        while let Some(piece) = bytes.next().await {
            hasher.update(&piece?);
        }
        let digest = hasher.clone().finish();
        self.prefix = Some(hasher);
        Ok(Some(digest))
    }

    pub(super) fn descriptor(&self) -> Result<Descriptor> {
        let unknown = || Error::new(ErrorKind::Corrupt, "the digest of a blob is not known yet: a bug in mpimg");
        self.job.descriptor.clone().ok_or_else(unknown)
    }

    fn policy(&self) -> &crate::registry::RetryPolicy {
        &self.job.route.endpoint.transport.policy
    }
}
