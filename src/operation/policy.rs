//! `[policy]` of mpimg's configuration: what a site demands of its images. What cannot come true is
//! refused before anything is built or pushed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::recorded::is_sbom;
use super::{ImageAttestation, Mpimg, PushRequest, PushSource, Settings};
use crate::build::{AllowedBase, expect_allowed};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{ATTESTATION_TYPE, PREDICATE_TYPE};
use crate::oci::{Descriptor, Digest, Platform, Reference};
use crate::registry::CheckItem;
#[cfg(feature = "sign")]
use crate::{image::Transport, signature::PublicKey};

/// The item of a check.
const POLICY: &str = "policy";
/// What stands for an SBOM of any form.
#[cfg(feature = "sign")]
const SBOM: &str = "application/spdx+json";
const PROVENANCE: &str = "https://slsa.dev/provenance/";
/// What a bundle, and an attestation without a signature, say that they state.
const PREDICATE_TYPES: [&str; 2] = ["dev.sigstore.bundle.predicateType", PREDICATE_TYPE];

/// What a site demands of its images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// PEM files with public keys, of which one must have signed; none: no signature is demanded.
    pub signed_by: Vec<PathBuf>,
    /// Whether an SBOM must be attached.
    pub sbom: bool,
    /// Whether the provenance must be attached.
    pub provenance: bool,
    /// What may be built on and copied from; none: any image.
    pub bases: Vec<AllowedBase>,
}

