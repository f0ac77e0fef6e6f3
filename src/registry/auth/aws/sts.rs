//! Temporary keys of a role, from AWS's Security Token Service. A role that needs the code of a
//! device (MFA) is an error: there is no prompt here.

use quick_xml::de::from_str;
use reqsign_aws_v4::Credential;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::client::{Aws, read_time};
use crate::error::{Error, ErrorKind, Result};
use crate::registry::aws_hosts::{Service, Variant};
use crate::registry::transport::HttpRequest;

const VERSION: &str = "2011-06-15";

/// The session's name in AWS's logs where the profile sets none.
const SESSION: &str = "mpimg";

/// A role to be assumed.
pub(super) struct Role<'a> {
    pub(super) arn: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) external_id: Option<&'a str>,
    pub(super) duration: Option<&'a str>,
}

/// Who says that the role may be assumed.
pub(super) enum Proof<'a> {
    /// An AWS identity.
    Keys(&'a Credential),
    /// A token of another identity provider.
    Token(&'a str),
}

impl Aws<'_> {
    /// Keys of `role`.
    pub(super) async fn assume(&self, region: &str, role: &Role<'_>, proof: Proof<'_>) -> Result<Credential> {
        let url = self.endpoint(Service::Sts, region, Variant::default())?;
        let body = form(role, &proof);
        let keys = if let Proof::Keys(keys) = proof { Some(keys) } else { None };
        let (status, answer) = self.ask(region, url, body, keys).await?;
        if status != 200 {
            let refusal = from_str::<StsErrorResponse>(&answer).unwrap_or_default().error;
            let message = format!("AWS gives no keys of the role `{}`: {status}{refusal}", role.arn);
            return Err(Error::new(ErrorKind::Auth, message).with_hint(match refusal.code.as_str() {
                "ExpiredToken" | "ExpiredTokenException" => "get a fresh token, or log in again",
                _ => "check the role's name, and that its trust policy lets this identity assume it",
            }));
        }
        // The parser's own error could quote a key.
        let answer: AssumeRoleResponse = from_str(&answer)
            .map_err(|_| Error::new(ErrorKind::Auth, format!("AWS gave an answer without keys for the role `{}`", role.arn)))?;
        let RoleKeys { id, secret, token, expiration } = answer.result.credentials;
        let expires_in = read_time(&expiration);
        Ok(Credential { access_key_id: id, secret_access_key: secret, session_token: Some(token.trim().to_owned()), expires_in })
    }

    async fn ask(&self, region: &str, url: Url, body: String, keys: Option<&Credential>) -> Result<(u16, String)> {
        let wrong = |error: Error| error.wrap("cannot ask AWS for a role's keys");
        const FORM: &str = "application/x-www-form-urlencoded";
        let request = match keys {
            Some(keys) => {
                self.signed(("sts", region), keys, url, &[(CONTENT_TYPE.as_str(), FORM)], body.into()).await.map_err(wrong)?
            }
            None => {
                let header = (CONTENT_TYPE, HeaderValue::from_static(FORM));
                HttpRequest::new(Method::POST, url).with_headers([header]).with_bytes(body.into())
            }
        };
        self.exchange(request).await.map_err(wrong)
    }
}

fn form(role: &Role<'_>, proof: &Proof<'_>) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("Version", VERSION)
        .append_pair("RoleArn", role.arn)
        .append_pair("RoleSessionName", role.session.unwrap_or(SESSION));
    let further = [("ExternalId", role.external_id), ("DurationSeconds", role.duration)];
    form.extend_pairs(further.into_iter().filter_map(|(name, value)| Some((name, value?))));
    match proof {
        Proof::Keys(_) => form.append_pair("Action", "AssumeRole"),
        Proof::Token(token) => form.append_pair("Action", "AssumeRoleWithWebIdentity").append_pair("WebIdentityToken", token),
    };
    form.finish()
}

#[derive(Deserialize)]
struct AssumeRoleResponse {
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: AssumeRoleResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssumeRoleResult {
    credentials: RoleKeys,
}

#[derive(Deserialize)]
struct RoleKeys {
    #[serde(rename = "AccessKeyId")]
    id: String,
    #[serde(rename = "SecretAccessKey")]
    secret: String,
    #[serde(rename = "SessionToken")]
    token: String,
    #[serde(rename = "Expiration")]
    expiration: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StsErrorResponse {
    error: StsError,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StsError {
    code: String,
    message: String,
}

impl std::fmt::Display for StsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code.as_str() {
            "" => Ok(()),
            code => write!(f, " {code}: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_own_answers_are_read() {
        // The examples of the STS API reference, shortened.
        let refusal = r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
            <Code>AccessDenied</Code><Message>User x is not authorized</Message></Error><RequestId>1</RequestId></ErrorResponse>"#;
        assert_eq!(from_str::<StsErrorResponse>(refusal).unwrap().error.to_string(), " AccessDenied: User x is not authorized");
        assert_eq!(from_str::<StsErrorResponse>("<html/>").unwrap_or_default().error.to_string(), "");
        for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
            let answer = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><SourceIdentity>a</SourceIdentity>\
                 <Credentials><AccessKeyId>id</AccessKeyId><SecretAccessKey>a/b+c</SecretAccessKey><SessionToken>\nt=\n</SessionToken>\
                 <Expiration>2019-11-09T13:34:41Z</Expiration></Credentials></{action}Result></{action}Response>"
            );
            let keys = from_str::<AssumeRoleResponse>(&answer).unwrap().result.credentials;
            assert_eq!((&*keys.id, &*keys.secret, keys.token.trim()), ("id", "a/b+c", "t="));
            assert!(read_time(&keys.expiration).is_some());
        }
    }
}
