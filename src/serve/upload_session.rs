//! Upload sessions: files that grow by what clients send, and that outlive the process.
//!
//! Bytes count as soon as they are in the file, also those of a request that broke off. One request
//! writes at a time; a newer one takes the session over, because the older may hang on a connection
//! that its client gave up long ago.
//!
//! Does not know the digest before the last byte.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::blocking::blocking;
use super::disk::remove;
use super::error_response::ErrorResponse;
use crate::error::{Error, Result};
use crate::oci::{Digest, Hasher, hex};

/// How much is collected before it is hashed and written: large enough to make the change of
/// threads cheap.
const PIECE: usize = 512 * 1024;

/// How many parts of a body are collected at most: each may keep alive a buffer far larger than
/// itself.
const PARTS: usize = 64;

/// How long a status waits for a request that is writing, whose connection may just have broken.
const STATUS_PATIENCE: Duration = Duration::from_millis(100);

/// All sessions that were used since the registry started.
#[derive(Debug, Default)]
pub(super) struct UploadSessions(Mutex<HashMap<PathBuf, Arc<UploadSession>>>);

/// One session.
#[derive(Debug)]
pub(super) struct UploadSession {
    path: PathBuf,
    takeover: Notify,
    state: Arc<tokio::sync::Mutex<UploadState>>,
}

/// The bytes of a session, and how far they are.
#[derive(Debug)]
pub(super) struct UploadState {
    path: PathBuf,
    // Open only while a request writes: there may be many sessions that nobody goes on with.
    file: Option<File>,
    // The hash of all bytes so far; unknown after a restart.
    hasher: Option<Hasher>,
    length: u64,
    // The last chunk was smaller than the registry takes, which only a last chunk may be.
    pub(super) short: bool,
    ended: bool,
}

/// The right to write to a session.
pub(super) type Writing = OwnedMutexGuard<UploadState>;

/// How the body of a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It came whole.
    Complete,
    /// The connection broke, or another request took the session over.
    Broken,
    /// It had more bytes than its `Content-Range` allows; the surplus was not stored.
    TooLong,
}

impl UploadSessions {
    /// Begins a session in the folder `dir`.
    pub(super) fn begin(&self, dir: &Path) -> Result<Arc<UploadSession>> {
        let mut random = [0; 16];
        getrandom(&mut random, GetRandomFlags::empty())
            .map_err(|error| Error::io("take random numbers for", dir, error.into()))?;
        let path = dir.join(uuid(random));
        fs::create_dir_all(dir).map_err(|error| Error::io("make the folder", dir, error))?;
        File::create_new(&path).map_err(|error| Error::io("make", &path, error))?;
        let session = Arc::new(UploadSession::new(path.clone(), 0));
        self.lock().insert(path, session.clone());
        Ok(session)
    }

