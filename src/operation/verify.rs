//! Whether an image in a registry, a layout or an archive is signed, by whom, and what else was
//! said of it.
//!
//! Nothing else is asked: there is no transparency log and no certificate authority in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Mpimg;
use super::attached::{Attached, described, subjects};
use super::index_statements::{FoundAttestation, attestations, unreadable};
use super::record::{holds_documents_alone, is_sbom_document};
use super::recorded::is_sbom;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{DOCUMENT_LIMIT, IN_TOTO_TYPE, ManifestTree, Names, Transport, attested_digest, cosign_tag};
use crate::oci::{Descriptor, Digest};
use crate::signature::{
    BUNDLE_TYPES, Bundle, COSIGN_SIGN, ENVELOPE_TYPE, Envelope, PublicKey, SIGNATURE_ANNOTATION, SIMPLE_SIGNING_TYPE,
    SimpleSigning, Statement,
};

/// What is read, in bytes, of something that is no document.
const SMALL: u64 = 1 << 20;

/// What is verified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyRequest {
    /// The image: in its registry, an OCI layout or an OCI archive.
    pub image: Transport,
    /// The public keys of which any may have signed.
    pub keys: Vec<PublicKey>,
    /// Whether each image of an index must be signed besides the index.
    pub recursive: bool,
}

impl VerifyRequest {
    /// Verifies the manifest or index that `image` names.
    pub fn new(image: Transport, keys: Vec<PublicKey>) -> Self {
        Self { image, keys, recursive: false }
    }
}

/// Where a signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureForm {
    /// Under cosign's tag: `sha256-HEX.sig`, or for a statement `sha256-HEX.att`.
    Tag,
    /// A Sigstore bundle in an artifact that refers to the image.
    Bundle,
}

/// A signature that was found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundSignature {
    /// Where.
    pub form: SignatureForm,
    /// The manifest that carries it; of a tag that cannot be read, the one that it is about.
    pub manifest: Digest,
    /// What is wrong with it; `None`: it is good.
    pub error: Option<String>,
    /// The fingerprint of the key that signed.
    pub key: Option<Digest>,
    /// The kind of statement that was signed.
    pub predicate_type: Option<String>,
    /// What is stated, where it is more than a signature: provenance, an SBOM.
    pub predicate: Option<Value>,
    /// The repository that was signed for, where the signature names one.
    pub repository: Option<String>,
}

impl FoundSignature {
    /// One of which something is missing or damaged. Anybody who may push can add such a one, so
    /// the others count all the same. A registry that cannot be reached or lets nobody in is no
    /// fault of a signature's: that error comes back.
    fn unreadable(form: SignatureForm, manifest: Digest, error: Error) -> Result<Self> {
        let error = Some(unreadable(error)?);
        Ok(Self { form, manifest, error, key: None, predicate_type: None, predicate: None, repository: None })
    }

    fn judged(form: SignatureForm, manifest: Digest, judged: Result<(Statement, &PublicKey)>) -> Self {
        let statement = judged.as_ref().ok().map(|(statement, _)| statement);
        let states_more = statement.filter(|statement| statement.predicate_type() != COSIGN_SIGN);
        Self {
            form,
            manifest,
            key: judged.as_ref().ok().map(|(_, key)| key.fingerprint()),
            predicate_type: statement.map(|statement| statement.predicate_type().to_owned()),
            predicate: states_more.map(|statement| statement.predicate().clone()),
            repository: None,
            error: judged.err().map(|error| error.in_one_line()),
        }
    }

    /// Whether it says that the image is the signer's: a good signature, and not a statement about
    /// something of it.
    pub fn signs_image(&self) -> bool {
        let only_signs = self.predicate_type.as_deref().is_none_or(|kind| kind == COSIGN_SIGN);
        self.error.is_none() && only_signs
    }
}

/// Something that refers to an image and is no signature itself: an SBOM, provenance that nobody
/// signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundReferrer {
    /// Its manifest.
    pub manifest: Digest,
    /// What it is: `application/spdx+json`, …
    pub artifact_type: String,
    /// The kinds of statements that it holds about the image.
    pub predicate_types: Vec<String>,
    /// What is wrong with it; `None`: its documents are whole, and its statements about the image.
    pub error: Option<String>,
    /// Whether it holds SBOMs or statements and nothing else, such as what could be run.
    pub documents_alone: bool,
    /// Whether an SBOM is in it, whatever it calls itself.
    pub has_sbom: bool,
    /// Its signatures, good and bad.
    pub signatures: Vec<FoundSignature>,
}