impl Policy {
    /// Whether anything is demanded.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// An error if a push as it is requested would leave out what is demanded.
    ///
    /// # Errors
    /// [`ErrorKind::Policy`], with what to ask for; those of reading a key.
    pub(super) fn check_push(&self, request: &PushRequest) -> Result<()> {
        let refused = |what: &str, hint: &str| {
            let message = format!("{what} is demanded of every image that is pushed from here");
            Err(Error::new(ErrorKind::Policy, message).with_hint(format!("{hint}: `[policy]` in mpimg's configuration")))
        };
        if self.sbom && !request.wants_sbom() {
            return refused("an SBOM", &format!("attach one with {}", Setting::Sbom.with("spdx")));
        }
        if self.provenance && !request.wants_provenance() {
            return match &request.source {
                PushSource::Build(_) => refused("provenance", &format!("attach it with {}", Setting::Provenance)),
                PushSource::Image { .. } => {
                    refused("provenance", &format!("push the folder that the image is built from, with {}", Setting::Provenance))
                }
            };
        }
        #[cfg(feature = "sign")]
        if !self.signed_by.is_empty() {
            let names: Vec<String> = self.signed_by.iter().map(|path| path.display().to_string()).collect();
            let keys = self.keys()?;
            let is_one = |key: &PublicKey| keys.iter().any(|one| one.fingerprint() == key.fingerprint());
            match &request.signed_by {
                Some(key) if is_one(key) => {}
                Some(key) => {
                    let message =
                        format!("the key {} is none that images pushed from here may be signed with", key.fingerprint().short());
                    return Err(Error::new(ErrorKind::Policy, message).with_hint(format!(
                        "sign with the private key of `{}`: `[policy]` in mpimg's configuration",
                        names.join("` or `")
                    )));
                }
                None => {
                    return refused(
                        "a signature",
                        &format!("sign with {}, the private key of `{}`", Setting::SignedBy.with("KEY"), names.join("` or `")),
                    );
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "sign")]
    fn keys(&self) -> Result<Vec<PublicKey>> {
        self.signed_by.iter().map(|path| PublicKey::read(path)).collect()
    }
}

impl Mpimg {
    /// What the site demands of an image that is in its registry, and whether it is there; nothing
    /// where nothing is demanded.
    pub(super) async fn check_policy(&self, image: &Reference, digest: &Digest) -> Vec<CheckItem> {
        let policy = match Settings::read() {
            Ok(settings) => settings.policy,
            Err(error) => return vec![CheckItem::failed(POLICY, &error)],
        };
        let Policy { sbom, provenance, .. } = policy;
        let mut items = Vec::new();
        let lacks = |what: &str, hint: &str| {
            let message = format!("`{}` has no {what}, which `[policy]` demands", image.familiar());
            CheckItem::failed(POLICY, &Error::new(ErrorKind::Policy, message).with_hint(hint))
        };
        let (stated, is_signed) = match self.stated_by_the_right(image, digest, &policy).await {
            Ok(found) => found,
            Err(error) => return vec![CheckItem::failed(POLICY, &error)],
        };
        // What anybody may attach is no answer to a site that asks for signatures.
        let (signed, with) = match policy.signed_by.is_empty() {
            true => ("", String::new()),
            false => (
                " signed by one of the keys of `signed_by`",
                format!(" and {}, or sign what is attached: `mpimg sign --referrers`", Setting::SignedBy),
            ),
        };
        if sbom && !stated.iter().any(Stated::is_sbom) {
            items.push(lacks(&format!("SBOM{signed}"), &format!("push it with {}{with}", Setting::Sbom.with("spdx"))));
        }
        if provenance && !stated.iter().any(Stated::is_provenance) {
            items.push(lacks(&format!("provenance{signed}"), &format!("push it with {}{with}", Setting::Provenance)));
        }
        items.extend(is_signed.err().map(|error| CheckItem::failed(POLICY, &error)));
        if items.is_empty() && (sbom || provenance || !policy.signed_by.is_empty()) {
            items.push(CheckItem::passed(POLICY, "the image has what `[policy]` demands"));
        }
        items
    }
}

/// The kind of something that is recorded of an image: what an in-toto statement or an artifact
/// calls it.
struct Stated(String);

impl Stated {
    fn is_sbom(&self) -> bool {
        is_sbom(&self.0)
    }

    fn is_provenance(&self) -> bool {
        self.0.starts_with(PROVENANCE)
    }
}

impl Mpimg {
    /// What is recorded of an image that a policy may ask for, and whether the image is signed as
    /// it must be. Without what none of the keys signed that the policy names.
    async fn stated_by_the_right(&self, name: &Reference, digest: &Digest, policy: &Policy) -> Result<(Vec<Stated>, Result<()>)> {
        #[cfg(feature = "sign")]
        if !policy.signed_by.is_empty() {
            return self.signed_by(name, policy.keys()?).await;
        }
        match policy.sbom || policy.provenance {
            true => Ok((self.stated(name, digest).await?, Ok(()))),
            false => Ok((Vec::new(), Ok(()))),
        }
    }

    /// What one of the keys signed, and whether it signed what `name` names. Only what is signed
    /// tells what it is: lists and annotations beside it are written by whoever may push.
    #[cfg(feature = "sign")]
    async fn signed_by(&self, name: &Reference, keys: Vec<PublicKey>) -> Result<(Vec<Stated>, Result<()>)> {
        // Of an index, each image is another that statements are about: the product pulls one.
        let (image, index) = self.client().image_manifest(name, &Platform::default()).await?;
        let mut request = super::VerifyRequest::new(Transport::Registry(name.clone()), keys);
        request.recursive = index.is_some();
        let verified = self.verify(&request).await?;
        let Some((root, below)) = verified.split_first() else { return Ok((Vec::new(), Ok(()))) };
        let signed = request.expect_signed(std::slice::from_ref(root));
        let mut stated = Vec::new();
        for manifest in std::iter::once(root).chain(below.iter().filter(|manifest| manifest.digest == image.digest)) {
            let statements = manifest.signatures.iter().filter(|signature| signature.error.is_none());
            stated.extend(statements.filter_map(|signature| signature.predicate_type.clone()));
            for record in manifest.referrers.iter().filter(|referrer| referrer.is_record() && referrer.signed().is_some()) {
                stated.extend(record.predicate_types.iter().cloned());
                stated.extend(record.has_sbom.then(|| SBOM.to_owned()));
            }
        }
        if root.is_signed() {
            let of_image = root.attestations.iter().filter(|found| found.error.is_none() && found.image == image.digest);
            stated.extend(of_image.map(|found| found.predicate_type.clone()));
        }
        Ok((stated.into_iter().map(Stated).collect(), signed))
    }

    /// What is recorded of an image: by what refers to it, and in the index that has it. `digest`
    /// is the image's, or that of an index, of which the product pulls one image.
    async fn stated(&self, name: &Reference, digest: &Digest) -> Result<Vec<Stated>> {
        let repository = name.repository();
        let (image, index) = self.client().image_manifest(&repository.with_digest(*digest), &Platform::default()).await?;
        let (image, index) = match index {
            None if name.digest() != Some(digest) => (image.digest, Some(self.client().pull_manifest(name).await?)),
            index => (image.digest, index),
        };
        let attested = match index {
            Some(index) => self.attestations_in_registry(repository, &index, &image).await?,
            None => Vec::new(),
        };
        let from = |one: ImageAttestation| Stated(one.predicate_type);
        let mut stated: Vec<Stated> = attested.into_iter().map(from).collect();
        let mut referrers: Vec<Descriptor> = Vec::new();
        for subject in BTreeSet::from([image, *digest]) {
            referrers.extend(self.client().referrers(repository, &subject).await?);
        }
        for one in referrers {
            // An image that is named by its digest does not tell which index has it.
            if one.media_type.as_str() == ATTESTATION_TYPE {
                let manifest = self.client().pull_manifest(&repository.with_digest(one.digest)).await?;
                let attested = ImageAttestation::read_all(one.digest, &manifest.bytes)?;
                stated.extend(attested.into_iter().map(from));
            }
            let kinds = PREDICATE_TYPES.iter().filter_map(|key| one.annotations.get(*key)).cloned();
            let kinds = kinds.chain([one.media_type.to_string()]);
            stated.extend(kinds.map(Stated));
        }
        Ok(stated)
    }
}

/// Whether a build stands only on what the site allows; nothing where anything is allowed.
pub(super) fn check_bases<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<CheckItem> {
    let allowed = match Settings::read() {
        Ok(settings) => settings.policy.bases,
        Err(error) => return Some(CheckItem::failed(POLICY, &error)),
    };
    if allowed.is_empty() {
        return None;
    }
    Some(match names.try_for_each(|name| expect_allowed(name, &allowed)) {
        Err(error) => CheckItem::failed(POLICY, &error),
        Ok(()) => CheckItem::passed(POLICY, "`[policy]` allows all base images"),
    })
}
