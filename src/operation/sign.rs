//! Signing what is in a registry. The image does not change: its signatures are manifests of their
//! own beside it.

use super::attached::{Attached, subjects};
use super::{FoundReferrer, Mpimg, PushedImage};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ManifestTree, Names, annotated_artifact};
use crate::oci::{Descriptor, Digest, MediaType, Reference, Repository};
use crate::signature::{BUNDLE_TYPE, Bundle, COSIGN_SIGN, SigningKey, SimpleSigningImage, Statement};
use crate::store::BlobSource;

/// How often the tag with signatures is written again because another writer replaced it at the
/// same moment.
const ATTEMPTS: usize = 5;

/// What is signed, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignRequest {
    /// The image in its registry.
    pub image: Reference,
    /// The key.
    pub key: SigningKey,
    /// Whether the signature is written under the tag `sha256-HEX.sig`, too: Harbor before 2.15 and
    /// cosign before 3 look only there.
    pub tag: bool,
    /// Whether each image of an index is signed besides the index.
    pub recursive: bool,
    /// Whether the SBOMs and statements that refer to the image are signed as well. Anybody who may
    /// push can have attached one.
    pub referrers: bool,
}

impl SignRequest {
    /// Signs in both forms, and each image of an index; nothing that refers to them.
    pub fn new(image: Reference, key: SigningKey) -> Self {
        Self { image, key, tag: true, recursive: true, referrers: false }
    }
}

/// Signatures of one manifest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Signed {
    /// What was signed.
    pub digest: Digest,
    /// The manifest of the artifact that holds the Sigstore bundle.
    pub bundle: Digest,
    /// The manifest under the tag `sha256-HEX.sig`.
    pub tag: Option<Digest>,
}

impl Mpimg {
    /// Signs an image in its registry; first what a manifest was asked for, then, of an index, each
    /// image. Signing again with the same key adds nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such image; those of [`SigningKey::sign`] and of the
    /// registry.
    pub async fn sign(&self, request: &SignRequest) -> Result<Vec<Signed>> {
        let SignRequest { image, key, tag, recursive, referrers } = request;
        let repository = image.repository();
        let mut signed = Vec::new();
        let tree = self.client().pull_tree(image, None).await?;
        for subject in subjects(&tree, *recursive) {
            signed.push(self.sign_manifest(repository, &subject, key, *tag).await?);
        }
        if *referrers {
            for FoundReferrer { manifest, .. } in self.records_beside(repository, &signed, key).await? {
                let record = self.client().pull_tree(&repository.with_digest(manifest), None).await?;
                signed.push(self.sign_manifest(repository, &record.descriptor, key, *tag).await?);
            }
        }
        Ok(signed)
    }

    /// The SBOMs and statements that refer to manifests that were signed, and are not signed with
    /// the key themselves.
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn unsigned_referrers(&self, request: &SignRequest, signed: &[Signed]) -> Result<Vec<FoundReferrer>> {
        let mut found = self.records_beside(request.image.repository(), signed, &request.key).await?;
        found.retain(|record| record.signed().is_none());
        Ok(found)
    }

    /// The SBOMs and statements that refer to manifests that were signed. What else refers to them,
    /// anybody who may push can have put there: a signature would say of a stranger's image that it
    /// is ours.
    async fn records_beside(&self, repository: &Repository, signed: &[Signed], key: &SigningKey) -> Result<Vec<FoundReferrer>> {
        let (beside, keys) = (self.beside(repository), std::slice::from_ref(key.public()));
        let mut found: Vec<FoundReferrer> = Vec::new();
        for Signed { digest, .. } in signed {
            for listed in beside.bundles_and_others(digest, keys).await?.1 {
                let is_new = signed.iter().all(|one| one.digest != listed.descriptor.digest);
                let referrer = if is_new { beside.referrer(listed, digest, keys).await? } else { None };
                found.extend(referrer.filter(FoundReferrer::is_record));
            }
        }
        Ok(found)
    }

