//! A build cache in a registry: what steps made on one machine, for others to take.
//!
//! An entry is an image of one layer under a tag made of the step's key, so that any registry takes
//! it. What comes back is checked: manifest, config and layer against their digests, the layer's
//! tar against its diff ID, and the key in the entry against the tag that it was found under.
//! Everybody who can push to the repository is trusted all the same: nothing can prove that a layer
//! is what the command would have made.
//!
//! It never fails a build: the first thing that goes wrong is a warning, and a registry that does
//! not serve is not asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::build::filesystem;
use crate::build::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageConfig, Layer, rfc3339};
use crate::oci::{Descriptor, DiffId, Digest, MediaType, Platform, Reference, Repository, Tag};
use crate::progress::Progress;
use crate::registry::Client;
use crate::store::{BlobSource, CacheKey, CacheRecord, CachedLayer, Store};

/// The label of an entry with its key, and the one that says whether its layer is what the step
/// made.
const KEY: &str = "mpimg.cache.key";
pub(super) const LAYER: &str = "mpimg.cache.layer";
/// The label with the time at which the step was done. Entries of older releases do not have it.
pub(super) const MADE: &str = "mpimg.cache.made";
/// A tar that holds nothing: an image needs a layer, and a step may have changed nothing.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// How long the registry may take to say whether it has something.
const PATIENCE: Duration = Duration::from_secs(2);

/// When a result is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It was made a moment ago, because it was not there or not good.
    Always,
    /// It was made long ago: one question first.
    IfMissing,
}

/// A repository that holds results of steps.
pub(super) struct RemoteCache {
    client: Client,
    repository: Repository,
    progress: Progress,
    runtime: Handle,
    /// Whether results are taken from it.
    reads: bool,
    /// Whether results are put into it.
    writes: bool,
    /// The user was warned.
    warned: AtomicBool,
    /// The registry does not serve.
    off: AtomicBool,
    uploads: Mutex<Vec<JoinHandle<Result<()>>>>,
}

impl RemoteCache {
    pub(super) fn new(session: &Session<'_>, repository: &Repository, reads: bool, writes: bool) -> Self {
        Self {
            reads,
            writes,
            client: session.client.in_background(),
            repository: repository.clone(),
            progress: session.progress.clone(),
            runtime: session.runtime.clone(),
            warned: AtomicBool::new(false),
            off: AtomicBool::new(false),
            uploads: Mutex::default(),
        }
    }

    /// Whether results are taken from it.
    pub(super) fn reads(&self) -> bool {
        self.reads
    }

    /// Whether results are put into it.
    pub(super) fn writes(&self) -> bool {
        self.writes
    }

