//! Pushing: blobs in the background while they are made, then the config, the manifest last.
//!
//! Invariant: a manifest is pushed only after everything that it names is in the registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::auth::Scope;
use super::client::{Client, Route};
use super::endpoint::ApiRequest;
use super::pushed::PushedBlobs;
use super::transport::{interrupted, unless_cancelled};
use super::upload::{self, BlobUpload, SessionLock, Sessions, UploadLimiter, UploadLimits};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Layer;
use crate::oci::{Descriptor, Digest, MediaType, Repository, Tag};
use crate::progress::{Task, TaskKind};
use crate::store::{BlobSource, Growing};

/// How many questions whether a blob exists may be under way: they cost nothing but the round trip.
/// As many blobs of one chunk may be: between their requests nothing is lost with them.
pub(super) const PARALLEL_HEADS: usize = 32;

/// A blob this small (bytes) is sent again rather than resumed: a record of how far it is would
/// cost more than that.
const SMALL: u64 = 64 << 10;

/// How often a blob is looked at that another process is uploading. Polled: waiting in flock would
/// need one thread per blob that cannot be cancelled, to save at most this long. The lock may also
/// be an alias for another file.
const OTHER_PROCESS: Duration = Duration::from_millis(200);

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobOutcome {
    /// It was there.
    Exists,
    /// It was mounted from another repository of the registry.
    Mounted,
    /// It was uploaded.
    Uploaded {
        /// Bytes that this process sent and the registry took.
        sent: u64,
    },
}

/// A blob that is in the repository now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushedBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// How it got there.
    pub outcome: BlobOutcome,
}

/// What a push left in the registry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pushed {
    /// Where it was pushed to.
    pub repository: Repository,
    /// The manifest's digest, confirmed by the registry.
    pub digest: Digest,
    /// The manifest as the registry took it: another one than was given, where it takes Docker's
    /// schema 2 only.
    pub manifest: Bytes,
    /// Its type.
    pub media_type: MediaType,
    /// The blobs in the order they were offered, the config last.
    pub blobs: Vec<PushedBlob>,
}

impl Pushed {
    /// The manifest's size in bytes.
    pub fn size(&self) -> u64 {
        self.manifest.len() as u64
    }

    /// Type, digest and size of the manifest: what an artifact about it refers to.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size())
    }
}

/// A push under way. Dropped, it stops after the requests in flight; sessions on disk stay for the
/// next process.
pub struct PushSession {
    pub(super) shared: Arc<PushState>,
    runtime: Handle,
    uploads: Mutex<JoinSet<(usize, Result<PushedBlob>)>>,
}

pub(super) struct PushState {
    pub(super) client: Client,
    repository: Repository,
    pub(super) route: Route,
    cancel: CancellationToken,
    questions: Semaphore,
    small: Semaphore,
    large: Semaphore,
    limiter: Arc<UploadLimiter>,
    limits: UploadLimits,
    sessions: Option<Sessions>,
    pushed: Option<PushedBlobs>,
    /// Every blob that was offered and is in place, to be sent again should the registry have lost
    /// it.
    in_place: Mutex<HashMap<Digest, (Descriptor, BlobSource)>>,
    /// One lock a digest: layers that are the same are uploaded once.
    digests: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl fmt::Debug for PushSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushSession({})", self.shared.repository)
    }
}

impl Client {
    /// Begins a push into `repository`. Nothing is sent before something is offered.
    ///
    /// # Errors
    /// `Usage` outside a tokio runtime (it carries the uploads), or if registries.conf blocks the
    /// repository.
    pub fn push(&self, repository: &Repository) -> Result<PushSession> {
        let runtime = Handle::try_current()
            .map_err(|error| Error::new(ErrorKind::Usage, "a push needs a tokio runtime").with_source(error))?;
        let options = self.options();
        let route = self.destination(repository)?;
        let limits = UploadLimits::of(route.endpoint.kind, options.chunk_size);
        let shared = PushState {
            client: self.clone(),
            repository: repository.clone(),
            route,
            cancel: options.cancel.child_token(),
            questions: Semaphore::new(PARALLEL_HEADS),
            small: Semaphore::new(PARALLEL_HEADS),
            large: Semaphore::new(options.concurrency.max(1)),
            limiter: UploadLimiter::new(options.concurrency, limits.chunk_size),
            limits,
            sessions: options.state_dir.as_deref().and_then(Sessions::open),
            pushed: options.state_dir.as_deref().map(PushedBlobs::open),
            in_place: Mutex::default(),
            digests: Mutex::default(),
        };
        Ok(PushSession { shared: Arc::new(shared), runtime, uploads: Mutex::default() })
    }
}

impl PushSession {
    /// Offers a complete layer; its transfer starts now in the background. Call it from any
    /// thread.
    pub fn offer(&self, layer: &Layer) {
        self.offer_blob(layer.descriptor.clone(), layer.source.clone());
    }

