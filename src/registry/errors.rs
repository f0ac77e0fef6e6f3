//! Error responses of registries, and what to do about them: the one table of registries' error
//! texts.
//!
//! An answer that is not in the table is shown as it came, without a hint.

use std::fmt;

use reqwest::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::aws_hosts::PrivateEcr;
use super::failure::client_certificate_hint;
use super::host::{RegistryKind, host_of};
use super::retry::is_transient;
use crate::error::{Error, ErrorKind};
use crate::oci::{Digest, Repository};

/// How much of an answer that is not JSON is shown.
const SHOWN: usize = 300;

/// A registry's refusal: its status and its own words (distribution specification, "Error Codes").
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) entries: Vec<ErrorEntry>,
    /// Whether there is something else under the tag that was to be pushed.
    pub(crate) tag_exists: bool,
    /// Whether the registry accepts the login: then a right is missing.
    pub(crate) login_accepted: bool,
    /// The start of an answer that is not in the specification's form.
    text: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ErrorEntry {
    #[serde(default, deserialize_with = "any_text")]
    pub(crate) code: String,
    #[serde(default, deserialize_with = "any_text")]
    pub(crate) message: String,
    #[serde(default)]
    detail: Value,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Option<Vec<ErrorEntry>>,
}

/// Gateways write a number where the specification has a word, or null.
fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Token servers' forms: Docker Hub's `details`, OAuth2's `error_description` and `error` (RFC
/// 6749, 5.2), AWS's `message`.
#[derive(Deserialize)]
struct TokenServerError {
    #[serde(alias = "error_description", alias = "message")]
    details: Option<String>,
    error: Option<String>,
}

impl Refusal {
    /// Reads the body of an answer with an error status.
    pub(crate) fn parse(status: StatusCode, body: &[u8]) -> Self {
        let entries = serde_json::from_slice(body).ok().and_then(|Body { errors }| errors).unwrap_or_default();
        // What says nothing counts as nothing.
        let entries: Vec<ErrorEntry> = entries.into_iter().filter(|entry| !entry.to_string().is_empty()).collect();
        let words = || serde_json::from_slice(body).ok().and_then(|TokenServerError { details, error }| details.or(error));
        let is_json = || serde_json::from_slice::<Value>(body).is_ok_and(|body| body.is_object());
        let text = match entries.is_empty() {
            // An object without words has nothing to show.
            true => words().unwrap_or_else(|| if is_json() { String::new() } else { plain(&String::from_utf8_lossy(body)) }),
            false => String::new(),
        };
        Self::new(status, entries, text)
    }

    fn new(status: StatusCode, entries: Vec<ErrorEntry>, text: String) -> Self {
        Self { status, entries, tag_exists: false, login_accepted: false, text }
    }

    /// What Harbor says of an upload by an account that may not push: a token tells the same
    /// before.
    pub(crate) fn no_right_to_push(path: &str) -> Self {
        let message = format!("the registry's token does not allow to push (repository: {path}, action: push)");
        let entry = ErrorEntry { code: "DENIED".into(), message, detail: Value::Null };
        Self::new(StatusCode::UNAUTHORIZED, vec![entry], String::new())
    }