    /// What another machine made of the step with this key. The layer is in the store then.
    pub(super) fn lookup(&self, session: &Session<'_>, platform: &Platform, key: &CacheKey) -> Option<CacheRecord> {
        if self.is_off() {
            return None;
        }
        match self.fetch(session, platform, key) {
            Ok(record) => Some(record),
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Interrupted) {
                    self.failed(&error);
                }
                None
            }
        }
    }

    fn fetch(&self, session: &Session<'_>, platform: &Platform, key: &CacheKey) -> Result<CacheRecord> {
        let reference = self.reference(key)?;
        let image = self.pull_entry(&reference, platform)?;
        let wrong = |why: &str| Error::new(ErrorKind::Corrupt, format!("`{}` {why}", reference.familiar()));
        let label = |name: &str| image.config().config.labels.get(name).map(String::as_str);
        if label(KEY) != Some(key.to_string().as_str()) {
            return Err(wrong("is the result of another step"));
        }
        let layer = match (label(LAYER), image.layers()) {
            (Some("none"), _) => None,
            (Some("changes"), [layer]) => {
                filesystem::verify(session, layer)?;
                Some(CachedLayer { diff_id: layer.diff_id, descriptor: layer.descriptor.clone() })
            }
            _ => return Err(wrong("is not the result of a step")),
        };
        let made = label(MADE).and_then(|made| made.parse().ok()).unwrap_or(0);
        Ok(CacheRecord { layer, created: session.times.context, made })
    }

    /// The image that an entry is, without its layer's bytes.
    pub(super) fn pull_entry(&self, reference: &Reference, platform: &Platform) -> Result<Image> {
        let pulled = self.runtime.block_on(self.client.pull_image(reference, platform))?;
        let sources = pulled.layers.iter().map(|layer| layer.source.clone()).collect();
        Image::from_parts(pulled.manifest, Some(&pulled.media_type), pulled.config, sources)
    }

    /// Puts a result there, in the background.
    pub(super) fn offer(&self, store: &Store, platform: &Platform, key: &CacheKey, record: &CacheRecord, offer: Offer) {
        if self.is_off() {
            return;
        }
        let entry = entry(store, platform, key, record).and_then(|image| Ok((image, self.reference(key)?)));
        let (image, reference) = match entry {
            Ok(entry) => entry,
            Err(error) => return self.failed(&error),
        };
        self.upload(image, reference, offer);
    }

    /// Sends an entry, in the background.
    pub(super) fn upload(&self, image: Image, reference: Reference, offer: Offer) {
        let (client, repository) = (self.client.clone(), self.repository.clone());
        let upload = self.runtime.spawn(async move {
            if offer == Offer::IfMissing {
                // A build neither waits for an answer that it does not need nor warns that there is
                // none.
                let asked = tokio::time::timeout(PATIENCE, client.has_manifest(&reference)).await;
                if !matches!(asked, Ok(Ok(false))) {
                    return Ok(());
                }
            }
            let push = client.push(&repository)?;
            image.layers().iter().for_each(|layer| push.offer(layer));
            let (config, manifest) = (image.config_bytes().clone(), image.manifest_bytes().clone());
            let tags: Vec<Tag> = reference.tag().cloned().into_iter().collect();
            push.finish(config, manifest, image.descriptor().media_type.clone(), &tags).await.map(drop)
        });
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).push(upload);
    }

    /// Waits for what is on its way, unless the build was stopped.
    pub(super) fn finish(&self, stopped: bool) {
        let uploads = std::mem::take(&mut *self.uploads.lock().unwrap_or_else(PoisonError::into_inner));
        for upload in uploads {
            if stopped {
                upload.abort();
                continue;
            }
            let ended = self.runtime.block_on(upload);
            let ended = ended.map_err(|error| Error::new(ErrorKind::Registry, "an upload crashed").with_source(error));
            if let Err(error) = ended.and_then(|uploaded| uploaded) {
                self.failed(&error);
            }
        }
    }

    fn reference(&self, key: &CacheKey) -> Result<Reference> {
        Ok(self.repository.with_tag(Tag::parse(&format!("step-{}", key.0.hex()))?))
    }

    pub(super) fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn failed(&self, error: &Error) {
        // An entry that is damaged is replaced by what is made now; everything else would only take
        // time again.
        if error.kind() != ErrorKind::Corrupt {
            self.off.store(true, Ordering::Release);
        }
        if !self.warned.swap(true, Ordering::AcqRel) {
            let message = format!("the build cache `{}` is not used: {}", self.repository.familiar(), error.in_one_line());
            self.progress.warn(&message, error.hint());
        }
    }
}

/// The image that stands for a result.
fn entry(store: &Store, platform: &Platform, key: &CacheKey, record: &CacheRecord) -> Result<Image> {
    let (kind, layer) = match &record.layer {
        Some(CachedLayer { diff_id, descriptor }) => {
            let source = BlobSource::File(store.blob_path(&descriptor.digest));
            ("changes", Layer { diff_id: *diff_id, descriptor: descriptor.clone(), source })
        }
        None => {
            let tar = Bytes::from_static(&EMPTY_TAR);
            let descriptor = Descriptor::of(MediaType::Layer, &tar);
            ("none", Layer { diff_id: DiffId(Digest::of(&tar)), descriptor, source: BlobSource::Memory(tar) })
        }
    };
    let mut config = ImageConfig::scratch(platform);
    config.created = Some(rfc3339(record.created));
    let labels = [(KEY, key.to_string()), (LAYER, kind.to_owned()), (MADE, record.made.to_string())];
    config.config.labels.extend(labels.map(|(name, value)| (name.to_owned(), value)));
    Image::assemble(config, vec![layer], Default::default(), Format::Oci)
}