impl FoundReferrer {
    /// The good signature of it, if there is one and nothing is wrong with what is signed.
    pub fn signed(&self) -> Option<&FoundSignature> {
        self.signatures.iter().find(|signature| signature.signs_image()).filter(|_| self.error.is_none())
    }

    /// Whether it is an SBOM or a statement, and nothing else.
    pub fn is_record(&self) -> bool {
        self.documents_alone && self.error.is_none() && (self.has_sbom || !self.predicate_types.is_empty())
    }

    /// A manifest that cannot be read.
    fn unreadable(manifest: Digest, artifact_type: String, error: String) -> Self {
        let error = Some(error);
        Self {
            manifest,
            artifact_type,
            predicate_types: Vec::new(),
            error,
            documents_alone: false,
            has_sbom: false,
            signatures: Vec::new(),
        }
    }
}

/// What was found for one manifest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifiedManifest {
    /// The manifest or index.
    pub digest: Digest,
    /// Its signatures, good and bad.
    pub signatures: Vec<FoundSignature>,
    /// Of an index: what it says of its images.
    pub attestations: Vec<FoundAttestation>,
    /// What else refers to it.
    pub referrers: Vec<FoundReferrer>,
    /// Of an index: how many images it has.
    pub images: usize,
}

impl VerifiedManifest {
    /// Whether one of the keys signed it.
    pub fn is_signed(&self) -> bool {
        self.signatures.iter().any(FoundSignature::signs_image)
    }
}

impl Mpimg {
    /// Looks for the signatures of an image in both forms and judges each, and for what else refers
    /// to it. What is named by the request comes first, then, if asked, each image of an index.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such image; those of the registry. A bad signature, or
    /// none, is not an error here: [`VerifyRequest::expect_signed`] makes it one.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Vec<VerifiedManifest>> {
        let VerifyRequest { image, keys, recursive } = request;
        let (tree, beside) = self.with_attached(image).await?;
        let own: BTreeSet<Digest> = tree.manifests().iter().map(|manifest| manifest.descriptor.digest).collect();
        let mut verified = Vec::new();
        for Descriptor { digest, .. } in subjects(&tree, *recursive) {
            let is_root = digest == tree.descriptor.digest;
            let attestations = if is_root { attestations(&tree).await? } else { Vec::new() };
            let mut referrers = Vec::new();
            let (signatures, others) = beside.signatures_and_others(&digest, keys).await?;
            // What the index has itself is not beside it.
            for other in others.into_iter().filter(|other| !own.contains(&other.descriptor.digest)) {
                referrers.extend(beside.referrer(other, &digest, keys).await?);
            }
            if is_root {
                let unreadable = beside.unreadable().iter().cloned();
                referrers.extend(unreadable.map(|(manifest, error)| FoundReferrer::unreadable(manifest, String::new(), error)));
            }
            let images = match is_root {
                true => tree.children.iter().filter(|child| attested_digest(&child.descriptor).is_none()).count(),
                false => 0,
            };
            verified.push(VerifiedManifest { digest, signatures, attestations, referrers, images });
        }
        Ok(verified)
    }

    /// As [`Mpimg::verify`].
    ///
    /// # Errors
    /// Also those of [`VerifyRequest::expect_signed`].
    pub async fn must_be_signed(&self, request: &VerifyRequest) -> Result<Vec<VerifiedManifest>> {
        let verified = self.verify(request).await?;
        request.expect_signed(&verified)?;
        Ok(verified)
    }
}

/// What is listed as referring to a manifest, and what was read there.
pub(super) struct Listed {
    pub(super) descriptor: Descriptor,
    tree: Result<ManifestTree>,
}