    /// Offers a complete blob.
    pub fn offer_blob(&self, descriptor: Descriptor, source: BlobSource) {
        let shared = self.shared.clone();
        self.spawn(move |order| async move { shared.blob(order, descriptor, source).await });
    }

    /// Offers a blob that is still being written; it is sent meanwhile, if it is larger than 1 MiB.
    ///
    /// `key` names its future content (the layer's cache key): under it an upload that was cut off
    /// is taken up again.
    pub fn offer_growing(&self, growing: Growing, key: Option<String>) {
        let shared = self.shared.clone();
        self.spawn(move |order| async move { shared.growing(order, growing, key.as_deref()).await });
    }

    /// Waits for all blobs, then pushes config and manifest, under each tag, or by digest where
    /// there is none.
    ///
    /// # Errors
    /// The first blob's that failed; the others finish the request they are at. `Auth`, `Network`,
    /// `Registry`, `NotFound` for a missing repository; `Corrupt` if the registry stored something
    /// else than was sent.
    pub async fn finish(self, config: Bytes, manifest: Bytes, media_type: MediaType, tags: &[Tag]) -> Result<Pushed> {
        self.offer_blob(Descriptor::of(config_type(&media_type), &config), BlobSource::Memory(config));
        let blobs = self.all_blobs().await?;
        let (manifest, media_type) = self.last_manifest(manifest, media_type, tags).await?;
        let repository = self.shared.repository.clone();
        Ok(Pushed { repository, digest: Digest::of(&manifest), manifest, media_type, blobs })
    }

    /// Gives up: chunks in flight are finished and recorded for the next process, nothing new is
    /// begun.
    pub async fn abandon(self) {
        self.shared.cancel.cancel();
        // The caller gives up: that the uploads were interrupted tells it nothing.
        let _ = self.blobs().await;
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.shared.repository
    }

    /// Waits for all blobs.
    pub(super) async fn all_blobs(&self) -> Result<Vec<PushedBlob>> {
        self.blobs().await.map_err(|error| self.failed(error))
    }

    /// Pushes the manifest that completes the image; what the registry took of it.
    pub(super) async fn last_manifest(&self, manifest: Bytes, media_type: MediaType, tags: &[Tag]) -> Result<(Bytes, MediaType)> {
        self.manifest(manifest, media_type, tags).await.map_err(|error| self.failed(error))
    }

    pub(super) fn manifests_task(&self, size: u64) -> Task {
        self.shared.client.options().progress.task(TaskKind::Push, "push manifests", Some(size))
    }

    fn failed(&self, error: Error) -> Error {
        error.wrap(format!("cannot push `{}`", self.shared.repository.familiar()))
    }

    fn spawn<W: Future<Output = Result<PushedBlob>> + Send + 'static>(&self, work: impl FnOnce(usize) -> W) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let order = uploads.len();
        let work = work(order);
        uploads.spawn_on(async move { (order, work.await) }, &self.runtime);
    }

    async fn blobs(&self) -> Result<Vec<PushedBlob>> {
        let mut uploads = std::mem::take(&mut *self.uploads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut done: Vec<(usize, PushedBlob)> = Vec::new();
        let mut first_error = None;
        while let Some(ended) = uploads.join_next().await {
            let ended = ended.map_err(|error| Error::new(ErrorKind::Registry, "an upload crashed").with_source(error));
            match ended.and_then(|(at, blob)| Ok((at, blob?))) {
                Ok(blob) => done.push(blob),
                Err(error) => {
                    // The others record where they are and stop; their errors would only say so.
                    self.shared.cancel.cancel();
                    first_error.get_or_insert(error);
                }
            }
        }
        done.sort_by_key(|(at, _)| *at);
        first_error.map_or(Ok(done.into_iter().map(|(_, blob)| blob).collect()), Err)
    }
}

impl Drop for PushSession {
    fn drop(&mut self) {
        // A chunk that is cut off costs the whole session on distribution 2.8: let those in flight
        // end.
        self.shared.cancel.cancel();
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).detach_all();
    }
}

