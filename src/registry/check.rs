//! Checks: can this machine push, can anybody pull.
//!
//! Invariants: the anonymous check uses no credentials; no image, tag or upload session is left in
//! the registry.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::auth::Scope;
use super::client::{Client, Route};
use super::endpoint::{ApiRequest, Endpoint, RequestTarget};
use super::errors::not_a_registry_hint;
use super::failure::is_decisive;
use super::host::{RegistryKind, host_of};
use super::manifest::LIMIT;
use super::push::{BlobOutcome, PARALLEL_HEADS, Pushed};
use super::retry::is_transient;
use super::transport::header_text;
use super::upload::with_digest;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Names;
use crate::oci::{Descriptor, Digest, Repository};

/// The check after which it is known that there is a registry.
pub(crate) const REGISTRY: &str = "registry";

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckState {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// It could not be found out.
    Unknown,
    /// It can only be told later: after the first push, or with a connection to what an adapter
    /// collects from.
    Later,
}

/// One line of a check's list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckItem {
    /// What was checked, as a noun that stays: `dns`, `tls`, `registry`, `login`, `push`,
    /// `anonymous pull`, …
    pub name: String,
    /// How it went.
    pub state: CheckState,
    /// What was found, or why it failed.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The kind of the error, where it failed with one.
    pub kind: Option<ErrorKind>,
}

impl CheckItem {
    pub(crate) fn passed(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state: CheckState::Passed, detail: detail.into(), hint: None, kind: None }
    }

    /// How a question that was not answered as it should be went.
    pub(crate) fn failed(name: &str, error: &Error) -> Self {
        let texts: Vec<String> = std::iter::once(error.to_string()).chain(error.causes()).collect();
        let hint = error.hint().map(str::to_owned);
        Self { name: name.into(), state: CheckState::Failed, detail: texts.join(": "), hint, kind: Some(error.kind()) }
    }

    /// As `failed`, of what is no fault yet.
    #[cfg(feature = "run")]
    pub(crate) fn later(name: &str, error: &Error) -> Self {
        Self { state: CheckState::Later, ..Self::failed(name, error) }
    }
}

/// Whether an image can be pulled without credentials.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AnonymousReport {
    /// Manifest, config and layers, in this order.
    pub items: Vec<CheckItem>,
    /// Docker Hub: pulls left and allowed, for this source address.
    pub pulls: Option<(u64, u64)>,
    /// What to do in this registry so that everybody can pull; `None` if they can, or it is not a
    /// matter of rights.
    pub hint: Option<String>,
    /// Why what is returned is not the image that was pushed, or nothing is, where rights are no
    /// reason.
    lost: Option<String>,
}

impl AnonymousReport {
    fn new() -> Self {
        Self { items: Vec::new(), pulls: None, hint: None, lost: None }
    }

    /// Whether the registry returns what it has taken, as far as a pull can tell.
    ///
    /// # Errors
    /// `Registry`: it has no such manifest, or another one under the digest.
    pub fn expect_stored(&self) -> Result<()> {
        let Some(cause) = &self.lost else { return Ok(()) };
        Err(Error::new(ErrorKind::Registry, "the registry has confirmed the push, but does not have the image")
            .with_hint("ask who runs the registry: servers that share an address must share their storage")
            .with_source(cause.as_str()))
    }

    /// Whether everything can be pulled.
    pub fn pullable(&self) -> bool {
        !self.items.is_empty() && self.items.iter().all(|item| item.state == CheckState::Passed)
    }

    /// What speaks most against it: the first item that failed, else the first in doubt; `None` if
    /// all passed.
    pub fn worst(&self) -> Option<&CheckItem> {
        let first = |state| self.items.iter().find(|item| item.state == state);
        first(CheckState::Failed).or_else(|| first(CheckState::Unknown))
    }

