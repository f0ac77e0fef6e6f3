//! A blob in a registry, read when it is needed: retried, resumed by Range requests, its size and
//! digest checked. Where one connection is slow, the rest of a large blob comes in ranges side by
//! side.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reqwest::header::{ACCEPT_RANGES, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::auth::Scope;
use super::client::{Client, Route};
use super::endpoint::ApiRequest;
use super::failure::RequestError;
use super::ranges::{self, ConnectionSpeed, RangeReads};
use super::transport::HttpRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Hasher, Repository};
use crate::progress::{Progress, Task, TaskKind};
use crate::store::{ByteStream, RemoteBlob};

/// A blob in a registry or its mirrors.
pub(crate) struct RegistryBlob {
    repository: Repository,
    reader: BlobReader,
}

#[derive(Clone)]
struct BlobReader {
    routes: Vec<Route>,
    descriptor: Descriptor,
    progress: Progress,
}

impl RegistryBlob {
    pub(crate) fn new(client: &Client, repository: &Repository, routes: Vec<Route>, descriptor: Descriptor) -> Self {
        let progress = client.options().progress.clone();
        Self { repository: repository.clone(), reader: BlobReader { routes, descriptor, progress } }
    }

    /// The whole blob; for small ones.
    pub(crate) async fn read_all(&self, task: &Task) -> Result<Bytes> {
        let mut bytes = BytesMut::new();
        let mut stream = self.fetch(0);
        while let Some(piece) = stream.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        task.advance(bytes.len() as u64);
        Ok(bytes.freeze())
    }
}

impl RemoteBlob for RegistryBlob {
    fn repository(&self) -> &Repository {
        &self.repository
    }

    fn descriptor(&self) -> &Descriptor {
        &self.reader.descriptor
    }

    fn fetch(&self, offset: u64) -> ByteStream {
        let size = self.reader.descriptor.size;
        let mut reading = BlobRead::range(self.reader.clone(), offset..size, 0);
        reading.is_range = false;
        reading.hasher = (offset == 0).then(|| self.reader.descriptor.digest.hasher());
        reading.may_split = ranges::is_large(size);
        stream::try_unfold(reading, |mut reading| async move { Ok(reading.next().await?.map(|piece| (piece, reading))) }).boxed()
    }
}

/// One read under way.
struct BlobRead {
    reader: BlobReader,
    offset: u64,
    /// Where it ends.
    end: u64,
    /// Only a part of the blob is read, for a reader of the whole.
    is_range: bool,
    hasher: Option<Hasher>,
    response: Option<Response>,
    /// Bytes of the answer that are not wanted.
    skip: u64,
    route: usize,
    /// Tries since the last byte came.
    attempt: u32,
    task: Option<Task>,
    /// The rest may be read in ranges: the blob is large, and ranges have not failed.
    may_split: bool,
    /// The server says that it answers ranges (RFC 9110, 14.3).
    accepts_ranges: bool,
    speed: ConnectionSpeed,
    /// The bytes behind those of the one connection.
    ranges: Option<RangeReads>,
}

impl BlobRead {
    /// A read of a part.
    fn range(reader: BlobReader, range: Range<u64>, route: usize) -> Self {
        Self {
            reader,
            offset: range.start,
            end: range.end,
            is_range: true,
            hasher: None,
            response: None,
            skip: 0,
            route,
            attempt: 1,
            task: None,
            may_split: false,
            accepts_ranges: false,
            speed: ConnectionSpeed::default(),
            ranges: None,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let cancel = self.route().endpoint.transport.cancel.clone();
        loop {
            if self.offset >= self.end {
                return self.end().await;
            }
            if let Some(ranges) = self.ranges.as_mut().filter(|ranges| ranges.begin() == self.offset) {
                match ranges.next().await {
                    Ok(bytes) => return self.take(bytes).map(Some),
                    Err(error) => self.give_ranges_up(error)?,
                }
            }
            let step = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(super::transport::interrupted()),
                step = self.step() => step,
            };
            match step {
                Ok(Some(piece)) => return self.take_of_connection(piece).await.map(Some),
                Ok(None) => {}
                Err(fault) => self.recover(fault).await?,
            }
        }
    }

    /// One step: sends the request, or reads the next chunk of the response.
    async fn step(&mut self) -> Result<Option<Bytes>, RequestError> {
        let transport = self.route().endpoint.transport.clone();
        let Some(response) = &mut self.response else {
            let response = self.open().await?;
            let accepts =
                response.headers().get(ACCEPT_RANGES).is_some_and(|units| units.as_bytes().eq_ignore_ascii_case(b"bytes"));
            self.accepts_ranges = accepts || response.status() == StatusCode::PARTIAL_CONTENT;
            self.speed = ConnectionSpeed::default();
            self.response = Some(response);
            return Ok(None);
        };
        let asked = Instant::now();
        match transport.next_piece(response).await? {
            Some(mut piece) => {
                self.speed.add(piece.len(), asked.elapsed());
                let unwanted = piece.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= unwanted as u64;
                let wanted = piece.split_off(unwanted);
                Ok(Some(wanted).filter(|wanted| !wanted.is_empty()))
            }
            None => {
                let message = format!("`{}` ended {} bytes early", self.name(), self.end - self.offset);
                Err(RequestError::Transient(Error::new(ErrorKind::Corrupt, message)))
            }
        }
    }