impl Attached<'_> {
    /// The signatures of a manifest, and what else is listed as referring to it.
    async fn signatures_and_others(&self, digest: &Digest, keys: &[PublicKey]) -> Result<(Vec<FoundSignature>, Vec<Listed>)> {
        let found = async {
            let mut signatures = self.tag_signatures(digest, keys).await?;
            signatures.extend(self.tag_statements(digest, keys).await?);
            let (bundles, others) = self.bundles_and_others(digest, keys).await?;
            signatures.extend(bundles);
            Ok((signatures, others))
        };
        found.await.map_err(|error: Error| error.wrap("cannot read the signatures"))
    }

    /// The bundles among what is listed as referring to a manifest, and the others. A bundle is
    /// what the list calls so, or what calls itself so: the list's word is not the manifest's own.
    pub(super) async fn bundles_and_others(
        &self,
        digest: &Digest,
        keys: &[PublicKey],
    ) -> Result<(Vec<FoundSignature>, Vec<Listed>)> {
        let is_bundle = |descriptor: &Descriptor| descriptor.media_type.as_str().starts_with(BUNDLE_TYPES);
        let judge = |bytes: &[u8], key: &PublicKey| Bundle::verify(bytes, digest, key);
        let (mut bundles, mut others) = (Vec::new(), Vec::new());
        for descriptor in self.referrers(digest).await? {
            match self.tree(&descriptor.digest).await {
                Ok(tree) if is_bundle(&descriptor) || is_bundle(&described(&tree)?) => {
                    bundles.extend(judge_layers(&tree, SignatureForm::Bundle, BUNDLE_TYPES, keys, judge).await?);
                }
                Err(error) if is_bundle(&descriptor) => {
                    bundles.push(FoundSignature::unreadable(SignatureForm::Bundle, descriptor.digest, error)?);
                }
                tree => others.push(Listed { descriptor, tree }),
            }
        }
        Ok((bundles, others))
    }

    async fn tag_signatures(&self, digest: &Digest, keys: &[PublicKey]) -> Result<Vec<FoundSignature>> {
        let tree = match self.tagged(digest, "sig").await {
            Ok(Some(tree)) => tree,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => return unreadable_tag(digest, "sig", error),
        };
        let mut found = Vec::new();
        for layer in Names::parse(&tree.bytes)?.layers {
            if layer.media_type.as_str() != SIMPLE_SIGNING_TYPE {
                continue;
            }
            let payload = match tree.blob(&layer.digest, DOCUMENT_LIMIT).await {
                Ok(payload) => payload,
                Err(error) => {
                    found.push(FoundSignature::unreadable(SignatureForm::Tag, tree.descriptor.digest, error)?);
                    continue;
                }
            };
            let signature = layer.annotations.get(SIGNATURE_ANNOTATION).map(String::as_str);
            let judged = first_good(keys, |key| SimpleSigning::verify(&payload, signature, digest, key));
            found.push(FoundSignature {
                form: SignatureForm::Tag,
                manifest: tree.descriptor.digest,
                key: judged.as_ref().ok().map(|(_, key)| key.fingerprint()),
                predicate_type: None,
                predicate: None,
                repository: judged.as_ref().ok().map(|(document, _)| document.repository().to_owned()),
                error: judged.err().map(|error| error.in_one_line()),
            });
        }
        if found.is_empty() {
            let error = Error::new(ErrorKind::Corrupt, "no signature is in it");
            found.push(FoundSignature::unreadable(SignatureForm::Tag, tree.descriptor.digest, error)?);
        }
        Ok(found)
    }

    /// What cosign before 3 attests.
    async fn tag_statements(&self, digest: &Digest, keys: &[PublicKey]) -> Result<Vec<FoundSignature>> {
        let tree = match self.tagged(digest, "att").await {
            Ok(Some(tree)) => tree,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => return unreadable_tag(digest, "att", error),
        };
        judge_layers(&tree, SignatureForm::Tag, ENVELOPE_TYPE, keys, |bytes, key| Envelope::verify(bytes, digest, key)).await
    }

    /// What is listed as referring to a manifest, as it is; `None`: it refers to something else.
    pub(super) async fn referrer(
        &self,
        Listed { descriptor, tree }: Listed,
        digest: &Digest,
        keys: &[PublicKey],
    ) -> Result<Option<FoundReferrer>> {
        let manifest = descriptor.digest;
        let tree = match tree {
            Ok(tree) => tree,
            Err(error) => {
                let kind = descriptor.media_type.to_string();
                return Ok(Some(FoundReferrer::unreadable(manifest, kind, unreadable(error)?)));
            }
        };
        if tree.subject.as_ref() != Some(digest) {
            return Ok(None);
        }
        let layers = Names::parse(&tree.bytes)?.layers;
        let is_record = holds_documents_alone(&tree);
        let mut documents_alone = is_record;
        let (mut predicate_types, mut error, mut has_sbom) = (Vec::new(), None, false);
        // Of a document that is too large, `blob` says so. What else there is may be of any size.
        for layer in layers.iter().filter(|layer| is_record || layer.size <= SMALL) {
            let read = tree.blob(&layer.digest, DOCUMENT_LIMIT).await;
            let kind = layer.media_type.as_str();
            match read {
                Ok(bytes) if kind == IN_TOTO_TYPE => match Statement::read(&bytes, digest) {
                    Ok(statement) => {
                        documents_alone &= statement.has_one_subject();
                        predicate_types.push(statement.predicate_type().to_owned());
                    }
                    Err(wrong) => error = Some(wrong.in_one_line()),
                },
                Ok(bytes) if is_sbom(kind) => {
                    has_sbom |= is_sbom_document(&bytes);
                    documents_alone &= is_sbom_document(&bytes);
                }
                Ok(_) => {}
                Err(wrong) => error = Some(unreadable(wrong)?),
            }
        }
        Ok(Some(FoundReferrer {
            manifest,
            artifact_type: described(&tree)?.media_type.to_string(),
            predicate_types,
            error,
            documents_alone,
            has_sbom,
            signatures: self.signatures_and_others(&manifest, keys).await?.0,
        }))
    }

    /// The bundle with this very statement about a manifest, by this key.
    pub(super) async fn bundle_with(&self, digest: &Digest, statement: &Statement, key: &PublicKey) -> Result<Option<Digest>> {
        let (bundles, _) = self.bundles_and_others(digest, std::slice::from_ref(key)).await?;
        let is_it = |found: &&FoundSignature| {
            let says = found.predicate.as_ref().is_none_or(|predicate| predicate == statement.predicate());
            found.error.is_none() && found.predicate_type.as_deref() == Some(statement.predicate_type()) && says
        };
        Ok(bundles.iter().find(is_it).map(|found| found.manifest))
    }
}

