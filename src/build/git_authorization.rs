//! The credentials that a git server gets: tokens given as secrets of the build.

use std::collections::BTreeMap;

use base64::Engine as _;

use crate::sandbox::SecretBytes;

/// The secret `GIT_AUTH_HEADER`, or `GIT_AUTH_TOKEN` as the password of a GitHub or GitLab token
/// (BuildKit, source/git).
pub(crate) fn git_authorization(secrets: &BTreeMap<String, SecretBytes>) -> Option<String> {
    let text = |id: &str| Some(String::from_utf8_lossy(secrets.get(id)?.reveal()).trim().to_owned());
    let of_token = |token: String| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
        format!("Basic {encoded}")
    };
    text("GIT_AUTH_HEADER").or_else(|| text("GIT_AUTH_TOKEN").map(of_token))
}
