//! COPY and ADD from the build context that an earlier build may have done.
//!
//! Their sources are compared in two ways. If every file has the stamp that it had (device, inode,
//! size, times of change), the layer is the same, and no byte is read. If only names, sizes and
//! modes are the same, as in a fresh clone, the tar is made and hashed, which is a fraction of the
//! work of compressing it, and its diff ID decides. Where most files have the times that they had,
//! some file was changed: unless it is uploaded meanwhile, the layer is made at once, which copies
//! the blocks of all others.

use std::cell::RefCell;

use super::listing::{Listing, ListingKeys};
use super::records::{BuildCache, cached};
use super::remote::Offer;
use super::{difference, keys};
use crate::build::guarded_walk::GuardedWalk;
use crate::build::outcome::StepOutcome;
use crate::build::sink::LayerSink;
use crate::build::stage::StageState;
use crate::context::Source;
use crate::error::Result;
use crate::image::Layer;
use crate::layer::{LayerWriter, StampRule};
use crate::oci::DiffId;
use crate::store::{CacheKey, CacheRecord, MissReason, now};

/// Bytes of a layer of COPY or ADD from which on other machines' work is worth asking for: a
/// smaller one is made in less time.
const WORTH_SHARING: u64 = 1 << 20;

/// Writes all sources into a layer and gives back its writer unless nothing changed. The listings,
/// one for each source, take in what was seen.
type Fill<'f> =
    dyn FnMut(&mut StageState, LayerWriter<LayerSink>, &[RefCell<Listing>]) -> Result<Option<LayerWriter<LayerSink>>> + 'f;

/// A COPY or ADD from the build context that may have been done before.
pub(in crate::build) struct ContextAttempt {
    step: CacheKey,
    since: i64,
}

impl ContextAttempt {
    /// Begins: before any of the sources is looked at. `step` names all that the result depends on
    /// but the sources.
    pub(in crate::build) fn new(step: CacheKey) -> Self {
        Self { step, since: now() }
    }

    /// Adds something that the result depends on.
    pub(in crate::build) fn depends_on(&mut self, more: &str) {
        self.step = keys::with(self.step, "what was fetched", more);
    }

    /// Takes the layer from an earlier build, or makes it with `fill`.
    pub(in crate::build) fn take_or_make(
        self,
        cache: &BuildCache<'_>,
        stage: &mut StageState,
        walk: &GuardedWalk<'_>,
        sources: &[&Source],
        fill: &mut Fill<'_>,
    ) -> Result<StepOutcome> {
        let mut work = Work { attempt: self, cache, walk, sources, last: None, bytes: None };
        let Some(miss) = work.take(stage, fill)? else { return Ok(StepOutcome::Cached) };
        if work.take_remote(stage, fill)? {
            return Ok(StepOutcome::Cached);
        }
        cache.missed(stage, &work.attempt.step, miss);
        let made = work.make(stage, fill)?;
        if let Some(last) = work.last {
            // A file was only touched.
            if last.layer == made.as_ref().map(cached) {
                return Ok(StepOutcome::Cached);
            }
            let before = tracing::enabled!(tracing::Level::INFO).then(|| cache.layer(&last)).flatten();
            if let (Some(before), Some(made)) = (before, made) {
                difference::log_first(&before, &made);
            }
        }
        Ok(StepOutcome::Done)
    }
}

/// An attempt with everything that it needs.
struct Work<'w> {
    attempt: ContextAttempt,
    cache: &'w BuildCache<'w>,
    walk: &'w GuardedWalk<'w>,
    sources: &'w [&'w Source],
    /// What an earlier build made of the step.
    last: Option<CacheRecord>,
    /// Of all files, where somebody has looked.
    bytes: Option<u64>,
}

