//! Images in flags and in JSON.

use serde_json::{Value, json};

use super::size::Size;
use crate::image::{Image, ManifestTree, Transport, attested_digest};
pub(super) use crate::operation::image_size as size;
use crate::sbom::SbomFile;

/// Forms in which an image can be named, for help texts.
pub(super) const FORMS: &str = "\
Images are named as:
  NAME[:TAG]                     an image of the local store
  docker://NAME[:TAG|@DIGEST]    an image in a registry
  oci:DIR[:TAG]                  an OCI layout
  oci-archive:FILE[:TAG]         a tar of an OCI layout
  docker-archive:FILE[:NAME]     what `docker save` writes";

/// Reads a name of one of these forms.
pub(super) fn named(text: &str) -> Result<Transport, String> {
    Transport::parse(text).map_err(|error| error.hint().map_or_else(|| error.to_string(), str::to_owned))
}

/// `3 layers, 311MB`
pub(super) fn extent(image: &Image) -> String {
    let layers = image.layers().len();
    format!("{layers} layer{}, {}", if layers == 1 { "" } else { "s" }, Size(size(image)))
}

/// Says that a bill of materials is in its file.
pub(super) fn wrote_sbom(file: &SbomFile) -> String {
    format!("wrote its SBOM ({}) to `{}`", file.format(), file.path().display())
}

/// The layers in the JSON of every command, lowest first.
pub(super) fn layers_json(image: &Image) -> Value {
    let steps = image.config().layer_steps();
    let layer = |(layer, step): (&crate::image::Layer, &Option<&crate::image::History>)| {
        json!({
            "digest": layer.descriptor.digest,
            "diff_id": layer.diff_id,
            "size": layer.descriptor.size,
            "created_by": step.and_then(|step| step.created_by.as_deref()),
        })
    };
    image.layers().iter().zip(&steps).map(layer).collect()
}

/// The manifests of an index, in its order.
pub(super) fn manifests_json(index: &ManifestTree) -> Value {
    let manifest = |child: &ManifestTree| {
        let entry = &child.descriptor;
        let mut json = json!({ "digest": entry.digest, "platform": entry.platform.as_ref().map(ToString::to_string) });
        if let Some(image) = attested_digest(entry) {
            json["attests"] = json!(image);
        }
        json
    };
    index.children.iter().map(manifest).collect()
}
