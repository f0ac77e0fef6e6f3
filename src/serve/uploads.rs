//! Pushing and mounting blobs (distribution specification, "Pushing blobs").
//!
//! A body is taken in by a task of its own, so that what arrived before a connection broke is kept
//! whatever becomes of the request.
//!
//! Refuses chunks out of order, and bytes that do not have the digest that they were announced
//! with.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::access_control::Access;
use super::blobs::CONTENT_DIGEST;
use super::blocking::blocking;
use super::error_response::{ErrorCode, ErrorResponse};
use super::range::parse_content_range;
use super::registry_state::RegistryState;
use super::request_context::{RequestContext, empty};
use super::route::{RepositoryName, parse_digest};
use super::token::Action;
use super::upload_session::{Ending, UploadSession, Writing};
use crate::error::Result;
use crate::oci::Digest;

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// `POST` to begin: an upload in steps, one with all bytes at once (`digest`), or a mount
/// (`mount`).
pub(super) async fn begin(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    access: &Access,
) -> Result<Response, ErrorResponse> {
    if let Some(digest) = exchange.query("mount")
        && let Some(response) = mount(app, &name, &digest, exchange.query("from"), access).await?
    {
        return Ok(response);
    }
    let digest = exchange.query("digest").map(|digest| parse_digest(&digest)).transpose()?;
    let session = {
        let (app, name) = (app.clone(), name.clone());
        blocking(move || app.sessions.begin(&app.disk.uploads_dir(&name))).await?
    };
    let Some(digest) = digest else {
        let mut headers = progress(&name, &session, 0);
        headers.extend(app.options.min_chunk.map(|length| (MIN_CHUNK, length.to_string())));
        return Ok(empty(StatusCode::ACCEPTED, headers));
    };
    let writing = session.write().await?;
    let chunk = Chunk::whole(exchange);
    let last = LastChunk { app: app.clone(), name, session, digest, resumable: false };
    app.in_task(async move { last.receive(writing, chunk).await }).await
}

/// `GET` of a session: how far it is.
pub(super) async fn status(app: &Arc<RegistryState>, name: RepositoryName, id: &str) -> Result<Response, ErrorResponse> {
    let session = find(app, &name, id).await?;
    let length = session.length().await?;
    Ok(empty(StatusCode::NO_CONTENT, progress(&name, &session, length)))
}

/// `PATCH`: a chunk with `Content-Range`, or a stream without.
pub(super) async fn patch(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    id: &str,
) -> Result<Response, ErrorResponse> {
    let session = find(app, &name, id).await?;
    let writing = session.write().await?;
    let chunk = Chunk::next(exchange, app, &name, &session, &writing)?;
    let min_chunk = app.options.min_chunk.unwrap_or(0);
    app.in_task(async move {
        let before = writing.length();
        let mut writing = chunk.receive(&session, writing).await?;
        writing.short = writing.length() - before < min_chunk;
        Ok(empty(StatusCode::ACCEPTED, progress(&name, &session, writing.length())))
    })
    .await
}

/// `PUT`: the last chunk, or nothing, and the digest of the whole.
pub(super) async fn put(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    id: &str,
) -> Result<Response, ErrorResponse> {
    let digest = exchange.query("digest").ok_or_else(|| ErrorResponse::bad(ErrorCode::DigestInvalid, "`digest` is missing"))?;
    let digest = parse_digest(&digest)?;
    let session = find(app, &name, id).await?;
    let writing = session.write().await?;
    let chunk = Chunk::next(exchange, app, &name, &session, &writing)?;
    let last = LastChunk { app: app.clone(), name, session, digest, resumable: true };
    app.in_task(async move { last.receive(writing, chunk).await }).await
}

/// `DELETE` of a session.
pub(super) async fn cancel(app: &Arc<RegistryState>, name: RepositoryName, id: &str) -> Result<Response, ErrorResponse> {
    let session = find(app, &name, id).await?;
    let mut writing = session.write().await?;
    let app = app.clone();
    blocking(move || app.sessions.end(&session, &mut writing)).await?;
    Ok(empty(StatusCode::NO_CONTENT, []))
}

async fn find(app: &Arc<RegistryState>, name: &RepositoryName, id: &str) -> Result<Arc<UploadSession>, ErrorResponse> {
    let (app, dir, id) = (app.clone(), app.disk.uploads_dir(name), id.to_owned());
    blocking(move || app.sessions.find(&dir, &id)).await?.ok_or_else(ErrorResponse::upload_unknown)
}

/// Mounts a blob; `None` where that cannot be, and an upload begins instead (distribution
/// specification, "Mounting a blob from another repository"). Without `from`, any repository will
/// do.
async fn mount(
    app: &Arc<RegistryState>,
    name: &RepositoryName,
    digest: &str,
    from: Option<String>,
    access: &Access,
) -> Result<Option<Response>, ErrorResponse> {
    let Ok(digest) = Digest::parse(digest) else { return Ok(None) };
    let from = match from.filter(|from| !from.is_empty()) {
        Some(from) => match RepositoryName::parse(&from).filter(|from| access.allows(from, Action::Pull)) {
            Some(from) => Some(from),
            None => return Ok(None),
        },
        // A client that may not see every repository must not learn what the others hold.
        None if !matches!(access, Access::Everything) => return Ok(None),
        None => None,
    };
    let mounted = {
        let (app, name) = (app.clone(), name.clone());
        blocking(move || {
            let source = match &from {
                Some(from) => match app.disk.repository(from)? {
                    Some(source) => Some(source),
                    None => return Ok(false),
                },
                None => None,
            };
            let there = match &source {
                Some(source) => source.blob_size(&digest)?.is_some(),
                None => app.disk.has_blob(&digest),
            };
            // A repository comes into being with its first blob, not with a failed mount.
            Ok(there && app.disk.mount_blob(&digest, source.as_deref(), &*app.disk.make_repository(&name)?)?)
        })
        .await?
    };
    Ok(mounted.then(|| created(name, &digest)))
}