/// The signed statements of a manifest: its layers of a type.
async fn judge_layers(
    tree: &ManifestTree,
    form: SignatureForm,
    media_type: &str,
    keys: &[PublicKey],
    judge: impl Fn(&[u8], &PublicKey) -> Result<Statement>,
) -> Result<Vec<FoundSignature>> {
    let manifest = tree.descriptor.digest;
    let mut found = Vec::new();
    for layer in Names::parse(&tree.bytes)?.layers.iter().filter(|layer| layer.media_type.as_str().starts_with(media_type)) {
        found.push(match tree.blob(&layer.digest, DOCUMENT_LIMIT).await {
            Ok(bytes) => FoundSignature::judged(form, manifest, first_good(keys, |key| judge(&bytes, key))),
            Err(error) => FoundSignature::unreadable(form, manifest, error)?,
        });
    }
    if found.is_empty() {
        let error = Error::new(ErrorKind::Corrupt, "no statement is in it");
        found.push(FoundSignature::unreadable(form, manifest, error)?);
    }
    Ok(found)
}

/// What stands under one of cosign's tags cannot be read: anybody who may push can put it there.
fn unreadable_tag(digest: &Digest, suffix: &str, error: Error) -> Result<Vec<FoundSignature>> {
    let error = error.wrap(format!("the tag `{}`", cosign_tag(digest, suffix)));
    FoundSignature::unreadable(SignatureForm::Tag, *digest, error).map(|found| vec![found])
}

/// The first key's judgement that is good, else the last one's reason.
pub(super) fn first_good<T>(keys: &[PublicKey], judge: impl Fn(&PublicKey) -> Result<T>) -> Result<(T, &PublicKey)> {
    let mut refused = Error::new(ErrorKind::Usage, "no public key was given");
    for key in keys {
        match judge(key) {
            Ok(document) => return Ok((document, key)),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl VerifyRequest {
    /// Whether each manifest that was verified is signed.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: one has no signature that is good, with the reason of each that was
    /// found; [`ErrorKind::NotFound`]: it has none.
    pub fn expect_signed(&self, verified: &[VerifiedManifest]) -> Result<()> {
        match verified.iter().find(|manifest| !manifest.is_signed()) {
            None => Ok(()),
            Some(manifest) => Err(not_signed(&self.image, manifest)),
        }
    }
}

fn not_signed(image: &Transport, manifest: &VerifiedManifest) -> Error {
    let name = manifest_name(image, &manifest.digest);
    let mut reasons: Vec<&str> = manifest.signatures.iter().filter_map(|signature| signature.error.as_deref()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    match reasons.is_empty() {
        false => Error::new(ErrorKind::Corrupt, format!("`{name}` has no valid signature by any of the given keys"))
            .with_source(reasons.join("; ")),
        true => Error::new(ErrorKind::NotFound, format!("`{name}` is not signed"))
            .with_hint("`mpimg sign` signs an image in its registry"),
    }
}

/// How a manifest of an image is called.
pub fn manifest_name(image: &Transport, digest: &Digest) -> String {
    match image {
        Transport::Registry(name) => name.repository().with_digest(*digest).familiar(),
        other => format!("{other} ({digest})"),
    }
}
