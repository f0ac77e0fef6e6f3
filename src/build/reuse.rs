//! Results of earlier builds: which step need not be done again.
//!
//! What COPY and ADD take from the build context is compared in two ways. If every file has the stamp that it had (device,
//! inode, size, times of change), the layer is the same, and no byte is read. If only names, sizes and modes are the same, as
//! in a fresh clone, the tar is made and hashed, which is a fraction of the work of compressing it, and its diff ID decides.
//!
//! Refuses to trust a stamp that could hide a change: of a file that changed in the seconds before it was read (a second change
//! within the clock's grain would leave no trace; git calls such files racy), or on a file system that does not tell. One
//! thing no stamp tells: a program that keeps a file mapped may write into it for some seconds before its times move.

use std::cell::RefCell;
use std::time::Duration;

use super::cache;
use super::session::Session;
use super::shared::Offer;
use super::sink::LayerSink;
use super::stage::Stage;
use crate::context::{Patterns, Source, WalkEntry};
use crate::error::Result;
use crate::image::Layer;
use crate::layer::LayerWriter;
use crate::oci::Hasher;
use crate::store::{BlobSource, CacheKey, CacheRecord, CachedLayer, now};

/// A file must not have changed for this long before it was looked at: the coarsest times are whole seconds.
const SETTLED: i64 = 2;

/// Bytes of a layer of COPY or ADD from which on other machines' work is worth asking for: a smaller one is made in less time.
const WORTH_SHARING: u64 = 1 << 20;

/// How a step looks at its sources.
pub(super) struct Look<'a> {
    pub(super) session: &'a Session<'a>,
    /// The instruction as written, for messages.
    pub(super) instruction: &'a str,
    pub(super) exclude: &'a Patterns,
}

impl Look<'_> {
    /// Stops at a secret, or warns of it.
    pub(super) fn check(&self, walked: &WalkEntry) -> Result<()> {
        if let Some(warning) = self.session.guard.check(walked, self.instruction)? {
            self.session.warn_once(&warning);
        }
        Ok(())
    }

    /// All that a source holds; its files are not read.
    fn list(&self, source: &Source, device: Option<u64>) -> Result<Listing> {
        Listing::of(source, device, self.exclude, |walked| self.check(walked))
    }
}

/// What a source was when it was looked at.
pub(super) struct Listing {
    /// Names, kinds, sizes, modes, and the stamps of files.
    exact: Hasher,
    /// The same without stamps.
    outline: Hasher,
    device: Option<u64>,
    /// When a file changed last.
    newest: i64,
    telling: bool,
}

impl Listing {
    pub(super) fn new(source: &Source, device: Option<u64>) -> Self {
        let mut listing =
            Self { exact: Hasher::new(), outline: Hasher::new(), device, newest: i64::MIN, telling: device.is_some() };
        listing.field(source.path().as_bytes());
        listing.field(format!("{:?}", source.kind()).as_bytes());
        listing
    }

    /// All that a source holds; its files are not read.
    pub(super) fn of(
        source: &Source,
        device: Option<u64>,
        exclude: &Patterns,
        check: impl Fn(&WalkEntry) -> Result<()>,
    ) -> Result<Self> {
        let mut listing = Self::new(source, device);
        for walked in source.walk(exclude)? {
            let walked = walked?;
            check(&walked)?;
            listing.add(&walked);
        }
        Ok(listing)
    }

    fn field(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for hasher in [&mut self.exact, &mut self.outline] {
            hasher.update(&length);
            hasher.update(bytes);
        }
    }

    pub(super) fn add(&mut self, walked: &WalkEntry) {
        self.field(walked.entry.path.as_bytes());
        self.field(format!("{:?} {:o}", walked.entry.kind, walked.entry.metadata.mode).as_bytes());
        let Some(stamp) = walked.stamp() else { return };
        self.newest = self.newest.max(stamp.ctime.0);
        self.telling &= self.device == Some(stamp.device);
        self.exact.update(format!("{stamp:?}").as_bytes());
    }
}

/// The listings of all sources as keys.
pub(super) struct Keys {
    outline: CacheKey,
    /// `None` where stamps prove nothing.
    pub(super) exact: Option<CacheKey>,
}

impl Keys {
    /// `since`: when the first source was looked at.
    pub(super) fn new(step: CacheKey, listings: impl IntoIterator<Item = Listing>, since: i64) -> Self {
        let (mut exact, mut outline, mut trusted) = (String::new(), String::new(), true);
        for listing in listings {
            trusted &= listing.telling && listing.newest.saturating_add(SETTLED) < since;
            exact.push_str(&listing.exact.finish().to_string());
            outline.push_str(&listing.outline.finish().to_string());
        }
        let exact = cache::with(step, &format!("exact {exact}"));
        Self { outline: cache::with(step, &format!("outline {outline}")), exact: trusted.then_some(exact) }
    }
}