    /// Asks for the bytes from the offset on.
    async fn open(&mut self) -> Result<Response, RequestError> {
        let Route { endpoint, path } = self.route().clone();
        if self.task.is_none() && !self.is_range {
            let name = format!("pull {}", self.reader.descriptor.digest.short());
            self.task = Some(self.reader.progress.task(TaskKind::Pull, &name, Some(self.reader.descriptor.size)));
        }
        let rest = format!("blobs/{}", self.reader.descriptor.digest);
        let mut request = ApiRequest::new(Method::GET, &path, &rest, Scope::pull(&path));
        if self.is_range {
            request = request.with_header(RANGE, &format!("bytes={}-{}", self.offset, self.end - 1));
        } else if self.offset > 0 {
            request = request.with_header(RANGE, &format!("bytes={}-", self.offset));
        }
        let mut response = endpoint.send_with_retry(&request, self.task.as_ref()).await.map_err(RequestError::Permanent)?;
        if response.status() == StatusCode::NOT_FOUND && self.reader.descriptor.is_elsewhere() {
            response = self.open_elsewhere(&request, response).await?;
        }
        match response.status() {
            StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::OK if self.is_range => {
                let message = format!("`{}` was asked for a range and sends all of a blob", endpoint.authority());
                Err(RequestError::Permanent(Error::new(ErrorKind::Registry, message)))
            }
            StatusCode::OK if self.offset == 0 => Ok(response),
            // The registry ignores Range: bytes that we have already come again and are skipped.
            StatusCode::OK => {
                self.skip = self.offset;
                Ok(response)
            }
            _ => Err(RequestError::Permanent(endpoint.response_error(response, &request).await)),
        }
    }

    /// Tries the `urls` of a foreign layer's descriptor, without any credential; `missing` is the
    /// registry's response.
    async fn open_elsewhere(&self, request: &ApiRequest, missing: Response) -> Result<Response, RequestError> {
        let transport = &self.route().endpoint.transport;
        for address in &self.reader.descriptor.urls {
            let Some(url) = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else { continue };
            let http_request = HttpRequest { headers: request.headers.clone(), ..HttpRequest::new(Method::GET, url) };
            let answer = transport.send_with_retry(http_request, &self.reader.progress, "layer from elsewhere").await;
            match answer {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(RequestError::Permanent(error)),
                Err(_) => {}
            }
        }
        Ok(missing)
    }

    /// Takes bytes of the one connection, and ends it where the ranges begin.
    async fn take_of_connection(&mut self, mut piece: Bytes) -> Result<Bytes> {
        let after = self.offset + piece.len() as u64;
        match &mut self.ranges {
            None if self.may_split && self.accepts_ranges && self.speed.is_slow() => self.start_ranges(after),
            Some(ranges) if after >= ranges.begin() => match ranges.wait_for_first().await {
                Ok(()) => {
                    piece.truncate(usize::try_from(ranges.begin() - self.offset).unwrap_or(usize::MAX));
                    self.response = None;
                }
                Err(error) => self.give_ranges_up(error)?,
            },
            _ => {}
        }
        self.take(piece)
    }

    /// Asks for the bytes some way behind `from` in ranges, while the one connection gets there.
    fn start_ranges(&mut self, from: u64) {
        let (reader, route) = (self.reader.clone(), self.route);
        let read = move |range: Range<u64>| {
            let mut reading = BlobRead::range(reader.clone(), range, route);
            async move {
                let mut bytes = BytesMut::with_capacity(usize::try_from(reading.end - reading.offset).unwrap_or_default());
                while let Some(piece) = reading.next().await? {
                    bytes.extend_from_slice(&piece);
                }
                Ok(bytes.freeze())
            }
            .boxed()
        };
        let permits = self.route().endpoint.transport.ranges.clone();
        self.ranges = RangeReads::start(from, self.end, permits, Arc::new(read));
        // What is left is too short.
        self.may_split = self.ranges.is_some();
        tracing::debug!(blob = self.name(), from, at_once = self.may_split, "one connection is slow: ranges");
    }

    /// Goes on with one connection, unless the work was stopped.
    fn give_ranges_up(&mut self, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Interrupted {
            return Err(error);
        }
        tracing::debug!(blob = self.name(), cause = error.to_string(), "ranges failed: one connection");
        (self.ranges, self.may_split) = (None, false);
        Ok(())
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes> {
        self.attempt = 1;
        self.offset += piece.len() as u64;
        if self.offset > self.end {
            return Err(Error::new(ErrorKind::Corrupt, format!("`{}` is longer than its descriptor says", self.name())));
        }
        self.hasher.iter_mut().for_each(|hasher| hasher.update(&piece));
        self.task.iter().for_each(|task| task.advance(self.offset));
        Ok(piece)
    }

    async fn end(&mut self) -> Result<Option<Bytes>> {
        if let Some(hasher) = self.hasher.take() {
            let digest = self.reader.descriptor.digest;
            digest.expect(hasher.finish()).map_err(|error| error.wrap(format!("`{}` is damaged", self.name())))?;
        }
        self.task.take().into_iter().for_each(Task::done);
        Ok(None)
    }

    /// After a transient error the same registry again, after a permanent one the next.
    async fn recover(&mut self, fault: RequestError) -> Result<()> {
        (self.response, self.skip) = (None, 0);
        let transport = self.route().endpoint.transport.clone();
        self.attempt += 1;
        let error = match fault {
            RequestError::Transient(error) => match transport.policy.delay(self.attempt, None) {
                Some(wait) => {
                    let reason = error.to_string();
                    return transport.pause_before(self.attempt, wait, &reason, self.task.as_ref()).await;
                }
                None => error,
            },
            RequestError::Permanent(error) => error,
        };
        if error.kind() == ErrorKind::Interrupted || self.route + 1 == self.reader.routes.len() {
            return Err(error);
        }
        (self.route, self.attempt) = (self.route + 1, 1);
        Ok(())
    }

    fn route(&self) -> &Route {
        &self.reader.routes[self.route]
    }

    fn name(&self) -> String {
        self.reader.descriptor.digest.to_string()
    }
}
