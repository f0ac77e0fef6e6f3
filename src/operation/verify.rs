//! Whether an image in a registry is signed, by whom, and what else was said of it.
//!
//! Nothing beside the registry is asked: there is no transparency log and no certificate authority
//! in it.

use bytes::Bytes;
use serde_json::Value;

use super::Mpimg;
use super::sign::subjects;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{AttestedStatement, ManifestTree, Names, attested_digest};
use crate::oci::{Descriptor, Digest, Reference, Repository};
use crate::signature::{
    BUNDLE_TYPES, Bundle, COSIGN_SIGN, PublicKey, SIGNATURE_ANNOTATION, SIMPLE_SIGNING_TYPE, SimpleSigning, SimpleSigningImage,
    Statement,
};

/// A signed document has a few hundred bytes, a signed SBOM a few MiB.
const LIMIT: u64 = 32 << 20;

/// What is verified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyRequest {
    /// The image in its registry.
    pub image: Reference,
    /// The public keys of which any may have signed.
    pub keys: Vec<PublicKey>,
    /// Whether each image of an index must be signed besides the index.
    pub recursive: bool,
}

impl VerifyRequest {
    /// Verifies the manifest or index that `image` names.
    pub fn new(image: Reference, keys: Vec<PublicKey>) -> Self {
        Self { image, keys, recursive: false }
    }
}

/// Where a signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureForm {
    /// Under the tag `sha256-HEX.sig`.
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
    /// The manifest that carries it.
    pub manifest: Digest,
    /// What is wrong with it; `None`: it is good.
    pub error: Option<String>,
    /// The fingerprint of the key that signed.
    pub key: Option<Digest>,
    /// The kind of statement that was signed, of a bundle.
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

    /// Whether it says that the image is the signer's: a good signature, and not a statement about
    /// something of it.
    pub fn signs_image(&self) -> bool {
        let only_signs = self.predicate_type.as_deref().is_none_or(|kind| kind == COSIGN_SIGN);
        self.error.is_none() && only_signs
    }
}

/// Something that an index says of an image in it, as BuildKit puts it there. It has no signature
/// of its own: a signature of the index is one of all that the index holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundAttestation {
    /// The manifest that carries it.
    pub manifest: Digest,
    /// The image that it is about.
    pub image: Digest,
    /// What is wrong with it; `None`: it is a statement about that image.
    pub error: Option<String>,
    /// The kind of statement.
    pub predicate_type: String,
    /// What is stated.
    pub predicate: Option<Value>,
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
}

impl VerifiedManifest {
    /// Whether one of the keys signed it.
    pub fn is_signed(&self) -> bool {
        self.signatures.iter().any(FoundSignature::signs_image)
    }
}

