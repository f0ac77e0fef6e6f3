//! A request while it is answered, and the plain forms of answers.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use url::form_urlencoded;

/// How much of an unwanted body is read before the error is sent: a client that is still sending
/// does not read it.
const DRAIN: u64 = 64 * 1024 * 1024;

/// A request while it is answered.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) parts: Parts,
    pub(super) body: Option<Body>,
    /// The announced length of the body in bytes; unknown of a body in `Transfer-Encoding:
    /// chunked`.
    pub(super) length: Option<u64>,
}

impl RequestContext {
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
        self.query_all(key).next()
    }

    /// All values of `key` in the query, decoded.
    pub(super) fn query_all(&self, key: &str) -> impl Iterator<Item = String> {
        let query = form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes());
        query.filter(move |(found, _)| found == key).map(|(_, value)| value.into_owned())
    }

    pub(super) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// Reads what is left of the body and throws it away. A client that waits for `100 Continue`
    /// sends none.
    pub(super) async fn drain(&mut self) {
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
