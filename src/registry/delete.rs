//! Deleting a tag or a manifest (distribution specification 1.1, "Content Management").

use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::client::Client;
use super::endpoint::ApiRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::progress::TaskKind;

impl Client {
    /// Deletes what `reference` names: a manifest with all its tags if it has a digest, else the
    /// tag alone. Blobs stay until the registry collects its garbage.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it is not there; [`ErrorKind::Unsupported`]: the registry does not
    /// delete tags, or nothing at all; `Auth`, `Network`; `Registry` with the registry's answer.
    pub async fn delete(&self, reference: &Reference) -> Result<()> {
        let route = self.destination(reference.repository())?;
        let by_digest = reference.digest().map(ToString::to_string);
        let name = by_digest.clone().or_else(|| reference.tag().map(ToString::to_string)).unwrap_or_else(|| "latest".into());
        let task = self.options().progress.task(TaskKind::Work, &format!("delete {}", reference.familiar()), None);
        let request = ApiRequest::new(Method::DELETE, &route.path, &format!("manifests/{name}"), Scope::delete(&route.path));
        let response = route.endpoint.send_with_retry(&request, None).await?;
        match response.status() {
            status if status.is_success() => {
                task.done();
                Ok(())
            }
            StatusCode::NOT_FOUND => {
                let message = format!("there is no `{}` in its registry", reference.familiar());
                Err(Error::new(ErrorKind::NotFound, message).with_hint("`mpimg tags REPOSITORY` lists the tags that there are"))
            }
            // "If the registry does not support deletion": 400 or 405; some know only digests.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => {
                let answer = route.endpoint.response_error(response, &request).await;
                let what = if by_digest.is_some() { "manifests" } else { "single tags" };
                let hint = match by_digest {
                    Some(_) => "delete it with the registry's own means",
                    None => "name the digest, REPOSITORY@DIGEST: the manifest is deleted then, with all its tags",
                };
                let message = format!("the registry of `{}` does not delete {what}", reference.familiar());
                Err(Error::new(ErrorKind::Unsupported, message).with_source(answer.to_string()).with_hint(hint))
            }
            _ => Err(route.endpoint.response_error(response, &request).await),
        }
    }
}
