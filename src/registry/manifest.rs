//! Reading a manifest or index from a registry, or from the first of its mirrors that has it.
//!
//! Errors: bytes that do not have their digest, and documents over 4 MiB.

use std::fmt;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::auth::Scope;
use super::client::{Client, Route};
use super::endpoint::ApiRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::image::media_type_of;
use crate::oci::{Digest, MediaType};
use crate::progress::Task;

/// Limit for a manifest (distribution specification, "Pushing Manifests": registries take 4 MiB at
/// least) and for a config.
pub(crate) const LIMIT: u64 = 4 << 20;

/// The manifests that are understood.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

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

impl Route {
    /// The request for a manifest or index of any known type, by tag or digest.
    pub(super) fn manifest(&self, method: Method, target: impl fmt::Display, scope: Scope) -> ApiRequest {
        ApiRequest::new(method, &self.path, &format!("manifests/{target}"), scope).with_header(ACCEPT, ACCEPTED)
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
    let request = ApiRequest { early: true, ..route.manifest(Method::GET, target, Scope::pull(&route.path)) };
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
    let media_type = media_type_of(&bytes, content_type.split(';').next().unwrap_or_default().trim().into())?;
    Ok(PulledManifest { bytes, media_type, digest })
}

/// Moves the route that answered to the front.
pub(super) fn prefer(routes: &mut [Route], at: usize) {
    if at < routes.len() {
        routes[..=at].rotate_right(1);
    }
}