    fn beside(&self, repository: &Repository) -> Attached<'_> {
        Attached::Registry { client: self.client(), repository: repository.clone() }
    }

    /// Signs an image that was pushed, and the artifact with its bill of materials.
    ///
    /// # Errors
    /// Those of [`Mpimg::sign`]: the image is pushed all the same.
    pub async fn sign_pushed(&self, pushed: &PushedImage, sbom: Option<Digest>, key: &SigningKey) -> Result<Vec<Signed>> {
        let digests = [pushed.digest].into_iter().chain(sbom);
        self.sign_all(pushed.destination.push.repository(), digests, key).await
    }

    /// Signs manifests that were pushed.
    pub(super) async fn sign_all(
        &self,
        repository: &Repository,
        digests: impl Iterator<Item = Digest>,
        key: &SigningKey,
    ) -> Result<Vec<Signed>> {
        let mut signed = Vec::new();
        for digest in digests {
            let request = SignRequest::new(repository.with_digest(digest), key.clone());
            let more = self.sign(&request).await;
            signed.extend(more.map_err(|error| error.wrap(format!("`{repository}@{digest}` is pushed, but not signed")))?);
        }
        Ok(signed)
    }

    async fn sign_manifest(&self, repository: &Repository, subject: &Descriptor, key: &SigningKey, tag: bool) -> Result<Signed> {
        let digest = subject.digest;
        let statement = Statement::new(&digest, COSIGN_SIGN, serde_json::json!({}));
        let bundle = self.attach_statement(repository, subject, &statement, key).await?;
        let tag = if tag { Some(self.sign_under_tag(repository, &digest, key).await?) } else { None };
        Ok(Signed { digest, bundle, tag })
    }

    /// Attaches a signed statement about a manifest, unless it is there; the digest of what has it.
    pub(super) async fn attach_statement(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        statement: &Statement,
        key: &SigningKey,
    ) -> Result<Digest> {
        // A command may give another signature for the same message each time: one of this key is
        // enough.
        if let Some(before) = self.beside(repository).bundle_with(&subject.digest, statement, key.public()).await? {
            return Ok(before);
        }
        let bundle = Bundle::sign(statement, key)?;
        let artifact = annotated_artifact(BUNDLE_TYPE, BUNDLE_TYPE, bundle.bytes, subject, &bundle.annotations);
        self.client().attach(repository, &artifact).await?;
        Ok(artifact.descriptor.digest)
    }

    /// Adds a signature to those under the tag `sha256-HEX.sig`.
    async fn sign_under_tag(&self, repository: &Repository, digest: &Digest, key: &SigningKey) -> Result<Digest> {
        let tag = SimpleSigningImage::tag(digest)?;
        let name = repository.with_tag(tag.clone());
        for _ in 0..ATTEMPTS {
            let before = self.beside(repository).tagged(digest, "sig").await;
            let before = before.map_err(|error| error.wrap("cannot read the signatures"))?;
            let layers = match &before {
                Some(tree) => Names::parse(&tree.bytes)?.layers,
                None => Vec::new(),
            };
            let signed = SimpleSigningImage::sign(&repository.to_string(), digest, key, &layers)?;
            // Written before, by an earlier run or by the round before this one: nobody has
            // replaced it.
            let Some(image) = signed else {
                return before.map(|tree| tree.descriptor.digest).ok_or_else(|| lost(&name));
            };
            let tree = tree(image, before)?;
            let session = self.client().push(repository)?;
            session.offer_tree(&tree);
            session.finish_tree(&tree, std::slice::from_ref(&tag)).await?;
        }
        Err(lost(&name))
    }
}

fn lost(name: &Reference) -> Error {
    Error::new(ErrorKind::Registry, format!("the signatures under `{}` keep being replaced by another writer", name.familiar()))
        .with_hint("try again when the other writer has finished")
}

/// The image with the signatures. Layers of `before` stay where they are.
fn tree(image: SimpleSigningImage, before: Option<ManifestTree>) -> Result<ManifestTree> {
    let SimpleSigningImage { manifest, config, payload } = image;
    let known = before.map(|tree| tree.blobs).unwrap_or_default();
    let own = [config, payload];
    let source = |descriptor: &Descriptor| {
        let own = own.iter().find(|bytes| Digest::of(bytes) == descriptor.digest).cloned().map(BlobSource::Memory);
        let known = known.iter().find(|(other, _)| other.digest == descriptor.digest).map(|(_, source)| source.clone());
        own.or(known).ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the layer `{}` has no source", descriptor.digest)))
    };
    ManifestTree::manifest(Descriptor::of(MediaType::Manifest, &manifest), manifest, source)
}
