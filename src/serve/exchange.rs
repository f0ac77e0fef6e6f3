//! One request and its answer: faults, access, the endpoint, the log.
//!
//! Refuses to know what the endpoints do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use oci_spec::distribution::ErrorCode;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::body::{Received, announced_length, break_off, count, end_with, truncate};
use super::connection::{Cut, Peer};
use super::gate::{Access, Need};
use super::refusal::Refusal;
use super::route::Route;
use super::{App, Fault, RequestInfo, Served, blobs, discovery, manifests, uploads};

/// How much of an unwanted body is read before the refusal is sent: a client that is still sending does not read it.
const DRAIN: u64 = 64 * 1024 * 1024;

/// What every request shares.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) app: Arc<App>,
    /// The server has stopped: whatever is still under way is cut.
    pub(super) stopped: CancellationToken,
}

/// A request while it is answered.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) parts: Parts,
    body: Option<Body>,
    /// The announced length of the body in bytes; unknown of a body in `Transfer-Encoding: chunked`.
    pub(super) length: Option<u64>,
}

impl Exchange {
    /// The body; empty if it was taken before.
    pub(super) fn take_body(&mut self) -> Body {
        self.body.take().unwrap_or_default()
    }

    /// A header that is text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The first value of `key` in the query, decoded.
    pub(super) fn query(&self, key: &str) -> Option<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).find(|(found, _)| found == key).map(|(_, value)| value.into_owned())
    }

    pub(super) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// Reads what is left of the body and throws it away. A client that waits for `100 Continue` sends none.
    async fn drain(&mut self) {
        if self.parts.headers.contains_key(header::EXPECT) {
            return;
        }
        let mut frames = self.take_body().into_data_stream();
        let mut drained = 0;
        while let Some(Ok(part)) = frames.next().await {
            drained += part.len() as u64;
            if drained > DRAIN {
                return;
            }
        }
    }
}

/// Answers one request.
pub(super) async fn answer(State(service): State<Service>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let app = &service.app;
    let (parts, body) = request.into_parts();
    let record = Record::begin(app, &parts, &peer);
    let fault = app.options.faults.as_ref().map_or(Fault::None, |faults| faults(&record.served.request));
    let length = body.size_hint().exact();
    let body = match fault {
        Fault::ResetAfter(room) => break_off(body, room, peer.cut.clone()),
        _ => body,
    };
    let exchange = Exchange { parts, length, body: Some(count(body, record.received.clone())) };
    let response = tokio::select! {
        response = carry_out(app, exchange, fault, &peer.cut) => end_with(response, &service.stopped),
        () = service.stopped.cancelled() => cut(&peer.cut),
    };
    if !peer.cut.is_cut() {
        record.answered(&response);
    }
    response
}

/// Goes to the log when it is dropped: also if the client leaves and nobody waits for the answer any more.
struct Record<'a> {
    app: &'a App,
    started: Instant,
    received: Arc<Received>,
    served: Served,
}

impl<'a> Record<'a> {
    fn begin(app: &'a App, parts: &Parts, peer: &Peer) -> Self {
        let request = RequestInfo {
            number: app.requests.fetch_add(1, Ordering::Relaxed),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers.clone(),
            peer: peer.addr,
        };
        let served = Served { request, status: None, request_bytes: 0, response_bytes: 0, elapsed: Duration::ZERO };
        Self { app, started: Instant::now(), received: Arc::default(), served }
    }