    /// Notes the answer about a manifest; what it names, if it may be read.
    fn take_manifest(
        &mut self,
        digest: &Digest,
        answer: Result<(Names, Option<(u64, u64)>), CheckFailure>,
        repository: &Repository,
    ) -> Option<Names> {
        let name = format!("manifest {}", digest.short());
        if let Err(CheckFailure { error, .. }) = &answer
            && error.kind() == ErrorKind::Corrupt
        {
            self.lost = Some(format!("{name}: {}", error.in_one_line()));
        }
        match answer {
            Ok((names, pulls)) => {
                self.pulls = self.pulls.or(pulls);
                self.items.push(CheckItem::passed(&name, "anybody can pull it"));
                Some(names)
            }
            Err(error) => {
                self.fail(&name, &error, repository);
                None
            }
        }
    }

    fn take_blobs(&mut self, answers: Vec<(String, Result<(), CheckFailure>)>, repository: &Repository) {
        for (name, answer) in answers {
            match answer {
                Ok(()) => self.items.push(CheckItem::passed(&name, "anybody can pull it")),
                Err(error) => self.fail(&name, &error, repository),
            }
        }
    }

    fn fail(&mut self, name: &str, CheckFailure { error, transient }: &CheckFailure, repository: &Repository) {
        let rights = visibility_hint(repository, error.kind());
        let mut item = CheckItem::failed(name, error);
        if *transient {
            item.state = CheckState::Unknown;
        }
        // A refusal's own hint would be to log in, which the product cannot.
        if rights.is_some() {
            item.hint.clone_from(&rights);
        }
        self.items.push(item);
        self.hint = self.hint.take().or(rights);
    }
}

/// Why something was not read, and whether it might be another time: then nothing is known.
struct CheckFailure {
    error: Error,
    transient: bool,
}

impl From<Error> for CheckFailure {
    fn from(error: Error) -> Self {
        let transient = matches!(error.kind(), ErrorKind::Network | ErrorKind::Interrupted);
        Self { error, transient }
    }
}

