//! Pulling: manifest and config now, layers when they are needed.
//!
//! Errors: bytes that do not have their digest, manifests and configs over 4 MiB, and Docker's
//! schema 1, which names no config.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use super::auth::Scope;
use super::blob::RegistryBlob;
use super::client::{Client, Route};
use super::endpoint::ApiRequest;
use crate::error::{Error, ErrorKind, Result, ResultExt as _, Setting};
use crate::image::Layer;
use crate::oci::{Descriptor, DiffId, Digest, MediaType, Platform, Reference, Repository, or_default};
use crate::progress::{Task, TaskKind};
use crate::store::BlobSource;

/// Limit for a manifest (distribution specification, "Pushing Manifests": registries take 4 MiB at
/// least) and for a config.
pub(crate) const LIMIT: u64 = 4 << 20;

/// How deep indexes may stand in indexes.
pub(super) const DEPTH: usize = 4;

/// The manifests that are understood.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// An image in a registry: checked manifest and config; the layers' bytes are still there.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// The manifest's bytes, as they came.
    pub manifest: Bytes,
    /// The manifest's type.
    pub media_type: MediaType,
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's descriptor.
    pub config_descriptor: Descriptor,
    /// The config's bytes, as they came.
    pub config: Bytes,
    /// The layers, lowest first, with remote sources.
    pub layers: Vec<Layer>,
}

