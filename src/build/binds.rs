//! Files of the build context that a RUN has mounted: what they are, so that the step is not done again while they stay so.
//!
//! They are compared as those of COPY are (`reuse`): by the stamps that every file had, without reading a byte; else by what they hold.
//! What a result is kept under is the digest of the very bytes that the command was given.
//!
//! Refuses to tell times and owners: a command sees those of the copy that it is given, never the project's.

use super::cache;
use super::reuse::{self, Keys, Listing};
use super::session::Session;
use super::stage::Stage;
use crate::context::{Patterns, Source, WalkEntry};
use crate::error::{Error, Result};
use crate::image::HashingReader;
use crate::oci::{Digest, Hasher};
use crate::store::{CacheKey, CachedLayer, now};

/// What one source was when it was read.
pub(super) struct Bound {
    listing: Listing,
    content: Hasher,
}

impl Bound {
    /// Begins, with nothing seen yet.
    pub(super) fn new(session: &Session<'_>, source: &Source) -> Self {
        let mut bound = Self { listing: Listing::new(source, session.context.telling_device()), content: Hasher::new() };
        bound.field(format!("{:?}", source.kind()).as_bytes());
        bound
    }

    fn field(&mut self, bytes: &[u8]) {
        self.content.update(&(bytes.len() as u64).to_le_bytes());
        self.content.update(bytes);
    }

    /// Takes an entry in; `content` is what was read of a file.
    pub(super) fn add(&mut self, walked: &WalkEntry, content: Option<Digest>) {
        self.listing.add(walked);
        self.field(walked.entry.path.as_bytes());
        self.field(format!("{:?} {:o} {content:?}", walked.entry.kind, walked.entry.metadata.mode).as_bytes());
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

/// The one thing that a mount's source names.
pub(super) fn source_of(session: &Session<'_>, pattern: &str) -> Result<Source> {
    let sources = session.context.sources(pattern)?;
    <[Source; 1]>::try_from(sources).map(|[source]| source).map_err(|_| session.context.no_match(pattern))
}

fn digest(walked: &WalkEntry) -> Result<Digest> {
    let (digest, _) =
        HashingReader::new(walked.open()?).finish().map_err(|error| Error::io("read", walked.entry.path.as_path(), error))?;
    Ok(digest)
}

/// A RUN that may have been done before.
pub(super) struct RunAttempt<'a> {
    /// All that the result depends on but the files of the build context.
    step: CacheKey,
    /// What is mounted of these.
    sources: Vec<&'a str>,
    since: i64,
}

impl<'a> RunAttempt<'a> {
    /// Begins: before any of the sources is looked at.
    pub(super) fn new(step: CacheKey, sources: Vec<&'a str>) -> Self {
        Self { step, sources, since: now() }
    }

    /// Puts the layer of an earlier build on the stage, if there is one.
    pub(super) fn recall(&self, session: &Session<'_>, stage: &mut Stage) -> Result<bool> {
        if self.sources.is_empty() {
            return reuse::recall_shared(session, stage, &self.step, session.request.cache_max_age);
        }
        let known = reuse::lookup(session, &self.step).is_some();
        if !known && !reuse::asks_others(session) {
            return Ok(false);
        }
        let sources = self.sources.iter().map(|pattern| source_of(session, pattern)).collect::<Result<Vec<_>>>()?;
        if known {
            let (device, all) = (session.context.telling_device(), Patterns::default());
            let list = |source| Listing::of(source, device, &all, |_| Ok(()));
            let listings = sources.iter().map(list).collect::<Result<Vec<_>>>()?;
            if let Some(exact) = Keys::new(self.step, listings, i64::MAX).exact
                && reuse::recall_shared(session, stage, &exact, session.request.cache_max_age)?
            {
                return Ok(true);
            }
        }
        let bound = sources.iter().map(|source| Bound::read(session, source)).collect::<Result<Vec<_>>>()?;
        let (content, exact) = self.keys(bound);
        if !reuse::recall_shared(session, stage, &content, session.request.cache_max_age)? {
            return Ok(false);
        }
        if let (Some(exact), Some(record)) = (exact, reuse::lookup(session, &content)) {
            session.store.cache_put(&exact, &record)?;
        }
        Ok(true)
    }

    /// Keeps what the step made, here and for other machines. `bound` is what it was given.
    pub(super) fn remember(
        self,
        session: &Session<'_>,
        stage: &Stage,
        bound: Vec<Bound>,
        layer: Option<CachedLayer>,
    ) -> Result<()> {
        if self.sources.is_empty() {
            return reuse::remember_shared(session, stage, &self.step, layer, session.times.epoch());
        }
        let (content, exact) = self.keys(bound);
        for key in [Some(self.step), exact].iter().flatten() {
            reuse::remember(session, key, layer.clone(), session.times.epoch())?;
        }
        reuse::remember_shared(session, stage, &content, layer, session.times.epoch())
    }

    /// The key of what was read, and that of its stamps where they prove something.
    fn keys(&self, bound: Vec<Bound>) -> (CacheKey, Option<CacheKey>) {
        let (listings, contents): (Vec<_>, Vec<_>) =
            bound.into_iter().map(|bound| (bound.listing, bound.content.finish().to_string())).unzip();
        let content = cache::run_with(self.step, &contents.join(" "));
        (content, Keys::new(self.step, listings, self.since).exact)
    }
}
