//! What the registry reads of a manifest: which blobs and manifests it needs, its subject, its
//! artifact type.
//!
//! Refuses docker's schema 1 and anything that is not a JSON object; unknown fields and media types
//! are let through, because a registry stores artifacts that it knows nothing of.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::{Digest, MediaType};

/// The fields that matter here; the bytes are stored as they came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: Option<u64>,
    pub(super) media_type: Option<MediaType>,
    artifact_type: Option<String>,
    config: Option<Content>,
    layers: Option<Vec<Content>>,
    manifests: Option<Vec<Content>>,
    pub(super) subject: Option<Content>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A descriptor, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    pub(super) media_type: Option<MediaType>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    urls: Option<Vec<String>>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Content {
    /// Foreign and non-distributable layers need not be in the registry (image specification,
    /// layer.md). Either sign is enough, unlike [`Descriptor::is_elsewhere`]: a registry takes what
    /// other programs push.
    ///
    /// [`Descriptor::is_elsewhere`]: crate::oci::Descriptor::is_elsewhere
    fn is_elsewhere(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
            || self.media_type.as_ref().is_some_and(MediaType::is_nondistributable)
    }
}

impl Manifest {
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        // serde would also take an array with the fields' values in order.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(Error::new(ErrorKind::Registry, "not a manifest: not a JSON object"));
        }
        let manifest: Self = serde_json::from_slice(json).context(ErrorKind::Registry, || "not a manifest".into())?;
        match manifest.schema_version {
            None | Some(2) => Ok(manifest),
            Some(version) => Err(Error::new(ErrorKind::Registry, format!("schema version `{version}` is not supported"))),
        }
    }

    /// The media type: what the request said, else the manifest's own word, else what its fields
    /// look like. An error if the request and the manifest contradict each other (distribution
    /// specification, "Pushing Manifests").
    pub(super) fn settle_media_type(&self, content_type: Option<&str>) -> Result<MediaType> {
        let sent = content_type.map(|text| text.split(';').next().unwrap_or(text).trim()).filter(|text| !text.is_empty());
        match (sent.map(MediaType::from), &self.media_type) {
            (Some(sent), Some(own)) if sent != *own => {
                let message = format!("`Content-Type` is `{sent}`, but the manifest says `{own}`");
                Err(Error::new(ErrorKind::Registry, message))
            }
            (Some(sent), _) => Ok(sent),
            (None, Some(own)) => Ok(own.clone()),
            (None, None) if self.manifests.is_some() => Ok(MediaType::Index),
            (None, None) => Ok(MediaType::Manifest),
        }
    }

    /// Checks that a manifest of a known type has the fields of that type.
    pub(super) fn check_fields(&self, media_type: &MediaType) -> Result<()> {
        let lacks =
            |field: &str| Err(Error::new(ErrorKind::Registry, format!("a manifest of type `{media_type}` needs `{field}`")));
        let known = media_type.is_manifest() || media_type.is_index();
        match self {
            _ if known && self.schema_version.is_none() => lacks("schemaVersion"),
            _ if media_type.is_manifest() && self.config.is_none() => lacks("config"),
            _ if media_type.is_manifest() && self.layers.is_none() => lacks("layers"),
            _ if media_type.is_index() && self.manifests.is_none() => lacks("manifests"),
            _ => Ok(()),
        }
    }

    /// The blobs that must be in the repository.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Content> {
        self.config.iter().chain(self.layers.iter().flatten()).filter(|content| !content.is_elsewhere())
    }

    /// The manifests that must be in the repository. The subject is not one of them: it may come
    /// later.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &Content> {
        self.manifests.iter().flatten().filter(|content| !content.is_elsewhere())
    }

    /// The artifact type that the referrers API shows: an image manifest without one has its
    /// config's media type (distribution specification, "Listing Referrers").
    pub(super) fn effective_artifact_type(&self) -> Option<String> {
        let own = self.artifact_type.clone().filter(|text| !text.is_empty());
        own.or_else(|| self.config.as_ref()?.media_type.as_ref().map(|media_type| media_type.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Manifest {
        Manifest::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_media_type_of_request_and_manifest_must_agree() {
        let index = parse(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#);
        assert_eq!(index.settle_media_type(None).unwrap(), MediaType::Index);
        let with_parameter = Some("application/vnd.oci.image.index.v1+json; charset=utf-8");
        assert_eq!(index.settle_media_type(with_parameter).unwrap(), MediaType::Index);
        assert!(index.settle_media_type(Some("application/vnd.oci.image.manifest.v1+json")).is_err());
        assert_eq!(parse(r#"{"manifests":[]}"#).settle_media_type(None).unwrap(), MediaType::Index);
        assert_eq!(parse("{}").settle_media_type(None).unwrap(), MediaType::Manifest);
        assert_eq!(parse("{}").settle_media_type(Some("a/b")).unwrap().as_str(), "a/b");
    }

    #[test]
    fn foreign_layers_need_not_be_here() {
        let digest = Digest::of("x");
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":1}},"layers":[
            {{"digest":"{digest}","size":2,"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}},
            {{"digest":"{digest}","size":3,"urls":["http://x"]}},{{"digest":"{digest}","size":4}}]}}"#
        );
        assert_eq!(parse(&json).blobs().map(|blob| blob.size).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn fields_of_known_types_are_demanded() {
        assert!(parse(r#"{"schemaVersion":2}"#).check_fields(&MediaType::Manifest).is_err());
        assert!(parse(r#"{"schemaVersion":2}"#).check_fields(&MediaType::Index).is_err());
        assert!(parse(r#"{"manifests":[]}"#).check_fields(&MediaType::Index).is_err());
        assert!(parse(r#"{"schemaVersion":2,"manifests":[]}"#).check_fields(&MediaType::Index).is_ok());
        assert!(parse("{}").check_fields(&MediaType::from("application/x+json")).is_ok());
    }

    #[test]
    fn schema_1_and_text_are_refused() {
        assert!(Manifest::parse(br#"{"schemaVersion":1}"#).is_err());
        assert!(Manifest::parse(b"blabla").is_err());
        assert!(Manifest::parse(b"[]").is_err());
        assert!(Manifest::parse(br#"{"config":{"digest":"sha256:x","size":1}}"#).is_err());
    }

    #[test]
    fn the_artifact_type_falls_back_to_the_config() {
        let config = format!(r#""config":{{"digest":"{}","size":1,"mediaType":"a/config"}}"#, Digest::of("x"));
        assert_eq!(parse(&format!("{{{config}}}")).effective_artifact_type().as_deref(), Some("a/config"));
        let both = format!(r#"{{{config},"artifactType":"a/type"}}"#);
        assert_eq!(parse(&both).effective_artifact_type().as_deref(), Some("a/type"));
        assert_eq!(parse(r#"{"manifests":[]}"#).effective_artifact_type(), None);
    }
}