/// A COPY or ADD from the build context that may have been done before.
pub(super) struct Attempt {
    step: CacheKey,
    since: i64,
}

impl Attempt {
    /// Begins: before any of the sources is looked at. `step` names all that the result depends on but the sources.
    pub(super) fn new(step: CacheKey) -> Self {
        Self { step, since: now() }
    }

    /// More that the result depends on.
    pub(super) fn depends_on(&mut self, more: &str) {
        self.step = cache::with(self.step, more);
    }

    /// Takes the layer from an earlier build, or makes it with `fill`, which puts all sources into the writer, tells the
    /// listings what it saw, and gives back the writer unless nothing changed. Whether an earlier build had it.
    pub(super) fn take_or_make(
        self,
        stage: &mut Stage,
        look: &Look<'_>,
        sources: &[&Source],
        mut fill: impl FnMut(&mut Stage, LayerWriter<LayerSink>, &[RefCell<Listing>]) -> Result<Option<LayerWriter<LayerSink>>>,
    ) -> Result<bool> {
        let session = look.session;
        let device = session.context.telling_device();
        let new = || sources.iter().map(|source| RefCell::new(Listing::new(source, device))).collect::<Vec<_>>();
        let keys =
            |listings: Vec<RefCell<Listing>>| Keys::new(self.step, listings.into_iter().map(RefCell::into_inner), self.since);
        // Only a step that was done before is worth a look at all its files.
        if lookup(session, &self.step).is_some() {
            let listings = sources.iter().map(|source| look.list(source, device)).collect::<Result<Vec<_>>>()?;
            let seen = Keys::new(self.step, listings, i64::MAX);
            if let Some(record) = seen.exact.as_ref().and_then(|key| lookup(session, key)) {
                self.offer(session, stage, &record);
                push(session, stage, &record);
                return Ok(true);
            }
            if let Some(record) = lookup(session, &seen.outline) {
                let listings = new();
                let written = fill(stage, session.hashing_writer(), &listings)?;
                let diff_id = written.map(LayerWriter::finish_hash).transpose()?;
                if diff_id == record.layer.as_ref().map(|layer| layer.diff_id) {
                    self.offer(session, stage, &record);
                    push(session, stage, &record);
                    if let Some(exact) = keys(listings).exact {
                        session.store.cache_put(&exact, &record)?;
                    }
                    return Ok(true);
                }
            }
        }
        let remember_all = |layer: Option<&Layer>, listings| {
            let keys = keys(listings);
            let all = [Some(self.step), Some(keys.outline), keys.exact];
            all.iter().flatten().try_for_each(|key| remember(session, key, cached(layer), session.times.context))
        };
        if let Some(shared) = session.shared.as_ref().filter(|_| asks_others(session)) {
            let listings = new();
            let written = fill(stage, session.hashing_writer(), &listings)?;
            if let Some(writer) = written.filter(|writer| writer.position() >= WORTH_SHARING) {
                let diff_id = writer.finish_hash()?;
                let record = shared.lookup(session, &stage.config.platform(), &cache::layer_key(session, &diff_id));
                if let Some(record) = record.filter(|record| record.layer.as_ref().is_some_and(|layer| layer.diff_id == diff_id))
                {
                    push(session, stage, &record);
                    remember_all(stage.filesystem.layers().last(), listings)?;
                    return Ok(true);
                }
            }
        }
        let listings = new();
        let written = fill(stage, session.layer_writer(stage.target)?, &listings)?;
        let size = written.as_ref().map_or(0, LayerWriter::position);
        let layer = stage.push_written(session, written)?;
        remember_all(layer.as_ref(), listings)?;
        if let (Some(shared), Some(layer)) = (&session.shared, cached(layer.as_ref()).filter(|_| size >= WORTH_SHARING)) {
            let key = cache::layer_key(session, &layer.diff_id);
            let record = CacheRecord { layer: Some(layer), created: session.times.context, made: 0 };
            shared.offer(session.store, &stage.config.platform(), &key, &record, Offer::Always);
        }
        Ok(false)
    }

    /// Offers a layer that this machine has had.
    fn offer(&self, session: &Session<'_>, stage: &Stage, record: &CacheRecord) {
        let Some(layer) = record.layer.as_ref().filter(|layer| layer.descriptor.size >= WORTH_SHARING) else { return };
        if let Some(shared) = session.shared.as_ref().filter(|_| asks_others(session)) {
            let key = cache::layer_key(session, &layer.diff_id);
            shared.offer(session.store, &stage.config.platform(), &key, record, Offer::IfMissing);
        }
    }
}

pub(super) fn lookup(session: &Session<'_>, key: &CacheKey) -> Option<CacheRecord> {
    if session.request.no_cache { None } else { session.store.cache_lookup(key) }
}

