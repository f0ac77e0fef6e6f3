//! Copying an image from anywhere to anywhere, byte for byte.
//!
//! Invariant: the digest stays.

use super::{Mpimg, blocking, not_stored};
use crate::build::stored_image;
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{ManifestTree, Transport, may_be_joined, with_attachments_of};
use crate::oci::{Digest, Platform, Reference, Repository, Tag};
use crate::registry::PushedBlob;

/// What is copied, and where to.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The image.
    pub source: Transport,
    /// Where it goes.
    pub destination: Transport,
    /// Only the image for this platform. `None`: all of them; linux/amd64 where the destination
    /// holds one (the local store, docker archives).
    pub platform: Option<Platform>,
    /// Whether what belongs to the image is copied, too: signatures, attestations, SBOMs. All three
    /// forms count: what the registry lists as referring to it, what a tag lists, and cosign's tags
    /// (`sha256-….sig`).
    pub referrers: bool,
}

impl CopyRequest {
    /// A copy of all platforms, of nothing that refers to them.
    pub fn new(source: Transport, destination: Transport) -> Self {
        Self { source, destination, platform: None, referrers: false }
    }

    /// Whether the destination holds one platform under a name, and nothing beside it.
    fn holds_one(&self) -> bool {
        matches!(self.destination, Transport::Store(_) | Transport::DockerArchive { .. })
    }
}

/// An image that was copied.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopiedImage {
    /// The image: an index with the manifests below it, or one manifest.
    pub tree: ManifestTree,
    /// What refers to it and was copied with it.
    pub referrers: Vec<ManifestTree>,
    /// How many manifests refer to the image and were not copied with it, as far as the source
    /// tells.
    pub left_behind: usize,
    /// What became of each blob in a registry; empty elsewhere.
    pub blobs: Vec<PushedBlob>,
}

impl CopiedImage {
    /// The bytes of its configurations and layers, each counted once.
    pub fn size(&self) -> u64 {
        self.tree.all_blobs().iter().map(|(descriptor, _)| descriptor.size).sum()
    }
}

impl Mpimg {
    /// Copies an image. What the destination has is not sent again; what was cut off goes on when
    /// it is copied again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it is not there, or for another platform; [`ErrorKind::Usage`]: the
    /// destination has no place for what refers to an image, or promises another digest; and what
    /// source and destination themselves give.
    pub async fn copy(&self, request: CopyRequest) -> Result<CopiedImage> {
        if request.referrers && request.holds_one() {
            let destination = &request.destination;
            // A name without a transport is one in the local store, also if it begins with a host.
            let (what, registry) = match destination {
                Transport::Store(name) if name.registry() != "docker.io" => ("the local store's ", format!("`docker://{name}`")),
                _ => ("", "a registry".into()),
            };
            let hint = format!("leave out {}, or copy to {registry}, `oci:` or `oci-archive:`", Setting::Referrers);
            let message = format!("{what}`{destination}` cannot hold what refers to an image");
            return Err(Error::new(ErrorKind::Usage, message).with_hint(hint));
        }
        // Uploads are recorded in the store, which must have its form before. Between registries it
        // is not needed otherwise.
        let _ = self.open_store().await;
        let (tree, mut referrers) = self.read_tree_beside(&request).await?;
        let mut left_behind = 0;
        if !request.referrers {
            left_behind = std::mem::take(&mut referrers).len();
        }
        let write = async {
            match &request.destination {
                Transport::Registry(name) => self.push_tree(name, &tree, &referrers).await,
                other => {
                    other.write_tree(&self.open_store().await?, &tree, &referrers).await?;
                    Ok(Vec::new())
                }
            }
        };
        // Beside the copy: on a long link, the question takes as long as a layer.
        let count = async { Ok(self.referrers_at_registry(&request, &tree).await) };
        let (blobs, at_registry) = tokio::try_join!(write, count)?;
        left_behind += at_registry;
        Ok(CopiedImage { tree, referrers, left_behind, blobs })
    }

