//! Whether a manifest that refers to an image holds documents about it and nothing else: only such
//! a one may be signed because it is attached, and only such a one counts for a policy.
//!
//! Everything that is not known is refused: what one program reads as a document, another may read
//! as an image (an index below it, a config of its own, a key in other letters: Go's JSON takes
//! `Config` for `config`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::recorded::is_sbom;
use crate::image::{IN_TOTO_TYPE, ManifestTree};
use crate::oci::Digest;

const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Record {
    #[serde(rename = "schemaVersion")]
    _schema_version: IgnoredAny,
    #[serde(rename = "mediaType")]
    _media_type: Option<IgnoredAny>,
    artifact_type: Option<String>,
    config: Part,
    layers: Vec<Part>,
    #[serde(rename = "subject")]
    _subject: Part,
    #[serde(rename = "annotations")]
    _annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(rename = "annotations")]
    _annotations: Option<BTreeMap<String, String>>,
    data: Option<String>,
    #[serde(rename = "artifactType")]
    _artifact_type: Option<IgnoredAny>,
}

/// Whether a manifest holds SBOMs or statements, and nothing else.
pub(super) fn holds_documents_alone(tree: &ManifestTree) -> bool {
    let Ok(Record { artifact_type, config, layers, .. }) = serde_json::from_slice(&tree.bytes) else { return false };
    let is_document = |kind: &str| is_sbom(kind) || kind == IN_TOTO_TYPE;
    // Who looks for a config takes what is there, whatever its type: it must say nothing.
    let says_nothing = config.media_type == EMPTY_CONFIG
        && (config.digest, config.size) == (Digest::of("{}"), 2)
        && config.data.is_none_or(|data| data == "e30=");
    tree.descriptor.media_type.is_manifest()
        && tree.children.is_empty()
        && says_nothing
        && artifact_type.is_none_or(|kind| is_document(&kind) || kind == crate::image::ATTESTATION_TYPE)
        && !layers.is_empty()
        && layers.iter().all(|layer| is_document(&layer.media_type) && layer.data.is_none())
}

/// Whether the bytes of a layer that is called an SBOM are one: SPDX or CycloneDX, in JSON.
pub(super) fn is_sbom_document(bytes: &[u8]) -> bool {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    document["spdxVersion"].is_string() || document["bomFormat"].is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::image::artifact;
    use crate::oci::{Descriptor, MediaType};

    const SPDX: &str = "application/spdx+json";

    fn changed(change: impl FnOnce(&mut Value)) -> bool {
        let subject = Descriptor::of(MediaType::Manifest, b"image");
        let mut tree = artifact(SPDX, SPDX, "{}".into(), &subject);
        let mut manifest: Value = serde_json::from_slice(&tree.bytes).unwrap();
        change(&mut manifest);
        tree.bytes = manifest.to_string().into();
        holds_documents_alone(&tree)
    }

    #[test]
    fn an_sbom_alone_is_a_record_and_what_may_be_read_as_anything_else_is_none() {
        assert!(changed(|_| {}));
        assert!(changed(|manifest| manifest["annotations"] = json!({ "a": "b" })));
        assert!(changed(|manifest| manifest["layers"][0]["mediaType"] = json!(IN_TOTO_TYPE)));
        let image = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of("image"), "size": 1 });
        let changes: [fn(&mut Value, Value); 12] = [
            |manifest, image| manifest["config"]["digest"] = image["digest"].clone(),
            |manifest, _| manifest["config"]["data"] = json!("AAAA"),
            |manifest, _| manifest["layers"][0]["data"] = json!("AAAA"),
            |manifest, image| manifest["config"] = image,
            |manifest, image| manifest["Config"] = image,
            |manifest, image| manifest["LAYERS"] = json!([image]),
            |manifest, image| manifest["manifests"] = json!([image]),
            |manifest, _| manifest["layers"] = json!([]),
            |manifest, _| manifest["artifactType"] = json!("application/x"),
            |manifest, _| manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar"),
            |manifest, _| manifest["layers"][0]["MediaType"] = json!("application/vnd.oci.image.layer.v1.tar"),
            |manifest, _| manifest["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+JSON; x=1"),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!changed(|manifest| change(manifest, image.clone())), "{number}");
        }
        assert!(is_sbom_document(br#"{"spdxVersion":"SPDX-2.3"}"#) && is_sbom_document(br#"{"bomFormat":"CycloneDX"}"#));
        assert!(!is_sbom_document(b"\x1f\x8b") && !is_sbom_document(b"{}"));
        let subject = Descriptor::of(MediaType::Manifest, b"image");
        let mut twice = artifact(SPDX, SPDX, "{}".into(), &subject);
        let text = String::from_utf8(twice.bytes.to_vec()).unwrap();
        twice.bytes = text.replacen('{', r#"{"config":{"mediaType":"x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":1},"#, 1).into();
        assert!(!holds_documents_alone(&twice), "a key that comes twice");
        let mut index = artifact(SPDX, SPDX, "{}".into(), &subject);
        index.descriptor.media_type = MediaType::Index;
        assert!(!holds_documents_alone(&index));
    }
}
