//! Copying: whole manifests and indexes, with their referrers. No byte changes, so that digests and
//! signatures stay valid.

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::auth::Scope;
use super::children::{Child, PARALLEL, Place, expect_depth};
use super::client::{Client, Route};
use super::endpoint::ApiRequest;
use super::manifest::{LIMIT, manifest_from, prefer};
use super::push::{PushSession, Pushed};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::{ManifestTree, Names, list_tag};
use crate::oci::{Descriptor, Digest, MediaType, Platform, Reference, Repository, Tag};
use crate::progress::{Task, TaskKind};

/// How often a referrer is added to its list.
const LIST_TRIES: usize = 20;

/// How long another writer may take from reading the list to writing it.
const SHORTEST_WINDOW: Duration = Duration::from_millis(150);
const LONGEST_WINDOW: Duration = Duration::from_secs(5);

impl Client {
    /// The manifest or index of `reference` with everything below it; no config or layer is
    /// fetched. With `platform` only the image for it.
    ///
    /// # Errors
    /// As [`Client::pull_image`].
    pub async fn pull_tree(&self, reference: &Reference, platform: Option<&Platform>) -> Result<ManifestTree> {
        let repository = reference.repository();
        let task = self.options().progress.task(TaskKind::Pull, &format!("manifest of {}", reference.familiar()), None);
        let read = async {
            let routes = self.sources(repository, reference.digest().is_some())?;
            let (manifest, at) = manifest_from(self, &routes, &reference.target(), reference.digest(), &task).await?;
            let descriptor = Descriptor::new(manifest.media_type.clone(), manifest.digest, manifest.bytes.len() as u64);
            let mut routes = self.sources(repository, true)?;
            // Children come from the source that served the tag: a mirror that is out of date must
            // not be mixed with the registry.
            prefer(&mut routes, at);
            let place = Place { client: self, store: None, repository, routes: &routes, task: &task };
            place.tree(Child { descriptor, manifest, at }, platform, 0).await
        };
        let tree = read.await.map_err(|error: Error| error.wrap(format!("cannot pull `{}`", reference.familiar())))?;
        task.done();
        Ok(tree)
    }

    /// Pushes a referrer, under its tag if it has one. If the registry has no referrers API, also
    /// updates the list under the fallback tag (distribution specification, "Pushing Manifests with
    /// Subject").
    ///
    /// # Errors
    /// As [`PushSession::finish`].
    pub async fn attach(&self, repository: &Repository, artifact: &ManifestTree) -> Result<()> {
        let session = self.push(repository)?;
        session.offer_tree(artifact);
        session.blobs_in_place(artifact).await?;
        let route = self.destination(repository)?;
        let cannot = |error: Error| error.wrap(format!("cannot attach `{}`", artifact.descriptor.digest));
        let (digest, media_type) = (artifact.descriptor.digest, &artifact.descriptor.media_type);
        let target = artifact.tag.as_ref().map_or_else(|| digest.to_string(), ToString::to_string);
        let known = put(&route, &target, artifact.bytes.clone(), media_type).await.map_err(cannot)?;
        match artifact.subject {
            Some(subject) if !known => add_to_list(&route, &subject, artifact).await.map_err(cannot),
            _ => Ok(()),
        }
    }
}

impl Place<'_> {
    /// A manifest or index with all below it, or with the one for `platform`.
    fn tree<'a>(&'a self, top: Child, platform: Option<&'a Platform>, depth: usize) -> BoxFuture<'a, Result<ManifestTree>> {
        async move {
            let Child { descriptor, manifest, .. } = top;
            if !manifest.media_type.is_index() {
                return ManifestTree::manifest(descriptor, manifest.bytes, |blob| self.client.blob(self.repository, blob));
            }
            if let Some(wanted) = platform {
                return self.tree(self.child_for(&manifest, wanted, depth).await?, platform, depth + 1).await;
            }
            expect_depth(depth)?;
            let below = |entry: Descriptor| async move { self.tree(self.child(&entry).await?, None, depth + 1).await };
            let children: Vec<_> = Names::parse(&manifest.bytes)?.manifests.into_iter().map(below).collect();
            let children = stream::iter(children).buffered(PARALLEL).try_collect().await?;
            ManifestTree::index(descriptor, manifest.bytes, children)
        }
        .boxed()
    }
}

impl PushSession {
    /// Offers every config and layer of a manifest or index.
    pub fn offer_tree(&self, tree: &ManifestTree) {
        tree.all_blobs().into_iter().for_each(|(descriptor, source)| self.offer_blob(descriptor.clone(), source.clone()));
    }

    /// Waits for all blobs, then pushes the manifests, children before parents; the root under each
    /// tag, or by digest where there is none.
    ///
    /// # Errors
    /// As [`PushSession::finish`].
    pub async fn finish_tree(self, tree: &ManifestTree, tags: &[Tag]) -> Result<Pushed> {
        let blobs = self.blobs_in_place(tree).await?;
        let media_type = tree.descriptor.media_type.clone();
        let (manifest, media_type) = self.last_manifest(tree.bytes.clone(), media_type, tags).await?;
        Ok(Pushed { repository: self.repository().clone(), digest: Digest::of(&manifest), manifest, media_type, blobs })
    }

