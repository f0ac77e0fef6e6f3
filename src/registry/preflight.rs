//! What a registry tells before anything is sent: whether a push can succeed, and whether the image
//! can be pulled without credentials.
//!
//! Invariant: nothing is left in the registry.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::auth::{Scope, granted};
use super::check::{CheckItem, CheckState, begin_upload, cancel_upload, visibility_hint};
use super::client::{Client, Route};
use super::endpoint::{ApiRequest, RequestTarget};
use super::errors::Refusal;
use super::host::RegistryKind;
use super::retry::is_transient;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Repository, Tag};

/// A build that ends by then begins its uploads itself: most that find all in the build cache.
const TRIAL_AFTER: Duration = Duration::from_millis(300);

/// An upload that is begun and taken back. Where no token tells what the account may do (Basic,
/// tokens without claims), and whether ECR has the repository or creates it, the registry tells it
/// so.
#[derive(Default)]
pub(crate) struct UploadTrial {
    needless: CancellationToken,
    under_way: Mutex<()>,
}

impl UploadTrial {
    /// Begins none from now on: the push has come as far itself.
    pub(crate) fn stop(&self) {
        self.needless.cancel();
    }

    /// Waits until one that has begun is taken back.
    pub(crate) async fn stopped(&self) {
        drop(self.under_way.lock().await);
    }

    async fn run(&self, route: &Route) -> Result<()> {
        if tokio::time::timeout(TRIAL_AFTER, self.needless.cancelled()).await.is_ok() {
            return Ok(());
        }
        let _under_way = self.under_way.lock().await;
        if self.needless.is_cancelled() {
            return Ok(());
        }
        let request = begin_upload(route);
        let response = route.endpoint.send_with_retry(&request, None).await?;
        match response.status() {
            status if status.is_success() => return cancel_upload(route, response).await,
            status if is_transient(status) => {}
            _ => return Err(route.endpoint.response_error(response, &request).await),
        }
        Ok(())
    }
}

/// An artifact as Harbor's own interface describes it.
#[derive(Deserialize)]
struct HarborArtifact {
    #[serde(default)]
    tags: Option<Vec<HarborTag>>,
}

#[derive(Deserialize)]
struct HarborTag {
    name: String,
    #[serde(default)]
    immutable: bool,
}

impl Client {
    /// Looks for what would make a push into `repository` fail at its end: the host, TLS, `/v2/`,
    /// the login, the right to push, the project. Trouble that may pass by is none. Warns of a tag
    /// that may not be replaced.
    ///
    /// # Errors
    /// What the push would fail with: `Network`, `Auth`, `Registry`, `NotFound`.
    pub(crate) async fn preflight(&self, repository: &Repository, tags: &[Tag], trial: &UploadTrial) -> Result<()> {
        let route = self.destination(repository)?;
        let Route { endpoint, path } = &route;
        let tag = tags.first().map_or("latest", Tag::as_str);
        let scope = Scope::push(path);
        // A GET of a manifest counts as a pull on Docker Hub.
        let method = if endpoint.kind == RegistryKind::DockerHub { Method::HEAD } else { Method::GET };
        let request = route.manifest(method, tag, scope.clone());
        let response = endpoint.send_with_retry(&request, None).await?;
        let status = response.status();
        let body = endpoint.transport.read_error_body(response).await;
        if is_transient(status) {
            return Ok(());
        }
        let header = endpoint.authorize(path, &scope).await?;
        let rights = header.as_ref().and_then(|header| granted(header, path));
        let may_push = rights.as_ref().map(|rights| rights.iter().any(|right| right == "push" || right == "*"));
        let refusal = Refusal::parse(status, &body);
        match (may_push, status) {
            // An account that may push and not pull is none to stop.
            (None | Some(false), StatusCode::UNAUTHORIZED) => Err(endpoint.error_for(refusal, path, true).await),
            (_, StatusCode::UNAUTHORIZED) if refusal.is_about_missing_project() => {
                Err(endpoint.error_for(refusal, path, true).await)
            }
            // As the registry would say it of the upload.
            (Some(false), _) => Err(endpoint.error_for(Refusal::no_right_to_push(path), path, true).await),
            (_, StatusCode::OK) if self.is_harbor(repository)? => {
                self.warn_of_immutable_tag(&route, tag).await;
                Ok(())
            }
            (None, _) => trial.run(&route).await,
            _ => Ok(()),
        }
    }

    /// Harbor tells whether a tag may be replaced; the same image again is not a replacement, so
    /// this is not an error yet.
    async fn warn_of_immutable_tag(&self, Route { endpoint, path }: &Route, tag: &str) {
        let Some((project, name)) = path.split_once('/') else { return };
        let name = name.replace('/', "%252F");
        let target =
            format!("/api/v2.0/projects/{project}/repositories/{name}/artifacts/{tag}?with_tag=true&with_immutable_status=true");
        let request = ApiRequest::new(Method::GET, path, "", Scope::none());
        let request = ApiRequest { target: RequestTarget::Path(target), ..request };
        let header = endpoint.auth.basic_header(&endpoint.transport, path).await;
        let Ok(response) = endpoint.send_as(&request, header.as_ref()).await else { return };
        let body = endpoint.transport.read_error_body(response).await;
        let Ok(artifact) = serde_json::from_slice::<HarborArtifact>(&body) else { return };
        if artifact.tags.into_iter().flatten().any(|own| own.name == tag && own.immutable) {
            let message =
                format!("the tag `{tag}` of `{path}` exists and is immutable: the registry accepts only the same image again");
            self.options().progress.warn(&message, Some("push under a new tag, or change the project's tag immutability rules"));
        }
    }

    /// Whether what is pushed into `repository` can be pulled without credentials. The repository
    /// need not exist yet.
    pub(crate) async fn check_anonymous_access(&self, name: &str, repository: &Repository) -> CheckItem {
        let hint = visibility_hint(repository, ErrorKind::Auth);
        let anybody = self.anonymous();
        let asked = async {
            let Route { endpoint, path } = anybody.destination(repository)?;
            let header = endpoint.authorize(&path, &Scope::pull(&path)).await?;
            let rights = header.as_ref().and_then(|header| granted(header, &path));
            Ok::<_, Error>((endpoint.is_challenged(), anybody.is_harbor(repository)?, rights))
        };
        let item = |state, detail: &str, hint: Option<String>| CheckItem {
            name: name.to_owned(),
            state,
            detail: detail.to_owned(),
            hint,
            kind: None,
        };
        match asked.await {
            Ok((false, ..)) => item(CheckState::Passed, "the registry requires no login", None),
            Ok((true, true, Some(rights))) if rights.iter().any(|right| right == "pull") => {
                item(CheckState::Passed, "the project is public", None)
            }
            Ok((true, true, Some(_))) => CheckItem {
                kind: Some(ErrorKind::Auth),
                ..item(CheckState::Failed, "the project is private: the registry does not allow anonymous pulls", hint)
            },
            Ok(_) => item(CheckState::Later, "unknown until the first push", hint),
            Err(error) if error.kind() == ErrorKind::Auth => item(CheckState::Later, "unknown until the first push", hint),
            Err(error) => CheckItem { state: CheckState::Unknown, ..CheckItem::failed(name, &error) },
        }
    }
}
