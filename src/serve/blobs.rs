//! Pulling and deleting blobs (distribution specification, "Pulling blobs", "Deleting Blobs").
//!
//! Never holds a blob in memory: it is read piece by piece, one piece ahead of the client.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use rustix::buffer::spare_capacity;

use super::blocking::blocking;
use super::error_response::{ErrorCode, ErrorResponse};
use super::range::{Wanted, parse_range};
use super::registry_state::RegistryState;
use super::request_context::{RequestContext, empty};
use super::route::RepositoryName;
use crate::oci::Digest;

/// What one read takes from a file.
const PIECE: u64 = 512 * 1024;

/// The header that names what is sent (distribution specification, "Pulling manifests").
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A digest never means other bytes.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// `GET` and `HEAD` of a blob.
pub(super) async fn get(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, ErrorResponse> {
    let opened = {
        let (app, is_head) = (app.clone(), exchange.is_head());
        let open = move || {
            let Some(repository) = app.disk.repository(&name)? else { return Ok(None) };
            let opened = repository.open_blob(&digest)?;
            // The client that asks leaves the blob out of its push: it must not go before the
            // manifest comes.
            if let Some((file, _)) = opened.as_ref().filter(|_| is_head && !app.options.read_only) {
                keep(file, app.options.garbage_age);
            }
            Ok(opened)
        };
        blocking(open).await?
    };
    let (file, length) = opened.ok_or_else(|| ErrorResponse::blob_unknown(&digest))?;
    let etag = format!("\"{digest}\"");
    let headers = [
        (header::ETAG, etag.clone()),
        (CONTENT_DIGEST, digest.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, FOREVER.to_owned()),
    ];
    if exchange.header(header::IF_NONE_MATCH).is_some_and(|tags| matches_etag(tags, &etag)) {
        return Ok(empty(StatusCode::NOT_MODIFIED, headers));
    }
    let range = exchange.header(header::RANGE).filter(|_| !exchange.is_head());
    let applies = exchange.header(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let wanted = range.filter(|_| applies).map_or(Wanted::Whole, |range| parse_range(range, length));
    let (status, start, size) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0, length),
        Wanted::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        Wanted::Unsatisfiable => return Err(unsatisfiable(length)),
    };
    let mut response = empty(status, headers);
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Wanted::Part { start, end } = wanted
        && let Ok(range) = HeaderValue::try_from(format!("bytes {start}-{end}/{length}"))
    {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    if !exchange.is_head() {
        *response.body_mut() = Body::from_stream(read(file, start, size));
    }
    Ok(response)
}

/// `DELETE` of a blob: out of this repository only.
pub(super) async fn delete(app: &Arc<RegistryState>, name: RepositoryName, digest: Digest) -> Result<Response, ErrorResponse> {
    let app = app.clone();
    let removed = blocking(move || {
        let Some(repository) = app.disk.repository(&name)? else { return Ok(Ok(false)) };
        if repository.index().manifest(&digest).is_some() {
            return Ok(Err(ErrorResponse::bad(ErrorCode::Unsupported, "this is a manifest: delete it under /manifests/")));
        }
        app.disk.remove_blob(&digest, &repository).map(Ok)
    });
    match removed.await?? {
        true => Ok(empty(StatusCode::ACCEPTED, [])),
        false => Err(ErrorResponse::blob_unknown(&digest)),
    }
}

/// Makes a file young again, if it is of an age to be freed soon.
fn keep(file: &File, age: Duration) {
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let elapsed = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    if elapsed.is_none_or(|elapsed| elapsed > age / 2) {
        // At worst the blob is sent again.
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Whether an `If-None-Match` names `etag`.
pub(super) fn matches_etag(tags: &str, etag: &str) -> bool {
    tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}

fn unsatisfiable(length: u64) -> ErrorResponse {
    let refusal =
        ErrorResponse::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid, format!("the blob has {length} bytes"));
    match HeaderValue::try_from(format!("bytes */{length}")) {
        Ok(range) => refusal.with_header(header::CONTENT_RANGE, range),
        Err(_) => refusal,
    }
}

/// `size` bytes from `start`. The next piece is read while the one before is sent.
fn read(file: File, start: u64, size: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let file = Arc::new(file);
    let pieces = (0..size.div_ceil(PIECE)).map(move |piece| {
        let offset = piece * PIECE;
        (start + offset, PIECE.min(size - offset))
    });
    let read = move |(offset, length)| {
        let file = file.clone();
        async move { tokio::task::spawn_blocking(move || read_piece(&file, offset, length)).await? }
    };
    stream::iter(pieces).map(read).buffered(2)
}

fn read_piece(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let position = offset + buffer.len() as u64;
        let read = rustix::io::pread(file, spare_capacity(&mut buffer), position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    buffer.truncate(length);
    Ok(buffer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_match_in_lists_and_weakly() {
        assert!(matches_etag("\"a\", W/\"b\"", "\"b\""));
        assert!(matches_etag("*", "\"b\""));
        assert!(!matches_etag("b", "\"b\""));
    }
}
