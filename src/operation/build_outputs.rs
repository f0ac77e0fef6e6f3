//! Where a built image goes, as a value.

#[cfg(feature = "sign")]
use super::recorded::{AttestationForm, ProvenanceOptions};
use crate::image::Transport;
use crate::oci::{Platform, Reference};
use crate::sbom::{SbomFile, SbomFormat};
#[cfg(feature = "sign")]
use crate::signature::SigningKey;

/// Where a built image goes. With neither, only its layers are kept, in the build cache.
#[derive(Debug, Clone, Default)]
pub struct BuildOutputs {
    /// Build twice without the build cache first, and go on only if both images are the same.
    pub check_reproducible: bool,
    /// Names in the local store: `NAME[:TAG]`.
    pub names: Vec<Reference>,
    /// Layouts and archives. A docker archive without a name of its own has the first of `names`,
    /// for `docker load`.
    pub outputs: Vec<Transport>,
    /// Push the image under each of `names`, to the repository in that name.
    pub push: bool,
    /// Give the image to the docker or podman of this machine, under `names`.
    pub load: bool,
    /// Attach the bill of materials in this form to what is pushed.
    pub sbom: Option<SbomFormat>,
    /// Attach how it was made to what is pushed; of an index only in itself.
    #[cfg(feature = "sign")]
    pub provenance: Option<ProvenanceOptions>,
    /// Where `sbom` and `provenance` are kept. In the image's index an OCI layout or archive holds
    /// them, too; names in the local store, docker archives and engines get the image alone.
    #[cfg(feature = "sign")]
    pub attestations: AttestationForm,
    /// Sign what is pushed, with its bill of materials.
    #[cfg(feature = "sign")]
    pub key: Option<SigningKey>,
    /// Build for each of these in place of the request's platform. More than one make an index,
    /// which can be pushed or written to an OCI layout or archive; the local store, docker archives
    /// and engines hold one platform under a name.
    pub platforms: Vec<Platform>,
    /// A file for the image's bill of materials, which calls it by the repository of the first of
    /// `names`, else by its digest.
    pub sbom_file: Option<SbomFile>,
}

impl BuildOutputs {
    /// Whether what is recorded of the images is in their index.
    pub(super) fn has_attested_index(&self) -> bool {
        #[cfg(feature = "sign")]
        return self.attestations == AttestationForm::Buildkit;
        #[cfg(not(feature = "sign"))]
        false
    }
}