fn push(session: &Session<'_>, stage: &mut Stage, record: &CacheRecord) {
    if let Some(CachedLayer { diff_id, descriptor }) = record.layer.clone() {
        let source = BlobSource::File(session.store.blob_path(&descriptor.digest));
        stage.filesystem.push(Layer { diff_id, descriptor, source });
    }
}

/// Puts the layer of an earlier build on the stage, if there is one for `key`.
pub(super) fn recall(session: &Session<'_>, stage: &mut Stage, key: &CacheKey) -> Result<bool> {
    let Some(record) = lookup(session, key) else { return Ok(false) };
    push(session, stage, &record);
    Ok(true)
}

/// Whether other machines may have done what this one has not.
pub(super) fn asks_others(session: &Session<'_>) -> bool {
    session.shared.is_some() && !session.request.no_cache
}

/// The same for a step that another machine may have done, too; what only this one has is offered to the others.
/// `max_age`: how old a result may be, where it is one that ages.
pub(super) fn recall_shared(session: &Session<'_>, stage: &mut Stage, key: &CacheKey, max_age: Option<Duration>) -> Result<bool> {
    let young = |record: &CacheRecord| max_age.is_none_or(|age| is_young(record.made, now(), age));
    let Some(shared) = session.shared.as_ref().filter(|_| asks_others(session)) else {
        let Some(record) = lookup(session, key).filter(young) else { return Ok(false) };
        push(session, stage, &record);
        return Ok(true);
    };
    let platform = stage.config.platform();
    if let Some(record) = lookup(session, key).filter(young) {
        shared.offer(session.store, &platform, key, &record, Offer::IfMissing);
        push(session, stage, &record);
        return Ok(true);
    }
    let Some(record) = shared.lookup(session, &platform, key).filter(young) else { return Ok(false) };
    session.store.cache_put(key, &record)?;
    recall(session, stage, key)
}

/// Whether what was made then may be taken now. What a clock that was set back shows as made later may be of any age.
fn is_young(made: i64, now: i64, max_age: Duration) -> bool {
    u64::try_from(now.saturating_sub(made)).is_ok_and(|age| age < max_age.as_secs())
}

/// Keeps what a step made, here and for other machines.
pub(super) fn remember_shared(
    session: &Session<'_>,
    stage: &Stage,
    key: &CacheKey,
    layer: Option<CachedLayer>,
    created: i64,
) -> Result<()> {
    let record = CacheRecord { layer, created, made: now() };
    session.store.cache_put(key, &record)?;
    if let Some(shared) = &session.shared {
        shared.offer(session.store, &stage.config.platform(), key, &record, Offer::Always);
    }
    Ok(())
}

/// Keeps what a step with known inputs made; `None` if it changed nothing.
pub(super) fn remember(session: &Session<'_>, key: &CacheKey, layer: Option<CachedLayer>, created: i64) -> Result<()> {
    session.store.cache_put(key, &CacheRecord { layer, created, made: now() })
}

/// What a record holds of a layer.
pub(super) fn cached(layer: Option<&Layer>) -> Option<CachedLayer> {
    layer.map(|layer| CachedLayer { diff_id: layer.diff_id, descriptor: layer.descriptor.clone() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::context::{BuildContext, ContextOptions};
    use crate::oci::Digest;

    /// Whether the stamp of a file is trusted, looked at so many seconds after it changed, on a device that tells or does not.
    fn trusted(after: i64, same_device: bool) -> bool {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "a").unwrap();
        let metadata = folder.path().join("a").metadata().unwrap();
        let context = BuildContext::open(folder.path(), ContextOptions::default()).unwrap();
        let source = &context.sources("a").unwrap()[0];
        let device = same_device.then(|| metadata.dev());
        let mut listing = Listing::new(source, device);
        listing.add(&source.walk(&Patterns::default()).unwrap().next().unwrap().unwrap());
        Keys::new(CacheKey(Digest::of("step")), [listing], metadata.ctime() + after).exact.is_some()
    }

    #[test]
    fn what_is_as_old_as_allowed_is_made_again() {
        let day = Duration::from_secs(86_400);
        for (made, young) in [(0, false), (13_600, false), (13_601, true), (100_000, true), (100_001, false)] {
            assert_eq!(is_young(made, 100_000, day), young, "{made}");
        }
        assert!(!is_young(100_000, 100_000, Duration::ZERO));
    }

    #[test]
    fn a_stamp_is_trusted_only_when_a_change_would_show() {
        assert!(trusted(3, true));
        assert!(!trusted(2, true), "a change in the same two seconds");
        assert!(!trusted(-100, true), "a clock that was set back");
        assert!(!trusted(3, false), "a file system that does not tell");
    }
}
