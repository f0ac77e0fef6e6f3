//! One HTTP exchange: sends a request, notices when it stands still, tells passing faults from lasting ones.
//!
//! Refuses cookies (Harbor turns its CSRF checks on), redirects (a credential could travel) and HTTP/2: parallel uploads
//! over one connection share one flow-control window, which proxies keep small.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::retry::{RetryPolicy, is_transient, retry_after};
use super::tls::Connections;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Task;
use crate::store::ByteStream;

/// Opens the bytes of a request again for each try.
pub(crate) type Opener = Arc<dyn Fn() -> ByteStream + Send + Sync>;

/// Told how many bytes of a body have been handed over.
pub(crate) type Meter = Arc<dyn Fn(u64) + Send + Sync>;

/// The bytes of a request.
#[derive(Clone, Default)]
pub(crate) enum Payload {
    #[default]
    Empty,
    Bytes(Bytes),
    Stream {
        length: u64,
        open: Opener,
        meter: Meter,
    },
}

/// A request to anywhere; can be sent more than once.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// The host may have a certificate that does not verify.
    pub(crate) insecure: bool,
    /// No proxy is asked: the machine's own metadata service.
    pub(crate) direct: bool,
    /// The registry may have to work long before it answers: end of an upload.
    pub(crate) slow: bool,
}

impl Outgoing {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), payload: Payload::Empty, insecure: false, direct: false, slow: false }
    }

    pub(crate) fn with_headers(mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    pub(crate) fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.payload = Payload::Bytes(bytes);
        self
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may go better next time.
    Passing(Error),
    /// It will not; or the failure is on this side.
    Lasting(Error),
}

impl Fault {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Passing(error) | Self::Lasting(error) => error,
        }
    }
}

/// What requests to all hosts share.
pub(crate) struct Transport {
    connections: Connections,
    pub(crate) policy: RetryPolicy,
    pub(crate) cancel: CancellationToken,
}

impl Transport {
    pub(crate) fn new(connections: Connections, policy: RetryPolicy, cancel: CancellationToken) -> Self {
        Self { connections, policy, cancel }
    }

    /// Whether certificates were put down for `host[:port]`: then it is meant to be encrypted.
    pub(crate) fn has_certificates(&self, authority: &str) -> bool {
        self.connections.has_certificates(authority)
    }

    /// The certificates of authorities for `host[:port]` beside the system's, in DER.
    pub(crate) fn authorities(&self, authority: &str) -> Result<Vec<Vec<u8>>> {
        self.connections.authorities(authority)
    }

    /// Sends the request once.
    pub(crate) async fn send(&self, request: &Outgoing) -> Result<Response, Fault> {
        let client = match request.direct {
            true => self.connections.direct(),
            false => self.connections.client(&request.url, request.insecure),
        }
        .map_err(Fault::Lasting)?;
        let mut builder = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        let watch = Arc::new(Watch::default());
        builder = match &request.payload {
            Payload::Empty => {
                watch.sent.store(true, Ordering::Relaxed);
                match request.method {
                    _ if request.headers.contains_key(CONTENT_LENGTH) => builder,
                    // nginx and some registries want to see that nothing follows.
                    Method::POST | Method::PUT | Method::PATCH => builder.header(CONTENT_LENGTH, 0),
                    _ => builder,
                }
            }
            Payload::Bytes(bytes) => {
                watch.sent.store(true, Ordering::Relaxed);
                builder.body(bytes.clone())
            }
            Payload::Stream { length, open, meter } => {
                let body = watch.clone().over(open(), *length, meter.clone());
                builder.header(CONTENT_LENGTH, *length).body(reqwest::Body::wrap_stream(body))
            }
        };
        let patience = if request.slow { self.policy.answer_timeout } else { self.policy.stall_timeout };
        tokio::select! {
            answer = builder.send() => answer.map_err(|error| classify(error, &request.url)),
            () = watch.stalled(self.policy.stall_timeout, patience) => Err(Fault::Passing(stalled(&request.url))),
        }
    }

