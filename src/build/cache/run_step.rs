//! A RUN that an earlier build may have done, and the files of the build context that it mounts.
//!
//! They are compared as those of COPY are (`context_step`): by the stamps that every file had,
//! without reading a byte; else by what they hold. A result is kept under the digest of the very
//! bytes that the command was given. Times and owners do not count: a command sees those of the
//! copy that it is given, never the project's.

use super::keys;
use super::listing::{Listing, ListingKeys};
use super::records::{BuildCache, log_miss};
use crate::build::session::Session;
use crate::build::sources::Sources;
use crate::build::stage::StageState;
use crate::context::{Patterns, Source, WalkEntry};
use crate::dockerfile::RunStep;
use crate::error::{Error, Result};
use crate::image::{HashingReader, Layer};
use crate::oci::{Digest, Hasher};
use crate::store::{CacheKey, MissReason, now};

/// What one bind mount of the build context held when it was read.
pub(in crate::build) struct BoundFiles {
    listing: Listing,
    content: Hasher,
}

impl BoundFiles {
    /// Begins, with nothing seen yet.
    pub(in crate::build) fn new(session: &Session<'_>, source: &Source) -> Self {
        let mut bound =
            Self { listing: Listing::new(source, session.context.device_with_reliable_times()), content: Hasher::new() };
        bound.content.update_field(format!("{:?}", source.kind()).as_bytes());
        bound
    }

    /// The one thing that a mount's source names.
    pub(in crate::build) fn source(session: &Session<'_>, pattern: &str) -> Result<Source> {
        let sources = session.context.sources(pattern)?;
        <[Source; 1]>::try_from(sources).map(|[source]| source).map_err(|_| session.context.no_match(pattern))
    }

    /// Takes an entry in; `content` is what was read of a file.
    pub(in crate::build) fn add(&mut self, walked: &WalkEntry, content: Option<Digest>) {
        self.listing.add(walked);
        self.content.update_field(walked.entry.path.as_bytes());
        self.content.update_field(format!("{:?} {:o} {content:?}", walked.entry.kind, walked.entry.metadata.mode).as_bytes());
    }

    /// Reads all of a source.
    fn read(session: &Session<'_>, source: &Source) -> Result<Self> {
        let mut bound = Self::new(session, source);
        for walked in source.walk(&Patterns::default())? {
            let walked = walked?;
            let content = if walked.stamp().is_some() { Some(digest(&walked)?) } else { None };
            bound.add(&walked, content);
        }
        Ok(bound)
    }
}

fn digest(walked: &WalkEntry) -> Result<Digest> {
    let (digest, _) =
        HashingReader::new(walked.open()?).finish().map_err(|error| Error::io("read", walked.entry.path.as_path(), error))?;
    Ok(digest)
}

/// A RUN that may have been done before.
pub(in crate::build) struct RunAttempt<'a> {
    /// All that the result depends on but the files of the build context.
    step: CacheKey,
    /// What is mounted of these.
    sources: Vec<&'a str>,
    since: i64,
}

impl<'a> RunAttempt<'a> {
    /// Begins: before any of the sources is looked at.
    pub(in crate::build) fn new(session: &Session<'_>, stage: &StageState, step: &'a RunStep, others: &Sources) -> Result<Self> {
        let (step, sources) = keys::run(session, stage, step, others)?;
        Ok(Self { step, sources, since: now() })
    }

    /// Puts the layer of an earlier build on the stage, if there is one.
    pub(in crate::build) fn recall(&self, cache: &BuildCache<'_>, stage: &mut StageState) -> Result<bool> {
        let session = cache.session;
        if self.sources.is_empty() {
            return cache.recall_shared(stage, &self.step, session.request.cache_max_age);
        }
        let known = match cache.lookup(&self.step) {
            Ok(_) => true,
            Err(miss) if !cache.has_remote_results() => {
                log_miss(&self.step, miss);
                return Ok(false);
            }
            Err(_) => false,
        };
        let sources = self.sources.iter().map(|pattern| BoundFiles::source(session, pattern)).collect::<Result<Vec<_>>>()?;
        if known {
            let (device, all) = (session.context.device_with_reliable_times(), Patterns::default());
            let list = |source| Listing::of(source, device, &all, i64::MAX, |_| Ok(()));
            let listings = sources.iter().map(list).collect::<Result<Vec<_>>>()?;
            if let Some(exact) = ListingKeys::new(self.step, listings, i64::MAX).exact
                && cache.try_recall_shared(stage, &exact, session.request.cache_max_age)?.is_none()
            {
                return Ok(true);
            }
        }
        let bound = sources.iter().map(|source| BoundFiles::read(session, source)).collect::<Result<Vec<_>>>()?;
        let (content, exact) = self.keys(bound);
        if let Some(reason) = cache.try_recall_shared(stage, &content, session.request.cache_max_age)? {
            // Everything else is what it was.
            let by_files = known && matches!(reason, MissReason::NoRecord | MissReason::NoRecordAnywhere);
            log_miss(&content, if by_files { MissReason::MountedFileChanged } else { reason });
            return Ok(false);
        }
        if let (Some(exact), Some(record)) = (exact, cache.lookup(&content).ok()) {
            session.store.cache_put(&exact, &record)?;
        }
        Ok(true)
    }

    /// Keeps what the step made, here and for other machines. `bound` is what it was given.
    pub(in crate::build) fn remember(
        self,
        cache: &BuildCache<'_>,
        stage: &StageState,
        bound: Vec<BoundFiles>,
        layer: Option<&Layer>,
    ) -> Result<()> {
        let epoch = cache.session.times.epoch();
        if self.sources.is_empty() {
            return cache.remember_shared(stage, &self.step, layer, epoch);
        }
        let (content, exact) = self.keys(bound);
        for key in [Some(self.step), exact].iter().flatten() {
            cache.remember(key, layer, epoch)?;
        }
        cache.remember_shared(stage, &content, layer, epoch)
    }

    /// The key of what was read, and that of its stamps where they prove something.
    fn keys(&self, bound: Vec<BoundFiles>) -> (CacheKey, Option<CacheKey>) {
        let (listings, contents): (Vec<_>, Vec<_>) =
            bound.into_iter().map(|bound| (bound.listing, bound.content.finish().to_string())).unzip();
        let content = keys::run_with(self.step, "content of mounted files", &contents.join(" "));
        (content, ListingKeys::new(self.step, listings, self.since).exact)
    }
}