impl Mpimg {
    /// Looks for the signatures of an image in both forms and judges each. What is named by the
    /// request comes first, then, if asked, each image of an index.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is no such image; those of the registry. A bad signature, or
    /// none, is not an error here: [`Mpimg::must_be_signed`] makes it one.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Vec<VerifiedManifest>> {
        let VerifyRequest { image, keys, recursive } = request;
        let mut verified = Vec::new();
        let tree = self.client().pull_tree(image, None).await?;
        for Descriptor { digest, .. } in subjects(&tree, *recursive) {
            let mut signatures = self.tag_signatures(image.repository(), &digest, keys).await?;
            signatures.extend(self.bundles(image.repository(), &digest, keys).await?);
            let attestations = if digest == tree.descriptor.digest { attestations(&tree).await? } else { Vec::new() };
            verified.push(VerifiedManifest { digest, signatures, attestations });
        }
        Ok(verified)
    }

    /// As [`Mpimg::verify`].
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: a manifest has no signature that is good, with the reason of each
    /// that was found.
    pub async fn must_be_signed(&self, request: &VerifyRequest) -> Result<Vec<VerifiedManifest>> {
        let verified = self.verify(request).await?;
        match verified.iter().find(|manifest| !manifest.is_signed()) {
            None => Ok(verified),
            Some(manifest) => Err(not_signed(request.image.repository(), manifest)),
        }
    }

    async fn tag_signatures(&self, repository: &Repository, digest: &Digest, keys: &[PublicKey]) -> Result<Vec<FoundSignature>> {
        let name = repository.with_tag(SimpleSigningImage::tag(digest)?);
        let Some(tree) = self.signature_image(&name).await? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for layer in Names::parse(&tree.bytes)?.layers {
            if layer.media_type.as_str() != SIMPLE_SIGNING_TYPE {
                continue;
            }
            let payload = match tree.blob(&layer.digest, LIMIT).await {
                Ok(payload) => payload,
                Err(error) => {
                    found.push(FoundSignature::unreadable(SignatureForm::Tag, tree.descriptor.digest, error)?);
                    continue;
                }
            };
            let signature = layer.annotations.get(SIGNATURE_ANNOTATION).map_or("", String::as_str);
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
        Ok(found)
    }

    /// The image under a tag with signatures, if it is there. Asked with HEAD first: that there is
    /// none is not a failure to show.
    pub(super) async fn signature_image(&self, name: &Reference) -> Result<Option<ManifestTree>> {
        let read = async {
            match self.client().has_manifest(name).await? {
                true => self.client().pull_tree(name, None).await.map(Some),
                false => Ok(None),
            }
        };
        read.await.map_err(|error: Error| error.wrap("cannot read the signatures"))
    }

    pub(super) async fn bundles(
        &self,
        repository: &Repository,
        digest: &Digest,
        keys: &[PublicKey],
    ) -> Result<Vec<FoundSignature>> {
        let mut found = Vec::new();
        for referrer in self.client().referrers(repository, digest).await? {
            if !referrer.media_type.as_str().starts_with(BUNDLE_TYPES) {
                continue;
            }
            let documents = match self.bundle_documents(&repository.with_digest(referrer.digest)).await {
                Ok(documents) => documents,
                Err(error) => {
                    found.push(FoundSignature::unreadable(SignatureForm::Bundle, referrer.digest, error)?);
                    continue;
                }
            };
            for bytes in documents {
                let judged = first_good(keys, |key| Bundle::verify(&bytes, digest, key));
                let statement = judged.as_ref().ok().map(|(statement, _)| statement);
                let states_more = statement.filter(|statement| statement.predicate_type() != COSIGN_SIGN);
                found.push(FoundSignature {
                    form: SignatureForm::Bundle,
                    manifest: referrer.digest,
                    key: judged.as_ref().ok().map(|(_, key)| key.fingerprint()),
                    predicate_type: statement.map(|statement| statement.predicate_type().to_owned()),
                    predicate: states_more.map(|statement| statement.predicate().clone()),
                    repository: None,
                    error: judged.err().map(|error| error.in_one_line()),
                });
            }
        }
        Ok(found)
    }

    /// The bundles in an artifact.
    async fn bundle_documents(&self, name: &Reference) -> Result<Vec<Bytes>> {
        let tree = self.client().pull_tree(name, None).await?;
        let mut documents = Vec::new();
        for layer in Names::parse(&tree.bytes)?.layers {
            if layer.media_type.as_str().starts_with(BUNDLE_TYPES) {
                documents.push(tree.blob(&layer.digest, LIMIT).await?);
            }
        }
        Ok(documents)
    }
}

/// Why something in the registry cannot be read, unless that is the registry's fault.
fn unreadable(error: Error) -> Result<String> {
    if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Interrupted | ErrorKind::Network) {
        return Err(error.wrap("cannot read the signatures"));
    }
    Ok(format!("it cannot be read: {}", error.in_one_line()))
}

/// What an index says of its images.
async fn attestations(tree: &ManifestTree) -> Result<Vec<FoundAttestation>> {
    let mut found = Vec::new();
    for child in &tree.children {
        let Some(image) = attested_digest(&child.descriptor) else { continue };
        for AttestedStatement { predicate_type, blob } in AttestedStatement::read_all(&child.bytes)? {
            let manifest = child.descriptor.digest;
            let mut attestation = FoundAttestation { manifest, image, error: None, predicate_type, predicate: None };
            match child.blob(&blob.digest, LIMIT).await {
                Ok(bytes) => match Statement::read(&bytes, &image) {
                    Ok(statement) => {
                        attestation.predicate_type = statement.predicate_type().to_owned();
                        attestation.predicate = Some(statement.predicate().clone());
                    }
                    Err(error) => attestation.error = Some(error.in_one_line()),
                },
                Err(error) => attestation.error = Some(unreadable(error)?),
            }
            if !tree.children.iter().any(|other| other.descriptor.digest == image) {
                attestation.error = Some("it is about an image that the index does not have".to_owned());
            }
            found.push(attestation);
        }
    }
    Ok(found)
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

fn not_signed(repository: &Repository, manifest: &VerifiedManifest) -> Error {
    let name = repository.with_digest(manifest.digest).familiar();
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
