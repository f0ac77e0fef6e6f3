//! What stands beside an image under a tag that is made of the image's digest: cosign's signatures,
//! attestations and SBOMs in the form that it had before referrers, and the lists of referrers of
//! registries and layouts that make none by themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::{ManifestTree, Names};
use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::oci::{Descriptor, Digest, MediaType};
use crate::store::BlobSource;

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

#[derive(Serialize)]
struct Config {
    architecture: &'static str,
    created: &'static str,
    history: Vec<BTreeMap<&'static str, &'static str>>,
    os: &'static str,
    rootfs: RootFs,
    config: BTreeMap<(), ()>,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

/// Manifest and config of an image whose layers are signatures or statements, as cosign writes it:
/// without a platform, because it is not to be run. No time: the same layers have the same digest.
pub(crate) fn attachment_image(layers: &[Descriptor]) -> Result<(Bytes, Bytes)> {
    let never = "0001-01-01T00:00:00Z";
    let config = Config {
        architecture: "",
        created: never,
        history: layers.iter().map(|_| BTreeMap::from([("created", never)])).collect(),
        os: "",
        rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| layer.digest).collect() },
        config: BTreeMap::new(),
    };
    let cannot = || "cannot write the signature".to_owned();
    let config = Bytes::from(serde_json::to_vec(&config).context(ErrorKind::Io, cannot)?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::Manifest.as_str(),
        "config": Descriptor::of(MediaType::Config, &config),
        "layers": layers,
    });
    Ok((manifest.to_string().into(), config))
}

/// Whether what stands under one of cosign's tags is a list that several people add to.
pub(crate) fn may_be_joined(tag: &str) -> bool {
    tag.ends_with(".sig") || tag.ends_with(".att")
}

/// What stands under one of cosign's tags, with the signatures or statements of another such image
/// that are missing there: those of other people stay.
pub(crate) fn with_attachments_of(there: &ManifestTree, more: &ManifestTree) -> Result<ManifestTree> {
    let (before, after) = (Names::parse(&there.bytes)?.layers, Names::parse(&more.bytes)?.layers);
    if before.iter().all(|layer| after.contains(layer)) {
        return Ok(more.clone());
    }
    if after.iter().all(|layer| before.contains(layer)) {
        return Ok(ManifestTree { tag: more.tag.clone(), ..there.clone() });
    }
    let new = after.into_iter().filter(|layer| !before.contains(layer));
    let layers: Vec<Descriptor> = before.iter().cloned().chain(new).collect();
    let (manifest, config) = attachment_image(&layers)?;
    let own = (Descriptor::of(MediaType::Config, &config), BlobSource::Memory(config));
    let mut blobs = vec![own];
    let known = || there.blobs.iter().chain(&more.blobs);
    for layer in layers {
        // One document may be signed by several people.
        if blobs.iter().all(|(blob, _)| blob.digest != layer.digest) {
            blobs.extend(known().find(|(blob, _)| blob.digest == layer.digest).cloned());
        }
    }
    let descriptor = Descriptor::of(MediaType::Manifest, &manifest);
    Ok(ManifestTree { descriptor, bytes: manifest, children: Vec::new(), blobs, subject: None, tag: more.tag.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_that_are_there_stay_when_others_come() {
        let layer = |name: &'static str, signature: &str| {
            let mut layer = Descriptor::of(MediaType::from("application/x"), name.as_bytes());
            layer.annotations.insert("signature".to_owned(), signature.to_owned());
            layer
        };
        let image = |layers: &[(&'static str, &str)]| {
            let layers: Vec<Descriptor> = layers.iter().map(|(name, signature)| layer(name, signature)).collect();
            let (manifest, config) = attachment_image(&layers).unwrap();
            let source = |blob: &Descriptor| {
                let bytes = ["a", "b"].into_iter().find(|name| Digest::of(name) == blob.digest);
                Ok(BlobSource::Memory(bytes.map_or_else(|| config.clone(), |name| Bytes::from_static(name.as_bytes()))))
            };
            ManifestTree::manifest(Descriptor::of(MediaType::Manifest, &manifest), manifest.clone(), source).unwrap()
        };
        let (one, two) = (image(&[("a", "1")]), image(&[("a", "2"), ("b", "1")]));
        let both = with_attachments_of(&one, &two).unwrap();
        let layers = Names::parse(&both.bytes).unwrap().layers;
        assert_eq!(layers, [layer("a", "1"), layer("a", "2"), layer("b", "1")]);
        assert_eq!(both.blobs.len(), 3, "the config, and each document once");
        assert_eq!(with_attachments_of(&both, &one).unwrap().bytes, both.bytes, "nothing is missing");
        assert_eq!(with_attachments_of(&one, &both).unwrap().bytes, both.bytes, "nothing but what comes");
    }

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
