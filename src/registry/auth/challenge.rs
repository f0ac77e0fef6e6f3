//! `WWW-Authenticate` headers (RFC 9110, 11.6.1), of the schemes Bearer and Basic, and the token
//! scopes that answer them.

use std::fmt;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::oci::Repository;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token from `realm`.
    Bearer { realm: String, service: Option<String> },
    /// User name and password.
    Basic,
}

impl Challenge {
    /// The challenge of an answer; Bearer before Basic where both are offered.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let all: Vec<Self> = texts.flat_map(|text| parse(&text)).collect();
        all.iter().find(|challenge| matches!(challenge, Self::Bearer { .. })).or(all.first()).cloned()
    }
}

/// All challenges of one header value that are understood.
fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = text;
    while let Some((scheme, parameters, next)) = next_challenge(rest) {
        rest = next;
        let value =
            |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if let (true, Some(realm)) = (scheme.eq_ignore_ascii_case("bearer"), value("realm")) {
            challenges.push(Challenge::Bearer { realm, service: value("service") });
        }
    }
    challenges
}

type Parameters = Vec<(String, String)>;

/// The first challenge of `text`: its scheme, its parameters, and the text after it.
fn next_challenge(text: &str) -> Option<(&str, Parameters, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
    let (scheme, mut rest) = text.split_at(end);
    if scheme.is_empty() {
        return None;
    }
    let mut parameters = Vec::new();
    while let Some((parameter, next)) = next_parameter(rest) {
        parameters.push(parameter);
        rest = next;
    }
    Some((scheme, parameters, rest))
}

/// `name=value` or `name="value"` at the start of `text`; anything else is the next challenge's
/// scheme.
fn next_parameter(text: &str) -> Option<((String, String), &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    if name.is_empty() || name.contains([' ', '\t', ',', '"']) {
        return None;
    }
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([' ', '\t', ',']).unwrap_or(rest.len());
        return Some(((name.to_owned(), rest[..end].to_owned()), &rest[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some(((name.to_owned(), value), &quoted[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    // A quote that is never closed: take what is there, as browsers do.
    Some(((name.to_owned(), value), ""))
}

/// What a token must allow: the parts in the order they are asked for (some servers read the first
/// alone).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// To read `repository`.
    pub(crate) fn pull(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull")])
    }

    /// To read and write it.
    pub(crate) fn push(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull,push")])
    }

    /// To delete from it.
    pub(crate) fn delete(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull,delete")])
    }

    /// Nothing in particular: to see whether a login works.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// This, and to read `source`, for a mount from there.
    pub(crate) fn and_pull(&self, source: &Repository) -> Self {
        let mut parts = self.0.clone();
        parts.push(format!("repository:{}:pull", source.path()));
        Self(parts)
    }

    /// Whether it asks for more than reading.
    pub(crate) fn writes(&self) -> bool {
        self.0.iter().any(|part| part.ends_with("push") || part.ends_with("delete"))
    }

    /// The parts.
    pub(crate) fn parts(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        for (text, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#,
                vec![bearer("https://auth.docker.io/token", Some("registry.docker.io"))],
            ),
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            (r#"bearer realm=https://r/t , service = "a\"b""#, vec![bearer("https://r/t", Some("a\"b"))]),
            (r#"Negotiate, Basic realm="x", Bearer realm="https://r/t""#, vec![Challenge::Basic, bearer("https://r/t", None)]),
            (r#"Bearer service="no realm""#, vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, r#"Basic realm="x""#.parse().unwrap());
        headers.append(WWW_AUTHENTICATE, r#"Bearer realm="https://r/t""#.parse().unwrap());
        assert_eq!(Challenge::of(&headers), Some(bearer("https://r/t", None)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_makes_the_parser_hang_or_panic(text in r#"[a-zA-Z=", \\]{0,40}"#) {
            parse(&text);
        }

        #[test]
        fn quoted_values_come_back(realm in "[ -~]{1,20}", service in "[ -~]{0,20}") {
            let quote = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
            let text = format!(r#"Bearer realm="{}",service="{}""#, quote(&realm), quote(&service));
            prop_assert_eq!(parse(&text), vec![bearer(&realm, Some(&service))]);
        }
    }
}
