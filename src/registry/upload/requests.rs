//! The requests of an upload's steps (distribution specification, "Pushing Blobs").

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use url::Url;

use super::sender::Sender;
use super::step::UploadStep;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Digest;
use crate::registry::auth::Scope;
use crate::registry::endpoint::ApiRequest;
use crate::registry::transport::{RequestBody, interrupted};

impl Sender<'_> {
    pub(super) async fn request_for(&mut self, step: UploadStep) -> Result<ApiRequest> {
        let location = || self.location().unwrap_or_else(|| Err(interrupted()));
        match step {
            UploadStep::Start { mount } => self.start(mount),
            UploadStep::Status => Ok(self.request(Method::GET, &location()?)),
            UploadStep::Patch { offset, length } => {
                let request = self.request(Method::PATCH, &location()?);
                let request = request.with_header(CONTENT_RANGE, &format!("{offset}-{}", offset + length - 1));
                self.with_payload(request, offset, length).await
            }
            UploadStep::Put { offset, length } => {
                let digest = self.descriptor()?.digest;
                let request = self.request(Method::PUT, &with_digest(location()?, &digest));
                // ECR wants to know where the last part goes.
                let request = match offset > 0 && length > 0 {
                    true => request.with_header(CONTENT_RANGE, &format!("{offset}-{}", offset + length - 1)),
                    false => request,
                };
                self.with_payload(request, offset, length).await
            }
            UploadStep::HeadBlob => Ok(self.head(&self.descriptor()?.digest)),
            UploadStep::Wait { .. } | UploadStep::Finished { .. } => Err(interrupted()),
        }
    }

    fn start(&self, mount: bool) -> Result<ApiRequest> {
        let path = &self.job.route.path;
        let plain = ApiRequest::new(Method::POST, path, "blobs/uploads/", Scope::push(path));
        match (&self.job.mount, &self.job.descriptor) {
            (Some(from), Some(descriptor)) if mount => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("mount", &descriptor.digest.to_string())
                    .append_pair("from", from.path())
                    .finish();
                let scope = plain.scope.and_pull(from);
                Ok(ApiRequest::new(Method::POST, path, &format!("blobs/uploads/?{query}"), scope))
            }
            _ => Ok(plain),
        }
    }

    /// The chunk of a remote blob that comes after `step`, if that goes well.
    pub(super) fn after(&self, step: UploadStep) -> Option<(u64, u64)> {
        let UploadStep::Patch { offset, length } = step else { return None };
        let left = self.job.descriptor.as_ref()?.size.checked_sub(offset + length).filter(|left| *left > 0)?;
        Some((offset + length, left.min(length)))
    }

    pub(super) fn head(&self, digest: &Digest) -> ApiRequest {
        let path = &self.job.route.path;
        ApiRequest::new(Method::HEAD, path, &format!("blobs/{digest}"), Scope::push(path))
    }

    pub(super) fn request(&self, method: Method, location: &Url) -> ApiRequest {
        let path = &self.job.route.path;
        ApiRequest::to(method, location, path, Scope::push(path))
    }

    pub(super) fn location(&self) -> Option<Result<Url>> {
        let text = self.upload.location()?;
        let wrong = |error| Error::new(ErrorKind::Registry, "the upload session has no valid address").with_source(error);
        Some(Url::parse(text).map_err(wrong))
    }

    async fn with_payload(&mut self, mut request: ApiRequest, offset: u64, length: u64) -> Result<ApiRequest> {
        request.slow = true;
        request = request.with_header(CONTENT_TYPE, "application/octet-stream");
        if length == 0 {
            return Ok(request);
        }
        let open = self.open(offset, length).await?;
        let task = self.job.task.clone();
        request.payload = RequestBody::Stream { length, open, meter: Arc::new(move |sent| task.advance(offset + sent)) };
        Ok(request)
    }
}

/// The Location with the digest appended and nothing else changed: its query may be signed.
pub(crate) fn with_digest(mut location: Url, digest: &Digest) -> Url {
    let digest = format!("digest={}%3A{}", digest.algorithm(), digest.hex());
    let query = match location.query() {
        Some(query) if !query.is_empty() => format!("{query}&{digest}"),
        _ => digest,
    };
    location.set_query(Some(&query));
    location
}
