//! OCI image manifests as Docker schema 2 (image-manifest-v2-2.md) and back, for registries that
//! know nothing else.
//!
//! zstd layers are an error: schema 2 has no media type for them.

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, ResultExt as _, Setting};
use crate::oci::{Compression, MediaType};

const UNCOMPRESSED: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// The manifest with docker's media types. Config and layers stay as they are; annotations, which
/// schema 2 does not have, are left out.
pub(crate) fn convert(manifest: &[u8], media_type: &MediaType) -> Result<Bytes> {
    let unsupported = |what: String| {
        Error::new(ErrorKind::Unsupported, what)
            .with_hint(format!("build with {}, or ask for a registry that takes OCI images", Setting::Compression.with("gzip")))
    };
    if *media_type != MediaType::Manifest {
        return Err(unsupported(format!("`{media_type}` cannot be written as Docker schema 2")));
    }
    let mut manifest: Value =
        serde_json::from_slice(manifest).context(ErrorKind::Corrupt, || "the manifest cannot be read".into())?;
    let broken = || Error::new(ErrorKind::Corrupt, "the manifest has no config or no layers");
    manifest["mediaType"] = MediaType::DockerManifest.as_str().into();
    manifest
        .as_object_mut()
        .ok_or_else(broken)?
        .retain(|key, _| !matches!(key.as_str(), "annotations" | "artifactType" | "subject"));
    manifest.get_mut("config").ok_or_else(broken)?["mediaType"] = MediaType::DockerConfig.as_str().into();
    for layer in manifest.get_mut("layers").and_then(Value::as_array_mut).ok_or_else(broken)? {
        let own = MediaType::from(layer["mediaType"].as_str().unwrap_or_default());
        let docker = match own.layer_compression() {
            Some(Compression::Gzip) => MediaType::DockerLayerGzip.as_str(),
            Some(Compression::None) => UNCOMPRESSED,
            _ => return Err(unsupported(format!("a layer of type `{own}` cannot be named in Docker schema 2"))),
        };
        layer["mediaType"] = docker.into();
        layer.as_object_mut().into_iter().for_each(|layer| {
            layer.remove("annotations");
        });
    }
    let bytes = serde_json::to_vec(&manifest).context(ErrorKind::Corrupt, || "the manifest cannot be written".into())?;
    Ok(bytes.into())
}

/// A manifest of Docker's schema 2 with OCI's media types, for registries that take no other (zot).
/// Config and layers stay as they are.
pub(crate) fn to_oci(manifest: &[u8]) -> Result<Bytes> {
    let unreadable = || "the manifest cannot be read".to_owned();
    let mut manifest: Value = serde_json::from_slice(manifest).context(ErrorKind::Corrupt, unreadable)?;
    let broken = || Error::new(ErrorKind::Corrupt, "the manifest has no config or no layers");
    manifest["mediaType"] = MediaType::Manifest.as_str().into();
    manifest.get_mut("config").ok_or_else(broken)?["mediaType"] = MediaType::Config.as_str().into();
    for layer in manifest.get_mut("layers").and_then(Value::as_array_mut).ok_or_else(broken)? {
        let own = MediaType::from(layer["mediaType"].as_str().unwrap_or_default());
        if let Some(compression) = own.layer_compression().filter(|_| !own.is_nondistributable()) {
            layer["mediaType"] = compression.layer_media_type().as_str().into();
        }
    }
    let bytes = serde_json::to_vec(&manifest).context(ErrorKind::Corrupt, || "the manifest cannot be written".into())?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let oci: Value = serde_json::from_str(&manifest("application/vnd.oci.image.layer.v1.tar+gzip")).unwrap();
        let docker = convert(oci.to_string().as_bytes(), &MediaType::Manifest).unwrap();
        let back: Value = serde_json::from_slice(&to_oci(&docker).unwrap()).unwrap();
        assert_eq!((&back["mediaType"], &back["config"]), (&oci["mediaType"], &oci["config"]));
        assert_eq!(back["layers"][0]["mediaType"], oci["layers"][0]["mediaType"]);
    }

    fn manifest(layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:c","size":1}},"layers":[{{"mediaType":"{layer}","digest":"sha256:l","size":2,"annotations":{{"a":"b"}}}}],"annotations":{{"a":"b"}}}}"#
        )
    }

    #[test]
    fn media_types_become_dockers_and_nothing_else_changes() {
        let converted =
            convert(manifest("application/vnd.oci.image.layer.v1.tar+gzip").as_bytes(), &MediaType::Manifest).unwrap();
        let expected = r#"{"config":{"digest":"sha256:c","mediaType":"application/vnd.docker.container.image.v1+json","size":1},"layers":[{"digest":"sha256:l","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":2}],"mediaType":"application/vnd.docker.distribution.manifest.v2+json","schemaVersion":2}"#;
        assert_eq!(converted, expected);
    }

    #[test]
    fn zstd_layers_have_no_name_there() {
        let zstd = manifest("application/vnd.oci.image.layer.v1.tar+zstd");
        assert_eq!(convert(zstd.as_bytes(), &MediaType::Manifest).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(convert(b"{}", &MediaType::Index).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
