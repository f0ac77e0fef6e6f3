//! Which AWS identity this machine has: the usual chain, in the order of the aws command.
//!
//! Keys in the environment; the profile's role (`role_arn`); a web identity in the environment; the
//! profile's SSO, keys or `credential_process`; the endpoint of ECS and EKS; instance metadata,
//! version 2. A profile that names an identity and does not work is an error: the next source would
//! give the push another identity than the user meant.

use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, ECSCredentialProvider, IMDSv2CredentialProvider};
use reqsign_core::ProvideCredential;
use serde_json::Value;
use tokio::process::Command;

use super::client::{Aws, missing, read_time};
use super::profiles::{Settings, setting};
use super::sso::SsoProfile;
use super::sts::{Proof, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::registry::environment::Environment;

/// A `credential_process` may ask its user for a password.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);

impl Aws<'_> {
    /// Keys of this machine's identity; `None` if it has none. `region`: where questions go if
    /// nothing else is said.
    ///
    /// # Errors
    /// `Auth`: a profile or a token names an identity that cannot be had.
    pub(super) async fn identity(&self, region: &str) -> Result<Option<Credential>> {
        if let Some(keys) = self.environment_keys() {
            return Ok(Some(keys));
        }
        let name = self.profile_name();
        let profile = self.profiles.profile(name);
        if let (Some(_), None) = (&self.chosen, profile) {
            let names = self.profiles.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let hint = if names.is_empty() { "run `aws configure`".into() } else { format!("choose one of {names}") };
            return Err(Error::new(ErrorKind::Auth, format!("there is no AWS profile `{name}`")).with_hint(hint));
        }
        let settings = profile.cloned().unwrap_or_default();
        let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| self.text(name));
        let region = named.or_else(|| setting(&settings, "region").map(str::to_owned)).unwrap_or_else(|| region.to_owned());
        let search = Search { aws: self, region: &region };
        if setting(&settings, "role_arn").is_some() {
            return search.of_profile(name, &[]).await.map(Some);
        }
        if let (Some(file), Some(arn)) = (self.text("AWS_WEB_IDENTITY_TOKEN_FILE"), self.text("AWS_ROLE_ARN")) {
            let session = self.text("AWS_ROLE_SESSION_NAME");
            let role = Role { arn: &arn, session: session.as_deref(), external_id: None, duration: None };
            return search.by_token(&role, &file).await.map(Some);
        }
        if let Some(keys) = search.without_role(name, &settings).await? {
            return Ok(Some(keys));
        }
        self.of_machine(
            DefaultCredentialProvider::builder().no_env().no_profile().no_sso().no_web_identity().no_process().build(),
        )
        .await
    }

    fn environment_keys(&self) -> Option<Credential> {
        Some(Credential {
            access_key_id: self.text("AWS_ACCESS_KEY_ID")?,
            secret_access_key: self.text("AWS_SECRET_ACCESS_KEY")?,
            session_token: self.text("AWS_SESSION_TOKEN"),
            expires_in: None,
        })
    }

    /// What a container's endpoint or the metadata service gives.
    async fn of_machine(&self, provider: impl ProvideCredential<Credential = Credential>) -> Result<Option<Credential>> {
        // The crate's own text may go into details of answers: its kind is enough.
        let wrong = |error: reqsign_core::Error| Error::new(ErrorKind::Auth, format!("the machine's AWS role: {}", error.kind()));
        provider.provide_credential(&self.context()).await.map_err(wrong)
    }
}

/// The search for an identity: profiles may refer to each other.
#[derive(Clone, Copy)]
struct Search<'a> {
    aws: &'a Aws<'a>,
    region: &'a str,
}

