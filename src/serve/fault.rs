//! Faults that a registry can be told to play, and what its hooks are told of a request.
//!
//! Decides nothing: which request meets which fault is the hook's business.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// A request as the hooks see it.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// Counts the requests of this registry, from 0, in the order in which their heads arrived.
    pub number: u64,
    /// The method.
    pub method: Method,
    /// The path as sent, still percent-encoded.
    pub path: String,
    /// What follows `?`, as sent.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The client's address.
    pub peer: SocketAddr,
}

/// A request that was answered, or whose connection broke, for the log.
#[derive(Debug, Clone)]
pub struct Served {
    /// The request.
    pub request: RequestInfo,
    /// The status of the answer; `None` if there was none because the connection broke or was cut.
    pub status: Option<StatusCode>,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the answer's body, as its head announces them (0 for HEAD).
    pub response_bytes: u64,
    /// From the request's head to the answer's head.
    pub elapsed: Duration,
}

impl fmt::Display for Served {
    /// One line: method, path, status, bytes in, bytes out, time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.request.method, self.request.path)?;
        self.request.query.iter().try_for_each(|query| write!(f, "?{query}"))?;
        match self.status {
            Some(status) => write!(f, " {}", status.as_u16())?,
            None => f.write_str(" cut")?,
        }
        write!(f, " in={} out={} {:.1?}", self.request_bytes, self.response_bytes, self.elapsed)
    }
}

/// What happens to a request instead of, or besides, being carried out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: it is carried out.
    #[default]
    None,
    /// It is not carried out: the body is read and thrown away, then this is the answer.
    Status(FaultResponse),
    /// It is carried out, then this is the answer: a proxy that gave up too early.
    StatusAfter(FaultResponse),
    /// It is not carried out: the connection is reset at once.
    ResetBefore,
    /// The connection is reset when this many bytes of the body have been read. What was read is
    /// handled as after a real break. A shorter body is carried out, then the connection is reset.
    ResetAfter(u64),
    /// It is carried out, then the connection is reset: the answer is lost.
    ResetAfterHandling,
    /// The answer ends after this many bytes of its body although more were announced.
    TruncateResponse(u64),
    /// It is carried out after this time.
    Delay(Duration),
    /// It is not carried out and there is no answer; the connection stays open until the client
    /// leaves or the server stops.
    Stall,
}

/// A scripted answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultResponse {
    /// The status.
    pub status: StatusCode,
    /// Headers besides `Content-Length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl FaultResponse {
    /// A status without headers and with an empty body.
    pub fn status(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    /// An error as registries send it: one entry with `code` and `message` (distribution
    /// specification, "Error Codes").
    pub fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        let mut answer = Self { status, headers: HeaderMap::new(), body: body.to_string().into() };
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

impl IntoResponse for FaultResponse {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