/// The body of one request.
struct Chunk {
    body: Body,
    // What `Content-Length` or `Content-Range` announced, in bytes.
    announced: Option<u64>,
    limit: u64,
}

impl Chunk {
    /// A body that is all there is.
    fn whole(exchange: &mut RequestContext) -> Self {
        Self { announced: exchange.length, limit: u64::MAX, body: exchange.take_body() }
    }

    /// A body that continues a session; it must begin where the session ends.
    fn next(
        exchange: &mut RequestContext,
        app: &RegistryState,
        name: &RepositoryName,
        session: &UploadSession,
        writing: &Writing,
    ) -> Result<Self, ErrorResponse> {
        let mut chunk = Self { body: Body::empty(), announced: exchange.length, limit: u64::MAX };
        if let Some(range) = exchange.header(header::CONTENT_RANGE) {
            let length = writing.length();
            let (start, size) = parse_content_range(range)
                .filter(|(start, _)| *start == length)
                .ok_or_else(|| out_of_order(name, session, length, range))?;
            if chunk.announced.is_some_and(|announced| announced != size) {
                let message = format!("`Content-Length` and the range from {start} do not agree");
                return Err(ErrorResponse::bad(ErrorCode::SizeInvalid, message));
            }
            (chunk.announced, chunk.limit) = (Some(size), size);
        }
        if writing.short && chunk.announced != Some(0) {
            let message = format!("only the last chunk may be smaller than {} bytes", app.options.min_chunk.unwrap_or(0));
            return Err(ErrorResponse::bad(ErrorCode::BlobUploadInvalid, message));
        }
        chunk.body = exchange.take_body();
        Ok(chunk)
    }

    /// Takes the body in. What came of it counts, also when it is refused.
    async fn receive(self, session: &UploadSession, writing: Writing) -> Result<Writing, ErrorResponse> {
        let before = writing.length();
        let (writing, ending) = session.receive(writing, self.body, self.limit).await?;
        let received = writing.length() - before;
        let short = self.announced.is_some_and(|announced| received < announced);
        match ending {
            Ending::Complete if !short => Ok(writing),
            Ending::Complete => {
                Err(ErrorResponse::bad(ErrorCode::SizeInvalid, format!("only {received} bytes of the chunk came")))
            }
            Ending::TooLong => Err(ErrorResponse::bad(ErrorCode::SizeInvalid, "the chunk is longer than its `Content-Range`")),
            Ending::Broken => {
                let message = format!("the chunk broke off; the upload has {} bytes", writing.length());
                Err(ErrorResponse::bad(ErrorCode::BlobUploadInvalid, message))
            }
        }
    }
}

/// The request that ends a session.
struct LastChunk {
    app: Arc<RegistryState>,
    name: RepositoryName,
    session: Arc<UploadSession>,
    digest: Digest,
    // Whether the client knows the session's URL, so that it can come back.
    resumable: bool,
}

impl LastChunk {
    async fn receive(self, mut writing: Writing, chunk: Chunk) -> Result<Response, ErrorResponse> {
        writing.expect(&self.digest);
        match chunk.receive(&self.session, writing).await {
            Ok(writing) => blocking(move || self.complete(writing)).await?,
            Err(refusal) => {
                if !self.resumable
                    && let Ok(mut writing) = self.session.write().await
                {
                    blocking(move || self.app.sessions.end(&self.session, &mut writing)).await?;
                }
                Err(refusal)
            }
        }
    }

    /// Checks the bytes and puts them into the repository. Wrong bytes end the session: more of
    /// them cannot help.
    fn complete(self, mut writing: Writing) -> Result<Result<Response, ErrorResponse>> {
        let Self { app, name, session, digest, .. } = self;
        let actual = writing.digest(&digest)?;
        let response = if actual == digest {
            if app.disk.durable() {
                writing.sync()?;
            }
            app.disk.add_blob(session.path(), &digest, &*app.disk.make_repository(&name)?)?;
            Ok(created(&name, &digest))
        } else {
            let detail = serde_json::json!({ "expected": digest, "actual": actual, "size": writing.length() });
            Err(ErrorResponse::bad(ErrorCode::DigestInvalid, "the content does not match the digest").with_detail(detail))
        };
        app.sessions.end(&session, &mut writing)?;
        Ok(response)
    }
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    let location = format!("/v2/{name}/blobs/{digest}");
    empty(StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())])
}

/// Where a session is and how far. `0-0` is said of one byte and of none: that is how docker's
/// registry says it, and clients know no other way.
fn progress(name: &RepositoryName, session: &UploadSession, length: u64) -> Vec<(HeaderName, String)> {
    let id = session.id();
    vec![
        (header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        (header::RANGE, format!("0-{}", length.saturating_sub(1))),
        (UPLOAD_ID, id.to_owned()),
    ]
}

fn out_of_order(name: &RepositoryName, session: &UploadSession, length: u64, range: &str) -> ErrorResponse {
    let message = format!("the next byte of the upload is {length}, the range is `{range}`");
    let refusal = ErrorResponse::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid, message);
    progress(name, session, length).into_iter().fold(refusal, |refusal, (header, value)| match HeaderValue::try_from(value) {
        Ok(value) => refusal.with_header(header, value),
        Err(_) => refusal,
    })
}
