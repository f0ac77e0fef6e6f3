//! `[policy]` of mpimg's configuration: what a site demands of its images. What cannot come true is
//! refused before anything is built or pushed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{ImageAttestation, Mpimg, PushRequest, PushSource, Settings};
use crate::build::{AllowedBase, expect_allowed};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{ATTESTATION_TYPE, PREDICATE_TYPE};
use crate::oci::{Descriptor, Digest, Platform, Reference};
use crate::registry::CheckItem;
#[cfg(feature = "sign")]
use crate::signature::PublicKey;

/// The item of a check.
const POLICY: &str = "policy";
/// What SBOMs are attached as, and what bundles with one say that they state.
const SBOMS: [&str; 5] = [
    "application/spdx+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.goharbor.harbor.sbom.v1",
    "https://spdx.dev/Document",
    "https://cyclonedx.org/bom",
];
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
        if sbom || provenance {
            let stated = match self.stated(image, digest).await {
                Ok(stated) => stated,
                Err(error) => return vec![CheckItem::failed(POLICY, &error)],
            };
            if sbom && !stated.iter().any(|kind| SBOMS.contains(&kind.as_str())) {
                items.push(lacks("SBOM", &format!("push it with {}", Setting::Sbom.with("spdx"))));
            }
            if provenance && !stated.iter().any(|kind| kind.starts_with(PROVENANCE)) {
                items.push(lacks("provenance", &format!("push it with {}", Setting::Provenance)));
            }
        }
        #[cfg(feature = "sign")]
        if !policy.signed_by.is_empty() {
            let verified = async {
                let request = super::VerifyRequest::new(image.repository().with_digest(*digest), policy.keys()?);
                self.must_be_signed(&request).await
            };
            if let Err(error) = verified.await {
                items.push(CheckItem::failed(POLICY, &error));
            }
        }
        if items.is_empty() && (sbom || provenance || !policy.signed_by.is_empty()) {
            items.push(CheckItem::passed(POLICY, "the image has what `[policy]` demands"));
        }
        items
    }
}

impl Mpimg {
    /// The kinds of what is recorded of an image: by what refers to it, and in the index that has
    /// it. `digest` is the image's, or that of an index, of which the product pulls one image.
    async fn stated(&self, name: &Reference, digest: &Digest) -> Result<Vec<String>> {
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
        let mut stated: Vec<String> = attested.into_iter().map(|one| one.predicate_type).collect();
        let mut referrers: Vec<Descriptor> = Vec::new();
        for subject in BTreeSet::from([image, *digest]) {
            referrers.extend(self.client().referrers(repository, &subject).await?);
        }
        for one in referrers {
            // An image that is named by its digest does not tell which index has it.
            if one.media_type.as_str() == ATTESTATION_TYPE {
                let manifest = self.client().pull_manifest(&repository.with_digest(one.digest)).await?;
                let attested = ImageAttestation::read_all(one.digest, &manifest.bytes)?;
                stated.extend(attested.into_iter().map(|one| one.predicate_type));
            }
            stated.extend(PREDICATE_TYPES.iter().filter_map(|key| one.annotations.get(*key)).cloned());
            stated.push(one.media_type.to_string());
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
