//! Answers that say no, in the JSON that the distribution specification gives errors ("Error
//! Codes").
//!
//! Tells a client nothing about this machine: what went wrong inside is logged at debug level, with
//! paths, and the client only learns that something did.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::oci::Digest;

/// What is wrong, in the words that clients know (distribution specification, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    /// Not in the specification's table, but clients know it.
    Unknown,
    Unsupported,
}

/// A request that is refused.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    errors: Vec<ErrorBody>,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    code: ErrorCode,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        let entry = ErrorBody { code, message: message.into(), detail: None };
        Self { status, headers: Vec::new(), errors: vec![entry] }
    }

    /// 400 with `code`.
    pub(super) fn bad(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404 for a path outside the specification.
    pub(super) fn no_such_path() -> Self {
        let entry = ErrorBody { code: ErrorCode::Unknown, message: "no such path in the distribution API".into(), detail: None };
        Self { status: StatusCode::NOT_FOUND, headers: Vec::new(), errors: vec![entry] }
    }

    /// 405, with the methods that the path knows.
    pub(super) fn method(allowed: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, format!("only {allowed} here"))
            .with_header(header::ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn blob_unknown(digest: &Digest) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, "blob unknown to registry").with_detail(digest_detail(digest))
    }

    pub(super) fn manifest_unknown(reference: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, "manifest unknown")
            .with_detail(serde_json::json!({ "reference": reference }))
    }

    pub(super) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, "blob upload unknown to registry")
    }

    /// One `MANIFEST_BLOB_UNKNOWN` for every blob or manifest that a pushed manifest names and the
    /// repository lacks.
    pub(super) fn missing_blobs(missing: &[Digest]) -> Self {
        let errors = missing.iter().map(|digest| ErrorBody {
            code: ErrorCode::ManifestBlobUnknown,
            message: "the manifest references a blob or manifest unknown to the repository".into(),
            detail: Some(digest_detail(digest)),
        });
        Self { status: StatusCode::NOT_FOUND, headers: Vec::new(), errors: errors.collect() }
    }

    #[must_use]
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    #[must_use]
    pub(super) fn with_detail(mut self, detail: Value) -> Self {
        if let Some(entry) = self.errors.first_mut() {
            entry.detail = Some(detail);
        }
        self
    }
}

fn digest_detail(digest: &Digest) -> Value {
    serde_json::json!({ "digest": digest })
}

impl From<Error> for ErrorResponse {
    fn from(error: Error) -> Self {
        let causes = error.causes();
        tracing::debug!(%error, ?causes, "registry storage failed");
        let full = std::iter::successors(std::error::Error::source(&error), |cause| cause.source())
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == std::io::ErrorKind::StorageFull);
        let (status, message) = match full {
            true => (StatusCode::INSUFFICIENT_STORAGE, "the registry's disk is full"),
            false => (StatusCode::INTERNAL_SERVER_ERROR, "the registry cannot read or write its storage"),
        };
        let entry = ErrorBody { code: ErrorCode::Unknown, message: message.into(), detail: None };
        Self { status, headers: Vec::new(), errors: vec![entry] }
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "errors": self.errors }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