/// A blob and its role in the image (`config` or `layer`).
type BlobRole = (&'static str, Descriptor);

fn blobs(names: &Names) -> Vec<BlobRole> {
    let config = names.config.iter().map(|config| ("config", config.clone()));
    let layers = names.layers.iter().filter(|layer| !layer.is_elsewhere());
    config.chain(layers.map(|layer| ("layer", layer.clone()))).collect()
}

impl Client {
    /// Whether the image at `digest` can be pulled without credentials: manifest, config and every
    /// layer.
    ///
    /// On Docker Hub no pull is used up: its manifests are only asked for by HEAD, and read with
    /// the credentials.
    pub async fn check_anonymous(&self, repository: &Repository, digest: &Digest) -> AnonymousReport {
        let mut report = AnonymousReport::new();
        let anybody = self.anonymous();
        let mut seen = BTreeSet::from([*digest]);
        let mut manifests = vec![*digest];
        while let Some(digest) = manifests.pop() {
            let names = anybody.anonymous_manifest(self, repository, &digest).await;
            if let Some(names) = report.take_manifest(&digest, names, repository) {
                manifests.extend(names.manifests.iter().map(|child| child.digest).filter(|child| seen.insert(*child)));
                let answers = anybody.anonymous_blobs(repository, blobs(&names), &BTreeSet::new()).await;
                report.take_blobs(answers, repository);
            }
        }
        report
    }

    /// As `check_anonymous`, of an image that was just pushed, in less time: what it is made of is
    /// known.
    ///
    /// A registry that has not challenged was pushed to without a login: what it said about blobs
    /// then counts here, too.
    pub async fn check_pushed(&self, repository: &Repository, pushed: &Pushed) -> AnonymousReport {
        let (names, route) = (Names::parse(&pushed.manifest), self.destination(repository));
        let (Ok(names), Ok(route), true) = (names, route, *repository == pushed.repository) else {
            return self.check_anonymous(repository, &pushed.digest).await;
        };
        let open = !route.endpoint.is_challenged();
        let anybody = if open { self.clone() } else { self.anonymous() };
        let known = pushed.blobs.iter().filter(|blob| open && blob.outcome == BlobOutcome::Exists);
        let known = known.map(|blob| blob.descriptor.digest).collect();
        let mut report = AnonymousReport::new();
        let (manifest, answers) = tokio::join!(
            anybody.anonymous_manifest(self, repository, &pushed.digest),
            anybody.anonymous_blobs(repository, blobs(&names), &known),
        );
        if let Err(CheckFailure { error, .. }) = &manifest
            && open
            && error.kind() == ErrorKind::NotFound
        {
            report.lost = Some(format!("manifest {}: {}", pushed.digest.short(), error.in_one_line()));
        }
        if report.take_manifest(&pushed.digest, manifest, repository).is_some() {
            report.take_blobs(answers, repository);
        }
        report
    }

    async fn anonymous_manifest(
        &self,
        owner: &Client,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(Names, Option<(u64, u64)>), CheckFailure> {
        let route = self.destination(repository)?;
        let on_hub = route.endpoint.kind == RegistryKind::DockerHub;
        let method = if on_hub { Method::HEAD } else { Method::GET };
        let (headers, bytes) = manifest(&route, method, digest).await?;
        let bytes = match on_hub {
            true => manifest(&owner.destination(repository)?, Method::GET, digest).await?.1,
            false => bytes,
        };
        digest.verify(&bytes)?;
        // Other registries limit, and count, other things.
        Ok((Names::parse(&bytes)?, pulls(&headers).filter(|_| on_hub)))
    }

    /// Asks for all blobs that are not `known` to be there; the answers in the order of the blobs.
    async fn anonymous_blobs(
        &self,
        repository: &Repository,
        blobs: Vec<BlobRole>,
        known: &BTreeSet<Digest>,
    ) -> Vec<(String, Result<(), CheckFailure>)> {
        let ask = |(kind, blob): BlobRole| async move {
            let answer = if known.contains(&blob.digest) { Ok(()) } else { self.anonymous_blob(repository, &blob).await };
            (format!("{kind} {}", blob.digest.short()), answer)
        };
        // Futures first: a stream that still holds the closure is not provably `Send`.
        let questions: Vec<_> = blobs.into_iter().map(ask).collect();
        stream::iter(questions).buffered(PARALLEL_HEADS).collect().await
    }

    /// HEAD, and where storage behind a redirect refuses that, the first byte.
    async fn anonymous_blob(&self, repository: &Repository, blob: &Descriptor) -> Result<(), CheckFailure> {
        let Route { endpoint, path } = self.destination(repository)?;
        let request = ApiRequest::new(Method::HEAD, &path, &format!("blobs/{}", blob.digest), Scope::pull(&path));
        let response = endpoint.send_with_retry(&request, None).await?;
        if response.status().is_success() {
            let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            return match length {
                Some(length) if length != blob.size => {
                    Err(Error::new(ErrorKind::Corrupt, format!("the registry has {length} bytes of {}", blob.size)).into())
                }
                _ => Ok(()),
            };
        }
        let request = ApiRequest { method: Method::GET, ..request }.with_header(RANGE, "bytes=0-0");
        fetch(&endpoint, &request).await.map(drop)
    }

    /// What a push into `repository` needs, one thing after the other; what depends on a failed one
    /// is left out.
    pub async fn check(&self, repository: &Repository) -> Vec<CheckItem> {
        let mut items = Vec::new();
        // Each error is also the last item: nothing is lost by dropping it here.
        let _ = self.check_into(repository, &mut items).await;
        items
    }

    async fn check_into(&self, repository: &Repository, items: &mut Vec<CheckItem>) -> Result<(), ()> {
        let mut note = |name: &str, result: Result<String>| match result {
            Ok(detail) => {
                items.push(CheckItem::passed(name, detail));
                Ok(())
            }
            Err(error) => {
                items.push(CheckItem::failed(name, &error));
                Err(())
            }
        };
        let route = match self.destination(repository) {
            Ok(route) => route,
            Err(error) => return note(REGISTRY, Err(error)),
        };
        note("dns", resolve(&route.endpoint).await)?;
        let ping = ApiRequest {
            target: RequestTarget::Path("/v2/".into()),
            ..ApiRequest::new(Method::GET, &route.path, "", Scope::none())
        };
        let answer = route.endpoint.ping(&ping).await;
        let status = match answer {
            Ok(status) => status,
            Err(error) if is_decisive(&error) => return note("tls", Err(error)),
            Err(error) => return note(REGISTRY, Err(error)),
        };
        let how = match (route.endpoint.is_encrypted(), route.endpoint.insecure()) {
            (true, false) => "certificate is trusted",
            (true, true) => "encrypted, certificate not checked",
            (false, _) => "plain HTTP",
        };
        note("tls", Ok(how.into()))?;
        note(REGISTRY, speaks(status))?;
        note("login", self.check_login(&route, &ping, status).await)?;
        note("push", check_push(&route).await)
    }

    async fn check_login(&self, route: &Route, ping: &ApiRequest, status: StatusCode) -> Result<String> {
        if status.is_success() {
            return Ok("the registry asks for none".into());
        }
        let response = route.endpoint.send_with_retry(ping, None).await?;
        let known = route.endpoint.has_credential(&route.path).await;
        match response.status() {
            status if status.is_success() && known => Ok("credentials are accepted".into()),
            status if status.is_success() => Ok("without credentials: none are stored".into()),
            _ => Err(route.endpoint.login_error(response, ping).await),
        }
    }
}

/// Begins an upload and takes it back.
async fn check_push(route: &Route) -> Result<String> {
    let response = route.endpoint.fetch(&begin_upload(route), None).await?;
    cancel_upload(route, response).await?;
    Ok(format!("into `{}`", route.path))
}

/// The request that begins an upload.
pub(super) fn begin_upload(Route { path, .. }: &Route) -> ApiRequest {
    ApiRequest::new(Method::POST, path, "blobs/uploads/", Scope::push(path))
}

/// Takes an upload back that has begun with this answer.
///
/// # Errors
/// `Registry`: the answer does not say where the upload is, so none could be made.
pub(super) async fn cancel_upload(Route { endpoint, path }: &Route, response: Response) -> Result<()> {
    let location = header_text(response.headers(), LOCATION);
    let location = location.ok_or_else(|| endpoint.no_location(response.status().as_u16()))?;
    if let Ok(location) = endpoint.resolve(response.url(), &location) {
        let deleted = endpoint.send(&ApiRequest::to(Method::DELETE, &location, path, Scope::push(path))).await;
        if !deleted.is_ok_and(|response| response.status().is_success()) {
            // Harbor's developers may delete nothing: the specification's empty blob ends the
            // session, and no image names it.
            let empty = Bytes::from_static(b"{}");
            let end = ApiRequest::to(Method::PUT, &with_digest(location, &Digest::of(&empty)), path, Scope::push(path));
            // A session that stays all the same is purged by the registry.
            let _ = endpoint.send(&end.with_bytes(empty)).await;
        }
    }
    Ok(())
}

async fn fetch(endpoint: &Endpoint, request: &ApiRequest) -> Result<Response, CheckFailure> {
    let response = endpoint.send_with_retry(request, None).await?;
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(CheckFailure { error: endpoint.response_error(response, request).await, transient: is_transient(status) }),
    }
}

async fn manifest(route: &Route, method: Method, digest: &Digest) -> Result<(HeaderMap, Bytes), CheckFailure> {
    let Route { endpoint, path } = route;
    let request = route.manifest(method, digest, Scope::pull(path));
    let response = fetch(endpoint, &request).await?;
    let headers = response.headers().clone();
    Ok((headers, endpoint.transport.read_body(response, LIMIT as usize).await?))
}

async fn resolve(endpoint: &Endpoint) -> Result<String> {
    let host = host_of(endpoint.authority());
    match tokio::net::lookup_host((host, 0)).await {
        Ok(addresses) => {
            let addresses: BTreeSet<String> = addresses.map(|address| address.ip().to_string()).collect();
            Ok(addresses.into_iter().collect::<Vec<_>>().join(", "))
        }
        Err(_) if endpoint.transport.has_proxy() => Ok("left to the proxy".into()),
        Err(error) => Err(Error::new(ErrorKind::Network, format!("cannot find the host `{host}`"))
            .with_hint("check the host's name, and this machine's DNS")
            .with_source(error)),
    }
}

fn speaks(status: StatusCode) -> Result<String> {
    match status.as_u16() {
        200 | 401 => Ok("a registry of the distribution API".into()),
        other => Err(Error::new(ErrorKind::Registry, format!("`/v2/` answered {other}")).with_hint(not_a_registry_hint(status))),
    }
}

/// `ratelimit-limit: 100;w=21600` and `ratelimit-remaining` (Docker Hub, "Pull usage and limits").
fn pulls(headers: &HeaderMap) -> Option<(u64, u64)> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.split(';').next()?.trim().parse().ok();
    Some((number("ratelimit-remaining")?, number("ratelimit-limit")?))
}