impl<'a> Search<'a> {
    /// Keys of the profile `name`, which the profiles `before` stand on.
    fn of_profile(self, name: &'a str, before: &'a [&'a str]) -> BoxFuture<'a, Result<Credential>> {
        async move {
            let settings = self.aws.profiles.profile(name).ok_or_else(|| {
                let from = before.last().copied().unwrap_or_default();
                Error::new(ErrorKind::Auth, format!("the AWS profile `{from}` names a source `{name}` that is not there"))
                    .with_hint(format!("correct `source_profile` of `{from}` in ~/.aws/config"))
            })?;
            // A source that has keys is these keys, whatever it says beside.
            let has_keys = || setting(settings, "aws_access_key_id").is_some();
            match setting(settings, "role_arn") {
                Some(arn) if before.is_empty() || !has_keys() => self.by_role(name, settings, arn, before).await,
                _ => {
                    let nothing = || {
                        Error::new(ErrorKind::Auth, format!("the AWS profile `{name}` has no keys"))
                            .with_hint(format!("run `aws configure --profile {name}`"))
                    };
                    self.without_role(name, settings).await?.ok_or_else(nothing)
                }
            }
        }
        .boxed()
    }

    async fn by_role(self, name: &str, settings: &Settings, arn: &str, before: &[&str]) -> Result<Credential> {
        let of = |what: &str| setting(settings, what);
        let wrong = |why: &str| Error::new(ErrorKind::Auth, format!("the AWS profile `{name}` {why}"));
        if of("mfa_serial").is_some() {
            let hint = format!(
                "get keys for this shell first: `eval \"$(aws configure export-credentials --profile {name} --format env)\"`"
            );
            return Err(wrong("asks for the code of a device").with_hint(hint));
        }
        let role =
            Role { arn, session: of("role_session_name"), external_id: of("external_id"), duration: of("duration_seconds") };
        let keys = match (of("source_profile"), of("credential_source"), of("web_identity_token_file")) {
            // A profile may be its own source.
            (Some(source), None, _) if before.contains(&source) => {
                return Err(wrong(&format!("and its source `{source}` stand on each other"))
                    .with_hint("give one of them keys, or another `source_profile`"));
            }
            (Some(source), None, _) => {
                let path = [before, &[name]].concat();
                self.of_profile(source, &path).await?
            }
            (None, Some(source), _) => self.at_source(name, source).await?,
            (None, None, Some(file)) => return self.by_token(&role, file).await,
            (None, None, None) => return Err(missing(name, "source_profile` or `credential_source")),
            (Some(_), Some(_), _) => {
                return Err(wrong("has both `source_profile` and `credential_source`").with_hint("take one of them out"));
            }
        };
        self.aws.assume(self.region, &role, Proof::Keys(&keys)).await
    }

    async fn by_token(self, role: &Role<'_>, file: &str) -> Result<Credential> {
        let token = std::fs::read_to_string(file).map_err(|error| Error::io("read", file, error))?;
        self.aws.assume(self.region, role, Proof::Token(token.trim())).await
    }

    /// The identity that `credential_source` names.
    async fn at_source(self, name: &str, source: &str) -> Result<Credential> {
        let found = match source {
            "Environment" => self.aws.environment_keys(),
            "Ec2InstanceMetadata" => self.aws.of_machine(IMDSv2CredentialProvider::new()).await?,
            "EcsContainer" => self.aws.of_machine(ECSCredentialProvider::new()).await?,
            _ => {
                return Err(Error::new(ErrorKind::Auth, format!("the AWS profile `{name}` has an unknown source `{source}`"))
                    .with_hint("`credential_source` is `Environment`, `Ec2InstanceMetadata` or `EcsContainer`"));
            }
        };
        found.ok_or_else(|| {
            Error::new(ErrorKind::Auth, format!("the AWS profile `{name}` uses `{source}`, which has no keys"))
                .with_hint(format!("run this where `{source}` gives keys, or choose another profile with AWS_PROFILE"))
        })
    }

    async fn without_role(self, name: &str, settings: &Settings) -> Result<Option<Credential>> {
        if let Some(profile) = SsoProfile::of(&self.aws.profiles, name, settings)? {
            return self.aws.sso(&profile).await.map(Some);
        }
        let of = |what: &str| setting(settings, what).map(str::to_owned);
        if let Some(access_key_id) = of("aws_access_key_id") {
            let secret_access_key = of("aws_secret_access_key").ok_or_else(|| missing(name, "aws_secret_access_key"))?;
            let session_token = of("aws_session_token");
            return Ok(Some(Credential { access_key_id, secret_access_key, session_token, expires_in: None }));
        }
        match setting(settings, "credential_process") {
            Some(command) => by_process(self.aws.environment, name, command).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Keys that a command prints (AWS SDKs, "Process credential provider").
async fn by_process(environment: &Environment, profile: &str, command: &str) -> Result<Credential> {
    let wrong = |why: &str| Error::new(ErrorKind::Auth, format!("the `credential_process` of the AWS profile `{profile}` {why}"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).envs(environment.vars()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PROCESS_TIMEOUT, shell.output()).await;
    let output =
        output.map_err(|_| wrong("did not end within 60 s"))?.map_err(|error| wrong("cannot be run").with_source(error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(wrong(&format!("failed: {said}")));
    }
    // The parser's own error could quote a key.
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let of = |what: &str| answer[what].as_str().map(str::to_owned);
    match (of("AccessKeyId"), of("SecretAccessKey")) {
        (Some(access_key_id), Some(secret_access_key)) if answer["Version"] == 1 => Ok(Credential {
            access_key_id,
            secret_access_key,
            session_token: of("SessionToken"),
            expires_in: answer["Expiration"].as_str().and_then(read_time),
        }),
        _ => Err(wrong("printed no keys of version 1")),
    }
}
