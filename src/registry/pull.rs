//! Pulling: manifest and config now, layers when they are needed.
//!
//! Errors: bytes that do not have their digest, manifests and configs over 4 MiB, and Docker's
//! schema 1, which names no config.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::Method;
use serde::Deserialize;

use super::auth::Scope;
use super::children::Place;
use super::client::{Client, Route};
use super::manifest::{LIMIT, PulledManifest, manifest_from, prefer};
use crate::error::{Error, ErrorKind, Result, ResultExt as _, Setting};
use crate::image::{Layer, platform_of_config};
use crate::oci::{Descriptor, DiffId, Digest, MediaType, Platform, Reference, Repository, or_default};
use crate::progress::{Task, TaskKind};
use crate::store::{BlobSource, Store};

/// An image in a registry: checked manifest and config; the layers' bytes are still there.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// The index that the name led to; `None`: it led to the manifest.
    pub index: Option<PulledManifest>,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<DiffId>,
}

/// An image's manifest.
struct Found {
    /// Where its blobs may be, the first choice first.
    routes: Vec<Route>,
    manifest: PulledManifest,
    /// The index that the name led to.
    index: Option<PulledManifest>,
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
        self.pull_image_beside(None, reference, platform).await
    }

    /// As [`Client::pull_image`]. Of what has a digest, what `store` holds is not fetched again:
    /// the manifest that an index names, and the config. A build that has seen the image before
    /// asks the registry only what the name stands for.
    ///
    /// # Errors
    /// As [`Client::pull_image`].
    pub(crate) async fn pull_image_beside(
        &self,
        store: Option<&Store>,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<RemoteImage> {
        let task = self.options().progress.task(TaskKind::Pull, &format!("pull {}", reference.familiar()), None);
        // On the heap: with it, callers nest too deeply for the compiler.
        let image = self.pull_checked(store, reference, platform, &task).boxed().await;
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

    /// The manifest of the image that `reference` names for `platform`, and the index that has it,
    /// if there is one.
    ///
    /// # Errors
    /// As [`Client::pull_image`].
    pub(crate) async fn image_manifest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(PulledManifest, Option<PulledManifest>)> {
        let task = self.options().progress.task(TaskKind::Pull, &format!("manifest of {}", reference.familiar()), None);
        let Found { manifest, index, .. } = self.find_manifest(None, reference, platform, &task).await?;
        task.done();
        Ok((manifest, index))
    }

    async fn pull_checked(
        &self,
        store: Option<&Store>,
        reference: &Reference,
        platform: &Platform,
        task: &Task,
    ) -> Result<RemoteImage> {
        let Found { routes, manifest, index } = self.find_manifest(store, reference, platform, task).await?;
        let place = Place { client: self, store, repository: reference.repository(), routes: &routes, task };
        let image = self.complete(&place, manifest, platform).await?;
        Ok(RemoteImage { index, ..image })
    }

    /// From index to index to the manifest.
    async fn find_manifest(
        &self,
        store: Option<&Store>,
        reference: &Reference,
        platform: &Platform,
        task: &Task,
    ) -> Result<Found> {
        let repository = reference.repository();
        let routes = self.sources(repository, reference.digest().is_some())?;
        let (mut manifest, mut at) = manifest_from(self, &routes, &reference.target(), reference.digest(), task).await?;
        let mut routes = self.sources(repository, true)?;
        let (mut index, mut depth) = (None, 0);
        loop {
            // What served the tag serves what it names: a mirror that was out of date must not be
            // mixed with the registry.
            prefer(&mut routes, at);
            if !manifest.media_type.is_index() {
                return Ok(Found { routes, manifest, index });
            }
            let place = Place { client: self, store, repository, routes: &routes, task };
            let child = place.child_for(&manifest, platform, depth).await?;
            index.get_or_insert(manifest);
            (manifest, at, depth) = (child.manifest, child.at, depth + 1);
        }
    }

    async fn complete(&self, place: &Place<'_>, manifest: PulledManifest, platform: &Platform) -> Result<RemoteImage> {
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
        let config = place.config(&config_descriptor).await?;
        let parsed: Config = parse(&config, "the config")?;
        if parsed.rootfs.diff_ids.len() != layers.len() {
            let message = format!("the config names {} layers, the manifest {}", parsed.rootfs.diff_ids.len(), layers.len());
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.warn_of_platform(&platform_of_config(&config)?, platform, place.repository);
        let layers = layers.into_iter().zip(parsed.rootfs.diff_ids);
        let layers = layers.map(|(descriptor, diff_id)| {
            let source = BlobSource::Remote(Arc::new(place.blob(&descriptor)));
            Layer { diff_id, descriptor, source }
        });
        let layers = layers.collect();
        Ok(RemoteImage { index: None, layers, manifest: bytes, media_type, digest, config_descriptor, config })
    }

    fn warn_of_platform(&self, actual: &Platform, wanted: &Platform, repository: &Repository) {
        if !actual.fits(wanted) {
            let message = format!("`{}` is for {actual}, not {wanted}", repository.familiar());
            self.options()
                .progress
                .warn(&message, Some(&format!("name another image, or the platform with {}", Setting::Platform)));
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).context(ErrorKind::Corrupt, || format!("{what} cannot be read"))
}
