//! Keys of a role from AWS IAM Identity Center (SSO), with the token that `aws sso login` stored.
//!
//! An expired token is refreshed where its file says how, as the aws command does; there is no
//! login here.

use std::path::Path;
use std::time::Duration;

use reqsign_aws_v4::Credential;
use reqsign_core::time::Timestamp;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::client::{Aws, missing, read_time};
use super::profiles::{Profiles, Settings, setting};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::hex;
use crate::registry::auth::credential::secret_header;
use crate::registry::auth::credential_store::write_private;
use crate::registry::aws_hosts::{Service, Variant};
use crate::registry::transport::HttpRequest;

/// A token is renewed when it has no longer than this to live.
const MARGIN: Duration = Duration::from_secs(60);

/// A profile that names a role in Identity Center.
pub(super) struct SsoProfile<'a> {
    name: &'a str,
    region: &'a str,
    account: &'a str,
    role: &'a str,
    /// The file of the token is named by it: the session's name, or the portal's address.
    key: &'a str,
}

impl<'a> SsoProfile<'a> {
    /// `None` if the profile has nothing to do with SSO.
    pub(super) fn of(profiles: &'a Profiles, name: &'a str, profile: &'a Settings) -> Result<Option<Self>> {
        let session = setting(profile, "sso_session");
        if session.is_none() && setting(profile, "sso_start_url").is_none() {
            return Ok(None);
        }
        let place = match session {
            Some(session) => profiles.sso_session(session).ok_or_else(|| {
                Error::new(
                    ErrorKind::Auth,
                    format!("the AWS profile `{name}` names an SSO session `{session}` that is not there"),
                )
                .with_hint(format!("add `[sso-session {session}]` to ~/.aws/config, or run `aws configure sso-session`"))
            })?,
            None => profile,
        };
        let need = |settings: &'a Settings, what: &str| setting(settings, what).ok_or_else(|| missing(name, what));
        let (account, role) = (need(profile, "sso_account_id")?, need(profile, "sso_role_name")?);
        let (region, start_url) = (need(place, "sso_region")?, need(place, "sso_start_url")?);
        Ok(Some(Self { name, region, account, role, key: session.unwrap_or(start_url) }))
    }

    fn log_in(&self, why: &str) -> Error {
        Error::new(ErrorKind::Auth, format!("the AWS SSO login of the profile `{}` {why}", self.name))
            .with_hint(format!("run `aws sso login --profile {}`", self.name))
    }
}

impl Aws<'_> {
    /// Keys of the profile's role.
    pub(super) async fn sso(&self, profile: &SsoProfile<'_>) -> Result<Credential> {
        let token = self.sso_token(profile).await?;
        let mut url = self.endpoint(Service::Sso, profile.region, Variant::default())?;
        url.path_segments_mut().into_iter().for_each(|mut path| {
            path.pop_if_empty().extend(["federation", "credentials"]);
        });
        url.query_pairs_mut().append_pair("role_name", profile.role).append_pair("account_id", profile.account);
        let header = secret_header(&token).ok_or_else(|| profile.log_in("is not a token"))?;
        let header = (HeaderName::from_static("x-amz-sso_bearer_token"), header);
        let (status, answer) = self.exchange(HttpRequest::new(Method::GET, url).with_headers([header])).await?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        if status == 401 {
            return Err(profile.log_in("is not valid any more"));
        }
        let keys = &answer["roleCredentials"];
        let text = |name: &str| keys[name].as_str().map(str::to_owned);
        match (text("accessKeyId"), text("secretAccessKey")) {
            (Some(access_key_id), Some(secret_access_key)) if status == 200 => Ok(Credential {
                access_key_id,
                secret_access_key,
                session_token: text("sessionToken"),
                expires_in: keys["expiration"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok()),
            }),
            _ => {
                let words = answer["message"].as_str().or(answer["__type"].as_str()).unwrap_or_default();
                let message = format!("AWS SSO gives no keys of the role `{}`: {status} {words}", profile.role);
                let hint = format!("check that you have this role in the account {}, in the AWS access portal", profile.account);
                Err(Error::new(ErrorKind::Auth, message).with_hint(hint))
            }
        }
    }

    /// The token of `aws sso login`, renewed if need be.
    async fn sso_token(&self, profile: &SsoProfile<'_>) -> Result<String> {
        let hash = hex(&Sha1::digest(profile.key));
        let name = format!(".aws/sso/cache/{hash}.json");
        let path = self.environment.home(&name).ok_or_else(|| profile.log_in("is not there"))?;
        let Ok(text) = std::fs::read(&path) else { return Err(profile.log_in("is not there")) };
        let cached: Value = serde_json::from_slice(&text).unwrap_or_default();
        let (Some(token), Some(expires)) = (cached["accessToken"].as_str(), cached["expiresAt"].as_str().and_then(read_time))
        else {
            return Err(profile.log_in("cannot be read"));
        };
        if expires > Timestamp::now() + MARGIN {
            return Ok(token.to_owned());
        }
        match self.renewed(profile, &cached, &path).await {
            Some(token) => Ok(token),
            None if expires > Timestamp::now() => Ok(token.to_owned()),
            None => Err(profile.log_in("has run out")),
        }
    }

    /// A new token for one that has run out; `None` if a login alone helps.
    async fn renewed(&self, profile: &SsoProfile<'_>, cached: &Value, path: &Path) -> Option<String> {
        let text = |name: &str| cached[name].as_str();
        let (id, secret, refresh) = (text("clientId")?, text("clientSecret")?, text("refreshToken")?);
        let mut url = self.endpoint(Service::SsoOidc, profile.region, Variant::default()).ok()?;
        url.path_segments_mut().ok()?.pop_if_empty().push("token");
        let body =
            json!({"clientId": id, "clientSecret": secret, "grantType": "refresh_token", "refreshToken": refresh}).to_string();
        let header = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = HttpRequest::new(Method::POST, url).with_headers([header]).with_bytes(body.into());
        let (status, answer) = self.exchange(request).await.ok()?;
        let answer: Value = serde_json::from_str(&answer).ok().filter(|_| status == 200)?;
        let token = answer["accessToken"].as_str()?;
        let life = Duration::from_secs(answer["expiresIn"].as_u64()?);
        let mut renewed = cached.clone();
        renewed["accessToken"] = token.into();
        renewed["expiresAt"] = (Timestamp::now() + life).format_rfc3339_zulu().into();
        // The old one is good for nothing any more: without the new one the aws command would have
        // to log in again.
        if let Some(refresh) = answer["refreshToken"].as_str() {
            renewed["refreshToken"] = refresh.into();
        }
        // A file that cannot be written costs the next process a login, not this one its token.
        let _ = write_private(path, renewed.to_string().as_bytes());
        Some(token.to_owned())
    }
}
