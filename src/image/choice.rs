//! Which image of an index is meant by a platform. What an entry says counts first. An entry need
//! not say anything (image specification, image-index.md, `platform`): then its image's config
//! does, as containerd has it.
//!
//! Attestations and artifacts are never chosen.

use serde::Deserialize;

use super::Index;
use super::attestation::attested_digest;
use crate::error::{Error, ErrorKind, Result, ResultExt as _, Setting};
use crate::oci::{Descriptor, Platform, or_default};

/// What an index tells of a platform.
pub(crate) enum Choice<'a, T> {
    /// The entry for it.
    Entry(&'a Descriptor),
    /// No entry says that it is for it; the configs of these tell.
    ByConfig(Vec<&'a Descriptor>, ByConfig<T>),
}

/// The choice among images whose entries name no platform, while their configs are read in the
/// index's order.
pub(crate) struct ByConfig<T> {
    wanted: Platform,
    there: Vec<Platform>,
    fitting: Option<T>,
    exact: Option<T>,
}

impl<T> ByConfig<T> {
    /// Takes in that `image` is for `platform`, as its config says.
    pub(crate) fn offer(&mut self, platform: Platform, image: T) {
        if platform == self.wanted {
            self.exact.get_or_insert(image);
        } else if platform.fits(&self.wanted) {
            self.fitting.get_or_insert(image);
        } else {
            self.there.push(platform);
        }
    }

    /// Whether no further config can change the choice.
    pub(crate) fn is_decided(&self) -> bool {
        self.exact.is_some()
    }

    /// The image: one for the very platform before one whose config leaves something out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is none; the hint lists the platforms that there are.
    pub(crate) fn chosen(self) -> Result<T> {
        self.exact.or(self.fitting).ok_or_else(|| missing(&self.wanted, self.there))
    }
}

impl Index {
    /// The manifest for `platform`, as far as the entries tell: one that names the very variant
    /// before one that names none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is none; the hint lists the platforms that there are.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor> {
        match self.choose(platform) {
            Choice::Entry(entry) => Ok(entry),
            Choice::ByConfig(_, by_config) => by_config.chosen(),
        }
    }

    /// The entry for `platform`, or those whose configs tell: one that names the very variant
    /// before one that names none. A single image that names no platform is the one.
    pub(crate) fn choose<T>(&self, platform: &Platform) -> Choice<'_, T> {
        let images = || self.manifests.iter().filter(|entry| is_image(entry));
        let own = |entry: &&Descriptor| entry.platform.clone();
        let exact = images().find(|entry| entry.platform.as_ref() == Some(platform));
        let fitting = || images().find(|entry| own(entry).is_some_and(|own| own.fits(platform)));
        let only = || match images().collect::<Vec<_>>()[..] {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        };
        if let Some(entry) = exact.or_else(fitting).or_else(only) {
            return Choice::Entry(entry);
        }
        let there = images().filter_map(|entry| entry.platform.clone()).collect();
        let silent = images().filter(|entry| entry.platform.is_none()).collect();
        Choice::ByConfig(silent, ByConfig { wanted: platform.clone(), there, fitting: None, exact: None })
    }
}

