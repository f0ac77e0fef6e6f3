//! Tags and referrers: pages, retries, and registries that do not list referrers.

use std::collections::BTreeSet;

use mpimg::ErrorKind;
use mpimg::oci::{Digest, MediaType, Repository, Tag};

use super::fixture::{client, options};
use super::scripted::http_server::{HttpServer, Reply, Request, Response};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that is a function from requests to answers.
fn registry(script: impl Fn(&Request) -> Response + Send + 'static) -> HttpServer<impl FnMut(&Request) -> Reply + Send> {
    HttpServer::plain(move |request: &Request| match request.path.as_str() {
        "/v2/" => Response::new(200).into(),
        _ => Reply::Response(script(request)),
    })
}

fn repository<S>(server: &HttpServer<S>) -> Repository {
    Repository::parse(&format!("{}/a/b", server.address)).unwrap()
}

fn tag_page(tags: impl IntoIterator<Item = String>) -> Response {
    Response::json(200, &serde_json::json!({ "name": "a/b", "tags": tags.into_iter().collect::<Vec<_>>() }))
}

fn names(tags: &BTreeSet<Tag>) -> Vec<&str> {
    tags.iter().map(Tag::as_str).collect()
}

#[tokio::test]
async fn every_page_of_tags_is_read_whatever_form_its_link_has() {
    let server = registry(|request| match request.parameter("last").as_deref() {
        None => tag_page(["a".into()]).with("Link", r#"</v2/a/b/tags/list?n=1000&last=a>; rel="next""#),
        Some("a") => {
            let absolute = format!("http://{}/v2/a/b/tags/list?last=b", request.header("host").unwrap());
            tag_page(["b".into()]).with("Link", format!(r#"<{absolute}>; rel=next"#))
        }
        // A page without tags of its own is not the last.
        Some("b") => tag_page([]).with("Link", r#"<?last=c>; rel="next""#),
        _ => tag_page(["c".into(), "not a tag".into()]),
    });
    assert_eq!(names(&client(options()).tags(&repository(&server)).await.unwrap()), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_full_page_without_a_link_is_not_the_last_and_a_repeated_one_is() {
    let page = |from: usize| tag_page((from..from + 1000).map(|number| format!("v{number:05}")));
    let honours_last = registry(move |request| match request.parameter("last") {
        None => page(0),
        Some(_) => tag_page(["v01000".into()]),
    });
    assert_eq!(client(options()).tags(&repository(&honours_last)).await.unwrap().len(), 1001);
    let ignores_last = registry(move |_| page(0));
    assert_eq!(client(options()).tags(&repository(&ignores_last)).await.unwrap().len(), 1000);
    assert_eq!(ignores_last.seen().iter().filter(|request| request.path.ends_with("/tags/list")).count(), 2);
}

#[tokio::test]
async fn a_list_is_asked_for_again_when_the_registry_is_busy_on_its_second_page_too() {
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let server = registry(move |request| {
        match (answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2, request.parameter("last")) {
            (0, _) => Response::new(503),
            (_, None) => tag_page(["a".into()]).with("Link", r#"</v2/a/b/tags/list?last=a>; rel="next""#),
            (_, Some(_)) => tag_page(["b".into()]),
        }
    });
    assert_eq!(names(&client(options()).tags(&repository(&server)).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn a_list_that_is_refused_or_damaged_is_an_error_and_never_an_empty_list() {
    for (response, kind) in [
        (Response::error(404, "NAME_UNKNOWN", "repository name not known to registry"), ErrorKind::NotFound),
        (Response::error(403, "DENIED", "requested access to the resource is denied"), ErrorKind::Auth),
        (Response::new(200).with_body("<html>sign in</html>"), ErrorKind::Registry),
    ] {
        let status = response.status;
        let server = registry(move |_| response.clone());
        let error = client(options()).tags(&repository(&server)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().starts_with("cannot list the tags of `"), "{error:?}");
        if status == 403 {
            let error = client(options()).referrers(&repository(&server), &Digest::of("x")).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error:?}");
        }
    }
}

/// An index of referrers, as a registry sends it.
fn referrer_page(of: &[&str]) -> Response {
    let entry = |name: &&str| {
        serde_json::json!({
            "mediaType": MediaType::Manifest.as_str(), "artifactType": format!("application/{name}"),
            "digest": Digest::of(name), "size": name.len(),
        })
    };
    let manifests: Vec<_> = of.iter().map(entry).collect();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    Response::new(200).with("Content-Type", INDEX).with_body(index.to_string())
}

async fn referrer_types<S>(server: &HttpServer<S>, subject: &Digest) -> Vec<String> {
    let referrers = client(options()).referrers(&repository(server), subject).await.unwrap();
    referrers.iter().map(|referrer| referrer.media_type.as_str().to_owned()).collect()
}

#[tokio::test]
async fn every_page_of_referrers_is_read_and_a_registry_without_the_list_is_asked_for_its_tag() {
    let subject = Digest::of("subject");
    let pages = registry(|request| match (request.path.contains("/referrers/"), request.query.as_str()) {
        (true, "") => referrer_page(&["a"]).with("Link", format!(r#"<{}?page=2>; rel="next""#, request.path)),
        (true, _) => referrer_page(&["b", "a"]),
        _ => Response::new(500),
    });
    assert_eq!(referrer_types(&pages, &subject).await, ["application/a", "application/b"]);

    let tag = format!("/manifests/sha256-{}", subject.hex());
    for unknown in [Response::new(404), Response::new(400), Response::new(405), Response::new(200).with_body("<html>")] {
        let (tag, unknown) = (tag.clone(), unknown.clone());
        let server = registry(move |request| match request.path.ends_with(&tag) {
            true => referrer_page(&["c"]),
            false => unknown.clone(),
        });
        assert_eq!(referrer_types(&server, &subject).await, ["application/c"]);
    }
    let neither = registry(|_| Response::new(404));
    assert!(referrer_types(&neither, &subject).await.is_empty());
}