    /// Whether the registry gave this error code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.entries.iter().any(|entry| entry.code == code)
    }

    /// Whether the registry's words contain `fragment`, whatever their case.
    pub(crate) fn says(&self, fragment: &str) -> bool {
        self.words().to_ascii_lowercase().contains(fragment)
    }

    /// Whether the manifest's media type is what was refused: distribution and its children say
    /// `MANIFEST_INVALID`, others 415.
    pub(crate) fn is_about_media_type(&self) -> bool {
        self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            || (self.status == StatusCode::BAD_REQUEST || self.status == StatusCode::NOT_FOUND)
                && (self.has_code("MANIFEST_INVALID") || self.has_code("UNSUPPORTED") || self.says("media type"))
    }

    /// Whether the account is what was refused: then it matters whether the registry accepts the
    /// login at all.
    pub(crate) fn is_about_account(&self, kind: RegistryKind, repository: &Repository, pushing: bool) -> bool {
        let refused = matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        refused && !(pushing && push_hint(self, kind, repository).is_some())
    }

    /// Whether this refusal may mean an immutable tag. Every 409 counts; the caller asks the
    /// registry what is under the tag: perhaps the very same image, whose push was answered by a
    /// connection that broke.
    pub(crate) fn may_be_about_existing_tag(&self) -> bool {
        let by_words = || ["immutable", "already exists", "overwrit", "redeploy"].iter().any(|words| self.says(words));
        match self.status.as_u16() {
            // A conflict, whatever the registry says of it.
            409 => true,
            400 | 403 | 405 | 412 => by_words(),
            _ => false,
        }
    }

    /// Whether Harbor does not know the project.
    pub(crate) fn is_about_missing_project(&self) -> bool {
        matches!(self.status.as_u16(), 401 | 404) && self.says("project") && self.says("not found")
    }

    /// The digests of blobs that the registry lacks; `None` if that is not what is wrong. Empty if
    /// it does not say which.
    pub(crate) fn missing_blobs(&self) -> Option<Vec<Digest>> {
        let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"];
        if !codes.iter().any(|code| self.has_code(code)) {
            return None;
        }
        let mut texts: Vec<String> = self.entries.iter().map(|entry| entry.message.clone()).collect();
        texts.extend(self.entries.iter().map(|entry| entry.detail.to_string()));
        let words = texts.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':'));
        Some(words.filter_map(|word| Digest::parse(word).ok()).collect())
    }

    /// The offset that a 416 names in words (ECR: "First byte of the layer part is 0 instead of
    /// 5242880").
    pub(crate) fn named_offset(&self) -> Option<u64> {
        let words = self.words();
        let (_, rest) = words.split_once("First byte of the layer part is ")?;
        let (_, wanted) = rest.split_once(" instead of ")?;
        wanted.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    fn words(&self) -> String {
        if self.entries.is_empty() {
            return self.text.clone();
        }
        let entries: Vec<String> = self.entries.iter().map(ToString::to_string).collect();
        entries.join("; ")
    }

    /// This refusal as an error: its kind by its status, its hint from the table.
    pub(crate) fn into_error(self, kind: RegistryKind, repository: &Repository, pushing: bool) -> Error {
        let error_kind = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Auth,
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            _ => ErrorKind::Registry,
        };
        let error = Error::new(error_kind, self.to_string());
        let hint = match pushing {
            true => push_hint(&self, kind, repository).or_else(|| match self.tag_exists {
                true => Some(
                    "push under a new tag: the registry has another image under this one, and seems not to let it be replaced"
                        .into(),
                ),
                false => push_rights_hint(&self, kind, repository),
            }),
            false => pull_hint(&self, repository),
        };
        let hint = hint.or_else(|| is_transient(self.status).then(|| not_a_registry_hint(self.status).into()));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registry answered {}", self.status.as_u16())?;
        let words = self.words();
        match (words.is_empty(), self.status.canonical_reason()) {
            (false, _) => write!(f, ": {words}"),
            (true, Some(reason)) => write!(f, ": {}", reason.to_ascii_lowercase()),
            (true, None) => Ok(()),
        }
    }
}

impl fmt::Display for ErrorEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (false, false) => write!(f, "{}: {}", self.code, self.message)?,
            (true, _) => f.write_str(&self.message)?,
            (_, true) => f.write_str(&self.code)?,
        }
        // Details are often the request's own scopes as objects; only words help a reader.
        match self.detail.as_str() {
            Some(detail) if !detail.is_empty() && !self.message.contains(detail) => write!(f, " ({detail})"),
            _ => Ok(()),
        }
    }
}

/// The first words of a text or HTML answer, without its tags, on one line.
fn plain(text: &str) -> String {
    let mut inside = false;
    let visible = text.chars().filter(|c| {
        let tag = inside || *c == '<';
        inside = *c == '<' || (inside && *c != '>');
        !tag
    });
    let line = visible.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(SHOWN).collect()
}

