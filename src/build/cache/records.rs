//! Records of the build cache: looked up by key, here and then in the registry that other machines
//! share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::keys;
use super::mount_folder::CacheFolder;
use super::remote::{Offer, RemoteCache};
use super::remote_mounts::SavedMount;
use super::young::is_young;
use crate::build::session::Session;
use crate::build::stage::StageState;
use crate::error::Result;
use crate::image::Layer;
use crate::oci::{DiffId, Platform, Repository};
use crate::store::{BlobSource, CacheKey, CacheRecord, CachedLayer, MissReason, now};

/// The build cache as one build, or one stage of it, uses it.
pub(in crate::build) struct BuildCache<'a> {
    pub(super) session: &'a Session<'a>,
    remotes: Arc<Vec<RemoteCache>>,
    /// Whether what is there is left alone.
    bypass: bool,
    mounts: Arc<UsedMounts>,
}

/// The cache mounts that steps have used, by name; when what they began with was begun.
type UsedMounts = Mutex<BTreeMap<String, (CacheFolder, Option<i64>)>>;

impl<'a> BuildCache<'a> {
    pub(in crate::build) fn new(session: &'a Session<'a>) -> Self {
        let request = session.request;
        // Each repository once, whatever it is given as.
        let mut uses: BTreeMap<&Repository, (bool, bool)> = BTreeMap::new();
        let both = request.cache_repo.iter();
        both.clone().chain(&request.cache_from).for_each(|repository| uses.entry(repository).or_default().0 = true);
        both.chain(&request.cache_to).for_each(|repository| uses.entry(repository).or_default().1 = true);
        let remotes = uses.into_iter().map(|(repository, (reads, writes))| RemoteCache::new(session, repository, reads, writes));
        Self { session, remotes: Arc::new(remotes.collect()), bypass: request.no_cache, mounts: Arc::default() }
    }

    /// This cache for one stage, whose steps may all have to be done again.
    pub(in crate::build) fn of_stage(&self, name: Option<&str>, index: usize) -> Self {
        let mut anew = self.session.request.no_cache_stages.iter();
        let is_named = |stage: &String| name.is_some_and(|name| stage.eq_ignore_ascii_case(name)) || *stage == index.to_string();
        Self {
            bypass: self.bypass || anew.any(is_named),
            remotes: Arc::clone(&self.remotes),
            mounts: Arc::clone(&self.mounts),
            session: self.session,
        }
    }

    /// Waits for uploads that are on their way, unless the build was stopped.
    pub(in crate::build) fn finish(&self) {
        self.remotes.iter().for_each(|remote| remote.finish(self.session.cancel().is_cancelled()));
    }

    /// What another machine has saved of a cache mount that this one does not have.
    pub(in crate::build) fn saved_mount(&self, name: &str) -> Option<SavedMount> {
        self.remote_results().find_map(|remote| remote.saved_mount(name))
    }

