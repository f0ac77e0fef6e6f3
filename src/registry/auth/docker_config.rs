//! docker's config.json and podman's auth.json: which entry belongs to a registry. `helper` runs
//! helpers, `login` writes.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};

use super::credential::Credential;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::host::canonical;

/// The remedy for a file that cannot be read.
pub(super) const MEND: &str = "correct the file, or move it away and log in again";

/// What of the file concerns credentials; everything else is not looked at.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AuthFile {
    #[serde(deserialize_with = "or_null")]
    auths: BTreeMap<String, Option<AuthEntry>>,
    #[serde(deserialize_with = "or_null")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_null")]
    creds_store: String,
}

/// docker takes `null` for nothing.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(value: D) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    #[serde(deserialize_with = "or_null")]
    auth: String,
    #[serde(deserialize_with = "or_null")]
    username: String,
    #[serde(deserialize_with = "or_null")]
    password: String,
    #[serde(deserialize_with = "or_null")]
    identitytoken: String,
    #[serde(deserialize_with = "or_null")]
    registrytoken: String,
}

/// What a file says about a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AuthLookup {
    Nothing,
    Credential(Credential),
    /// Ask this helper, and take what the file itself has if the helper has nothing.
    Helper {
        helper: String,
        otherwise: Option<Credential>,
    },
}

impl AuthFile {
    /// Parses the file's text.
    pub(crate) fn parse(text: &[u8]) -> std::result::Result<Self, serde_json::Error> {
        // docker, too, takes an empty file for one that is not there.
        let text = if text.trim_ascii().is_empty() { b"null" } else { text };
        let file = serde_json::from_slice(text).map_err(without_excerpt)?;
        Ok(Option::unwrap_or_default(file))
    }

    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text).map(Some).map_err(|error| {
                Error::new(ErrorKind::Auth, format!("cannot read `{}`", path.display())).with_hint(MEND).with_source(error)
            }),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("read", path, error)),
        }
    }

    /// What the file says about `path` in `registry`: `credHelpers`, then `credsStore`, then
    /// `auths`.
    pub(crate) fn find(&self, registry: &str, path: &str) -> Result<AuthLookup> {
        let own = self.entry(registry, path).map(|(key, entry)| entry.credential(key)).transpose()?.flatten();
        let for_host = self.cred_helpers.iter().find(|(key, _)| location(key) == registry).map(|(_, helper)| helper);
        let helper = for_host.or(Some(&self.creds_store)).filter(|name| !name.is_empty());
        Ok(match (helper, own) {
            (Some(helper), otherwise) => AuthLookup::Helper { helper: helper.clone(), otherwise },
            (None, Some(credential)) => AuthLookup::Credential(credential),
            (None, None) => AuthLookup::Nothing,
        })
    }

    /// Whether a login to `registry`, or to a path there, is stored here or by a helper of its own:
    /// `docker login` leaves an empty entry where a helper keeps what is secret.
    pub(crate) fn names(&self, registry: &str) -> bool {
        let is_there = |key: &String| location(key).split('/').next() == Some(registry);
        self.auths.keys().any(is_there) || self.cred_helpers.keys().any(is_there)
    }

    /// The helper that `docker login` would store a registry's credential with.
    pub(crate) fn helper_for(&self, registry: &str) -> Option<&str> {
        let for_host = self.cred_helpers.iter().find(|(key, _)| location(key) == registry).map(|(_, helper)| helper);
        for_host.or(Some(&self.creds_store)).filter(|name| !name.is_empty()).map(String::as_str)
    }

    /// The most specific entry (containers-auth.json(5): keys may have a path).
    fn entry(&self, registry: &str, path: &str) -> Option<(&str, &AuthEntry)> {
        let mut wanted = format!("{registry}/{path}");
        loop {
            let mut entries = self.auths.iter().filter_map(|(key, entry)| Some((key.as_str(), entry.as_ref()?)));
            if let Some(found) = entries.find(|(key, entry)| location(key) == wanted && !entry.is_empty()) {
                return Some(found);
            }
            wanted.truncate(wanted.rfind('/')?);
        }
    }
}

impl AuthEntry {
    /// `docker login` with a helper leaves `{}` behind.
    fn is_empty(&self) -> bool {
        let Self { auth, username, password: _, identitytoken, registrytoken } = self;
        [auth, username, identitytoken, registrytoken].iter().all(|text| text.is_empty())
    }

    fn credential(&self, key: &str) -> Result<Option<Credential>> {
        let wrong = || {
            Error::new(ErrorKind::Auth, format!("the `auth` of `{key}` is not base64 of `user:password`"))
                .with_hint("log in to that registry again")
        };
        let (username, password) = match self.auth.is_empty() {
            true => (self.username.clone(), self.password.clone()),
            false => match decode(&self.auth).ok_or_else(wrong)? {
                Ok(pair) => pair,
                // An identity token stands beside it, and needs no name.
                Err(_) if !self.registrytoken.is_empty() || !self.identitytoken.is_empty() => Default::default(),
                Err(pair) => return Ok(Some(Credential::EncodedPair(pair))),
            },
        };
        Ok(if !self.registrytoken.is_empty() {
            Some(Credential::RegistryToken(self.registrytoken.clone()))
        } else if !self.identitytoken.is_empty() {
            let username = Some(username).filter(|name| !name.is_empty() && name != "<token>");
            Some(Credential::IdentityToken { username, token: self.identitytoken.clone() })
        } else {
            (!username.is_empty()).then_some(Credential::Basic { username, password })
        })
    }
}