/// The remedy for what stands in the way of reading.
fn pull_hint(refusal: &Refusal, repository: &Repository) -> Option<String> {
    let registry = repository.registry();
    Some(match refusal.status.as_u16() {
        400 | 495 | 496 if refusal.says("ssl certificate") => client_certificate_hint(registry),
        401 | 403 if refusal.login_accepted => {
            format!("check the name `{}`; the account needs the right to pull from it", repository.familiar())
        }
        401 | 403 => format!(
            "check the name `{}`; if the repository is private, log in with `mpimg login {registry}`",
            repository.familiar()
        ),
        404 => "check the name, and the tag or digest".into(),
        412 => format!(
            "in Harbor open the project `{}`, Configuration: it blocks pulls of images that have vulnerabilities, or are not scanned or signed",
            repository.path().split('/').next().unwrap_or_default()
        ),
        429 => TOO_OFTEN.into(),
        _ => return None,
    })
}

const TOO_OFTEN: &str = "the registry limits how often it may be asked: wait, or log in for a higher limit";

/// The remedy for each mistake that registries are known to report on a push.
fn push_hint(refusal: &Refusal, kind: RegistryKind, repository: &Repository) -> Option<String> {
    let project = repository.path().split('/').next().unwrap_or_default();
    let registry = repository.registry();
    let path = repository.path();
    let text = match refusal.status.as_u16() {
        400 | 495 | 496 if refusal.says("ssl certificate") => client_certificate_hint(registry),
        // Harbor, which has projects.
        400 if refusal.says("invalid repository name") => {
            format!("the registry wants HOST/PROJECT/NAME: push to `{registry}/{path}/NAME`")
        }
        415 => "the registry does not take this kind of manifest: its administrator can allow it (zot: `\"compat\": [\"docker2s2\"]` in \
                its configuration takes Docker's schema 2)"
            .into(),
        _ if refusal.says("none of the provided layer digests match") => {
            "ECR put the layer's parts together differently: run the same command again, and report it if it happens twice".into()
        }
        _ if refusal.says("cannot be overwritten because the repository is immutable")
            || refusal.says("image tag already exists") && kind == RegistryKind::Ecr =>
        {
            format!("push under a new tag, or set tag mutability to `mutable` for the ECR repository `{path}`")
        }
        412 if refusal.says("immutable") => {
            format!("push under a new tag, or change the tag immutability rules of the Harbor project `{project}`")
        }
        _ if kind == RegistryKind::Ecr && refusal.says("does not exist") => missing_on_ecr(registry, path),
        _ if refusal.says("will exceed the configured upper limit") => {
            format!("raise the storage quota of the Harbor project `{project}`, or delete images there and run garbage collection")
        }
        _ if refusal.says("proxy project") || refusal.says("proxy cache") => {
            format!("`{project}` is a proxy cache in Harbor and takes no images: push into an ordinary project")
        }
        _ if refusal.says("read only mode") || refusal.says("read-only") => {
            "the registry is read-only for now: ask its administrator, or try again later".into()
        }
        _ if refusal.is_about_missing_project() => {
            format!("create the project `{project}` in Harbor and make it public, then run the same command again")
        }
        _ if refusal.says("installation not allowed") => format!(
            "in GitHub Actions give the job `permissions: packages: write`, and its repository write access to the package `{path}`: Package settings, `Manage Actions access`"
        ),
        _ if refusal.says("write_package") || refusal.says("does not match expected scopes") => {
            "the GitHub token needs the scope `write:packages`, and write access to the package: see its settings, `Manage Actions access`".into()
        }
        404 if refusal.has_code("NAME_UNKNOWN") && kind.may_have_to_be_created() => {
            format!("create the repository `{path}` in the registry first: it does not make repositories by itself")
        }
        413 => "a proxy in front of the registry limits the size of a request, and mpimg's smallest chunk is larger: raise its body limit (nginx: `client_max_body_size 0`)".into(),
        429 => TOO_OFTEN.into(),
        _ => return None,
    };
    Some(text)
}