    /// Waits for all blobs, then pushes the manifests below the root.
    async fn blobs_in_place(&self, tree: &ManifestTree) -> Result<Vec<super::push::PushedBlob>> {
        let blobs = self.all_blobs().await?;
        let mut manifests = tree.manifests();
        manifests.pop();
        let below = manifests.iter().filter(|manifest| !manifest.descriptor.media_type.is_index());
        let indexes = manifests.iter().filter(|manifest| manifest.descriptor.media_type.is_index());
        if !manifests.is_empty() {
            let task = self.manifests_task(manifests.iter().map(|manifest| manifest.descriptor.size).sum());
            try_join_all(below.map(|manifest| self.must_put(manifest, &task))).await?;
            for index in indexes {
                self.must_put(index, &task).await?;
            }
            task.done();
        }
        Ok(blobs)
    }

    async fn must_put(&self, tree: &ManifestTree, task: &Task) -> Result<()> {
        let ManifestTree { descriptor, bytes, .. } = tree;
        self.must_put_target(&descriptor.digest.to_string(), bytes, &descriptor.media_type, task).await
    }
}

/// PUTs a manifest; tells whether the registry maintains the referrers itself (it sends
/// `OCI-Subject`).
async fn put(route: &Route, target: &str, manifest: bytes::Bytes, media_type: &MediaType) -> Result<bool> {
    let Route { endpoint, path } = route;
    let request = ApiRequest::new(Method::PUT, path, &format!("manifests/{target}"), Scope::push(path));
    let request = request.with_header(CONTENT_TYPE, media_type.as_str()).with_bytes(manifest);
    let answer = endpoint.fetch(&ApiRequest { slow: true, ..request }, None).await?;
    Ok(answer.headers().contains_key("oci-subject"))
}

/// Adds to the list of referrers. Registries change a tag without looking at what it was: the
/// process that read the list before this change and writes it after loses the entry. So the list
/// is read again once any concurrent writer must have finished, and the entry added again until it
/// stays.
async fn add_to_list(route: &Route, subject: &Digest, artifact: &ManifestTree) -> Result<()> {
    let tag = list_tag(subject);
    let began = Instant::now();
    let mut before = read_list(route, &tag).await?;
    for _ in 0..LIST_TRIES {
        let list = with_referrer(before.as_deref(), artifact)?;
        if before.as_deref() == Some(&*list) {
            return Ok(());
        }
        put(route, &tag, list.into(), &MediaType::Index).await?;
        // Others take as long from reading to writing as this one did, with jitter, so that they do
        // not collide again.
        let window = (began.elapsed() * 2).clamp(SHORTEST_WINDOW, LONGEST_WINDOW).mul_f64(1.0 + fastrand::f64());
        route.endpoint.transport.pause(window).await?;
        before = read_list(route, &tag).await?;
    }
    let message = format!("other writers keep overwriting the list of referrers `{tag}`");
    Err(Error::new(ErrorKind::Registry, message).with_hint("run the same command again"))
}

async fn read_list(route: &Route, tag: &str) -> Result<Option<bytes::Bytes>> {
    let Route { endpoint, path } = route;
    let request = route.manifest(Method::GET, tag, Scope::push(path));
    let answer = endpoint.send_with_retry(&request, None).await?;
    match answer.status() {
        StatusCode::NOT_FOUND => Ok(None),
        status if status.is_success() => endpoint.transport.read_body(answer, LIMIT as usize).await.map(Some),
        _ => Err(endpoint.response_error(answer, &request).await),
    }
}

/// The list with one more entry, or as it was if that is there.
fn with_referrer(before: Option<&[u8]>, artifact: &ManifestTree) -> Result<Vec<u8>> {
    let damaged = || "the list of referrers cannot be read".to_owned();
    let empty = || json!({ "schemaVersion": 2, "mediaType": MediaType::Index.as_str(), "manifests": [] });
    let mut list: Value = match before {
        Some(bytes) => serde_json::from_slice(bytes).context(ErrorKind::Corrupt, damaged)?,
        None => empty(),
    };
    let manifest: Value = serde_json::from_slice(&artifact.bytes).context(ErrorKind::Corrupt, damaged)?;
    let own = Descriptor { annotations: Default::default(), platform: None, ..artifact.descriptor.clone() };
    let mut entry = serde_json::to_value(&own).context(ErrorKind::Corrupt, damaged)?;
    // Without `artifactType`, the config's media type is used.
    let kind = manifest.get("artifactType").or_else(|| manifest.get("config")?.get("mediaType"));
    for (key, value) in [("artifactType", kind), ("annotations", manifest.get("annotations"))] {
        if let (Some(value), Some(entry)) = (value, entry.as_object_mut()) {
            entry.insert(key.to_owned(), value.clone());
        }
    }
    let entries = list.get_mut("manifests").and_then(Value::as_array_mut);
    let entries = entries.ok_or_else(|| Error::new(ErrorKind::Corrupt, damaged()))?;
    if let (true, Some(list)) = (entries.iter().any(|other| other.get("digest") == entry.get("digest")), before) {
        return Ok(list.to_vec());
    }
    entries.push(entry);
    Ok(list.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_referrer_is_listed_once_with_what_it_is() {
        let subject = Descriptor::of(MediaType::Manifest, b"subject");
        let artifact =
            crate::image::artifact("application/spdx+json", "application/spdx+json", Bytes::from_static(b"{}"), &subject);
        let once = with_referrer(None, &artifact).unwrap();
        let twice = with_referrer(Some(&once), &artifact).unwrap();
        assert_eq!(once, twice);
        let list: Value = serde_json::from_slice(&once).unwrap();
        assert_eq!(list["manifests"][0]["artifactType"], "application/spdx+json");
        assert_eq!(list["manifests"][0]["digest"], artifact.descriptor.digest.to_string());
        assert_eq!(with_referrer(Some(b"[]"), &artifact).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