    /// Sends the request again while it fails for the moment; for hosts that are no registry: token servers.
    pub(crate) async fn send_patiently(&self, request: Outgoing) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let answer = self.send(&request).await;
            attempt += 1;
            let (error, wait) = match answer {
                Ok(response) if !is_transient(response.status()) => return Ok(response),
                Ok(response) => match self.policy.delay(attempt, retry_after(response.headers())) {
                    Some(wait) => (None, Some(wait)),
                    None => return Ok(response),
                },
                Err(Fault::Passing(error)) => (Some(error), self.policy.delay(attempt, None)),
                Err(Fault::Lasting(error)) => return Err(error),
            };
            match (wait, error) {
                (Some(wait), _) => self.pause(wait).await?,
                (None, Some(error)) => return Err(error),
                (None, None) => return Err(interrupted()),
            }
        }
    }

    /// Waits, unless the caller cancels.
    pub(crate) async fn pause(&self, wait: Duration) -> Result<()> {
        self.unless_cancelled(tokio::time::sleep(wait)).await
    }

    /// Waits and shows it.
    pub(crate) async fn pause_before(&self, attempt: u32, wait: Duration, reason: &str, task: Option<&Task>) -> Result<()> {
        if let Some(task) = task {
            task.retry(reason, attempt, wait);
        }
        self.pause(wait).await
    }

    /// The outcome of `work`, unless the caller cancels before.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(interrupted()),
            done = work => Ok(done),
        }
    }

    /// The next piece of an answer's body; `None` at its end.
    pub(crate) async fn next_piece(&self, response: &mut Response) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(self.policy.stall_timeout, response.chunk()).await {
            Ok(piece) => piece.map_err(|error| classify(error, response.url())),
            Err(_) => Err(Fault::Passing(stalled(response.url()))),
        }
    }

    /// An answer's body, at most `limit` bytes of it.
    pub(crate) async fn read_body(&self, mut response: Response, limit: usize) -> Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.next_piece(&mut response).await.map_err(Fault::into_error)? {
            if body.len() + piece.len() > limit {
                return Err(Error::new(ErrorKind::Registry, format!("`{}` sent more than {limit} bytes", place(response.url()))));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The start of an error answer's body. What cannot be read is left out: the status matters more.
    pub(crate) async fn read_refusal(&self, mut response: Response) -> Bytes {
        const LIMIT: usize = 64 << 10;
        let mut body = BytesMut::new();
        while let Ok(Some(piece)) = self.next_piece(&mut response).await {
            body.extend_from_slice(&piece[..piece.len().min(LIMIT - body.len())]);
            if body.len() == LIMIT {
                break;
            }
        }
        body.freeze()
    }
}

/// The error of work that the caller cancelled.
pub(crate) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted")
}

/// Sees whether a body moves.
#[derive(Default)]
struct Watch {
    moved: AtomicU64,
    sent: AtomicBool,
}