impl Work<'_> {
    /// Takes the layer that this machine has, or tells why not.
    fn take(&mut self, stage: &mut StageState, fill: &mut Fill<'_>) -> Result<Option<MissReason>> {
        let session = self.cache.session;
        // Only a step that was done before is worth a look at all its files.
        let last = match self.cache.lookup(&self.attempt.step) {
            Ok(last) => last,
            Err(miss) => return Ok(Some(miss)),
        };
        self.last = Some(last.clone());
        let device = session.context.device_with_reliable_times();
        let list = |source: &&Source| Listing::of(source, device, self.walk.exclude, last.made, |walked| self.walk.check(walked));
        let listings = self.sources.iter().map(list).collect::<Result<Vec<_>>>()?;
        let seen = ListingKeys::new(self.attempt.step, listings, i64::MAX);
        self.bytes = Some(seen.bytes);
        let (record, exact) = match seen.exact.as_ref().and_then(|key| self.cache.lookup(key).ok()) {
            Some(record) => (record, None),
            None => {
                let Ok(record) = self.cache.lookup(&seen.outline) else {
                    return Ok(Some(MissReason::FileListChanged));
                };
                // A layer that is uploaded while it is made would be sent also if the registry has
                // it.
                if seen.few_changed && !session.uploads_early(stage.target) {
                    return Ok(Some(MissReason::FileContentChanged));
                }
                let (diff_id, _, listings) = self.hash(stage, fill)?;
                if diff_id != record.layer.as_ref().map(|layer| layer.diff_id) {
                    return Ok(Some(MissReason::FileContentChanged));
                }
                (record, self.keys(listings).exact)
            }
        };
        if let Some(layer) = record.layer.as_ref().filter(|layer| layer.descriptor.size >= WORTH_SHARING) {
            self.cache.offer_layer(stage, layer, Offer::IfMissing);
        }
        self.cache.push(stage, &record);
        if let Some(exact) = exact {
            session.store.cache_put(&exact, &record)?;
        }
        if last.layer != record.layer {
            // The next miss is compared with what the last build had.
            session.store.cache_put(&self.attempt.step, &record)?;
        }
        Ok(None)
    }

    /// Takes the layer that another machine has.
    fn take_remote(&self, stage: &mut StageState, fill: &mut Fill<'_>) -> Result<bool> {
        if !self.cache.has_remote_results() {
            return Ok(false);
        }
        let (diff_id, size, listings) = self.hash(stage, fill)?;
        let Some(diff_id) = diff_id.filter(|_| size >= WORTH_SHARING) else { return Ok(false) };
        let Some(record) = self.cache.lookup_remote_layer(stage, &diff_id) else { return Ok(false) };
        self.cache.push(stage, &record);
        self.remember(stage.filesystem.layers().last(), listings)?;
        Ok(true)
    }

    /// Makes the layer.
    fn make(&self, stage: &mut StageState, fill: &mut Fill<'_>) -> Result<Option<Layer>> {
        let session = self.cache.session;
        let listings = self.new_listings();
        let rule = StampRule { device: session.context.device_with_reliable_times(), since: self.attempt.since };
        let is_small = self.bytes.is_some_and(|bytes| bytes < WORTH_SHARING);
        let written = fill(stage, session.layer_writer(stage.target)?.trusting(rule, is_small), &listings)?;
        let size = written.as_ref().map_or(0, LayerWriter::position);
        let layer = stage.push_written(session, written)?;
        self.remember(layer.as_ref(), listings)?;
        if let Some(layer) = layer.as_ref().filter(|_| size >= WORTH_SHARING) {
            self.cache.offer_layer(stage, &cached(layer), Offer::Always);
        }
        Ok(layer)
    }

    /// The diff ID of the layer (`None` if nothing changes), the size of its tar, and what was seen
    /// of the sources.
    fn hash(&self, stage: &mut StageState, fill: &mut Fill<'_>) -> Result<(Option<DiffId>, u64, Vec<RefCell<Listing>>)> {
        let listings = self.new_listings();
        let written = fill(stage, self.cache.session.hashing_writer(), &listings)?;
        let size = written.as_ref().map_or(0, LayerWriter::position);
        Ok((written.map(LayerWriter::finish_hash).transpose()?, size, listings))
    }

    fn remember(&self, layer: Option<&Layer>, listings: Vec<RefCell<Listing>>) -> Result<()> {
        let keys = self.keys(listings);
        let all = [Some(self.attempt.step), Some(keys.outline), keys.exact];
        all.iter().flatten().try_for_each(|key| self.cache.remember(key, layer, self.cache.session.times.context))
    }

    fn new_listings(&self) -> Vec<RefCell<Listing>> {
        let device = self.cache.session.context.device_with_reliable_times();
        self.sources.iter().map(|source| RefCell::new(Listing::new(source, device))).collect()
    }

    fn keys(&self, listings: Vec<RefCell<Listing>>) -> ListingKeys {
        ListingKeys::new(self.attempt.step, listings.into_iter().map(RefCell::into_inner), self.attempt.since)
    }
}