/// Whether an entry may be an image. Attestations stand in an index as images for an unknown
/// platform.
fn is_image(entry: &Descriptor) -> bool {
    let media_type = &entry.media_type;
    let by_type = media_type.is_manifest() || media_type.is_index() || media_type.is_unspecified();
    by_type && attested_digest(entry).is_none() && entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

fn missing(wanted: &Platform, there: Vec<Platform>) -> Error {
    let mut names: Vec<String> = there.iter().map(Platform::to_string).collect();
    names.dedup();
    let error = Error::new(ErrorKind::NotFound, format!("the image is not there for {wanted}"));
    match names.is_empty() {
        true => error.with_hint("name another one: its index holds no image"),
        false => error.with_hint(format!("choose one of these with {}: {}", Setting::Platform, names.join(", "))),
    }
}

/// What an image's config says that it runs on.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: it is no config.
pub(crate) fn platform_of_config(config: &[u8]) -> Result<Platform> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default, deserialize_with = "or_default")]
        architecture: String,
        #[serde(default, deserialize_with = "or_default")]
        os: String,
        variant: Option<String>,
    }
    let config = serde_json::from_slice(config).context(ErrorKind::Corrupt, || "the config cannot be read".into())?;
    let Config { architecture, os, variant } = config;
    Ok(Platform { architecture, os, variant })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    fn entry(name: &str, platform: Option<&str>) -> Descriptor {
        let platform = platform.map(|text| Platform::parse(text).unwrap());
        Descriptor { platform, ..Descriptor::of(MediaType::Manifest, name.as_bytes()) }
    }

    /// What is chosen where each entry's config is for this platform.
    fn chosen(index: &Index, configs: &[&str], wanted: &str) -> Result<usize> {
        let place = |found: &Descriptor| index.manifests.iter().position(|entry| entry == found).unwrap();
        match index.choose(&Platform::parse(wanted).unwrap()) {
            Choice::Entry(entry) => Ok(place(entry)),
            Choice::ByConfig(entries, mut by_config) => {
                for at in entries.into_iter().map(place) {
                    let (os, architecture) = configs[at].split_once('/').unwrap();
                    let config = format!(r#"{{"os":"{os}","architecture":"{architecture}"}}"#);
                    by_config.offer(platform_of_config(config.as_bytes()).unwrap(), at);
                }
                by_config.chosen()
            }
        }
    }

    #[test]
    fn the_exact_variant_wins() {
        let names = ["linux/arm/v6", "linux/arm/v7", "linux/amd64"];
        let mut index = Index { manifests: names.iter().map(|name| entry(name, Some(name))).collect() };
        index.manifests.push(entry("unknown", Some("unknown/unknown")));
        let select = |index: &Index, text: &str| index.select(&Platform::parse(text).unwrap()).cloned();
        assert_eq!(select(&index, "linux/arm/v7").unwrap(), index.manifests[1]);
        let error = select(&index, "linux/s390x").unwrap_err();
        assert_eq!(error.hint(), Some("choose one of these with `platform`: linux/arm/v6, linux/arm/v7, linux/amd64"));
        // One that leaves the variant out.
        index.manifests[0].platform.iter_mut().for_each(|platform| platform.variant = None);
        assert_eq!(select(&index, "linux/arm/v6").unwrap(), index.manifests[0]);
        assert_eq!(select(&index, "linux/arm/v7").unwrap(), index.manifests[1]);
    }

    #[test]
    fn what_entries_do_not_say_their_configs_do() {
        let silent = Index { manifests: vec![entry("a", None), entry("b", None), entry("c", None)] };
        let configs = ["linux/arm64", "linux/amd64", "linux/amd64"];
        assert_eq!(chosen(&silent, &configs, "linux/amd64").unwrap(), 1, "the first of several");
        assert_eq!(chosen(&silent, &configs, "linux/arm64").unwrap(), 0);
        assert_eq!(chosen(&silent, &["/", "linux/arm64", "linux/amd64"], "linux/amd64").unwrap(), 2);
        assert_eq!(chosen(&silent, &["linux/arm64", "/", "linux/s390x"], "linux/amd64").unwrap(), 1, "what says nothing fits");
        let error = chosen(&silent, &configs, "linux/s390x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.hint(), Some("choose one of these with `platform`: linux/arm64, linux/amd64"));
    }

    #[test]
    fn an_entry_that_says_so_is_taken_before_any_config_is_read() {
        let mixed = Index { manifests: vec![entry("a", None), entry("b", Some("linux/amd64")), entry("c", Some("linux/arm64"))] };
        let configs = ["linux/s390x", "linux/amd64", "linux/arm64"];
        assert!(matches!(mixed.choose::<()>(&Platform::default()), Choice::Entry(entry) if *entry == mixed.manifests[1]));
        assert_eq!(chosen(&mixed, &configs, "linux/s390x").unwrap(), 0);
        let error = chosen(&mixed, &configs, "linux/riscv64").unwrap_err();
        assert_eq!(error.hint(), Some("choose one of these with `platform`: linux/amd64, linux/arm64, linux/s390x"));
    }

    #[test]
    fn attestations_and_artifacts_are_no_images() {
        let subject = entry("a", None);
        let attestation = crate::image::attestation(&subject, Vec::new());
        let attestation = Descriptor { platform: None, ..attestation.descriptor };
        let artifact = Descriptor { media_type: MediaType::from("application/x"), ..entry("x", None) };
        let index = Index { manifests: vec![attestation, artifact, subject] };
        assert_eq!(chosen(&index, &[], "linux/s390x").unwrap(), 2, "the only image there is");
        let error = chosen(&Index { manifests: Vec::new() }, &[], "linux/amd64").unwrap_err();
        assert_eq!(error.hint(), Some("name another one: its index holds no image"));
    }
}