/// What a key stands for: an address, as docker's `https://index.docker.io/v1/`, for its host;
/// podman's keys keep their path.
pub(crate) fn location(key: &str) -> String {
    let (is_address, key) = key.split_once("://").map_or((false, key), |(_, rest)| (true, rest));
    match key.trim_end_matches('/').split_once('/') {
        Some((host, path)) if !is_address && !matches!(path, "v1" | "v2") => format!("{}/{path}", canonical(host)),
        Some((host, _)) => canonical(host).to_owned(),
        None => canonical(key.trim_end_matches('/')).to_owned(),
    }
}

/// User name and password; the bytes of both where they are not UTF-8.
fn decode(auth: &str) -> Option<std::result::Result<(String, String), Vec<u8>>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    // The tool `base64` wraps its lines at 76 columns.
    let auth: String = auth.split_ascii_whitespace().collect();
    let mut pair = GeneralPurpose::new(&STANDARD, config).decode(auth).ok()?;
    // Old docker versions pad the password with NUL bytes.
    pair.truncate(pair.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    if !pair.contains(&b':') {
        return None;
    }
    Some(String::from_utf8(pair).map_err(std::string::FromUtf8Error::into_bytes).map(|pair| {
        let (username, password) = pair.split_once(':').unwrap_or_default();
        (username.to_owned(), password.to_owned())
    }))
}

/// serde_json quotes the value it did not expect, which may be a secret: keep the place only.
fn without_excerpt(error: serde_json::Error) -> serde_json::Error {
    use serde::de::Error as _;
    serde_json::Error::custom(format!("not in docker's form, at line {} column {}", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(file: &str, registry: &str, path: &str) -> AuthLookup {
        AuthFile::parse(file.as_bytes()).unwrap().find(registry, path).unwrap()
    }

    fn basic(username: &str, password: &str) -> AuthLookup {
        AuthLookup::Credential(Credential::basic(username, password))
    }

    #[test]
    fn keys_are_found_whatever_their_scheme_and_version() {
        for (key, registry) in [
            ("r.example.com", "r.example.com"),
            ("https://r.example.com", "r.example.com"),
            ("https://r.example.com/v2/", "r.example.com"),
            ("http://r.example.com:5000/v1/", "r.example.com:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
        ] {
            let file = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpwOnE="}}}}}}"#);
            assert_eq!(find(&file, registry, "a/b"), basic("u", "p:q"), "{key}");
        }
        assert_eq!(find(r#"{"auths":{"r.example.com":{"auth":"dTpw"}}}"#, "r.example.com:5000", "a"), AuthLookup::Nothing);
    }

    #[test]
    fn the_most_specific_path_wins() {
        let file = r#"{"auths":{
            "r.example.com":{"username":"host","password":"p"},
            "r.example.com/mp":{"username":"project","password":"p"},
            "r.example.com/mp/nsx":{"username":"image","password":"p"}}}"#;
        assert_eq!(find(file, "r.example.com", "mp/nsx"), basic("image", "p"));
        assert_eq!(find(file, "r.example.com", "mp/other"), basic("project", "p"));
        assert_eq!(find(file, "r.example.com", "mpx"), basic("host", "p"));
    }

    #[test]
    fn tokens_are_told_apart() {
        let file = r#"{"auths":{
            "a":{"auth":"MDAwOg==","identitytoken":"i"},
            "b":{"registrytoken":"t"},
            "c":{}}}"#;
        let identity = Credential::IdentityToken { username: Some("000".into()), token: "i".into() };
        assert_eq!(find(file, "a", "x"), AuthLookup::Credential(identity));
        assert_eq!(find(file, "b", "x"), AuthLookup::Credential(Credential::RegistryToken("t".into())));
        assert_eq!(find(file, "c", "x"), AuthLookup::Nothing);
    }

    #[test]
    fn helpers_come_before_stores_and_stores_before_auths() {
        let file = r#"{"auths":{"a":{"auth":"dTpw"},"b":{}},"credHelpers":{"a":"one"},"credsStore":"two"}"#;
        let otherwise = Some(Credential::basic("u", "p"));
        assert_eq!(find(file, "a", "x"), AuthLookup::Helper { helper: "one".into(), otherwise });
        assert_eq!(find(file, "b", "x"), AuthLookup::Helper { helper: "two".into(), otherwise: None });
        let file = AuthFile::parse(file.as_bytes()).unwrap();
        assert!(file.names("a") && file.names("b") && !file.names("c"), "a store for all names none");
    }

    #[test]
    fn a_broken_file_is_an_error_without_its_content() {
        let error = AuthFile::parse(br#"{"auths":"hunter2"}"#).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let error = AuthFile::parse(br#"{"auths":{"a":{"auth":"hunter2"}}}"#).unwrap().find("a", "x").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
