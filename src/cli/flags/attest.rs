//! `--provenance`, `--sbom` and `--attest`, in buildx's words: what they record is beside the image
//! in its registry.

use std::str::FromStr;

use clap::Args;

use super::parsed;
use crate::cli::terminal::Terminal;
use crate::error::{Error, ErrorKind};
use crate::operation::{AttestationForm, ProvenanceOptions};
use crate::sbom::SbomFormat;

/// What is recorded beside an image.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output options")]
pub(crate) struct AttestFlags {
    /// Attach a bill of materials to the pushed image: true (SPDX), false, spdx or cyclonedx
    ///
    /// It refers to the image and has a digest of its own, as that of `mpimg push --sbom`. A
    /// generator that is named is not used.
    #[arg(long, value_name = "VALUE", value_parser = parsed::<SbomValue>)]
    sbom: Option<SbomValue>,

    /// Attach SLSA provenance to the pushed image: true, false, or mode=max with the values of
    /// build arguments
    ///
    /// It refers to the image, as that of `mpimg push --provenance`.
    #[arg(long, value_name = "VALUE", value_parser = parsed::<Provenance>)]
    provenance: Option<Provenance>,

    /// buildkit: keep both in the image's index, as docker buildx does; type=sbom as --sbom,
    /// type=provenance as --provenance; may be repeated
    ///
    /// With `buildkit` each tag that is pushed, `oci:DIR` and `oci-archive:FILE` hold an index, and
    /// --digest-file has its digest. The image in it keeps its own, and whoever pulls the index
    /// gets that image. With `referrer`, the default, both refer to the image.
    #[arg(long, value_name = "ATTESTATION", value_parser = parsed::<Attestation>, hide_short_help = true)]
    attest: Vec<Attestation>,
}

/// The value of `--sbom`: `None` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SbomValue(Option<SbomFormat>);

impl FromStr for SbomValue {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "" | "false" | "0" | "disabled=true" => Ok(Self(None)),
            "true" | "1" => Ok(Self(Some(SbomFormat::Spdx))),
            text if text.starts_with("generator=") => Ok(Self(Some(SbomFormat::Spdx))),
            text => text.parse().map(|format| Self(Some(format))).map_err(|_: Error| {
                Error::new(ErrorKind::Usage, format!("`{text}` is not a kind of SBOM"))
                    .with_hint("write true, false, spdx or cyclonedx")
            }),
        }
    }
}

/// The value of `--provenance`: what is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    None,
    Minimal,
    /// With the values of build arguments.
    Whole,
}

impl FromStr for Provenance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fields: Vec<&str> = text.split(',').collect();
        let known = |field: &&str| {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "" | "true" | "false" | "0" | "1" | "min" | "max" => true,
                "mode" => matches!(value, "min" | "max"),
                "builder-id" | "inline-only" | "reproducible" | "filename" | "version" | "disabled" => true,
                _ => false,
            }
        };
        match fields.iter().find(|field| !known(field)) {
            Some(unknown) => Err(Error::new(ErrorKind::Usage, format!("`{unknown}` is not an option of --provenance"))
                .with_hint("write true, false or mode=max")),
            None if fields.iter().any(|field| matches!(*field, "" | "false" | "0" | "disabled=true")) => Ok(Self::None),
            None if fields.iter().any(|field| matches!(*field, "max" | "mode=max")) => Ok(Self::Whole),
            None => Ok(Self::Minimal),
        }
    }
}

/// One `--attest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attestation {
    Form(AttestationForm),
    Sbom(SbomValue),
    Provenance(Provenance),
}