/// A manifest or index of any kind, as it came, its digest checked.
#[derive(Debug, Clone)]
pub struct PulledManifest {
    /// The bytes.
    pub bytes: Bytes,
    /// Their type: what they say themselves, else what the registry says.
    pub media_type: MediaType,
    /// Their digest.
    pub digest: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default, deserialize_with = "or_default")]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyManifest {
    schema_version: Option<u32>,
    media_type: Option<MediaType>,
    /// Whether it is there at all: Go writes an empty list as null.
    #[serde(default, deserialize_with = "is_there")]
    manifests: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[derive(Deserialize)]
struct Config {
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    variant: Option<String>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<DiffId>,
}

impl Route {
    /// The request for a manifest or index of any known type, by tag or digest.
    pub(super) fn manifest(&self, method: Method, target: impl fmt::Display, scope: Scope) -> ApiRequest {
        ApiRequest::new(method, &self.path, &format!("manifests/{target}"), scope).with_header(ACCEPT, ACCEPTED)
    }
}

impl Client {
    /// Finds the image of `reference` for `platform`. Manifest and config are fetched and checked,
    /// layers are not fetched.
    ///
    /// Mirrors of registries.conf are asked first. A single manifest for another platform is taken
    /// with a warning, as docker does.
    ///
    /// # Errors
    /// `NotFound` if the registry has no such image or the index no such platform; `Auth`,
    /// `Network`, `Registry`; `Corrupt` if bytes do not have their digest.
    pub async fn pull_image(&self, reference: &Reference, platform: &Platform) -> Result<RemoteImage> {
        let task = self.options().progress.task(TaskKind::Pull, &format!("pull {}", reference.familiar()), None);
        let image = self.pull_checked(reference, platform, &task).await;
        let image = image.map_err(|error| error.wrap(format!("cannot pull `{}`", reference.familiar())))?;
        task.done();
        Ok(image)
    }

    /// The manifest or index that `reference` names.
    ///
    /// # Errors
    /// As [`Client::pull_image`].
    pub async fn pull_manifest(&self, reference: &Reference) -> Result<PulledManifest> {
        let task = self.options().progress.task(TaskKind::Pull, &format!("manifest of {}", reference.familiar()), None);
        let routes = self.sources(reference.repository(), reference.digest().is_some())?;
        let (manifest, _) = manifest_from(self, &routes, &reference.target(), reference.digest(), &task).await?;
        task.done();
        Ok(manifest)
    }

    /// Whether the registry itself, not a mirror, has a manifest under this name. One request.
    ///
    /// # Errors
    /// `Auth`, `Network`, `Registry`.
    pub(crate) async fn has_manifest(&self, reference: &Reference) -> Result<bool> {
        let route = self.destination(reference.repository())?;
        let request = route.manifest(Method::HEAD, reference.target(), Scope::pull(&route.path));
        match route.endpoint.fetch(&request, None).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn pull_checked(&self, reference: &Reference, platform: &Platform, task: &Task) -> Result<RemoteImage> {
        let repository = reference.repository();
        let routes = self.sources(repository, reference.digest().is_some())?;
        let (mut manifest, mut at) = manifest_from(self, &routes, &reference.target(), reference.digest(), task).await?;
        let mut routes = self.sources(repository, true)?;
        for _ in 0..DEPTH {
            // What served the tag serves what it names: a mirror that was out of date must not be
            // mixed with the registry.
            prefer(&mut routes, at);
            if !manifest.media_type.is_index() {
                return self.complete(repository, routes, manifest, platform, task).await;
            }
            let index: Index = parse(&manifest.bytes, "the image index")?;
            let chosen = choose(&index.manifests, platform)?;
            (manifest, at) = manifest_from(self, &routes, &chosen.digest.to_string(), Some(&chosen.digest), task).await?;
        }
        Err(Error::new(ErrorKind::Corrupt, "too many indexes inside each other"))
    }

    async fn complete(
        &self,
        repository: &Repository,
        routes: Vec<Route>,
        manifest: PulledManifest,
        platform: &Platform,
        task: &Task,
    ) -> Result<RemoteImage> {
        let PulledManifest { bytes, media_type, digest } = manifest;
        let Manifest { config: config_descriptor, layers } = parse(&bytes, "the manifest")?;
        if config_descriptor.size > LIMIT {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the config has {} bytes, more than {LIMIT}", config_descriptor.size),
            ));
        }
        if !config_descriptor.media_type.may_be_config() {
            let message = format!("it is not an image: its config is of type `{}`", config_descriptor.media_type);
            return Err(
                Error::new(ErrorKind::Unsupported, message).with_hint("name an image: this is an artifact of another kind")
            );
        }
        let blob = |descriptor: &Descriptor| RegistryBlob::new(self, repository, routes.clone(), descriptor.clone());
        let config = self.transport().unless_cancelled(blob(&config_descriptor).read_all(task)).await??;
        let parsed: Config = parse(&config, "the config")?;
        if parsed.rootfs.diff_ids.len() != layers.len() {
            let message = format!("the config names {} layers, the manifest {}", parsed.rootfs.diff_ids.len(), layers.len());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.warn_of_platform(&parsed, platform, repository);
        let layers = layers.into_iter().zip(parsed.rootfs.diff_ids);
        let layers = layers.map(|(descriptor, diff_id)| {
            let source = BlobSource::Remote(Arc::new(blob(&descriptor)));
            Layer { diff_id, descriptor, source }
        });
        Ok(RemoteImage { layers: layers.collect(), manifest: bytes, media_type, digest, config_descriptor, config })
    }

    fn warn_of_platform(&self, config: &Config, wanted: &Platform, repository: &Repository) {
        let Config { architecture, os, variant, .. } = config;
        let actual = Platform { architecture: architecture.clone(), os: os.clone(), variant: variant.clone() };
        if !actual.fits(wanted) {
            let message = format!("`{}` is for {actual}, not {wanted}", repository.familiar());
            self.options()
                .progress
                .warn(&message, Some(&format!("name another image, or the platform with {}", Setting::Platform)));
        }
    }
}

/// The manifest `target` from the first of `routes` that has it, and which that was.
pub(super) async fn manifest_from(
    client: &Client,
    routes: &[Route],
    target: &str,
    digest: Option<&Digest>,
    task: &Task,
) -> Result<(PulledManifest, usize)> {
    let mut last = None;
    for (at, route) in routes.iter().enumerate() {
        match read_manifest(client, route, target, digest, task).await {
            Ok(manifest) => return Ok((manifest, at)),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                if at + 1 < routes.len() {
                    let message = format!("mirror `{}` failed: {error}", route.endpoint.authority());
                    client.options().progress.note(&message);
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "no registry to ask")))
}

async fn read_manifest(
    client: &Client,
    route: &Route,
    target: &str,
    digest: Option<&Digest>,
    task: &Task,
) -> Result<PulledManifest> {
    let request = route.manifest(Method::GET, target, Scope::pull(&route.path));
    let response = route.endpoint.fetch(&request, Some(task)).await?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let announced = header("docker-content-digest").and_then(|text| Digest::parse(&text).ok());
    let bytes = route.endpoint.transport.read_body(response, LIMIT as usize).await?;
    let digest = match (digest, announced) {
        (Some(digest), _) => {
            digest.verify(&bytes).map_err(|error| error.wrap("the registry sent a damaged manifest"))?;
            *digest
        }
        // A registry may hash with another algorithm than ours: what it announces is checked with
        // its own.
        (None, Some(announced)) if announced.verify(&bytes).is_ok() => announced,
        (None, announced) => {
            if announced.is_some() {
                let message = format!("`{}` announces another digest for `{target}` than it sends", route.endpoint.authority());
                client.options().progress.note(&message);
            }
            Digest::of(&bytes)
        }
    };
    let media_type = media_type_of(&bytes, &content_type)?;
    Ok(PulledManifest { bytes, media_type, digest })
}

/// What a manifest is: by its own words, else by its shape and the registry's header (image
/// specification, manifest.md).
fn media_type_of(bytes: &[u8], content_type: &str) -> Result<MediaType> {
    let any: AnyManifest = parse(bytes, "the manifest")?;
    if any.schema_version == Some(1) {
        return Err(Error::new(ErrorKind::Unsupported, "the image is in Docker's schema 1, which was given up in 2016")
            .with_hint("push the image again with a current tool"));
    }
    let announced = MediaType::from(content_type.split(';').next().unwrap_or_default().trim());
    let known = |media_type: &MediaType| media_type.is_index() || media_type.is_manifest();
    let by_shape = if any.manifests { MediaType::Index } else { MediaType::Manifest };
    let media_type = any.media_type.or(Some(announced).filter(known)).unwrap_or(by_shape);
    // An index that is served as a manifest, or the reverse, would be read differently by different
    // programs.
    if media_type.is_index() != any.manifests {
        return Err(Error::new(ErrorKind::Corrupt, format!("the manifest says it is `{media_type}`, and is not")));
    }
    Ok(media_type)
}

/// The entry for `platform`: the one with the very variant before one that leaves it out.
pub(super) fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let fitting = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|platform| platform.fits(wanted));
    let exact = entries.iter().find(|entry| entry.platform.as_ref() == Some(wanted));
    // What tells nothing may be what is wanted, where there is nothing else.
    let only = || match entries.iter().filter(|entry| !is_attestation(entry)).collect::<Vec<_>>()[..] {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    };
    exact.or_else(|| entries.iter().find(fitting)).or_else(only).ok_or_else(|| {
        let mut there: Vec<String> =
            entries.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
        there.retain(|platform| platform != "unknown/unknown");
        let error = Error::new(ErrorKind::NotFound, format!("there is no image for {wanted}"));
        match there.is_empty() {
            true => error.with_hint("the index names no platforms: give the digest of the image instead of the tag"),
            false => error.with_hint(format!("choose one of the platforms there: {}", there.join(", "))),
        }
    })
}

