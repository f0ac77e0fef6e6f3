//! Which endpoint a path names, with every name in it checked (distribution specification,
//! "Endpoints").
//!
//! Refuses names that the specification's grammar refuses, so that nothing else ever becomes a path
//! on the disk.

use std::fmt;

use super::error_response::{ErrorCode, ErrorResponse};
use crate::oci::{Digest, Tag};

/// The longest repository name (distribution specification, "Pulling manifests", implementer's
/// note).
const NAME_LENGTH: usize = 255;

/// A repository's name inside the registry, such as `mp/nsx`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RepositoryName(String);

impl RepositoryName {
    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`, at most 255 bytes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.len() <= NAME_LENGTH && text.split('/').all(is_component)).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    let ends_are_words = bytes.next().is_some_and(word) && text.bytes().next_back().is_some_and(word);
    let separator_is_right =
        |separator: &str| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    ends_are_words && text.split(|c: char| c.is_ascii() && word(c as u8)).all(separator_is_right)
}

/// What `<reference>` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestReference {
    Tag(Tag),
    Digest(Digest),
    /// Neither: no manifest can have this name.
    Invalid(String),
}

impl fmt::Display for ManifestReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`
    Home,
    /// `/v2/`
    Base,
    /// `/token`
    Token,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, ManifestReference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, String),
}

impl Route {
    /// The endpoint of a path as it was sent, percent-encoded. Only `%3A`, the colon of a digest,
    /// is decoded: an encoded slash stays what it is and no name may hold it.
    pub(super) fn parse(path: &str) -> Result<Self, ErrorResponse> {
        let rest = match path {
            "/" => return Ok(Self::Home),
            "/token" => return Ok(Self::Token),
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            _ => path.strip_prefix("/v2/").ok_or_else(ErrorResponse::no_such_path)?,
        };
        let segments: Vec<&str> = rest.split('/').collect();
        // From the right, because a repository may itself be called `blobs` or `tags`.
        let route = match segments[..] {
            [ref name @ .., "tags", "list"] => Self::Tags(parse_name(name)?),
            [ref name @ .., "blobs", "uploads", ""] | [ref name @ .., "blobs", "uploads"] => Self::Uploads(parse_name(name)?),
            [ref name @ .., "blobs", "uploads", id] => Self::Upload(parse_name(name)?, id.to_owned()),
            [ref name @ .., "blobs", digest] => Self::Blob(parse_name(name)?, parse_digest(digest)?),
            [ref name @ .., "referrers", digest] => Self::Referrers(parse_name(name)?, parse_digest(digest)?),
            [ref name @ .., "manifests", reference] => Self::Manifest(parse_name(name)?, parse_reference(reference)?),
            _ => return Err(ErrorResponse::no_such_path()),
        };
        Ok(route)
    }
}

fn parse_name(segments: &[&str]) -> Result<RepositoryName, ErrorResponse> {
    let name = segments.join("/");
    RepositoryName::parse(&name).ok_or_else(|| {
        ErrorResponse::bad(ErrorCode::NameInvalid, "invalid repository name").with_detail(serde_json::json!({ "name": name }))
    })
}

/// Parses a digest of a path or query.
pub(super) fn parse_digest(text: &str) -> Result<Digest, ErrorResponse> {
    Digest::parse(&decode_colon(text)).map_err(|error| ErrorResponse::bad(ErrorCode::DigestInvalid, error.to_string()))
}

fn parse_reference(text: &str) -> Result<ManifestReference, ErrorResponse> {
    let text = decode_colon(text);
    if text.contains(':') {
        return parse_digest(&text).map(ManifestReference::Digest);
    }
    Ok(Tag::parse(&text).map_or(ManifestReference::Invalid(text), ManifestReference::Tag))
}

fn decode_colon(text: &str) -> String {
    text.replacen("%3A", ":", 1).replacen("%3a", ":", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_specifications_grammar() {
        for name in ["a", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "0/1/2", "library/python3.11", "blobs/uploads"] {
            assert!(RepositoryName::parse(name).is_some(), "{name}");
        }
        let wrong = [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", ".a", "a.", "-a", "a-", "..", "a/../b", "_a", "a b", "ä",
            "a%2fb", "a\\b", "a:b",
        ];
        for name in wrong {
            assert_eq!(RepositoryName::parse(name), None, "{name}");
        }
        assert!(RepositoryName::parse(&"a".repeat(255)).is_some());
        assert!(RepositoryName::parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn endpoints_are_read_from_the_right() {
        let name = |text| RepositoryName::parse(text).unwrap();
        let digest = Digest::of("x");
        assert_eq!(Route::parse("/v2/tags/list/tags/list").unwrap(), Route::Tags(name("tags/list")));
        assert_eq!(Route::parse("/v2/a/b/blobs/uploads/").unwrap(), Route::Uploads(name("a/b")));
        assert_eq!(Route::parse("/v2/a/blobs/uploads").unwrap(), Route::Uploads(name("a")));
        assert_eq!(Route::parse("/v2/a/blobs/uploads/i-d").unwrap(), Route::Upload(name("a"), "i-d".into()));
        assert_eq!(Route::parse(&format!("/v2/a/blobs/{digest}")).unwrap(), Route::Blob(name("a"), digest));
        let encoded = digest.to_string().replace(':', "%3A");
        assert_eq!(Route::parse(&format!("/v2/a/blobs/{encoded}")).unwrap(), Route::Blob(name("a"), digest));
        let by_digest = Route::Manifest(name("a"), ManifestReference::Digest(digest));
        assert_eq!(Route::parse(&format!("/v2/a/manifests/{digest}")).unwrap(), by_digest);
        let by_tag = Route::Manifest(name("a"), ManifestReference::Tag(Tag::parse("1.0").unwrap()));
        assert_eq!(Route::parse("/v2/a/manifests/1.0").unwrap(), by_tag);
        assert_eq!(Route::parse(&format!("/v2/a/referrers/{digest}")).unwrap(), Route::Referrers(name("a"), digest));
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_a_plain_path_below_the_folder(name in "[a-z0-9A-Z._/%-]{0,20}") {
            if let Some(name) = RepositoryName::parse(&name) {
                let path = std::path::Path::new(name.as_str());
                let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
                proptest::prop_assert!(plain);
                proptest::prop_assert!(!name.as_str().split('/').any(|part| part.starts_with('_')));
            }
        }

        #[test]
        fn any_path_is_read_without_a_panic(path in "(/v2/)?[a-z./%:]{0,10}/(blobs/uploads|manifests|tags|referrers)/.{0,20}") {
            let _ = Route::parse(&path);
        }
    }

    #[test]
    fn paths_outside_the_api_and_hostile_names_are_refused() {
        for path in ["", "/v1/", "/v2/a", "/v2/a/manifests/b/c", "/v2/../../etc/passwd", "/v2/a/blobs/sha256:00"] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        for path in ["/v2/../tags/list", "/v2/a%2f..%2fb/tags/list", "/v2//tags/list", "/v2/tags/list"] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
