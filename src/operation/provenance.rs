//! How a pushed image was made: SLSA provenance beside it in the registry
//! (<https://slsa.dev/spec/v1.1/provenance>).
//!
//! The image does not change. Nothing of the clock and nothing of this machine is in it: the same
//! build twice has the same provenance.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::recorded::{ProvenanceOptions, not_known};
use super::{Mpimg, PushedImage};
use crate::build::BuildMaterials;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::{IN_TOTO_TYPE, PREDICATE_TYPE, annotated_artifact};
use crate::oci::Digest;
use crate::sandbox::IsolationMode;
use crate::signature::{SigningKey, Statement};

/// The kind of statement.
pub(super) const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What `externalParameters` means, and who builds: docs/provenance.md.
const BUILD_TYPE: &str = "urn:mpimg:build-type:dockerfile:v1";
const BUILDER: &str = "urn:mpimg:builder";

impl Mpimg {
    /// Attaches the provenance of an image that was built and pushed: signed as a Sigstore bundle
    /// where there is a key, else as it is. The digest of the manifest that carries it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: the image was not built by this push; those of [`SigningKey::sign`]
    /// and of the registry: the image is pushed all the same.
    pub async fn add_provenance(
        &self,
        pushed: &PushedImage,
        options: ProvenanceOptions,
        key: Option<&SigningKey>,
    ) -> Result<Digest> {
        let materials = pushed.materials.as_ref().ok_or_else(not_known)?;
        let add = async {
            let statement = Statement::new(&pushed.pushed.digest, SLSA_PROVENANCE, predicate(materials, options));
            let repository = pushed.destination.push.repository();
            let subject = pushed.pushed.descriptor();
            if let Some(key) = key {
                return self.attach_statement(repository, &subject, &statement, key).await;
            }
            let bytes = serde_json::to_vec(&statement).context(ErrorKind::Io, || "cannot write the provenance".to_owned())?;
            let annotations = BTreeMap::from([(PREDICATE_TYPE.to_owned(), SLSA_PROVENANCE.to_owned())]);
            let artifact = annotated_artifact(IN_TOTO_TYPE, IN_TOTO_TYPE, bytes.into(), &subject, &annotations);
            self.client().attach(repository, &artifact).await?;
            Ok(artifact.descriptor.digest)
        };
        add.await.map_err(|error: Error| error.wrap("the image is pushed, but its provenance is not"))
    }
}

/// An address without its query, which often is a key: a token, or the signature of a presigned
/// URL. The digest says which file it was.
fn shown(address: &str) -> &str {
    address.split_once('?').map_or(address, |(address, _)| address)
}

/// What is said of how an image was made.
pub(super) fn predicate(materials: &BuildMaterials, options: ProvenanceOptions) -> Value {
    let digest = |digest: &Digest| json!({ digest.algorithm(): digest.hex() });
    let images = materials.images.iter().map(
        |image| json!({ "name": image.name, "digest": digest(&image.digest), "annotations": { "platform": image.platform } }),
    );
    let downloads = materials.downloads.iter().map(|(address, of)| json!({ "uri": shown(address), "digest": digest(of) }));
    let repositories =
        materials.repositories.iter().map(|(address, commit)| json!({ "uri": address, "digest": { "gitCommit": commit } }));
    let commit = materials.commit.iter().map(|commit| {
        let mut source = json!({ "name": "source", "digest": { "gitCommit": commit } });
        for (name, state) in [("modified", materials.modified), ("untracked", materials.untracked)] {
            if let Some(state) = state {
                source["annotations"][name] = json!(state);
            }
        }
        source
    });
    let dependencies: Vec<Value> = commit.chain(images).chain(downloads).chain(repositories).collect();
    let arguments: BTreeMap<&String, Option<&String>> =
        materials.build_args.iter().map(|(name, value)| (name, options.build_arg_values.then_some(value))).collect();
    let isolation = match materials.isolation {
        IsolationMode::Forced(kind) => kind.to_string(),
        _ => "auto".to_owned(),
    };
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "dockerfile": { "path": materials.dockerfile, "digest": digest(&materials.dockerfile_digest) },
                "target": materials.target,
                "platform": materials.platform.to_string(),
                "buildArgs": arguments,
            },
            "internalParameters": {
                "isolation": isolation,
                "sourceDateEpoch": materials.source_date_epoch,
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": { "builder": { "id": BUILDER, "version": { "mpimg": env!("CARGO_PKG_VERSION") } } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_s_query_is_not_told() {
        assert_eq!(shown("https://h/a?token=s3cret&x=1#f"), "https://h/a");
        assert_eq!(shown("https://h/a"), "https://h/a");
    }
}