/// Attestations stand in an index as images for an unknown platform.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

/// Moves the route that answered to the front.
pub(super) fn prefer(routes: &mut [Route], at: usize) {
    if at < routes.len() {
        routes[..=at].rotate_right(1);
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).context(ErrorKind::Corrupt, || format!("{what} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: &str) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::Manifest, platform.as_bytes());
        entry.platform = Some(Platform::parse(platform).unwrap());
        entry
    }

    #[test]
    fn the_platform_is_chosen_and_missing_ones_are_listed() {
        let entries = [entry("linux/arm/v6"), entry("linux/arm/v7"), entry("linux/amd64"), entry("unknown/unknown")];
        let chosen = |text: &str| choose(&entries, &Platform::parse(text).unwrap());
        assert_eq!(chosen("linux/arm/v7").unwrap(), &entries[1]);
        assert_eq!(chosen("linux/amd64").unwrap(), &entries[2]);
        let error = chosen("linux/s390x").unwrap_err();
        assert_eq!(error.to_string(), "there is no image for linux/s390x");
        assert_eq!(error.hint(), Some("choose one of the platforms there: linux/arm/v6, linux/arm/v7, linux/amd64"));
    }

    #[test]
    fn a_manifest_is_what_it_says_if_it_looks_so() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(media_type_of(index, "application/json").unwrap(), MediaType::Index);
        let docker = MediaType::DockerManifest;
        assert_eq!(media_type_of(br#"{"schemaVersion":2}"#, &format!("{docker}; charset=utf-8")).unwrap(), docker);
        let confused = format!(r#"{{"schemaVersion":2,"mediaType":"{docker}","manifests":[]}}"#);
        assert_eq!(media_type_of(confused.as_bytes(), "").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(media_type_of(br#"{"schemaVersion":1}"#, "").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
