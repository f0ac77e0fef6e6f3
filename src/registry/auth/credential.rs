//! A credential for a registry.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

/// What a registry accepts as proof of who asks. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A user name and a password or access token.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, exchanged for access tokens (docker's `identitytoken`).
    IdentityToken {
        /// The user name beside it, for servers that take the token as a password only.
        username: Option<String>,
        /// The token.
        token: String,
    },
    /// A token that is sent as it is (docker's `registrytoken`).
    RegistryToken(String),
    /// `user:password` in bytes that are not UTF-8, as docker's `auth` may hold them: sent as they
    /// are.
    EncodedPair(Vec<u8>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

impl Credential {
    /// A user name and a password or access token.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic { username: username.into(), password: password.into() }
    }

    /// The user name, where it has one in UTF-8.
    pub(crate) fn username(&self) -> Option<&str> {
        match self {
            Self::Basic { username, .. } => Some(username),
            Self::IdentityToken { username, .. } => username.as_deref(),
            Self::EncodedPair(pair) => std::str::from_utf8(pair.split(|byte| *byte == b':').next()?).ok(),
            Self::RegistryToken(_) => None,
        }
    }

    /// The header that answers a Basic challenge.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        let pair = match self {
            Self::Basic { username, password } => format!("{username}:{password}").into_bytes(),
            Self::IdentityToken { username: Some(username), token } => format!("{username}:{token}").into_bytes(),
            Self::EncodedPair(pair) => pair.clone(),
            Self::IdentityToken { .. } | Self::RegistryToken(_) => return None,
        };
        secret_header(&format!("Basic {}", STANDARD.encode(pair)))
    }
}

/// A header value that the HTTP library, too, keeps out of its own debug output.
pub(crate) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
