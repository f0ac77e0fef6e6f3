//! Requests to AWS's services: signed where they must be, with this machine's settings for AWS's
//! own tools.

use std::sync::Arc;

use bytes::Bytes;
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::time::Timestamp;
use reqsign_core::{Context, SignRequest as _};
use reqwest::Method;
use url::Url;

use super::machine::{self, RESPONSE_LIMIT};
use super::profiles::Profiles;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::environment::Environment;
use crate::registry::transport::{HttpRequest, Transport};

/// Requests to AWS's services, with the settings of this machine's AWS tools.
pub(super) struct Aws<'a> {
    pub(super) environment: &'a Environment,
    pub(super) transport: &'a Arc<Transport>,
    pub(super) profiles: Profiles,
    /// The profile that the user has chosen.
    pub(super) chosen: Option<String>,
}

impl<'a> Aws<'a> {
    /// Reads the profiles.
    ///
    /// # Errors
    /// `Auth`, `Io`: they cannot be read.
    pub(super) fn open(environment: &'a Environment, transport: &'a Arc<Transport>) -> Result<Self> {
        let profiles = Profiles::read(environment)?;
        let mut aws = Self { environment, transport, profiles, chosen: None };
        aws.chosen = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].into_iter().find_map(|name| aws.text(name));
        Ok(aws)
    }

    pub(super) fn profile_name(&self) -> &str {
        self.chosen.as_deref().unwrap_or("default")
    }

    /// What reqsign works with.
    pub(super) fn context(&self) -> Context {
        machine::context(self.environment, self.transport)
    }

    /// A POST that is signed with `keys` for a service in a region.
    ///
    /// # Errors
    /// `Auth`: keys that cannot sign.
    pub(super) async fn signed(
        &self,
        (service, region): (&str, &str),
        keys: &Credential,
        url: Url,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<HttpRequest> {
        let mut request = http::Request::post(url.as_str()).header("x-amz-content-sha256", Digest::of(&body).hex());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).context(ErrorKind::Auth, || format!("cannot ask `{url}`"))?.into_parts();
        let signer = RequestSigner::new(service, region);
        signer.sign_request(&self.context(), &mut head, Some(keys), None).await.map_err(|error| {
            Error::new(ErrorKind::Auth, format!("cannot sign with the AWS identity: {}", error.kind()))
                .with_hint("get fresh keys: these have run out, or are not keys")
        })?;
        Ok(HttpRequest { headers: head.headers, ..HttpRequest::new(Method::POST, url) }.with_bytes(body))
    }

    /// Status and text of an answer.
    pub(super) async fn exchange(&self, request: HttpRequest) -> Result<(u16, String)> {
        let response = self.transport.send_with_retry(request, &Progress::silent(), "AWS").await?;
        let status = response.status().as_u16();
        let body = self.transport.read_body(response, RESPONSE_LIMIT).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.environment.var(name)?.into_string().ok()
    }
}

/// A profile lacks a setting that it needs.
pub(super) fn missing(profile: &str, what: &str) -> Error {
    Error::new(ErrorKind::Auth, format!("the AWS profile `{profile}` has no `{what}`"))
        .with_hint("add it in ~/.aws/config, or choose another profile with AWS_PROFILE")
}

/// A time in one of the forms that AWS's tools write.
pub(super) fn read_time(text: &str) -> Option<Timestamp> {
    text.strip_suffix("UTC").map_or_else(|| text.parse(), |time| format!("{time}Z").parse()).ok()
}
