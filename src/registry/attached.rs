//! What belongs to an image without being in it: signatures, attestations, SBOMs. In all three
//! forms: manifests that refer to it, as the registry lists them or as a tag does, and cosign's
//! tags.

use std::collections::BTreeSet;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{COSIGN, ManifestTree, cosign_tag};
use crate::oci::{Digest, Reference, Repository, Tag};

/// How many manifests are asked after at once.
const PARALLEL: usize = 8;

/// How many bytes the manifests that belong to an image may have together: they are in memory until
/// they are written. A signature's has 500 to 1,000.
const MOST: usize = 16 << 20;

/// A manifest that belongs to another one, and the tag that says so.
type Attached = (Digest, Option<Tag>);

impl Client {
    /// What belongs to any manifest of `tree`, what belongs to that, and so on; each whole, what is
    /// named before what names it.
    ///
    /// # Errors
    /// As [`Client::referrers`] and [`Client::pull_image`].
    pub async fn pull_attached(&self, repository: &Repository, tree: &ManifestTree) -> Result<Vec<ManifestTree>> {
        let mut whole: BTreeSet<Digest> = tree.manifests().iter().map(|manifest| manifest.descriptor.digest).collect();
        let (mut next, mut found) = (whole.iter().copied().collect::<Vec<_>>(), Vec::new());
        let (mut asked, mut listed, mut held) = (BTreeSet::new(), Vec::<ManifestTree>::new(), 0);
        while !next.is_empty() {
            let mut names = self.attached_to(repository, std::mem::take(&mut next)).await?;
            // One manifest may stand under several tags.
            names.retain(|name| !(name.1.is_none() && whole.contains(&name.0)) && asked.insert(name.clone()));
            // On the heap: eight of them on the stack are too much for a thread in a debug build.
            let reads: Vec<_> = names.into_iter().map(|name| self.pull_one(repository, name).boxed()).collect();
            let mut trees = stream::iter(reads).buffered(PARALLEL);
            while let Some(tree) = trees.try_next().await? {
                held += tree.manifests().iter().map(|manifest| manifest.bytes.len()).sum::<usize>();
                listed.push(tree);
                if held > MOST {
                    let message = format!("the manifests that refer to the image have more than {} MiB together", MOST >> 20);
                    return Err(Error::new(ErrorKind::Corrupt, message)
                        .with_hint("remove from the repository what nobody needs, or copy without what refers to the image"));
                }
            }
            // A list under a tag is written by whoever may push: it may name anything, and in any
            // order. What refers to something that comes later waits for that.
            let mut waiting = Vec::new();
            for tree in std::mem::take(&mut listed) {
                if tree.tag.is_none() && !tree.subject.is_some_and(|subject| whole.contains(&subject)) {
                    waiting.push(tree);
                    continue;
                }
                let own = tree.manifests().into_iter().map(|manifest| manifest.descriptor.digest);
                next.extend(own.filter(|digest| whole.insert(*digest)));
                found.push(tree);
            }
            listed = waiting;
        }
        for tree in listed {
            tracing::debug!(digest = %tree.descriptor.digest, "listed as referring to the image, and does not");
        }
        Ok(found)
    }

    async fn pull_one(&self, repository: &Repository, (digest, tag): Attached) -> Result<ManifestTree> {
        let tree = self.pull_tree(&repository.with_digest(digest), None).await?;
        Ok(ManifestTree { tag, ..tree })
    }

    /// How many manifests belong to those of `tree`, without what belongs to these in turn.
    ///
    /// # Errors
    /// As [`Client::referrers`].
    pub(crate) async fn count_attached(&self, repository: &Repository, tree: &ManifestTree) -> Result<usize> {
        let manifests: BTreeSet<Digest> = tree.manifests().iter().map(|manifest| manifest.descriptor.digest).collect();
        let named = self.attached_to(repository, manifests.iter().copied().collect()).await?;
        let named: BTreeSet<Digest> = named.into_iter().map(|(digest, _)| digest).collect();
        Ok(named.difference(&manifests).count())
    }

    /// What belongs to any of these manifests; under tags first: Harbor lists what stands there
    /// among the referrers, too.
    async fn attached_to(&self, repository: &Repository, digests: Vec<Digest>) -> Result<Vec<Attached>> {
        let questions: Vec<_> = digests.into_iter().map(|digest| self.attached_to_one(repository, digest)).collect();
        let answers: Vec<Vec<Attached>> = stream::iter(questions).buffered(PARALLEL).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn attached_to_one(&self, repository: &Repository, digest: Digest) -> Result<Vec<Attached>> {
        let tags = COSIGN.map(|suffix| async move {
            let tag = Tag::parse(&cosign_tag(&digest, suffix))?;
            let found = self.tagged_digest(&repository.with_tag(tag.clone())).await?;
            Ok::<_, Error>(found.map(|found| (found, Some(tag))))
        });
        let (tagged, listed) =
            futures_util::future::try_join(futures_util::future::try_join_all(tags), self.referrers(repository, &digest)).await?;
        let listed = listed.into_iter().map(|descriptor| (descriptor.digest, None));
        Ok(tagged.into_iter().flatten().chain(listed).collect())
    }

    /// The digest of what stands under a tag; `None`: nothing does.
    async fn tagged_digest(&self, name: &Reference) -> Result<Option<Digest>> {
        // Most images have none, and a HEAD costs Docker Hub's users no pull.
        match self.has_manifest(name).await? {
            true => Ok(Some(self.pull_manifest(name).await?.digest)),
            false => Ok(None),
        }
    }
}
