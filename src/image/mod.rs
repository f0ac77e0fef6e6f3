//! Images: config, history and manifest over layers that may be anywhere.
//!
//! Reading an image compresses nothing: a caller that needs a tar turned into a layer passes that
//! in ([`PackLayer`]).

mod attachment;
mod attestation;
mod choice;
mod config;
mod copying;
mod hashing;
mod import;
mod layer;
mod manifest;
mod oci_image;
mod stored;
mod transport;
mod tree;
mod validate;

pub(crate) use attachment::{COSIGN, cosign_tag, list_tag, may_be_joined, with_attachments_of};
pub(crate) use attestation::ATTESTATION_TYPE;
pub use attestation::{AttestedStatement, IN_TOTO_TYPE, PREDICATE_TYPE, attestation, attested_digest};
pub(crate) use choice::{Choice, platform_of_config};
pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig, rfc3339};
pub(crate) use hashing::HashingReader;
pub(crate) use import::import_with_comment;
pub use import::{PackLayer, import_rootfs};
pub use layer::Layer;
pub(crate) use layer::unpacked_layers;
pub(crate) use manifest::media_type_of;
pub use manifest::{CONFIG_LIMIT, Format, Index, MANIFEST_LIMIT, Manifest, ManifestOrIndex};
pub use oci_image::Image;
pub(crate) use stored::fetch_layers;
#[cfg(feature = "cli")]
pub(crate) use transport::replace_file;
pub use transport::{AttachedTrees, Listed, Transport};
pub(crate) use transport::{expect_writable, write_docker_archive, write_result};
pub use tree::{ManifestTree, Names, annotated_artifact, artifact};
pub use validate::validate;
#[cfg(feature = "sign")]
pub(crate) use {attachment::attachment_image, transport::DOCUMENT_LIMIT};