    /// The session `id` of the folder `dir`, also one of an earlier process; `None` if there is
    /// none.
    pub(super) fn find(&self, dir: &Path, id: &str) -> Result<Option<Arc<UploadSession>>> {
        if !is_uuid(id) {
            return Ok(None);
        }
        let path = dir.join(id);
        // Locked to the end: two requests that find an old session at once must share it, and one
        // that has ended must not come back while its file is being removed.
        let mut sessions = self.lock();
        if let Some(session) = sessions.get(&path) {
            return Ok(Some(session.clone()));
        }
        match fs::metadata(&path) {
            Ok(metadata) => {
                let session = Arc::new(UploadSession::new(path.clone(), metadata.len()));
                sessions.insert(path, session.clone());
                Ok(Some(session))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    /// Ends a session: its file goes, and with it its URL.
    pub(super) fn end(&self, session: &UploadSession, writing: &mut Writing) -> Result<()> {
        let mut sessions = self.lock();
        writing.ended = true;
        sessions.remove(&session.path);
        remove(&session.path)
    }

    /// Forgets the sessions whose files are gone.
    pub(super) fn forget_removed(&self) {
        self.lock().retain(|path, _| path.exists());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<UploadSession>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UploadSession {
    fn new(path: PathBuf, length: u64) -> Self {
        let hasher = (length == 0).then(Hasher::new);
        let state = UploadState { path: path.clone(), file: None, hasher, length, short: false, ended: false };
        Self { path, takeover: Notify::new(), state: Arc::new(tokio::sync::Mutex::new(state)) }
    }

    /// The last part of its URL.
    pub(super) fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the right to write, from another request if need be.
    pub(super) async fn write(&self) -> Result<Writing, ErrorResponse> {
        let writing = match self.state.clone().try_lock_owned() {
            Ok(writing) => writing,
            Err(_) => {
                self.takeover.notify_waiters();
                self.state.clone().lock_owned().await
            }
        };
        if writing.ended { Err(ErrorResponse::upload_unknown()) } else { Ok(writing) }
    }

    /// How many bytes have arrived. While a request is writing, the number is that of the file,
    /// which grows.
    pub(super) async fn length(&self) -> Result<u64, ErrorResponse> {
        match tokio::time::timeout(STATUS_PATIENCE, self.state.lock()).await {
            Ok(state) if state.ended => Err(ErrorResponse::upload_unknown()),
            Ok(state) => Ok(state.length),
            Err(_) => match fs::metadata(&self.path) {
                Ok(metadata) => Ok(metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ErrorResponse::upload_unknown()),
                Err(error) => Err(Error::io("read", &self.path, error).into()),
            },
        }
    }

    /// Appends a body, at most `limit` bytes of it. Hashing and writing overlap with receiving.
    pub(super) async fn receive(&self, writing: Writing, body: Body, limit: u64) -> Result<(Writing, Ending), ErrorResponse> {
        let takeover = self.takeover.notified();
        tokio::pin!(takeover);
        takeover.as_mut().enable();
        let mut frames = body.into_data_stream();
        let mut room = limit;
        let mut written = future::ok(writing).boxed();
        loop {
            let mut piece = Piece::default();
            let ending = loop {
                if piece.is_full() {
                    break None;
                }
                let frame = tokio::select! {
                    frame = frames.next() => frame,
                    () = &mut takeover => break Some(Ending::Broken),
                };
                match frame {
                    None => break Some(Ending::Complete),
                    Some(Err(_)) => break Some(Ending::Broken),
                    Some(Ok(part)) if part.len() as u64 > room => {
                        piece.push(part.slice(..usize::try_from(room).unwrap_or(part.len())));
                        break Some(Ending::TooLong);
                    }
                    Some(Ok(part)) => {
                        room -= part.len() as u64;
                        piece.push(part);
                    }
                }
            };
            let writing = written.await?;
            written = append(writing, piece.parts).boxed();
            if let Some(ending) = ending {
                let mut writing = written.await?;
                writing.file = None;
                return Ok((writing, ending));
            }
        }
    }
}

impl UploadState {
    /// How many bytes are in the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The first bytes will be hashed as `digest` is; without this, as SHA-256.
    pub(super) fn expect(&mut self, digest: &Digest) {
        if self.length == 0 {
            self.hasher = Some(digest.hasher());
        }
    }

    /// The digest of all bytes, of the same algorithm as `wanted`. Reads them again if they were
    /// hashed otherwise or not at all.
    pub(super) fn digest(&self, wanted: &Digest) -> Result<Digest> {
        let known = self.hasher.clone().map(Hasher::finish);
        if let Some(known) = known.filter(|known| known.algorithm() == wanted.algorithm()) {
            return Ok(known);
        }
        let hash = || {
            let mut hasher = wanted.hasher();
            let mut reader = BufReader::with_capacity(PIECE, File::open(&self.path)?);
            io::copy(&mut reader, &mut hasher)?;
            Ok(hasher.finish())
        };
        hash().map_err(|error| Error::io("read", &self.path, error))
    }

    /// Makes sure that a power cut keeps the bytes.
    pub(super) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.path).and_then(|file| file.sync_data());
        synced.map_err(|error| Error::io("write", &self.path, error))
    }

    fn append(&mut self, parts: &[Bytes]) -> Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let opened = OpenOptions::new().append(true).open(&self.path);
                opened.map_err(|error| Error::io("open", &self.path, error))?
            }
        };
        for part in parts {
            if let Err(error) = file.write_all(part) {
                // What was hashed must be what is in the file. If not even this works, the hash is
                // taken from the file at the end.
                if file.set_len(self.length).is_err() {
                    self.hasher = None;
                    self.length = file.metadata().map_or(self.length, |metadata| metadata.len());
                }
                return Err(Error::io("write", &self.path, error));
            }
            self.length += part.len() as u64;
            self.hasher.iter_mut().for_each(|hasher| hasher.update(part));
        }
        self.file = Some(file);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Piece {
    parts: Vec<Bytes>,
    length: usize,
}

impl Piece {
    fn push(&mut self, part: Bytes) {
        self.length += part.len();
        self.parts.push(part);
    }

    fn is_full(&self) -> bool {
        self.length >= PIECE || self.parts.len() >= PARTS
    }
}

/// Starts appending at once; the answer is ready when it is done.
fn append(mut writing: Writing, parts: Vec<Bytes>) -> impl Future<Output = Result<Writing, ErrorResponse>> + Send {
    blocking(move || writing.append(&parts).map(|()| writing))
}

/// A version 4 UUID (RFC 9562, section 5.4): the specification wants one in the URL of a session.
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let hex = hex(&random);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_uuids_and_nothing_else_is_a_session() {
        let id = uuid([0xff; 16]);
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!(is_uuid(&id));
        for text in ["", "..", "../x", "ffffffff-ffff-4fff-bfff-fffffffffff", "FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF"] {
            assert!(!is_uuid(text), "{text}");
        }
    }

    #[tokio::test]
    async fn a_session_is_found_again_by_a_later_process_and_hashed_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let session = UploadSessions::default().begin(dir.path()).unwrap();
        let writing = session.write().await.unwrap();
        let (writing, ending) = session.receive(writing, Body::from("hello "), u64::MAX).await.unwrap();
        assert_eq!((writing.length(), ending), (6, Ending::Complete));

        let later = UploadSessions::default();
        let session = later.find(dir.path(), session.id()).unwrap().unwrap();
        let (mut writing, ending) = session.receive(session.write().await.unwrap(), Body::from("world!!"), 5).await.unwrap();
        assert_eq!((writing.length(), ending), (11, Ending::TooLong));
        let digest = Digest::of("hello world");
        assert_eq!(writing.digest(&digest).unwrap(), digest);
        let long = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
        assert_eq!(writing.digest(&long).unwrap().algorithm(), "sha512");

        later.end(&session, &mut writing).unwrap();
        drop(writing);
        assert!(session.write().await.is_err());
        assert!(later.find(dir.path(), session.id()).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_newer_request_takes_a_session_over_and_keeps_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let session = UploadSessions::default().begin(dir.path()).unwrap();
        let writing = session.write().await.unwrap();
        let stuck =
            futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"abc"))]).chain(future::pending().into_stream());
        let older = tokio::spawn({
            let session = session.clone();
            async move { session.receive(writing, Body::from_stream(stuck), u64::MAX).await.map(|(_, ending)| ending).ok() }
        });
        tokio::task::yield_now().await;
        let writing = session.write().await.unwrap();
        assert_eq!(older.await.unwrap(), Some(Ending::Broken));
        assert_eq!(writing.length(), 3);
    }
}
