//! Bodies that are counted, or that end before they should: for the log, for faults, and for a
//! server that stops.
//!
//! Never looks at the bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::body::{Body, HttpBody as _};
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::connection::Cut;

/// How many bytes the body of an answer has, as its head announces them.
pub(super) fn announced_length(response: &Response) -> u64 {
    let header = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    header.or_else(|| response.body().size_hint().exact()).unwrap_or(0)
}

/// What has come of a request's body.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: AtomicU64,
    broken: AtomicBool,
}

impl Received {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the connection broke before the body's end.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

/// The body, with a record of what comes of it.
pub(super) fn count(body: Body, received: Arc<Received>) -> Body {
    Body::from_stream(body.into_data_stream().inspect(move |frame| match frame {
        Ok(part) => {
            received.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        Err(_) => received.broken.store(true, Ordering::Relaxed),
    }))
}

/// The body as far as `room` bytes, then a broken connection.
pub(super) fn break_off(body: Body, room: u64, cutter: Cut) -> Body {
    let frames = body.into_data_stream().map(|frame| frame.map_err(io::Error::other));
    Body::from_stream(frames.scan(room, shorten).flat_map(stream::iter).inspect(move |frame| {
        if frame.is_err() {
            cutter.cut();
        }
    }))
}

/// The answer as far as `room` bytes of its body.
pub(super) fn truncate(response: Response, room: u64) -> Response {
    let length = announced_length(&response);
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, length.into());
    let frames = body.into_data_stream().map(|frame| frame.map_err(io::Error::other));
    Response::from_parts(parts, Body::from_stream(frames.scan(room, shorten).flat_map(stream::iter)))
}

/// The answer, which breaks off when the server stops. One that is in memory already is left as it
/// is.
pub(super) fn end_with(response: Response, stopped: &CancellationToken) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let stopped = stopped.clone().cancelled_owned();
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(stopped)))
}

type Frame = io::Result<Bytes>;

/// Passes a frame on while there is room, then what fits of it, and an error.
fn shorten(room: &mut u64, frame: Frame) -> std::future::Ready<Option<Vec<Frame>>> {
    let frames = match frame {
        Ok(part) if part.len() as u64 >= *room => {
            let fits = part.slice(..usize::try_from(*room).unwrap_or(part.len()));
            vec![Ok(fits), Err(io::ErrorKind::ConnectionReset.into())]
        }
        Ok(part) => {
            *room -= part.len() as u64;
            vec![Ok(part)]
        }
        Err(error) => vec![Err(error)],
    };
    std::future::ready(Some(frames))
}