    /// How many manifests refer to an image of a registry, if they are not copied: signatures
    /// should not be lost silently.
    async fn referrers_at_registry(&self, request: &CopyRequest, tree: &ManifestTree) -> usize {
        match &request.source {
            Transport::Registry(name) if !request.referrers => {
                let found = self.client().in_background().count_attached(name.repository(), tree).await;
                found.unwrap_or_else(|error| {
                    let message = format!(
                        "whether signatures or SBOMs belong to the image could not be found out: {}",
                        error.in_one_line()
                    );
                    let hint = format!("copy with {}: it ends with an error where they cannot be read", Setting::Referrers);
                    self.progress().warn(&message, Some(&hint));
                    0
                })
            }
            _ => 0,
        }
    }

    /// As `read_tree`, while the destination is asked what it wants: over 60 ms that saves 0.12 s.
    async fn read_tree_beside(&self, request: &CopyRequest) -> Result<(ManifestTree, Vec<ManifestTree>)> {
        let read = self.read_tree(request);
        let Transport::Registry(name) = &request.destination else { return read.await };
        let ready = async {
            self.client().make_ready(name.repository()).await;
            // The image is what is waited for.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            tree = read => tree,
            () = ready => Err(Error::new(ErrorKind::Interrupted, "the image was not read")),
        }
    }

    /// The image, and what refers to it; of a registry only if that is wanted.
    async fn read_tree(&self, request: &CopyRequest) -> Result<(ManifestTree, Vec<ManifestTree>)> {
        let client = self.client();
        let platform = request.platform.clone().or_else(|| request.holds_one().then(Platform::default));
        match &request.source {
            Transport::Registry(name) => {
                let tree = client.pull_tree(name, platform.as_ref()).await?;
                let referrers = match request.referrers {
                    true => client.pull_attached(name.repository(), &tree).await?,
                    false => Vec::new(),
                };
                Ok((tree, referrers))
            }
            Transport::Store(name) => {
                let store = &self.open_store().await?;
                let platform = match (platform, store.resolve(name)?) {
                    (Some(platform), _) => platform,
                    // There is only one.
                    (None, record) => record.map(|record| record.platform).unwrap_or_default(),
                };
                let image = stored_image(store, client, name, &platform)?.ok_or_else(|| not_stored(store, name, &platform))?;
                Ok((ManifestTree::of_image(&image), Vec::new()))
            }
            source => {
                let (source, store, wanted) = (source.clone(), self.open_store().await?, request.referrers);
                let read = move |referrers| source.read_tree(&store, platform.as_ref(), referrers);
                // What is only counted need not be whole.
                blocking(move || read(true).or_else(|error| if wanted { Err(error) } else { read(false) })).await
            }
        }
    }

    /// Pushes an index or a manifest with all below it, and what refers to it.
    pub(super) async fn push_tree(
        &self,
        name: &Reference,
        tree: &ManifestTree,
        referrers: &[ManifestTree],
    ) -> Result<Vec<PushedBlob>> {
        let digest = tree.descriptor.digest;
        expect(name.digest(), digest)?;
        let tags: Vec<Tag> = name.tag().cloned().into_iter().collect();
        let session = self.client().push(name.repository())?;
        session.offer_tree(tree);
        let pushed = session.finish_tree(tree, &tags).await?;
        if pushed.digest != digest && !referrers.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the registry takes no OCI manifest: the image has another digest there",
            )
            .with_hint(format!("leave out {}: they refer to the image's old digest", Setting::Referrers)));
        }
        for referrer in referrers {
            let referrer = self.beside_what_is_there(name.repository(), referrer).await?;
            self.client().attach(name.repository(), &referrer).await?;
        }
        Ok(pushed.blobs)
    }

    /// What comes under one of cosign's tags, with what the destination has there: a site's own
    /// signatures stay.
    async fn beside_what_is_there(&self, repository: &Repository, referrer: &ManifestTree) -> Result<ManifestTree> {
        let Some(tag) = &referrer.tag else { return Ok(referrer.clone()) };
        let there = repository.with_tag(tag.clone());
        if !may_be_joined(tag.as_str()) || !self.client().has_manifest(&there).await? {
            return Ok(referrer.clone());
        }
        let before = self.client().pull_tree(&there, None).await?;
        with_attachments_of(&before, referrer)
    }
}

/// A destination with a digest is a promise.
fn expect(promised: Option<&Digest>, digest: Digest) -> Result<()> {
    match promised {
        Some(promised) if *promised != digest => {
            Err(Error::new(ErrorKind::Usage, format!("the image has the digest `{digest}`, not that of the destination"))
                .with_hint("leave out what comes after `@`"))
        }
        _ => Ok(()),
    }
}
