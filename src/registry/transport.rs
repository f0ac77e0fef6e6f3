//! One HTTP exchange: sends a request, notices when it stalls, and logs it.
//!
//! There are no cookies (Harbor turns its CSRF checks on), no redirects (a credential could travel)
//! and no HTTP/2: parallel uploads over one connection share one flow-control window, which proxies
//! keep small.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::header::{AsHeaderName, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::failure::{RequestError, classify, proxy_login, stalled};
use super::host::host_and_port;
use super::retry::{RetryPolicy, is_transient, retry_after};
use super::tls::Connections;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Progress, Task, TaskKind};
use crate::store::ByteStream;

/// Opens the bytes of a request again for each try.
pub(crate) type OpenBody = Arc<dyn Fn() -> ByteStream + Send + Sync>;

/// Called with the number of bytes of a body that have been handed over.
pub(crate) type BodyProgress = Arc<dyn Fn(u64) + Send + Sync>;

/// The bytes of a request.
#[derive(Clone, Default)]
pub(crate) enum RequestBody {
    #[default]
    Empty,
    Bytes(Bytes),
    Stream {
        length: u64,
        open: OpenBody,
        meter: BodyProgress,
    },
}

impl RequestBody {
    /// Its length in bytes.
    fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length, .. } => *length,
        }
    }
}

/// A request to any host; can be sent more than once.
#[derive(Clone)]
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: RequestBody,
    /// The host may have a certificate that does not verify.
    pub(crate) insecure: bool,
    /// No proxy is asked: the machine's own metadata service.
    pub(crate) direct: bool,
    /// The registry may have to work long before it answers: end of an upload.
    pub(crate) slow: bool,
    /// Which try this is, from 1; for the log.
    pub(crate) attempt: u32,
}

impl HttpRequest {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            payload: RequestBody::Empty,
            insecure: false,
            direct: false,
            slow: false,
            attempt: 1,
        }
    }

    pub(crate) fn with_headers(mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    pub(crate) fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.payload = RequestBody::Bytes(bytes);
        self
    }
}

/// What requests to all hosts share.
pub(crate) struct Transport {
    connections: Connections,
    pub(crate) policy: RetryPolicy,
    pub(crate) cancel: CancellationToken,
    /// For each range of a blob that is read beside others.
    pub(crate) ranges: Arc<Semaphore>,
}

impl Transport {
    pub(crate) fn new(connections: Connections, policy: RetryPolicy, cancel: CancellationToken, ranges: usize) -> Self {
        Self { connections, policy, cancel, ranges: Arc::new(Semaphore::new(ranges)) }
    }

    /// Whether certificates were put down for `host[:port]`: then it is meant to be encrypted.
    pub(crate) fn has_certificates(&self, authority: &str) -> bool {
        self.connections.has_certificates(authority)
    }

    /// Whether encrypted connections go through a proxy.
    pub(crate) fn has_proxy(&self) -> bool {
        self.connections.has_proxy()
    }

    /// Sends the request once.
    pub(crate) async fn send(&self, request: &HttpRequest) -> Result<Response, RequestError> {
        let began = Instant::now();
        let answer = self.send_unlogged(request).await;
        let HttpRequest { method, attempt, .. } = request;
        let (url, bytes, ms) = (loggable(&request.url), request.payload.length(), began.elapsed().as_millis());
        match &answer {
            Ok(response) => {
                tracing::debug!(%method, url, status = response.status().as_u16(), ms, attempt, bytes, "http exchange")
            }
            Err(error) => {
                let (cause, transient) = (error.text(), error.is_transient());
                tracing::debug!(%method, url, ms, attempt, bytes, transient, cause, "http exchange failed");
            }
        }
        answer
    }

