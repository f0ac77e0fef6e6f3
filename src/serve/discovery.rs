//! What is there: tags, referrers, repositories, and a page for people (distribution specification,
//! "Content Discovery").
//!
//! Refuses page sizes that are not numbers; without one, everything is listed.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use url::form_urlencoded;

use super::blocking::blocking;
use super::error_response::{ErrorCode, ErrorResponse};
use super::registry_state::RegistryState;
use super::request_context::{RequestContext, json};
use super::route::RepositoryName;
use crate::oci::{Digest, MediaType};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// How many images the page for people names.
const SHOWN: usize = 50;

/// `GET /v2/<name>/tags/list`
pub(super) async fn tags(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
) -> Result<Response, ErrorResponse> {
    let page = Page::of(exchange)?;
    let repository = {
        let (app, name) = (app.clone(), name.clone());
        blocking(move || app.disk.repository(&name)).await?
    };
    let repository = repository.ok_or_else(|| {
        ErrorResponse::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, "repository name not known to registry")
            .with_detail(serde_json::json!({ "name": name.as_str() }))
    })?;
    let index = repository.index();
    let (tags, more) = page.take(index.tags_after(page.last.as_deref()));
    let response = json(&serde_json::json!({ "name": name.as_str(), "tags": tags }));
    Ok(page.link(response, &format!("/v2/{name}/tags/list"), tags.last().filter(|_| more)))
}

/// `GET /v2/_catalog`, which the specification reserves and docker's registry defines.
pub(super) async fn catalog(app: &Arc<RegistryState>, exchange: &mut RequestContext) -> Result<Response, ErrorResponse> {
    let page = Page::of(exchange)?;
    let names = {
        let app = app.clone();
        blocking(move || app.disk.repository_names()).await?
    };
    let after = names.iter().map(RepositoryName::as_str).filter(|name| page.last.as_deref().is_none_or(|last| *name > last));
    let (names, more) = page.take(after);
    let response = json(&serde_json::json!({ "repositories": names }));
    Ok(page.link(response, "/v2/_catalog", names.last().filter(|_| more)))
}

/// `GET /v2/<name>/referrers/<digest>`: never 404, also for a repository or subject that is not
/// there.
pub(super) async fn referrers(
    app: &Arc<RegistryState>,
    exchange: &mut RequestContext,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, ErrorResponse> {
    let artifact_type = exchange.query("artifactType");
    let repository = {
        let app = app.clone();
        blocking(move || app.disk.repository(&name)).await?
    };
    let index = repository.map(|repository| repository.index()).unwrap_or_default();
    let mut response = json(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::Index,
        "manifests": index.referrers(&digest, artifact_type.as_deref()),
    }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    if artifact_type.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// `GET /`: how to use this registry, for people who open it in a browser.
pub(super) async fn home(app: &Arc<RegistryState>, exchange: &mut RequestContext) -> Result<Response, ErrorResponse> {
    let host = exchange.header(header::HOST).unwrap_or("HOST:PORT").to_owned();
    // With users, the names are for them.
    let names = match &app.access_control {
        Some(_) => Vec::new(),
        None => {
            let app = app.clone();
            blocking(move || app.disk.repository_names()).await?
        }
    };
    let mut page = format!("This is a container registry, served by mpimg.\n\nTo pull:  docker pull {host}/REPOSITORY:TAG\n");
    if !app.options.read_only {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "To push:  mpimg push -r {host}/REPOSITORY");
    }
    if !names.is_empty() {
        page.push_str("\nRepositories:\n");
    }
    for name in names.iter().take(SHOWN) {
        let _ = writeln!(page, "  {host}/{name}");
    }
    if names.len() > SHOWN {
        let _ = writeln!(page, "  and {} more: see /v2/_catalog", names.len() - SHOWN);
    }
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// Which part of a list is asked for.
struct Page {
    length: Option<usize>,
    last: Option<String>,
}

impl Page {
    fn of(exchange: &RequestContext) -> Result<Self, ErrorResponse> {
        let length = exchange.query("n").filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
        let length = length.map_err(|_| ErrorResponse::bad(ErrorCode::Unsupported, "`n` is not a number of entries"))?;
        Ok(Self { length, last: exchange.query("last").filter(|last| !last.is_empty()) })
    }

    /// The entries of this page, and whether more follow. A page of none has none after it: there
    /// would be no end.
    fn take<'a>(&self, mut entries: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, bool) {
        let length = self.length.unwrap_or(usize::MAX);
        let page: Vec<&str> = entries.by_ref().take(length).collect();
        let more = length > 0 && entries.next().is_some();
        (page, more)
    }

    /// Adds where the next page is (RFC 8288).
    fn link(&self, mut response: Response, path: &str, last: Option<&&str>) -> Response {
        if let (Some(length), Some(last)) = (self.length, last) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("n", &length.to_string()).append_pair("last", last);
            if let Ok(link) = HeaderValue::try_from(format!("<{path}?{}>; rel=\"next\"", query.finish())) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        response
    }
}
