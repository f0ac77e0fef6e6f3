//! Lists: the tags of a repository, and what refers to a manifest (distribution specification,
//! "Content Discovery").
//!
//! A list comes in pages; the `Link` header of each names the next (RFC 8288, as the specification
//! uses it).

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LINK};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::auth::Scope;
use super::client::{Client, Route};
use super::endpoint::{ApiRequest, RequestTarget};
use super::manifest::ACCEPTED;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::list_tag;
use crate::oci::{Descriptor, Digest, MediaType, Repository, Tag};
use crate::progress::{Task, TaskKind};

/// Number of tags to ask for at once; a registry may send fewer, or all that it has.
const PAGE: usize = 1000;

/// Limit for a page, in bytes. Registries that know no pages send all tags at once.
const PAGE_LIMIT: usize = 16 << 20;

/// Limit for the number of pages: a registry that always has another one would keep us for ever.
const PAGES: usize = 10_000;

/// The answer to `tags/list`.
#[derive(Deserialize)]
struct TagPage {
    // Go writes an empty list as null.
    tags: Option<Vec<String>>,
}

/// The answer to `referrers/<digest>`, and what is behind the tag that stands in for it.
#[derive(Deserialize)]
struct ReferrerPage {
    manifests: Option<Vec<Referrer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    artifact_type: Option<MediaType>,
    #[serde(flatten)]
    descriptor: Descriptor,
}

impl Client {
    /// All tags of `repository`, in order. Mirrors are not asked.
    ///
    /// # Errors
    /// `NotFound`: the registry does not know the repository; `Auth`, `Network`; `Registry` with
    /// the registry's answer.
    pub async fn tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>> {
        let route = self.destination(repository)?;
        let task = self.options().progress.task(TaskKind::Pull, &format!("tags of {}", repository.familiar()), None);
        let request = ApiRequest::new(Method::GET, &route.path, &format!("tags/list?n={PAGE}"), Scope::pull(&route.path));
        let mut tags = BTreeSet::new();
        let take = |page: &[u8]| {
            let TagPage { tags: page } = serde_json::from_slice(page)?;
            let page = page.unwrap_or_default();
            // A tag that the specification does not allow cannot be asked for either.
            tags.extend(page.iter().filter_map(|tag| Tag::parse(tag).ok()));
            // A registry that fills the page and names no next one may still have more.
            Ok(page.last().filter(|_| page.len() >= PAGE).map(|last| format!("?n={PAGE}&last={last}")))
        };
        let listed =
            route.endpoint.fetch(&request, Some(&task)).and_then(|first| read_pages(&route, &request, first, &task, take));
        self.transport()
            .unless_cancelled(listed)
            .await?
            .map_err(|error| error.wrap(format!("cannot list the tags of `{}`", repository.familiar())))?;
        task.done();
        Ok(tags)
    }

    /// What refers to `digest`: signatures, SBOMs. A descriptor's media type is the artifact's
    /// type, if it has one.
    ///
    /// A registry without this list has it under a tag, written by the programs that attach
    /// something ("Referrers Tag Schema").
    ///
    /// # Errors
    /// `Auth`, `Network`; `Registry` with the registry's answer.
    pub async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        let route = self.destination(repository)?;
        let task = self.options().progress.task(TaskKind::Pull, &format!("referrers in {}", repository.familiar()), None);
        let referrers = self.transport().unless_cancelled(list_referrers(&route, digest, &task)).await?;
        let referrers = referrers.map_err(|error| error.wrap(format!("cannot list what refers to `{digest}`")))?;
        task.done();
        Ok(referrers)
    }
}

async fn list_referrers(route: &Route, digest: &Digest, task: &Task) -> Result<Vec<Descriptor>> {
    let Route { endpoint, path } = route;
    let get = |rest: &str| ApiRequest::new(Method::GET, path, rest, Scope::pull(path)).with_header(ACCEPT, ACCEPTED);
    let mut request = get(&format!("referrers/{digest}"));
    let mut response = endpoint.send_with_retry(&request, Some(task)).await?;
    // 404 is what the specification says; go-containerregistry takes 400 and 406, and a page of
    // another type, for the same.
    let unknown = [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_ACCEPTABLE];
    if unknown.contains(&response.status()) || response.status().is_success() && !is_index(&response) {
        tracing::debug!(status = response.status().as_u16(), "no referrers API: asking for the tag in its place");
        // Read to its end, so that the connection serves again.
        endpoint.transport.read_error_body(response).await;
        request = get(&format!("manifests/{}", list_tag(digest)));
        response = endpoint.send_with_retry(&request, Some(task)).await?;
        // "The client SHOULD assume there are no referrers" if the tag is not there or is not an
        // index.
        if response.status() == StatusCode::NOT_FOUND || response.status().is_success() && !is_index(&response) {
            return Ok(Vec::new());
        }
    }
    if !response.status().is_success() {
        return Err(endpoint.response_error(response, &request).await);
    }
    let (mut seen, mut referrers) = (BTreeSet::new(), Vec::new());
    let take = |page: &[u8]| {
        let ReferrerPage { manifests } = serde_json::from_slice(page)?;
        for Referrer { artifact_type, mut descriptor } in manifests.unwrap_or_default() {
            descriptor.media_type = artifact_type.unwrap_or(descriptor.media_type);
            if seen.insert(descriptor.digest) {
                referrers.push(descriptor);
            }
        }
        Ok(None)
    };
    read_pages(route, &request, response, task, take).await?;
    Ok(referrers)
}

fn is_index(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    MediaType::from(content_type.split(';').next().unwrap_or_default().trim().to_owned()).is_index()
}

/// Hands the page in `response` to `take`, and all that follow. `take` may return the query of the
/// next page, for a registry that does not name it.
async fn read_pages(
    route: &Route,
    request: &ApiRequest,
    mut response: Response,
    task: &Task,
    mut take: impl FnMut(&[u8]) -> serde_json::Result<Option<String>>,
) -> Result<()> {
    let endpoint = &route.endpoint;
    let mut asked = BTreeSet::from([response.url().clone()]);
    while asked.len() <= PAGES {
        let (base, link) = (response.url().clone(), next_page(&response));
        let page: Bytes = endpoint.transport.read_body(response, PAGE_LIMIT).await?;
        let query =
            take(&page).context(ErrorKind::Registry, || format!("`{}` sent a list that cannot be read", endpoint.authority()))?;
        let Some(next) = link.or(query) else { return Ok(()) };
        let next: Url = endpoint.resolve(&base, &next)?;
        // A registry that ignores `last` sends the same page again.
        if !asked.insert(next.clone()) {
            return Ok(());
        }
        let request = ApiRequest { target: RequestTarget::Url(next), ..request.clone() };
        response = endpoint.fetch(&request, Some(task)).await?;
    }
    Err(Error::new(ErrorKind::Registry, format!("`{}` sent {PAGES} pages and names yet another", endpoint.authority())))
}

/// The target of the header `Link: <URL>; rel="next"`.
fn next_page(response: &Response) -> Option<String> {
    let links = response.headers().get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split(',')).find_map(next_target).map(str::to_owned)
}

fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    };
    parameters.split(';').any(is_next).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_link_with_that_relation() {
        for (link, expected) in [
            (r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b")),
            (r#" <https://r.example.com/x?page=2>; title="a"; REL=Next"#, Some("https://r.example.com/x?page=2")),
            (r#"</v2/a/tags/list>; rel="prev""#, None),
            (r#"</v2/a/tags/list>"#, None),
            ("", None),
        ] {
            assert_eq!(next_target(link), expected, "{link}");
        }
    }
}