    fn answered(mut self, response: &Response) {
        self.served.status = Some(response.status());
        if self.served.request.method != Method::HEAD {
            self.served.response_bytes = announced_length(response);
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.served.request_bytes = self.received.bytes();
        if self.received.is_broken() {
            // There may be an answer, but nobody to read it.
            (self.served.status, self.served.response_bytes) = (None, 0);
        }
        self.served.elapsed = self.started.elapsed();
        tracing::debug!(request = %self.served, "answered");
        if let Some(log) = &self.app.options.log {
            log(&self.served);
        }
    }
}

async fn carry_out(app: &Arc<App>, mut exchange: Exchange, fault: Fault, cutter: &Cut) -> Response {
    match fault {
        Fault::None => handle(app, &mut exchange).await,
        Fault::Status(answer) => {
            exchange.drain().await;
            answer.into_response()
        }
        Fault::StatusAfter(answer) => {
            handle(app, &mut exchange).await;
            answer.into_response()
        }
        Fault::ResetBefore => cut(cutter),
        Fault::ResetAfter(_) | Fault::ResetAfterHandling => {
            handle(app, &mut exchange).await;
            cut(cutter)
        }
        Fault::TruncateResponse(room) => truncate(handle(app, &mut exchange).await, room),
        Fault::Delay(delay) => {
            tokio::time::sleep(delay).await;
            handle(app, &mut exchange).await
        }
        Fault::Stall => std::future::pending().await,
    }
}

async fn handle(app: &Arc<App>, exchange: &mut Exchange) -> Response {
    let mut response = match dispatch(app, exchange).await {
        Ok(response) => response,
        Err(refusal) => {
            exchange.drain().await;
            refusal.into_response()
        }
    };
    // Clients tell by this that the registry speaks version 2 (docker's registry API, "API Version Check").
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert(HeaderName::from_static("docker-distribution-api-version"), version);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn dispatch(app: &Arc<App>, exchange: &mut Exchange) -> Result<Response, Refusal> {
    let route = Route::parse(exchange.parts.uri.path())?;
    let method = exchange.parts.method.clone();
    let access = match &app.gate {
        Some(gate) => gate.check(&exchange.parts.headers, &Need::of(&route, &method))?,
        None => Access::Everything,
    };
    if app.options.read_only {
        refuse_changes(&route, &method)?;
    }
    let reads = method == Method::GET || method == Method::HEAD;
    match route {
        Route::Home if reads => discovery::home(app, exchange).await,
        Route::Base if reads => Ok(json(&serde_json::json!({}))),
        Route::Token => match &app.gate {
            Some(gate) => gate.answer_token(exchange).await,
            None => Err(Refusal::no_such_path()),
        },
        Route::Catalog if reads => discovery::catalog(app, exchange).await,
        Route::Tags(name) if reads => discovery::tags(app, exchange, name).await,
        Route::Referrers(name, digest) if reads => discovery::referrers(app, exchange, name, digest).await,
        Route::Home | Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => Err(Refusal::method("GET, HEAD")),
        Route::Manifest(name, reference) => match method {
            Method::GET | Method::HEAD => manifests::get(app, exchange, name, reference).await,
            Method::PUT => manifests::put(app, exchange, name, reference).await,
            Method::DELETE => manifests::delete(app, name, reference).await,
            _ => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
        },
        Route::Blob(name, digest) => match method {
            Method::GET | Method::HEAD => blobs::get(app, exchange, name, digest).await,
            Method::DELETE => blobs::delete(app, name, digest).await,
            _ => Err(Refusal::method("GET, HEAD, DELETE")),
        },
        Route::Uploads(name) => match method {
            Method::POST => uploads::begin(app, exchange, name, &access).await,
            _ => Err(Refusal::method("POST")),
        },
        Route::Upload(name, id) => match method {
            Method::GET | Method::HEAD => uploads::status(app, name, &id).await,
            Method::PATCH => uploads::patch(app, exchange, name, &id).await,
            Method::PUT => uploads::put(app, exchange, name, &id).await,
            Method::DELETE => uploads::cancel(app, name, &id).await,
            _ => Err(Refusal::method("GET, HEAD, PATCH, PUT, DELETE")),
        },
    }
}

/// Distribution specification, "Content Management": deletion that is disabled is 400 or 405.
fn refuse_changes(route: &Route, method: &Method) -> Result<(), Refusal> {
    let message = "this registry is read-only";
    match (route, method) {
        (Route::Manifest(..) | Route::Blob(..), &Method::DELETE) => {
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
                .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD")))
        }
        (Route::Uploads(_) | Route::Upload(..), _) | (Route::Manifest(..), &Method::PUT) => {
            Err(Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message))
        }
        _ => Ok(()),
    }
}

/// 200 with JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Response {
    // Values of this crate's own types with string keys always become JSON.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer with headers and without a body. Text that cannot stand in a header is left out.
pub(super) fn empty(status: StatusCode, headers: impl IntoIterator<Item = (HeaderName, String)>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Resets the connection in place of an answer: this one never arrives.
fn cut(cutter: &Cut) -> Response {
    cutter.cut();
    empty(StatusCode::INTERNAL_SERVER_ERROR, [])
}