    async fn send_unlogged(&self, request: &HttpRequest) -> Result<Response, RequestError> {
        let client = match request.direct {
            true => self.connections.direct(),
            false => self.connections.client(&request.url, request.insecure),
        }
        .map_err(RequestError::Permanent)?;
        let mut builder = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        let watch = Arc::new(StallDetector::default());
        builder = match &request.payload {
            RequestBody::Empty => {
                watch.sent.store(true, Ordering::Relaxed);
                match request.method {
                    _ if request.headers.contains_key(CONTENT_LENGTH) => builder,
                    // nginx and some registries want to see that nothing follows.
                    Method::POST | Method::PUT | Method::PATCH => builder.header(CONTENT_LENGTH, 0),
                    _ => builder,
                }
            }
            RequestBody::Bytes(bytes) => {
                watch.sent.store(true, Ordering::Relaxed);
                builder.body(bytes.clone())
            }
            RequestBody::Stream { length, open, meter } => {
                let body = watch.clone().over(open(), *length, meter.clone());
                builder.header(CONTENT_LENGTH, *length).body(reqwest::Body::wrap_stream(body))
            }
        };
        let patience = if request.slow { self.policy.response_timeout } else { self.policy.stall_timeout };
        tokio::select! {
            answer = builder.send() => match answer {
                Ok(answer) if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    Err(RequestError::Permanent(proxy_login(&request.url)))
                }
                answer => answer.map_err(|error| classify(error, &request.url)),
            },
            () = watch.stalled(self.policy.stall_timeout, patience) => Err(RequestError::Transient(stalled(&request.url))),
        }
    }

    /// Sends the request again while it fails for the moment; for hosts that are not a registry:
    /// token servers. Each retry is shown as one of a task `name`, which begins with the first of
    /// them.
    pub(crate) async fn send_with_retry(&self, mut request: HttpRequest, progress: &Progress, name: &str) -> Result<Response> {
        let mut attempt = 1;
        let mut task = None;
        loop {
            let answer = self.send(&request).await;
            attempt += 1;
            request.attempt = attempt;
            let (cause, wait) = match answer {
                Ok(response) if !is_transient(response.status()) => {
                    task.into_iter().for_each(Task::done);
                    return Ok(response);
                }
                Ok(response) => match self.policy.delay(attempt, retry_after(response.headers())) {
                    Some(wait) => (format!("`{}` answered {}", host_and_port(&request.url), response.status().as_u16()), wait),
                    None => return Ok(response),
                },
                Err(RequestError::Transient(error)) => match self.policy.delay(attempt, None) {
                    Some(wait) => (error.to_string(), wait),
                    None => return Err(error),
                },
                Err(RequestError::Permanent(error)) => return Err(error),
            };
            let task = task.get_or_insert_with(|| progress.task(TaskKind::Pull, name, None));
            self.pause_before(attempt, wait, &cause, Some(task)).await?;
        }
    }

    /// Waits, unless the caller cancels.
    pub(crate) async fn pause(&self, wait: Duration) -> Result<()> {
        self.unless_cancelled(tokio::time::sleep(wait)).await
    }

    /// Waits before try number `attempt`, and shows and logs why.
    pub(crate) async fn pause_before(&self, attempt: u32, wait: Duration, reason: &str, task: Option<&Task>) -> Result<()> {
        tracing::debug!(attempt, wait_ms = wait.as_millis(), cause = reason, "retry");
        if let Some(task) = task {
            task.retry(reason, attempt, wait);
        }
        self.pause(wait).await
    }

    /// The outcome of `work`, unless the caller cancels before.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        unless_cancelled(&self.cancel, work).await
    }

    /// The next piece of an answer's body; `None` at its end.
    pub(crate) async fn next_piece(&self, response: &mut Response) -> Result<Option<Bytes>, RequestError> {
        match tokio::time::timeout(self.policy.stall_timeout, response.chunk()).await {
            Ok(piece) => piece.map_err(|error| classify(error, response.url())),
            Err(_) => Err(RequestError::Transient(stalled(response.url()))),
        }
    }

    /// An answer's body, at most `limit` bytes of it.
    pub(crate) async fn read_body(&self, mut response: Response, limit: usize) -> Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.next_piece(&mut response).await.map_err(RequestError::into_error)? {
            if body.len() + piece.len() > limit {
                return Err(Error::new(
                    ErrorKind::Registry,
                    format!("`{}` sent more than {limit} bytes", host_and_port(response.url())),
                ));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The start of an error answer's body. What cannot be read is left out: the status matters
    /// more.
    pub(crate) async fn read_error_body(&self, mut response: Response) -> Bytes {
        const LIMIT: usize = 64 << 10;
        let encoding = header_text(response.headers(), CONTENT_ENCODING);
        let mut body = BytesMut::new();
        while let Ok(Some(piece)) = self.next_piece(&mut response).await {
            body.extend_from_slice(&piece[..piece.len().min(LIMIT - body.len())]);
            if body.len() == LIMIT {
                break;
            }
        }
        decoded(encoding.as_deref(), body.freeze(), LIMIT)
    }
}

/// A header's text. Bytes that are not UTF-8 do not hide the rest of it.
pub(crate) fn header_text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A body as it was before `Content-Encoding`: proxies compress errors, though nobody asks for it.
/// What cannot be read stays.
fn decoded(encoding: Option<&str>, body: Bytes, limit: usize) -> Bytes {
    if !encoding.is_some_and(|encoding| encoding.trim().eq_ignore_ascii_case("gzip")) {
        return body;
    }
    let mut text = Vec::new();
    // The end may be missing: the start is what counts.
    let _ = flate2::read::MultiGzDecoder::new(&*body).take(limit as u64).read_to_end(&mut text);
    if text.is_empty() { body } else { text.into() }
}

/// An address for the log: without user and password, query and fragment, which may hold a
/// signature or a token.
fn loggable(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), host_and_port(url), url.path())
}

/// The error of work that the caller cancelled.
pub(crate) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted")
}

/// Sees whether a body moves.
#[derive(Default)]
struct StallDetector {
    moved: AtomicU64,
    sent: AtomicBool,
}

impl StallDetector {
    /// The same stream, cut at `length`, watched and metered.
    fn over(
        self: Arc<Self>,
        stream: ByteStream,
        length: u64,
        meter: BodyProgress,
    ) -> impl futures_util::Stream<Item = Result<Bytes>> {
        if length == 0 {
            self.sent.store(true, Ordering::Relaxed);
        }
        stream.map(move |piece| {
            let piece = piece?;
            let moved = self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            meter(moved.min(length));
            if moved >= length {
                self.sent.store(true, Ordering::Relaxed);
            }
            Ok(piece)
        })
    }

    /// Ends when the body has stood still for `stall`, or the answer is `patience` late.
    async fn stalled(&self, stall: Duration, patience: Duration) {
        let mut before = None;
        loop {
            let now = (self.moved.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
            if before == Some(now) {
                return;
            }
            before = Some(now);
            tokio::time::sleep(if now.1 { patience } else { stall }).await;
        }
    }
}

/// The outcome of `work`, unless `cancel` comes before.
pub(super) async fn unless_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(interrupted()),
        done = work => Ok(done),
    }
}