impl PushState {
    /// Brings a blob of known digest into the repository.
    async fn blob(&self, order: usize, descriptor: Descriptor, source: BlobSource) -> Result<PushedBlob> {
        self.note_in_place(&descriptor, &source);
        let task = self.task(&descriptor.digest.short(), Some(descriptor.size));
        let one = self.digest_lock(&descriptor.digest);
        let _one = self.unless_cancelled(one.lock()).await?;
        if self.exists(&descriptor.digest, &task).await? {
            let (repository, digest) = (self.repository.to_string(), descriptor.digest.to_string());
            let records = [repository.as_str(), self.route.endpoint.authority()];
            self.sessions.iter().for_each(|sessions| records.iter().for_each(|of| sessions.forget(of, &digest)));
            task.cached();
            return Ok(PushedBlob { descriptor, outcome: BlobOutcome::Exists });
        }
        let session = match self.lock_session(&descriptor, &task).await? {
            Locked::Ours(session) => session,
            Locked::Arrived => {
                task.cached();
                return Ok(PushedBlob { descriptor, outcome: BlobOutcome::Exists });
            }
        };
        // Another process may be sending it to another repository of the registry: then it is
        // mounted from there.
        let _registry = self.lock_registry(&descriptor).await?;
        let mount = self.mountable(&source, &descriptor.digest)?;
        let in_one = descriptor.size <= self.limits.chunk_size && !matches!(source, BlobSource::Remote(_));
        let _permit = self.permit(if in_one { &self.small } else { &self.large }).await?;
        self.upload(order, Some(descriptor), source, mount, session.as_ref(), task).await
    }

    /// Brings a blob into the repository while it grows.
    async fn growing(&self, order: usize, mut growing: Growing, key: Option<&str>) -> Result<PushedBlob> {
        let session = key.and_then(|key| self.sessions.as_ref()?.lock(&self.repository.to_string(), key));
        // Another process sends the very same layer: it may be there when this one is complete.
        let elsewhere = key.is_some() && self.sessions.is_some() && session.is_none();
        let enough = if self.limits.single_request || elsewhere { u64::MAX } else { self.limits.start_at + 1 };
        let growth = self.unless_cancelled(growing.wait_for(enough)).await?;
        if !matches!(growth, crate::store::Growth::Written(_)) {
            let (descriptor, _) = self.unless_cancelled(growing.complete()).await??;
            if session.as_ref().is_none_or(|session| session.read().is_none()) {
                return self.blob(order, descriptor, BlobSource::Growing(growing)).await;
            }
        }
        let task = self.task("layer", None);
        let _permit = self.permit(&self.large).await?;
        let upload = self.upload(order, None, BlobSource::Growing(growing.clone()), None, session.as_ref(), task);
        // The next process may find the layer finished, and then it knows the digest alone: also
        // where this upload fails before, or is killed in the middle of a chunk.
        let link = self.unless_cancelled(async {
            if let (Ok((descriptor, _)), Some(session)) = (growing.complete().await, &session) {
                let (repository, digest) = (self.repository.to_string(), descriptor.digest.to_string());
                self.sessions.iter().for_each(|sessions| sessions.link(&repository, &digest, session));
            }
        });
        tokio::join!(upload, link).0
    }

    async fn upload(
        &self,
        order: usize,
        descriptor: Option<Descriptor>,
        source: BlobSource,
        mount: Option<Repository>,
        session: Option<&SessionLock>,
        task: Task,
    ) -> Result<PushedBlob> {
        let growing = descriptor.is_none();
        let (kept, from) = (source.clone(), mount.clone());
        let job = BlobUpload {
            route: &self.route,
            source,
            descriptor,
            limits: self.limits.clone(),
            mount,
            session,
            sessions: self.sessions.as_ref().filter(|_| growing).map(|sessions| (sessions, self.repository.to_string())),
            task: Arc::new(task),
            limiter: &self.limiter,
            order,
            cancel: &self.cancel,
        };
        let sent = upload::send(job).await?;
        self.note_in_place(&sent.descriptor, &kept);
        let outcome = match (sent.mounted, sent.existed) {
            (true, _) => BlobOutcome::Mounted,
            (_, true) => BlobOutcome::Exists,
            _ => BlobOutcome::Uploaded { sent: sent.bytes },
        };
        if sent.mounted || !sent.existed {
            let (host, path) = (self.route.endpoint.authority(), &self.route.path);
            self.pushed.iter().for_each(|pushed| pushed.note(host, path, &sent.descriptor.digest));
        }
        if let Some(from) = from.filter(|_| sent.mounted) {
            let message = format!("{} was mounted from `{}`", sent.descriptor.digest.short(), from.familiar());
            self.client.options().progress.note(&message);
        }
        let end = if matches!(outcome, BlobOutcome::Uploaded { .. }) { Task::done } else { Task::cached };
        Arc::into_inner(sent.task).into_iter().for_each(end);
        Ok(PushedBlob { descriptor: sent.descriptor, outcome })
    }

    fn note_in_place(&self, descriptor: &Descriptor, source: &BlobSource) {
        let mut in_place = self.in_place.lock().unwrap_or_else(PoisonError::into_inner);
        in_place.entry(descriptor.digest).or_insert_with(|| (descriptor.clone(), source.clone()));
    }