impl Watch {
    /// The same stream, cut at `length`, watched and metered.
    fn over(self: Arc<Self>, stream: ByteStream, length: u64, meter: Meter) -> impl futures_util::Stream<Item = Result<Bytes>> {
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

fn stalled(url: &Url) -> Error {
    Error::new(ErrorKind::Network, format!("`{}` stopped answering", place(url)))
}

/// Host and port of an address: its query may hold a signature.
pub(crate) fn place(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

/// What a failure of the HTTP library means.
fn classify(error: reqwest::Error, url: &Url) -> Fault {
    let error = error.without_url();
    let place = place(url);
    if let Some(own) = cause::<Error>(&error) {
        // The body's own stream failed: a file that cannot be read is not the network's fault.
        let own = Error::new(own.kind(), own.to_string());
        return Fault::Lasting(own);
    }
    if let Some(tls) = cause::<rustls::Error>(&error) {
        return Fault::Lasting(tls_error(tls.clone(), &place));
    }
    let failed = |what: String| Error::new(ErrorKind::Network, what);
    if error.is_dns() {
        let temporary = error_text(&error).contains("Temporary failure");
        let wrong =
            failed(format!("cannot find the host `{place}`")).with_hint("check the registry's name, and this machine's DNS");
        let wrong = wrong.with_source(error);
        return if temporary { Fault::Passing(wrong) } else { Fault::Lasting(wrong) };
    }
    if error.is_builder() {
        return Fault::Lasting(failed(format!("cannot make a request to `{place}`")).with_source(error));
    }
    // The library has no types for these.
    let text = error_text(&error);
    if error.is_connect() && text.contains("tunnel error: failed to create underlying connection") {
        let hint = format!("check `HTTPS_PROXY`, or list `{place}` in `NO_PROXY` if it is reached without a proxy");
        return Fault::Passing(
            failed(format!("cannot reach the proxy on the way to `{place}`")).with_hint(hint).with_source(error),
        );
    }
    if error.is_connect() && text.contains("tunnel error: unsuccessful") {
        let hint = format!("have the proxy allow `{place}`, or list it in `NO_PROXY` if it is reached without a proxy");
        let message = format!("the proxy on the way to `{place}` refuses the connection");
        return Fault::Passing(failed(message).with_hint(hint).with_source(error));
    }
    if error.is_connect() && text.contains("proxy authorization required") {
        let hint = "put its user name and password into `HTTPS_PROXY`: http://USER:PASSWORD@HOST:PORT";
        let message = format!("the proxy on the way to `{place}` asks for another login");
        return Fault::Lasting(failed(message).with_hint(hint).with_source(error));
    }
    if error.is_connect() {
        let hint = "check the name and the port; where only a proxy leads there, set `HTTPS_PROXY`";
        return Fault::Passing(failed(format!("cannot connect to `{place}`")).with_hint(hint).with_source(error));
    }
    Fault::Passing(failed(format!("connection to `{place}` broke")).with_source(error))
}

fn tls_error(error: rustls::Error, place: &str) -> Error {
    let hint = match &error {
        rustls::Error::InvalidCertificate(wrong) => Some(certificate_hint(wrong, place)),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            Some(client_certificate_hint(place))
        }
        rustls::Error::InvalidMessage(_) => {
            Some(format!("`{place}` seems not to speak TLS: if that is right, list it as `insecure` in registries.conf"))
        }
        _ => None,
    };
    let outer = Error::new(ErrorKind::Network, format!("cannot make a TLS connection to `{place}`")).with_source(error);
    match hint {
        Some(hint) => outer.with_hint(hint),
        None => outer,
    }
}

/// The remedy where a registry, or the proxy before it, asks for a certificate of ours.
pub(crate) fn client_certificate_hint(place: &str) -> String {
    format!("put the certificate and key that it knows you by into /etc/docker/certs.d/{place}/ as client.cert and client.key")
}

fn certificate_hint(wrong: &CertificateError, place: &str) -> String {
    match wrong {
        CertificateError::UnknownIssuer => {
            format!("give its certificate authority with `--ca-file`, or put it into /etc/docker/certs.d/{place}/ca.crt")
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let (now, end) = (date(*time), date(*not_after));
            format!(
                "have the registry's certificate renewed: it ended on {end}; or set this machine's clock, if today is not {now}"
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (now, begin) = (date(*time), date(*not_before));
            format!("set this machine's clock, if today is not {now}: the registry's certificate begins on {begin}")
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            // As rustls shows them: `DnsName("a.example.com")`.
            let names: Vec<_> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            format!("name the registry as its certificate does ({}), or have one made for `{place}`", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("have a certificate made for `{place}`")
        }
        _ => "have the registry's certificate looked at: another one is needed".to_owned(),
    }
}

/// The day in UTC, as `2024-03-01`.
fn date(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}

/// Whether an error is about the other side's certificate, or its about ours: then it speaks TLS.
pub(crate) fn refuses_certificate(error: &Error) -> bool {
    matches!(cause(error), Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)))
}

/// The first cause of type `T`; looks into `io::Error`, too, which hides what it carries from `source()`.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let carried = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        next = carried.map(|carried| carried as &(dyn StdError + 'static)).or(error.source());
    }
    None
}

fn error_text(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