    /// A step uses a cache mount, which began with what was begun then.
    pub(in crate::build) fn use_mount(&self, folder: CacheFolder, begun: Option<i64>) {
        if self.remotes.iter().any(RemoteCache::writes) {
            let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, known) = mounts.entry(folder.name.clone()).or_insert((folder, None));
            *known = known.or(begun);
        }
    }

    /// Saves the cache mounts that this build has used, at its end, once it has succeeded.
    pub(in crate::build) fn save_mounts(&self) {
        let used = std::mem::take(&mut *self.mounts.lock().unwrap_or_else(PoisonError::into_inner));
        for (folder, begun) in used.into_values() {
            // The build that uses it now saves it, too.
            let Ok(Some(_alone)) = self.session.store.try_lock_mount(&folder.name) else { continue };
            self.remotes
                .iter()
                .filter(|remote| remote.writes())
                .for_each(|remote| remote.save_mount(self.session, &folder, begun));
        }
    }

    /// What this machine has for `key`, or why it has nothing. A step may look for several keys;
    /// only what decides is for the log ([`log_miss`]).
    pub(super) fn lookup(&self, key: &CacheKey) -> std::result::Result<CacheRecord, MissReason> {
        match self.bypass {
            true => Err(MissReason::Bypassed),
            false => self.session.store.cache_find(key),
        }
    }

    /// The caches that other machines fill, where results may be taken from them.
    fn remote_results(&self) -> impl Iterator<Item = &RemoteCache> {
        self.remotes.iter().filter(|remote| remote.reads() && !self.bypass)
    }

    /// What another machine has for `key`.
    fn lookup_remote(&self, platform: &Platform, key: &CacheKey) -> Option<CacheRecord> {
        self.remote_results().find_map(|remote| remote.lookup(self.session, platform, key))
    }

    /// Puts a result where other machines look for it.
    fn offer(&self, platform: &Platform, key: &CacheKey, record: &CacheRecord, offer: Offer) {
        // Nobody looked whether it is there: a build that bypasses the cache replaces it only by
        // what it made itself.
        if offer == Offer::IfMissing && self.bypass {
            return;
        }
        let writable = self.remotes.iter().filter(|remote| remote.writes());
        writable.for_each(|remote| remote.offer(self.session.store, platform, key, record, offer));
    }

    /// Whether other machines may have done what this one has not.
    pub(super) fn has_remote_results(&self) -> bool {
        self.remote_results().next().is_some()
    }

    /// Puts the layer of an earlier build on the stage, if this machine has one for `key`.
    pub(in crate::build) fn recall(&self, stage: &mut StageState, key: &CacheKey) -> bool {
        match self.lookup(key) {
            Ok(record) => self.push(stage, &record),
            Err(reason) => {
                self.missed(stage, key, reason);
                return false;
            }
        }
        true
    }

    /// A step that is no RUN is done again: as the stage is another one, so is each RUN after it.
    pub(super) fn missed(&self, stage: &StageState, key: &CacheKey, reason: MissReason) {
        log_miss(key, reason);
        // What another machine has run need not be run here.
        if stage.runs_later && !self.has_remote_results() {
            self.session.expect_run();
        }
    }

    /// Puts the layer of an earlier build on the stage, if this or another machine has one for
    /// `key`. What only this one has is offered to the others. `max_age`: how old a result may be,
    /// where it is one that ages.
    pub(in crate::build) fn recall_shared(
        &self,
        stage: &mut StageState,
        key: &CacheKey,
        max_age: Option<Duration>,
    ) -> Result<bool> {
        let miss = self.try_recall_shared(stage, key, max_age)?;
        miss.iter().for_each(|reason| log_miss(key, *reason));
        Ok(miss.is_none())
    }

    /// As [`recall_shared`](Self::recall_shared), for a key that is not the last that is tried: a
    /// miss is returned, not logged.
    pub(super) fn try_recall_shared(
        &self,
        stage: &mut StageState,
        key: &CacheKey,
        max_age: Option<Duration>,
    ) -> Result<Option<MissReason>> {
        let young = |record: CacheRecord| match max_age.is_none_or(|age| is_young(record.made, now(), age)) {
            true => Ok(record),
            false => Err(MissReason::TooOld),
        };
        let platform = stage.config.platform();
        let miss = match self.lookup(key).and_then(young) {
            Ok(record) => {
                self.offer(&platform, key, &record, Offer::IfMissing);
                self.push(stage, &record);
                return Ok(None);
            }
            Err(miss) => miss,
        };
        if !self.has_remote_results() {
            return Ok(Some(miss));
        }
        let record = match self.lookup_remote(&platform, key).map(young) {
            Some(Ok(record)) => record,
            Some(Err(too_old)) => return Ok(Some(too_old)),
            None => return Ok(Some(MissReason::NoRecordAnywhere)),
        };
        self.session.store.cache_put(key, &record)?;
        Ok(match self.lookup(key) {
            Ok(record) => {
                self.push(stage, &record);
                None
            }
            Err(miss) => Some(miss),
        })
    }

    /// Keeps what a step made; `None` if it changed nothing.
    pub(in crate::build) fn remember(&self, key: &CacheKey, layer: Option<&Layer>, created: i64) -> Result<()> {
        self.session.store.cache_put(key, &record(layer, created))
    }

    /// Keeps what a step made, here and for other machines.
    pub(in crate::build) fn remember_shared(
        &self,
        stage: &StageState,
        key: &CacheKey,
        layer: Option<&Layer>,
        created: i64,
    ) -> Result<()> {
        let record = record(layer, created);
        self.session.store.cache_put(key, &record)?;
        self.offer(&stage.config.platform(), key, &record, Offer::Always);
        Ok(())
    }

    /// A layer of COPY or ADD that another machine has compressed.
    pub(super) fn lookup_remote_layer(&self, stage: &StageState, diff_id: &DiffId) -> Option<CacheRecord> {
        let key = keys::layer(self.session, diff_id);
        let record = self.lookup_remote(&stage.config.platform(), &key)?;
        record.layer.as_ref().is_some_and(|layer| layer.diff_id == *diff_id).then_some(record)
    }

    /// Offers a layer of COPY or ADD to other machines.
    pub(super) fn offer_layer(&self, stage: &StageState, layer: &CachedLayer, offer: Offer) {
        let key = keys::layer(self.session, &layer.diff_id);
        let record = CacheRecord { layer: Some(layer.clone()), created: self.session.times.context, made: 0 };
        self.offer(&stage.config.platform(), &key, &record, offer);
    }

    /// Puts the layer of a record on the stage.
    pub(super) fn push(&self, stage: &mut StageState, record: &CacheRecord) {
        if let Some(layer) = self.layer(record) {
            stage.filesystem.push(layer);
        }
    }

    /// The layer of a record.
    pub(super) fn layer(&self, record: &CacheRecord) -> Option<Layer> {
        let CachedLayer { diff_id, descriptor } = record.layer.clone()?;
        let source = BlobSource::File(self.session.store.blob_path(&descriptor.digest));
        Some(Layer { diff_id, descriptor, source })
    }
}

/// Says in the log why a step is done again.
pub(super) fn log_miss(key: &CacheKey, reason: MissReason) {
    tracing::info!(%key, %reason, "not taken from the build cache");
}

fn record(layer: Option<&Layer>, created: i64) -> CacheRecord {
    CacheRecord { layer: layer.map(cached), created, made: now() }
}

/// What a record holds of a layer.
pub(super) fn cached(layer: &Layer) -> CachedLayer {
    CachedLayer { diff_id: layer.diff_id, descriptor: layer.descriptor.clone() }
}