    /// Sends blobs again that the registry lacks though it said that it has them: those named, or
    /// all where it does not say which.
    pub(super) async fn send_again(&self, missing: &[Digest]) -> Result<()> {
        let blobs: Vec<_> = {
            let in_place = self.in_place.lock().unwrap_or_else(PoisonError::into_inner);
            let all_missing = !missing.iter().any(|digest| in_place.contains_key(digest));
            in_place.values().filter(|(blob, _)| all_missing || missing.contains(&blob.digest)).cloned().collect()
        };
        for (descriptor, source) in blobs {
            let task = self.task(&descriptor.digest.short(), Some(descriptor.size));
            self.upload(0, Some(descriptor), source, None, None, task).await?;
        }
        Ok(())
    }

    fn task(&self, name: &str, total: Option<u64>) -> Task {
        self.client.options().progress.task(TaskKind::Push, &format!("push {name}"), total)
    }

    fn digest_lock(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).entry(*digest).or_default().clone()
    }

    /// Whether the repository has the blob. A registry that will not say is asked by the upload
    /// itself.
    async fn exists(&self, digest: &Digest, task: &Task) -> Result<bool> {
        let _permit = self.permit(&self.questions).await?;
        let Route { endpoint, path } = &self.route;
        let request = ApiRequest::new(Method::HEAD, path, &format!("blobs/{digest}"), Scope::push(path));
        let response = self.unless_cancelled(endpoint.send_with_retry(&request, Some(task))).await??;
        Ok(response.status().is_success())
    }

    /// The right to upload a blob, among the processes of this machine.
    async fn lock_session(&self, blob: &Descriptor, task: &Task) -> Result<Locked> {
        let small = blob.size <= SMALL.min(self.limits.chunk_size);
        let Some(sessions) = self.sessions.as_ref().filter(|_| !small) else { return Ok(Locked::Ours(None)) };
        let digest = &blob.digest;
        let (repository, digest_text) = (self.repository.to_string(), digest.to_string());
        let mut waited = false;
        loop {
            if let Some(session) = sessions.lock(&repository, &digest_text) {
                // The process that had it before may have finished.
                if waited && self.exists(digest, task).await? {
                    return Ok(Locked::Arrived);
                }
                return Ok(Locked::Ours(Some(session)));
            }
            if !waited {
                tracing::debug!(%digest, repository, "waiting for another process that uploads this blob");
            }
            waited = true;
            self.unless_cancelled(tokio::time::sleep(OTHER_PROCESS)).await?;
        }
    }

    /// The right to send a blob to this registry, among the processes of this machine.
    async fn lock_registry(&self, blob: &Descriptor) -> Result<Option<SessionLock>> {
        let Some(sessions) = self.sessions.as_ref().filter(|_| blob.size > SMALL) else { return Ok(None) };
        let (registry, digest) = (self.route.endpoint.authority(), blob.digest.to_string());
        let (mut waited, mut again) = (false, false);
        loop {
            if let Some(lock) = sessions.lock(registry, &digest) {
                return Ok(Some(lock));
            }
            if !sessions.is_locked(registry, &digest) {
                // It was given back this moment; or the folder cannot be written to, and has no
                // locks.
                match std::mem::replace(&mut again, true) {
                    true => return Ok(None),
                    false => continue,
                }
            }
            if !std::mem::replace(&mut waited, true) {
                tracing::debug!(%digest, registry, "waiting for another process that uploads this blob to another repository");
            }
            self.unless_cancelled(tokio::time::sleep(OTHER_PROCESS)).await?;
        }
    }

    /// The repository to mount a blob from: where it comes from, or where this store has pushed it
    /// to, in the same registry.
    fn mountable(&self, source: &BlobSource, digest: &Digest) -> Result<Option<Repository>> {
        let Route { endpoint, path } = &self.route;
        if let BlobSource::Remote(remote) = source {
            let from = self.client.destination(remote.repository())?;
            if from.endpoint.authority() == endpoint.authority() && from.path != *path {
                return Repository::parse(&format!("{}/{}", remote.repository().registry(), from.path)).map(Some);
            }
        }
        let known = self.pushed.as_ref().and_then(|pushed| pushed.find(endpoint.authority(), path, digest));
        known.map(|known| Repository::parse(&format!("{}/{known}", self.repository.registry()))).transpose()
    }

    async fn permit<'a>(&self, semaphore: &'a Semaphore) -> Result<SemaphorePermit<'a>> {
        self.unless_cancelled(semaphore.acquire()).await?.map_err(|_| interrupted())
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        unless_cancelled(&self.cancel, work).await
    }
}

enum Locked {
    /// Ours to upload; `None` where nothing is recorded.
    Ours(Option<SessionLock>),
    /// Another process uploaded it meanwhile.
    Arrived,
}

fn config_type(manifest: &MediaType) -> MediaType {
    if *manifest == MediaType::DockerManifest { MediaType::DockerConfig } else { MediaType::Config }
}
