//! Pushing, pulling and deleting manifests (distribution specification, "Pushing Manifests",
//! "Pulling manifests", "Deleting Manifests", "Deleting tags").
//!
//! Refuses manifests whose blobs or manifests are not in the repository, and those over 4 MiB.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::blobs::{CONTENT_DIGEST, matches_etag};
use super::blocking::blocking;
use super::disk::NewManifest;
use super::error_response::{ErrorCode, ErrorResponse};
use super::index::IndexEntry;
use super::manifest::{Content, Manifest};
use super::registry_state::RegistryState;
use super::repository::Repository;
use super::request_context::{RequestContext, empty};
use super::route::{ManifestReference, RepositoryName};
use crate::error::{Error, Result};
use crate::oci::{Digest, MediaType, Tag};

/// The largest manifest in bytes: the least that every registry should take, and what others stop
/// at.
const LARGEST: usize = 4 * 1024 * 1024;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// `GET` and `HEAD` of a manifest. The answer has the type that was pushed, whatever `Accept` says:
/// there is only that one.
pub(super) async fn get(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    reference: ManifestReference,
) -> Result<Response, ErrorResponse> {
    let unknown = ErrorResponse::manifest_unknown(&reference.to_string());
    let app = app.clone();
    let is_head = exchange.is_head();
    let found = blocking(move || {
        let Some(repository) = app.disk.repository(&name)? else { return Ok(None) };
        let Some((digest, entry)) = find(&repository, &reference) else { return Ok(None) };
        let path = repository.blob_path(&digest);
        let bytes = match is_head {
            true => Vec::new(),
            false => match std::fs::read(&path) {
                Ok(bytes) => bytes,
                // Deleted since the index was looked at.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("read", path, error)),
            },
        };
        Ok(Some((digest, entry, bytes)))
    });
    let (digest, entry, bytes) = found.await?.ok_or(unknown)?;
    let etag = format!("\"{digest}\"");
    let headers = [(header::ETAG, etag.clone()), (CONTENT_DIGEST, digest.to_string())];
    if exchange.header(header::IF_NONE_MATCH).is_some_and(|tags| matches_etag(tags, &etag)) {
        return Ok(empty(StatusCode::NOT_MODIFIED, headers));
    }
    let mut response = empty(StatusCode::OK, headers);
    response.headers_mut().insert(header::CONTENT_LENGTH, entry.size.into());
    if let Ok(media_type) = HeaderValue::from_str(entry.media_type.as_str()) {
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    }
    if !is_head {
        *response.body_mut() = Body::from(bytes);
    }
    Ok(response)
}

