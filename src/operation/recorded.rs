//! What is recorded of an image that is built or pushed, and where that is kept, as values.

#[cfg(feature = "sign")]
use std::str::FromStr;

#[cfg(feature = "sign")]
use crate::error::{Error, ErrorKind, Result};
use crate::sbom::{SbomFile, SbomFormat};

/// What SBOMs are attached as, and what statements with one say that they state.
const SBOMS: [&str; 5] = [
    "application/spdx+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.goharbor.harbor.sbom.v1",
    "https://spdx.dev/Document",
    "https://cyclonedx.org/bom",
];

/// Whether an artifact or a statement of this type is an SBOM.
pub(super) fn is_sbom(kind: &str) -> bool {
    SBOMS.contains(&kind)
}

/// Where the bill of materials of a pushed image goes.
#[derive(Debug, Clone, Default)]
pub struct SbomOutputs {
    /// Into the registry, in this form: an artifact that refers to the image.
    pub attach: Option<SbomFormat>,
    /// To this file.
    pub file: Option<SbomFile>,
}

impl SbomOutputs {
    /// Whether there is any.
    pub fn is_wanted(&self) -> bool {
        self.attach.is_some() || self.file.is_some()
    }
}

#[cfg(feature = "sign")]
/// What a provenance says beyond the minimum.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProvenanceOptions {
    /// The values of build arguments, too, which may be secret; without it only their names.
    pub build_arg_values: bool,
}

#[cfg(feature = "sign")]
/// Where what is recorded of an image is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttestationForm {
    /// In artifacts that refer to the image.
    #[default]
    Referrer,
    /// In the image's index, as BuildKit has it: what the tag names is an index then.
    Buildkit,
}

#[cfg(feature = "sign")]
impl FromStr for AttestationForm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "referrer" => Ok(Self::Referrer),
            "buildkit" => Ok(Self::Buildkit),
            _ => Err(Error::new(ErrorKind::Usage, format!("`{text}` is not a form of attestations"))
                .with_hint("write referrer or buildkit")),
        }
    }
}

#[cfg(feature = "sign")]
/// What is recorded of an image in its index.
#[derive(Debug, Clone, Default)]
pub struct IndexAttestations {
    /// Its bill of materials.
    pub sbom: SbomOutputs,
    /// How it was made.
    pub provenance: Option<ProvenanceOptions>,
}

#[cfg(feature = "sign")]
impl IndexAttestations {
    /// # Errors
    /// [`ErrorKind::Usage`]: there is nothing to record.
    pub(super) fn expect_some(&self) -> Result<()> {
        match self.sbom.attach.is_some() || self.provenance.is_some() {
            true => Ok(()),
            false => Err(nothing_attested()),
        }
    }
}

#[cfg(feature = "sign")]
fn nothing_attested() -> Error {
    Error::new(ErrorKind::Usage, "there is nothing to put into the image's index")
        .with_hint("ask for an SBOM, for provenance, or for both")
}

#[cfg(feature = "sign")]
/// The error of an image that exists.
pub(super) fn not_known() -> Error {
    Error::new(ErrorKind::Usage, "an image that was not built by this push has no provenance that is known")
        .with_hint("push the folder that it is built from")
}
