//! Pushing manifests, when everything that they name is in place: what the registry stored is
//! compared, a blob that it lost sent again, Docker's schema 2 given to a registry that takes
//! nothing else.
//!
//! Invariant: a manifest counts as pushed only if the registry names its digest, or returns its
//! bytes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::client::Route;
use super::endpoint::ApiRequest;
use super::errors::{Refusal, not_a_registry_hint};
use super::manifest::LIMIT;
use super::push::PushSession;
use super::schema2;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, MediaType, Tag};
use crate::progress::{Task, TaskKind};

impl PushSession {
    pub(super) async fn manifest(&self, manifest: Bytes, media_type: MediaType, tags: &[Tag]) -> Result<(Bytes, MediaType)> {
        let task = self.shared.client.options().progress.task(TaskKind::Push, "push manifest", Some(manifest.len() as u64));
        let first = tags.first().map_or_else(|| Digest::of(&manifest).to_string(), ToString::to_string);
        let (manifest, media_type) = match self.put(&first, &manifest, &media_type, &task).await? {
            None => (manifest, media_type),
            Some(refusal) => {
                // distribution says `MANIFEST_INVALID` of much else, but takes Docker's schema 2.
                let other_format = match media_type {
                    MediaType::Manifest => refusal.is_about_media_type(),
                    MediaType::DockerManifest => refusal.status == StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    _ => false,
                };
                let refused = self.shared.route.endpoint.error_for(refusal, &self.shared.route.path, true).await;
                if !other_format {
                    return Err(refused);
                }
                let (converted, other) = match media_type {
                    MediaType::Manifest => (schema2::convert(&manifest, &media_type), MediaType::DockerManifest),
                    _ => (schema2::to_oci(&manifest), MediaType::Manifest),
                };
                let converted = converted.map_err(|error| error.with_source(refused))?;
                let first = tags.first().map_or_else(|| Digest::of(&converted).to_string(), ToString::to_string);
                let (taken, not_taken) = match other {
                    MediaType::Manifest => ("as an OCI manifest", "of Docker's schema 2"),
                    _ => ("as Docker schema 2", "as OCI has it"),
                };
                let note = format!("the registry takes no manifest {not_taken}: pushed {taken}, with another digest");
                self.shared.client.options().progress.note(&note);
                self.must_put_target(&first, &converted, &other, &task).await?;
                (converted, other)
            }
        };
        try_join_all(tags.iter().skip(1).map(|tag| self.must_put_target(tag.as_str(), &manifest, &media_type, &task))).await?;
        task.done();
        Ok((manifest, media_type))
    }

    pub(super) async fn must_put_target(
        &self,
        target: &str,
        manifest: &Bytes,
        media_type: &MediaType,
        task: &Task,
    ) -> Result<()> {
        match self.put(target, manifest, media_type, task).await? {
            None => Ok(()),
            Some(refusal) => Err(self.shared.route.endpoint.error_for(refusal, &self.shared.route.path, true).await),
        }
    }

    /// PUTs the manifest; an error response is not yet an error. A blob that the registry turns out
    /// to lack is sent once more.
    async fn put(&self, target: &str, manifest: &Bytes, media_type: &MediaType, task: &Task) -> Result<Option<Refusal>> {
        let refusal = self.put_once(target, manifest, media_type, task).await?;
        let Some(missing) = refusal.as_ref().and_then(Refusal::missing_blobs) else { return Ok(refusal) };
        let cause = "the registry lacks a blob that it said it had: sending it again";
        tracing::debug!(?missing, cause, "retry of a manifest");
        task.retry(cause, 2, Duration::ZERO);
        self.shared.send_again(&missing).await?;
        self.put_once(target, manifest, media_type, task).await
    }

    async fn put_once(&self, target: &str, manifest: &Bytes, media_type: &MediaType, task: &Task) -> Result<Option<Refusal>> {
        let Route { endpoint, path } = &self.shared.route;
        let request = ApiRequest::new(Method::PUT, path, &format!("manifests/{target}"), Scope::push(path));
        let mut request = request.with_header(CONTENT_TYPE, media_type.as_str()).with_bytes(manifest.clone());
        request.slow = true;
        let response = endpoint.send_with_retry(&request, Some(task)).await?;
        let status = response.status();
        let stored = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = endpoint.transport.read_error_body(response).await;
        let own = Digest::of(manifest);
        if !status.is_success() {
            let mut refusal = Refusal::parse(status, &body);
            let tagged = if refusal.may_be_about_existing_tag() { self.stored_digest(target, None).await.ok() } else { None };
            let there = tagged == Some(own);
            refusal.tag_exists = tagged.is_some() && !there;
            if there {
                let message = format!("the tag `{target}` may not be replaced, and has this very image already");
                self.shared.client.options().progress.note(&message);
            }
            return Ok(Some(refusal).filter(|_| !there));
        }
        match stored.and_then(|text| Digest::parse(&text).ok()) {
            Some(stored) if stored.algorithm() == own.algorithm() => own
                .expect(stored)
                .map(|()| None)
                .map_err(|error| error.wrap("the registry stored another manifest than was sent")),
            // With another algorithm there is nothing to compare.
            Some(_) => Ok(None),
            None => self.expect_stored(&own, status, task).await.map(|()| None),
        }
    }

    /// Reads back a manifest that the registry has taken without naming its digest, which all known
    /// registries do: a server that says yes to everything has not kept it.
    async fn expect_stored(&self, digest: &Digest, status: StatusCode, task: &Task) -> Result<()> {
        let missing = match self.stored_digest(digest, Some(task)).await {
            Ok(stored) => digest.expect(stored).err(),
            Err(error) => match error.kind() {
                // An account may push and not pull.
                ErrorKind::Auth => None,
                ErrorKind::NotFound | ErrorKind::Corrupt => Some(error),
                _ => return Err(error.wrap("cannot read back the manifest that was pushed")),
            },
        };
        missing.map_or(Ok(()), |cause| {
            let registry = self.shared.route.endpoint.authority();
            let message = format!("`{registry}` answered {} to the manifest, but does not have it", status.as_u16());
            Err(Error::new(ErrorKind::Registry, message).with_hint(not_a_registry_hint(status)).with_source(cause))
        })
    }

    /// The digest of what the registry returns for a tag or digest.
    async fn stored_digest(&self, target: impl fmt::Display, task: Option<&Task>) -> Result<Digest> {
        let route @ Route { endpoint, path } = &self.shared.route;
        let request = route.manifest(Method::GET, target, Scope::push(path));
        let response = endpoint.fetch(&request, task).await?;
        Ok(Digest::of(&endpoint.transport.read_body(response, LIMIT as usize).await?))
    }
}