/// The remedy for a push that the registry refuses with 401 or 403.
fn push_rights_hint(refusal: &Refusal, kind: RegistryKind, repository: &Repository) -> Option<String> {
    let project = repository.path().split('/').next().unwrap_or_default();
    let (registry, path) = (repository.registry(), repository.path());
    Some(match refusal.status.as_u16() {
        401 if refusal.says("action: push") => format!(
            "give the account (or Harbor robot) the right to push into the project `{project}`, or log in as another with `mpimg login {registry}`"
        ),
        401 | 403 if kind == RegistryKind::DockerHub => format!(
            "create the repository `{path}` on Docker Hub or check its name, and log in with an access token that may read and write: `mpimg login`"
        ),
        401 | 403 if kind == RegistryKind::Ecr => {
            format!(
                "check that the AWS identity may push to `{path}` (ecr:InitiateLayerUpload, ecr:PutImage, …) and that its token is fresh"
            )
        }
        401 if refusal.login_accepted => {
            format!("give the account the right to push to `{path}`, or log in as another with `mpimg login {registry}`")
        }
        401 => format!("log in with `mpimg login {registry}`"),
        // Gitea, GitLab: a user, group or project that does not exist.
        404 if refusal.entries.is_empty() => {
            format!("check the name `{registry}/{path}`: many registries want HOST/OWNER/NAME, with an owner that exists")
        }
        403 => format!("check that the account may push to and pull from `{path}`"),
        _ => return None,
    })
}

/// The remedy where there is no credential for a registry.
pub(crate) fn login_hint(registry: &str) -> String {
    match RegistryKind::of(registry) {
        RegistryKind::Ecr => AWS_IDENTITY.into(),
        _ => format!("log in with `mpimg login {registry}`"),
    }
}

const AWS_IDENTITY: &str = "choose an AWS identity that may use ECR (AWS_PROFILE): mpimg gets the password with it";

/// The error for a credential that a registry does not accept. `given`: the caller gave it, so a
/// stored one is not to blame.
pub(crate) fn login_refused(error: Error, registry: &str, username: Option<&str>, given: bool) -> Error {
    let user = username.map(|name| format!(" as `{name}`")).unwrap_or_default();
    let error = error.wrap(format!("`{registry}` refuses the login{user}: wrong password or token, expired, or disabled"));
    let again = match given {
        true => String::new(),
        false => format!(": log in again with `mpimg login {registry}`"),
    };
    error.with_hint(match RegistryKind::of(registry) {
        RegistryKind::Ecr => AWS_IDENTITY.into(),
        RegistryKind::DockerHub => format!("check the Docker ID, and use an access token as the password{again}"),
        RegistryKind::Ghcr => {
            format!("use a personal access token (classic) with the scope `write:packages` as the password{again}")
        }
        _ => format!("check the user name (the `$` of a Harbor robot needs single quotes) and the password or token{again}"),
    })
}

/// The error of a push that needs a login, where there is none.
pub(crate) fn not_logged_in(error: Error, registry: &str) -> Error {
    error.wrap(format!("not logged in to `{registry}`")).with_hint(login_hint(registry))
}

/// The remedy where `/v2/` has another answer than a registry's.
pub(crate) fn not_a_registry_hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => TOO_OFTEN,
        _ if is_transient(status) => {
            "the registry, or a proxy before it, does not work for now: try again later, or ask who runs it"
        }
        _ => "check the registry's name and port: this seems to be another service, or a proxy before it",
    }
}