/// `PUT` of a manifest.
pub(super) async fn put(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    reference: ManifestReference,
) -> Result<Response, ErrorResponse> {
    let content_type = exchange.header(header::CONTENT_TYPE).map(str::to_owned);
    if let ManifestReference::Invalid(text) = &reference {
        return Err(ErrorResponse::bad(ErrorCode::ManifestInvalid, format!("`{text}` is neither a tag nor a digest")));
    }
    let tags = tags(exchange, &reference)?;
    let bytes = read_body(exchange).await?;
    let pushed = Pushed::check(bytes, content_type.as_deref(), &reference)?;
    let digest = pushed.digest;
    let mut headers = vec![(header::LOCATION, format!("/v2/{name}/manifests/{digest}")), (CONTENT_DIGEST, digest.to_string())];
    headers.extend(pushed.manifest.subject.as_ref().map(|subject| (SUBJECT, subject.digest.to_string())));
    if matches!(reference, ManifestReference::Digest(_)) && !tags.is_empty() {
        headers.push((TAG, tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")));
    }
    let app = app.clone();
    blocking(move || pushed.store(&app, &name, tags)).await??;
    Ok(empty(StatusCode::CREATED, headers))
}

/// The tags that a manifest gets: the one of the path, or beside a digest any number of parameters
/// (distribution specification after 1.1, "Pushing Manifests", `tag`).
fn tags(exchange: &RequestContext, reference: &ManifestReference) -> Result<Vec<Tag>, ErrorResponse> {
    match reference {
        ManifestReference::Tag(tag) => Ok(vec![tag.clone()]),
        ManifestReference::Digest(_) => {
            let tags = exchange.query_all("tag").map(|text| Tag::parse(&text));
            tags.collect::<Result<_>>().map_err(|error| ErrorResponse::bad(ErrorCode::ManifestInvalid, error.to_string()))
        }
        ManifestReference::Invalid(_) => Ok(Vec::new()),
    }
}

/// `DELETE`: a tag alone, or a manifest with all its tags. Its blobs stay until they are deleted
/// themselves.
pub(super) async fn delete(
    app: &Arc<RegistryState>,
    name: RepositoryName,
    reference: ManifestReference,
) -> Result<Response, ErrorResponse> {
    let unknown = ErrorResponse::manifest_unknown(&reference.to_string());
    let app = app.clone();
    let removed = blocking(move || {
        let Some(repository) = app.disk.repository(&name)? else { return Ok(false) };
        match reference {
            ManifestReference::Tag(tag) => repository.change(|index| Ok(index.remove_tag(&tag))),
            ManifestReference::Digest(digest) => app.disk.remove_manifest(&repository, &digest),
            ManifestReference::Invalid(_) => Ok(false),
        }
    });
    if removed.await? { Ok(empty(StatusCode::ACCEPTED, [])) } else { Err(unknown) }
}

fn find(repository: &Repository, reference: &ManifestReference) -> Option<(Digest, IndexEntry)> {
    let index = repository.index();
    let digest = match reference {
        ManifestReference::Tag(tag) => index.tagged(tag)?,
        ManifestReference::Digest(digest) => *digest,
        ManifestReference::Invalid(_) => return None,
    };
    Some((digest, index.manifest(&digest)?.clone()))
}

async fn read_body(exchange: &mut RequestContext) -> Result<Bytes, ErrorResponse> {
    let too_large = || {
        let message = format!("a manifest has at most {LARGEST} bytes");
        ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, message)
    };
    if exchange.length.is_some_and(|length| length > LARGEST as u64) {
        return Err(too_large());
    }
    let mut frames = exchange.take_body().into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let part = frame.map_err(|_| ErrorResponse::bad(ErrorCode::ManifestInvalid, "the manifest broke off"))?;
        if bytes.len() + part.len() > LARGEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

/// A manifest that is right in itself.
struct Pushed {
    bytes: Bytes,
    digest: Digest,
    media_type: MediaType,
    manifest: Manifest,
}

impl Pushed {
    fn check(bytes: Bytes, content_type: Option<&str>, reference: &ManifestReference) -> Result<Self, ErrorResponse> {
        let digest = match reference {
            ManifestReference::Digest(wanted) => {
                wanted.verify(&bytes).map_err(|error| ErrorResponse::bad(ErrorCode::DigestInvalid, error.to_string()))?;
                *wanted
            }
            _ => Digest::of(&bytes),
        };
        let invalid = |error: Error| {
            let detail = serde_json::json!({ "reasons": error.causes() });
            ErrorResponse::bad(ErrorCode::ManifestInvalid, error.to_string()).with_detail(detail)
        };
        let manifest = Manifest::parse(&bytes).map_err(invalid)?;
        let media_type = manifest.settle_media_type(content_type).map_err(invalid)?;
        manifest.check_fields(&media_type).map_err(invalid)?;
        Ok(Self { bytes, digest, media_type, manifest })
    }

    fn store(self, app: &RegistryState, name: &RepositoryName, tags: Vec<Tag>) -> Result<Result<(), ErrorResponse>> {
        let repository = app.disk.make_repository(name)?;
        if let Err(refusal) = self.check_contents(&repository)? {
            return Ok(Err(refusal));
        }
        let file = app.disk.temporary_file()?;
        std::fs::write(file.path(), &self.bytes).map_err(|error| Error::io("write", file.path(), error))?;
        if app.disk.durable() {
            file.as_file().sync_data().map_err(|error| Error::io("write", file.path(), error))?;
        }
        let entry = IndexEntry::new(self.media_type, self.bytes.len() as u64, self.manifest);
        app.disk.put_manifest(&repository, file.path(), NewManifest { digest: self.digest, entry, tags })?;
        Ok(Ok(()))
    }

    /// Everything that the manifest names must be in the repository, with the size that it names.
    fn check_contents(&self, repository: &Repository) -> Result<Result<(), ErrorResponse>> {
        let index = repository.index();
        let mut missing = Vec::new();
        let mut check = |content: &Content, size: Option<u64>| match size {
            None => {
                missing.push(content.digest);
                Ok(())
            }
            Some(size) if size != content.size => {
                let message = format!("`{}` has {size} bytes, the manifest says {}", content.digest, content.size);
                Err(ErrorResponse::bad(ErrorCode::ManifestInvalid, message))
            }
            Some(_) => Ok(()),
        };
        for blob in self.manifest.blobs() {
            let size = repository.blob_size(&blob.digest)?;
            if let Err(refusal) = check(blob, size) {
                return Ok(Err(refusal));
            }
        }
        for manifest in self.manifest.manifests() {
            if let Err(refusal) = check(manifest, index.manifest(&manifest.digest).map(|entry| entry.size)) {
                return Ok(Err(refusal));
            }
        }
        missing.sort();
        missing.dedup();
        Ok(if missing.is_empty() { Ok(()) } else { Err(ErrorResponse::missing_blobs(&missing)) })
    }
}
