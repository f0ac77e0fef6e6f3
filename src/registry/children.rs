//! The manifests below an index: each by itself, and the one for a platform.
//!
//! Errors: indexes that are nested too deeply.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::blob::RegistryBlob;
use super::client::{Client, Route};
use super::manifest::{LIMIT, PulledManifest, manifest_from};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Choice, Index, Names, media_type_of, platform_of_config};
use crate::oci::{Descriptor, Digest, Platform, Repository};
use crate::progress::Task;
use crate::store::Store;

/// How deep indexes may stand in indexes.
const DEPTH: usize = 4;

/// How many manifests of an index are read at once.
pub(super) const PARALLEL: usize = 8;

/// Where manifests are read.
pub(super) struct Place<'a> {
    pub(super) client: &'a Client,
    /// What it has is not fetched.
    pub(super) store: Option<&'a Store>,
    pub(super) repository: &'a Repository,
    /// Where they may be, the first choice first.
    pub(super) routes: &'a [Route],
    pub(super) task: &'a Task,
}

/// A manifest or index that an index names.
pub(super) struct Child {
    /// As the index has it; its type is told.
    pub(super) descriptor: Descriptor,
    pub(super) manifest: PulledManifest,
    /// Which route had it.
    pub(super) at: usize,
}

/// Refuses what is `depth` indexes below the first.
pub(super) fn expect_depth(depth: usize) -> Result<()> {
    match depth < DEPTH {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Corrupt, "indexes are nested too deeply")),
    }
}

impl Place<'_> {
    /// A blob of the repository.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> RegistryBlob {
        RegistryBlob::new(self.client, self.repository, self.routes.to_vec(), descriptor.clone())
    }

    /// The bytes of a config.
    pub(super) async fn config(&self, descriptor: &Descriptor) -> Result<Bytes> {
        match self.stored(&descriptor.digest).filter(|bytes| bytes.len() as u64 == descriptor.size) {
            Some(bytes) => Ok(bytes),
            None => self.client.transport().unless_cancelled(self.blob(descriptor).read_all(self.task)).await?,
        }
    }

    /// A manifest or config that the store has.
    fn stored(&self, digest: &Digest) -> Option<Bytes> {
        self.store?.read_small(digest, LIMIT).ok().map(Bytes::from)
    }

    /// What an entry of an index names.
    pub(super) async fn child(&self, entry: &Descriptor) -> Result<Child> {
        let digest = &entry.digest;
        let (manifest, at) = match self.stored(digest).filter(|_| !entry.media_type.is_unspecified()) {
            // What served the index serves it, too: the first choice.
            Some(bytes) => {
                let media_type = media_type_of(&bytes, entry.media_type.clone())?;
                (PulledManifest { bytes, media_type, digest: *digest }, 0)
            }
            None => manifest_from(self.client, self.routes, &digest.to_string(), Some(digest), self.task).await?,
        };
        let mut descriptor = entry.clone();
        if descriptor.media_type.is_unspecified() {
            descriptor.media_type = manifest.media_type.clone();
        }
        Ok(Child { descriptor, manifest, at })
    }

    /// What the entry for `platform` names. Where no entry says that it is for it, the configs of
    /// those that say nothing are read.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub(super) async fn child_for(&self, index: &PulledManifest, platform: &Platform, depth: usize) -> Result<Child> {
        expect_depth(depth)?;
        let index = Index { manifests: Names::parse(&index.bytes)?.manifests };
        let (entries, mut by_config) = match index.choose(platform) {
            Choice::Entry(entry) => return self.child(entry).await,
            Choice::ByConfig(entries, by_config) => (entries, by_config),
        };
        let mut first_missing = None;
        {
            // Futures first: a stream that still holds the closure is not provably `Send`.
            let found: Vec<_> = entries.into_iter().map(|entry| self.child_and_platform(entry, platform, depth)).collect();
            let mut found = stream::iter(found).buffered(PARALLEL);
            while let Some(answer) = found.next().await {
                match answer {
                    Ok(Some((own, child))) => by_config.offer(own, child),
                    Ok(None) => {}
                    // An index may be copied without all that it names.
                    Err(error) if error.kind() == ErrorKind::NotFound => drop(first_missing.get_or_insert(error)),
                    Err(error) => return Err(error),
                }
                if by_config.is_decided() {
                    break;
                }
            }
        }
        by_config.chosen().map_err(|error| first_missing.unwrap_or(error))
    }

    /// What an entry names, and what that runs on: of an index `wanted`, if it has an image for it.
    /// `None`: it is no image.
    fn child_and_platform<'a>(
        &'a self,
        entry: &'a Descriptor,
        wanted: &'a Platform,
        depth: usize,
    ) -> BoxFuture<'a, Result<Option<(Platform, Child)>>> {
        async move {
            let child = self.child(entry).await?;
            if child.manifest.media_type.is_index() {
                self.child_for(&child.manifest, wanted, depth + 1).await?;
                return Ok(Some((wanted.clone(), child)));
            }
            let Some(config) = Names::parse(&child.manifest.bytes)?.config else { return Ok(None) };
            if !config.media_type.may_be_config() || config.size > LIMIT {
                return Ok(None);
            }
            Ok(Some((platform_of_config(&self.config(&config).await?)?, child)))
        }
        .boxed()
    }
}