/// The remedy for a repository that ECR does not know; it says so, or just closes the connection on
/// POST.
pub(crate) fn missing_on_ecr(registry: &str, path: &str) -> String {
    let (command, region, name) = match PrivateEcr::of(host_of(registry)) {
        Some(PrivateEcr { region, .. }) => ("ecr", region, path),
        // The first part is the registry's alias.
        None => ("ecr-public", "us-east-1", path.split_once('/').map_or(path, |(_, name)| name)),
    };
    format!("create the repository first: `aws {command} create-repository --repository-name {name} --region {region}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, kind: RegistryKind, body: &str) -> Error {
        let repository = Repository::parse("harbor.example.com/mp/nsx").unwrap();
        Refusal::parse(StatusCode::from_u16(status).unwrap(), body.as_bytes()).into_error(kind, &repository, true)
    }

    #[test]
    fn the_registrys_own_words_are_shown() {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"project mp not found: project mp not found"}]}"#;
        let error = error(401, RegistryKind::Other, body);
        assert_eq!(error.to_string(), "registry answered 401: UNAUTHORIZED: project mp not found: project mp not found");
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert_eq!(error.hint(), Some("create the project `mp` in Harbor and make it public, then run the same command again"));
    }

    #[test]
    fn each_known_mistake_has_its_remedy() {
        let entry = |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        for (status, kind, body, expected) in [
            (
                401,
                RegistryKind::Other,
                entry("UNAUTHORIZED", "unauthorized to access repository: mp/nsx, action: push"),
                "right to push into the project `mp`",
            ),
            (
                412,
                RegistryKind::Other,
                entry("PRECONDITION", "Failed to process request due to 'nsx:1' configured as immutable."),
                "immutability rules of the Harbor project `mp`",
            ),
            (
                403,
                RegistryKind::Other,
                entry("DENIED", "adding 2 MiB of storage resource, which will exceed the configured upper limit"),
                "quota of the Harbor project `mp`",
            ),
            (403, RegistryKind::Other, entry("DENIED", "can not push artifact to a proxy project: mp"), "`mp` is a proxy cache"),
            (403, RegistryKind::Other, entry("DENIED", "The system is in read only mode."), "read-only for now"),
            (
                404,
                RegistryKind::Ecr,
                entry("NAME_UNKNOWN", "The repository with name 'mp/nsx' does not exist in the registry"),
                "create-repository --repository-name",
            ),
            (
                400,
                RegistryKind::Ecr,
                entry(
                    "TAG_INVALID",
                    "The image tag '1' already exists in the 'mp' repository and cannot be overwritten because the repository is immutable.",
                ),
                "tag mutability",
            ),
            (
                400,
                RegistryKind::Ecr,
                entry("BLOB_UPLOAD_INVALID", "None of the provided layer digests match the calculated digest"),
                "ECR put the layer's parts",
            ),
            (401, RegistryKind::DockerHub, entry("UNAUTHORIZED", "requested access to the resource is denied"), "on Docker Hub"),
            (403, RegistryKind::Other, entry("DENIED", "permission_denied: write_package"), "write:packages"),
            (
                403,
                RegistryKind::Ghcr,
                entry("DENIED", "permission_denied: The token provided does not match expected scopes."),
                "write:packages",
            ),
            (
                403,
                RegistryKind::Ghcr,
                entry("DENIED", "installation not allowed to Create organization package"),
                "`permissions: packages: write`",
            ),
            (
                413,
                RegistryKind::Other,
                "<html><head><title>413 Request Entity Too Large</title></head></html>".to_owned(),
                "client_max_body_size",
            ),
        ] {
            let error = error(status, kind, &body);
            assert!(error.hint().unwrap_or_default().contains(expected), "{body}: {:?}", error.hint());
        }
    }

    #[test]
    fn ecrs_repositories_are_made_where_they_are_missing() {
        let private = missing_on_ecr("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "mp/nsx");
        assert!(private.ends_with("`aws ecr create-repository --repository-name mp/nsx --region eu-central-1`"), "{private}");
        let public = missing_on_ecr("public.ecr.aws", "alias/mp/nsx");
        assert!(public.ends_with("`aws ecr-public create-repository --repository-name mp/nsx --region us-east-1`"), "{public}");
    }

    #[test]
    fn who_only_reads_is_not_told_to_create_anything() {
        let repository = Repository::parse("user/nsx").unwrap();
        let refusal = |status| Refusal::parse(StatusCode::from_u16(status).unwrap(), br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#);
        let hint = |status| refusal(status).into_error(RegistryKind::DockerHub, &repository, false).hint().unwrap().to_owned();
        assert_eq!(hint(404), "check the name, and the tag or digest");
        assert_eq!(hint(401), "check the name `user/nsx`; if the repository is private, log in with `mpimg login docker.io`");
    }

    #[test]
    fn html_is_shown_without_its_tags() {
        let error = error(502, RegistryKind::Other, "<html>\n<h1>502 Bad Gateway</h1>\n<hr>nginx</html>");
        assert_eq!(error.to_string(), "registry answered 502: 502 Bad Gateway nginx");
        assert_eq!(
            error.hint(),
            Some("the registry, or a proxy before it, does not work for now: try again later, or ask who runs it")
        );
    }

    #[test]
    fn an_empty_answer_is_named_by_its_status() {
        assert_eq!(error(404, RegistryKind::Other, "").to_string(), "registry answered 404: not found");
    }

    #[test]
    fn ecrs_416_names_the_offset() {
        let body =
            r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"First byte of the layer part is 0 instead of 5242880"}]}"#;
        assert_eq!(Refusal::parse(StatusCode::RANGE_NOT_SATISFIABLE, body.as_bytes()).named_offset(), Some(5_242_880));
    }
}