impl FromStr for Attestation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let kind = fields.iter().position(|field| field.starts_with("type=")).map(|at| fields.remove(at));
        let rest = if fields.is_empty() { "true".to_owned() } else { fields.join(",") };
        match kind {
            Some("type=sbom") => match fields.iter().find(|field| field.starts_with("disabled=")) {
                Some(disabled) => Ok(Self::Sbom(SbomValue((*disabled != "disabled=true").then_some(SbomFormat::Spdx)))),
                None => rest.parse().map(Self::Sbom),
            },
            Some("type=provenance") => rest.parse().map(Self::Provenance),
            _ => text.parse().map(Self::Form).map_err(|_: Error| {
                Error::new(ErrorKind::Usage, format!("`{text}` is not an attestation"))
                    .with_hint("write type=sbom, type=provenance, or buildkit for where both are kept")
            }),
        }
    }
}

impl AttestFlags {
    /// The form of the bill of materials that is wanted.
    pub(crate) fn sbom(&self) -> Option<SbomFormat> {
        let further = self.attest.iter().find_map(|attestation| match attestation {
            Attestation::Sbom(value) => Some(*value),
            _ => None,
        });
        self.sbom.or(further).and_then(|sbom| sbom.0)
    }

    /// Where they are kept.
    pub(crate) fn form(&self) -> AttestationForm {
        let mut forms = self.attest.iter().filter_map(|attestation| match attestation {
            Attestation::Form(form) => Some(*form),
            _ => None,
        });
        forms.next_back().unwrap_or_default()
    }

    /// What the provenance of an image that is pushed is to say. Says once where it has no effect:
    /// nothing is `pushed`, or an index of several `platforms`.
    pub(crate) fn provenance(&self, pushed: bool, platforms: usize, terminal: &Terminal) -> Option<ProvenanceOptions> {
        let further = self.attest.iter().find_map(|attestation| match attestation {
            Attestation::Provenance(value) => Some(*value),
            _ => None,
        });
        let build_arg_values = match self.provenance.or(further)? {
            Provenance::None => return None,
            provenance => provenance == Provenance::Whole,
        };
        let (without_effect, hint) = match (pushed, platforms) {
            // An index has a place for each, pushed or not.
            _ if self.form() == AttestationForm::Buildkit => return Some(ProvenanceOptions { build_arg_values }),
            (false, _) => (
                "no provenance is recorded: it is kept beside an image in a registry, and nothing is pushed",
                "push the image with --push, or add `--attest buildkit` to have it in an index with --output",
            ),
            (true, 2..) => (
                "no provenance is recorded of an image for several platforms",
                "add `--attest buildkit` to have it in the index, or write `--provenance=false`",
            ),
            (true, _) => return Some(ProvenanceOptions { build_arg_values }),
        };
        terminal.warn(without_effect, Some(hint));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildx_s_forms_are_read() {
        for (text, sbom) in [("true", true), ("false", false), ("generator=docker/scout", true), ("cyclonedx", true)] {
            assert_eq!(text.parse::<SbomValue>().unwrap().0.is_some(), sbom, "{text}");
        }
        for (text, wanted) in [
            ("true", Provenance::Minimal),
            ("false", Provenance::None),
            ("mode=min", Provenance::Minimal),
            ("mode=max", Provenance::Whole),
            ("mode=max,version=v1", Provenance::Whole),
            ("max", Provenance::Whole),
        ] {
            assert_eq!(text.parse::<Provenance>().unwrap(), wanted, "{text}");
        }
        for (text, attestation) in [
            ("type=sbom", Attestation::Sbom(SbomValue(Some(SbomFormat::Spdx)))),
            ("type=sbom,disabled=true", Attestation::Sbom(SbomValue(None))),
            ("type=provenance,mode=max", Attestation::Provenance(Provenance::Whole)),
            ("type=provenance,disabled=true", Attestation::Provenance(Provenance::None)),
            ("buildkit", Attestation::Form(AttestationForm::Buildkit)),
        ] {
            assert_eq!(text.parse::<Attestation>().unwrap(), attestation, "{text}");
        }
        assert!("type=x".parse::<Attestation>().is_err() && "mode=most".parse::<Provenance>().is_err());
        assert!("yes".parse::<SbomValue>().is_err());
    }
}
