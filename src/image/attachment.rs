//! What stands beside an image under a tag that is made of the image's digest: cosign's signatures,
//! attestations and SBOMs in the form that it had before referrers, and the lists of referrers of
//! registries and layouts that make none by themselves.

use crate::oci::Digest;

/// What cosign keeps under a tag of its own (cosign's `pkg/oci/remote`, `SignatureTag`,
/// `AttestationTag`, `SBOMTag`).
pub(crate) const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// The tag of what cosign keeps of a manifest.
pub(crate) fn cosign_tag(digest: &Digest, suffix: &str) -> String {
    format!("{}.{suffix}", list_tag(digest))
}

/// The tag of the list of what refers to a manifest (distribution specification, "Referrers Tag
/// Schema").
pub(crate) fn list_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// Whether a tag is one of these.
pub(crate) fn is_attachment_tag(tag: &str) -> bool {
    let digest = tag.split('.').next().unwrap_or_default().replacen('-', ":", 1);
    let suffix = tag.split_once('.').map(|(_, suffix)| suffix);
    Digest::parse(&digest).is_ok() && suffix.is_none_or(|suffix| COSIGN.contains(&suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_made_of_digests_are_told_from_others() {
        let digest = Digest::of("x");
        for tag in [cosign_tag(&digest, "sig"), cosign_tag(&digest, "att"), list_tag(&digest)] {
            assert!(is_attachment_tag(&tag), "{tag}");
        }
        for tag in ["1.0.sig", "latest", "sha256-abc.sig", &cosign_tag(&digest, "other")] {
            assert!(!is_attachment_tag(tag), "{tag}");
        }
    }
}
