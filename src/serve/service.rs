//! Answers requests: faults, access, the endpoint, the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::HttpBody as _;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use super::access_control::{Access, RequiredAccess};
use super::body::{Received, announced_length, break_off, count, end_with, truncate};
use super::connection::{Cut, Peer};
use super::error_response::{ErrorCode, ErrorResponse};
use super::registry_state::RegistryState;
use super::request_context::{RequestContext, empty, json};
use super::route::Route;
use super::{Fault, RequestInfo, Served, blobs, discovery, manifests, token_endpoint, uploads};

/// What every request shares.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) app: Arc<RegistryState>,
    /// The server has stopped: whatever is still under way is cut.
    pub(super) stopped: CancellationToken,
}

/// Answers one request.
pub(super) async fn answer(State(service): State<Service>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let app = &service.app;
    let (parts, body) = request.into_parts();
    let entry = LogEntry::begin(app, &parts, &peer);
    let fault = app.options.faults.as_ref().map_or(Fault::None, |faults| faults(&entry.served.request));
    let length = body.size_hint().exact();
    let body = match fault {
        Fault::ResetAfter(room) => break_off(body, room, peer.cut.clone()),
        _ => body,
    };
    let exchange = RequestContext { parts, length, body: Some(count(body, entry.received.clone())) };
    let response = tokio::select! {
        response = carry_out(app, exchange, fault, &peer.cut) => end_with(response, &service.stopped),
        () = service.stopped.cancelled() => cut(&peer.cut),
    };
    if !peer.cut.is_cut() {
        entry.answered(&response);
    }
    response
}

/// Goes to the log when it is dropped: also if the client leaves and nobody waits for the answer
/// any more.
struct LogEntry<'a> {
    app: &'a RegistryState,
    started: Instant,
    received: Arc<Received>,
    served: Served,
}

impl<'a> LogEntry<'a> {
    fn begin(app: &'a RegistryState, parts: &Parts, peer: &Peer) -> Self {
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

impl Drop for LogEntry<'_> {
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

async fn carry_out(app: &Arc<RegistryState>, mut exchange: RequestContext, fault: Fault, cutter: &Cut) -> Response {
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

async fn handle(app: &Arc<RegistryState>, exchange: &mut RequestContext) -> Response {
    let mut response = match dispatch(app, exchange).await {
        Ok(response) => response,
        Err(refusal) => {
            exchange.drain().await;
            refusal.into_response()
        }
    };
    // Clients tell by this that the registry speaks version 2 (docker's registry API, "API Version
    // Check").
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert(HeaderName::from_static("docker-distribution-api-version"), version);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn dispatch(app: &Arc<RegistryState>, exchange: &mut RequestContext) -> Result<Response, ErrorResponse> {
    let route = Route::parse(exchange.parts.uri.path())?;
    let method = exchange.parts.method.clone();
    let access = match &app.access_control {
        Some(access_control) => access_control.check(&exchange.parts.headers, &RequiredAccess::of(&route, &method))?,
        None => Access::Everything,
    };
    if app.options.read_only {
        refuse_changes(&route, &method)?;
    }
    let reads = method == Method::GET || method == Method::HEAD;
    match route {
        Route::Home if reads => discovery::home(app, exchange).await,
        Route::Base if reads => Ok(json(&serde_json::json!({}))),
        Route::Token => match &app.access_control {
            Some(access_control) => token_endpoint::answer(access_control, exchange).await,
            None => Err(ErrorResponse::no_such_path()),
        },
        Route::Catalog if reads => discovery::catalog(app, exchange).await,
        Route::Tags(name) if reads => discovery::tags(app, exchange, name).await,
        Route::Referrers(name, digest) if reads => discovery::referrers(app, exchange, name, digest).await,
        Route::Home | Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => {
            Err(ErrorResponse::method("GET, HEAD"))
        }
        Route::Manifest(name, reference) => match method {
            Method::GET | Method::HEAD => manifests::get(app, exchange, name, reference).await,
            Method::PUT => manifests::put(app, exchange, name, reference).await,
            Method::DELETE => manifests::delete(app, name, reference).await,
            _ => Err(ErrorResponse::method("GET, HEAD, PUT, DELETE")),
        },
        Route::Blob(name, digest) => match method {
            Method::GET | Method::HEAD => blobs::get(app, exchange, name, digest).await,
            Method::DELETE => blobs::delete(app, name, digest).await,
            _ => Err(ErrorResponse::method("GET, HEAD, DELETE")),
        },
        Route::Uploads(name) => match method {
            Method::POST => uploads::begin(app, exchange, name, &access).await,
            _ => Err(ErrorResponse::method("POST")),
        },
        Route::Upload(name, id) => match method {
            Method::GET | Method::HEAD => uploads::status(app, name, &id).await,
            Method::PATCH => uploads::patch(app, exchange, name, &id).await,
            Method::PUT => uploads::put(app, exchange, name, &id).await,
            Method::DELETE => uploads::cancel(app, name, &id).await,
            _ => Err(ErrorResponse::method("GET, HEAD, PATCH, PUT, DELETE")),
        },
    }
}

/// Distribution specification, "Content Management": deletion that is disabled is 400 or 405.
fn refuse_changes(route: &Route, method: &Method) -> Result<(), ErrorResponse> {
    let message = "this registry is read-only";
    match (route, method) {
        (Route::Manifest(..) | Route::Blob(..), &Method::DELETE) => {
            Err(ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
                .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD")))
        }
        (Route::Uploads(_) | Route::Upload(..), _) | (Route::Manifest(..), &Method::PUT) => {
            Err(ErrorResponse::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message))
        }
        _ => Ok(()),
    }
}

/// Resets the connection in place of an answer: this one never arrives.
fn cut(cutter: &Cut) -> Response {
    cutter.cut();
    empty(StatusCode::INTERNAL_SERVER_ERROR, [])
}
