//! Software bills of materials: what is installed in an image, as SPDX or CycloneDX.
//!
//! Read are the databases of package managers, the metadata that installed packages have, archives
//! of Java, and what compilers put into programs (`readers`). Packages are not guessed from other
//! files; the clock and the network are not used: the same image gives the same bytes.

mod cyclone_dx;
mod facts;
mod file;
mod inventory;
mod license;
mod origin;
mod owned_paths;
mod package;
mod readers;
mod spdx;

use std::fmt;
use std::str::FromStr;

pub use facts::LayerFacts;
pub(crate) use facts::PackageObserver;
pub use file::SbomFile;
pub use inventory::Inventory;
pub use package::{Checksum, Package, PackageKind, PackagePlace};

use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::oci::Digest;

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SbomFormat {
    /// SPDX 2.3 in JSON.
    Spdx,
    /// CycloneDX 1.6 in JSON.
    CycloneDx,
}

impl SbomFormat {
    /// Its media type, which is also the type of the artifact that carries it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Spdx => "application/spdx+json",
            Self::CycloneDx => "application/vnd.cyclonedx+json",
        }
    }

    /// What an in-toto statement calls it (in-toto attestation framework, spec/predicates).
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Spdx => "https://spdx.dev/Document",
            Self::CycloneDx => "https://cyclonedx.org/bom",
        }
    }

    /// How the names of its files end.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Spdx => ".spdx.json",
            Self::CycloneDx => ".cdx.json",
        }
    }

    /// The document for an image that is called `name` and holds what `inventory` says. `digest` is
    /// that of its manifest, which in a registry may be another one than here.
    pub fn document(self, name: &str, digest: Digest, image: &Image, inventory: &Inventory) -> String {
        match self {
            Self::Spdx => spdx::document(name, digest, image, inventory),
            Self::CycloneDx => cyclone_dx::document(name, digest, image, inventory),
        }
        .to_string()
    }
}

impl FromStr for SbomFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "spdx" => Ok(Self::Spdx),
            "cyclonedx" => Ok(Self::CycloneDx),
            _ => {
                Err(Error::new(ErrorKind::Usage, format!("`{text}` is not an SBOM format")).with_hint("write spdx or cyclonedx"))
            }
        }
    }
}

impl fmt::Display for SbomFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spdx => "spdx",
            Self::CycloneDx => "cyclonedx",
        })
    }
}

#[cfg(test)]
mod tests;