/// How a repository is opened to everybody.
pub(super) fn visibility_hint(repository: &Repository, kind: ErrorKind) -> Option<String> {
    // Registries answer requests without a login 401 or 403, or 404 as if there were nothing.
    if !matches!(kind, ErrorKind::Auth | ErrorKind::NotFound) {
        return None;
    }
    let (registry, path) = (repository.registry(), repository.path());
    let project = path.split('/').next().unwrap_or_default();
    Some(match RegistryKind::of(registry) {
        RegistryKind::Ecr if host_of(registry) != "public.ecr.aws" => format!(
            "a private ECR repository cannot be pulled without credentials: push to ECR Public (`public.ecr.aws/<alias>/{path}`), \
             or to a Harbor project that is public"
        ),
        RegistryKind::DockerHub => format!("on hub.docker.com open `{path}`, Settings, and make the repository public"),
        RegistryKind::Ghcr => "on github.com open the package, Package settings, and change its visibility to public".into(),
        RegistryKind::Quay => format!("on quay.io open `{path}`, Settings, and make the repository public"),
        RegistryKind::Google => format!("grant `allUsers` the role `roles/artifactregistry.reader` on `{path}`"),
        RegistryKind::Ecr | RegistryKind::Other => format!(
            "make the repository public: in Harbor open the project `{project}`, Configuration, tick `Public` and save; elsewhere \
             allow anonymous pulls of `{path}`"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hubs_limits_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit-limit", "100;w=21600".parse().unwrap());
        assert_eq!(pulls(&headers), None);
        headers.insert("ratelimit-remaining", "76;w=21600".parse().unwrap());
        assert_eq!(pulls(&headers), Some((76, 100)));
    }

    #[test]
    fn each_service_has_its_way_to_the_public() {
        for (repository, expected) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com/nsx", "public.ecr.aws/<alias>/nsx"),
            ("user/nsx", "hub.docker.com"),
            ("ghcr.io/user/nsx", "github.com"),
            ("harbor.example.com/mp/nsx", "in Harbor open the project `mp`"),
        ] {
            let hint = visibility_hint(&Repository::parse(repository).unwrap(), ErrorKind::Auth).unwrap();
            assert!(hint.contains(expected), "{hint}");
        }
        assert_eq!(visibility_hint(&Repository::parse("user/nsx").unwrap(), ErrorKind::Network), None);
    }
}
