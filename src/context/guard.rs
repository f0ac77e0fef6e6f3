//! The secret guard: looks at each file that is about to enter a layer, and stops or warns when it
//! holds a secret.
//!
//! The name decides first; only where it is not enough are the first 64 KiB of the file read.
//! Public certificates, `.env.example`, a docker config without logins and the like are not
//! secrets.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;

use super::{WalkEntry, shown, unreadable};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::layer::{Kind, LayerPath};

/// How much of a file is looked at, in bytes: a certificate chain may come before the key.
const PREFIX: u64 = 64 * 1024;

/// What a file holds that must not enter an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretKind {
    /// `connections.json` of an SDK project: credentials of the developer's test systems.
    Connections,
    /// A private key: of SSH by name, PEM and PuTTY by content.
    PrivateKey,
    /// A `.env` file.
    Environment,
    /// `.netrc` or `.git-credentials`.
    NetworkLogins,
    /// A password or token for a package index, in one of the files that pip, npm, Gradle, Maven
    /// and the like read.
    PackageIndexLogin,
    /// `.aws/credentials`.
    AwsCredentials,
    /// A Google Cloud login or service account key.
    GoogleCredentials,
    /// A login kept by the Azure command line.
    AzureCredentials,
    /// Docker's or podman's logins to registries.
    RegistryLogins,
    /// A kubeconfig with a key, token or password.
    Kubeconfig,
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the credentials of test systems",
            Self::PrivateKey => "a private key",
            Self::Environment => "environment variables that are often secret",
            Self::NetworkLogins => "logins to other hosts",
            Self::PackageIndexLogin => "a login to a package index",
            Self::AwsCredentials => "AWS credentials",
            Self::GoogleCredentials => "Google Cloud credentials",
            Self::AzureCredentials => "Azure credentials",
            Self::RegistryLogins => "logins to registries",
            Self::Kubeconfig => "credentials of a Kubernetes cluster",
        })
    }
}

/// What happens when a secret is about to enter a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardPolicy {
    /// The build stops: SDK projects.
    Stop,
    /// The build goes on with a warning: any other folder.
    Warn,
}

/// Watches what enters layers from a build context.
#[derive(Debug, Clone)]
pub struct SecretGuard {
    policy: GuardPolicy,
    allowed: BTreeSet<LayerPath>,
}

impl SecretGuard {
    /// A guard that lets the files `allowed` through: paths in the build context
    /// (`--allow-secret-file`).
    pub fn new<T: AsRef<[u8]>>(policy: GuardPolicy, allowed: impl IntoIterator<Item = T>) -> Result<Self> {
        Ok(Self { policy, allowed: allowed.into_iter().map(LayerPath::clean).collect::<Result<_>>()? })
    }

    /// Looks at an entry that `instruction` (as written, such as `COPY . .`) is about to put into a
    /// layer.
    ///
    /// A secret is an error of kind [`Secret`](ErrorKind::Secret) under [`GuardPolicy::Stop`], and
    /// a warning for the caller to report under [`GuardPolicy::Warn`]; both name the file, the
    /// instruction and what to do.
    pub fn check(&self, entry: &WalkEntry, instruction: &str) -> Result<Option<Error>> {
        let Some(kind) = secret_in(entry)? else { return Ok(None) };
        let path = entry.context_path();
        if self.allowed.contains(&path) {
            return Ok(None);
        }
        let path = shown(path.as_bytes());
        let message = match self.policy {
            GuardPolicy::Stop => format!("`{path}` holds {kind}, and `{instruction}` would put it into the image"),
            GuardPolicy::Warn => format!("`{path}` holds {kind}, and `{instruction}` puts it into the image"),
        };
        let error = Error::new(ErrorKind::Secret, message).with_hint(format!(
            "add the line `{path}` to .dockerignore, or let the file through with {}",
            Setting::AllowSecretFile.with(&path)
        ));
        match self.policy {
            GuardPolicy::Stop => Err(error),
            GuardPolicy::Warn => Ok(Some(error)),
        }
    }
}

/// What kind of secret the entry holds, if any.
fn secret_in(entry: &WalkEntry) -> Result<Option<SecretKind>> {
    // Only a file has content, and an empty one no secret. Most entries are done with here or by
    // their name.
    if !matches!(entry.entry.kind, Kind::File { size: 1.. }) {
        return Ok(None);
    }
    let path = entry.context_path();
    match SecretRule::of(&path) {
        None => Ok(None),
        Some(SecretRule { kind, content_rule: None }) => Ok(Some(kind)),
        Some(SecretRule { kind, content_rule: Some(content_rule) }) => {
            let mut prefix = Vec::new();
            let read = entry.open()?.take(PREFIX).read_to_end(&mut prefix);
            read.map_err(|error| unreadable(path.as_bytes(), error))?;
            Ok(content_rule(&prefix).then_some(kind))
        }
    }
}

/// What a file's name says about it; `content_rule` checks its first bytes where the name is not
/// enough.
struct SecretRule {
    kind: SecretKind,
    content_rule: Option<fn(&[u8]) -> bool>,
}

impl SecretRule {
    fn of(path: &LayerPath) -> Option<Self> {
        let name = without_backup_suffix(path.name()?);
        let folder = path.components().rev().nth(1).unwrap_or_default();
        let by_name = |kind| Some(Self { kind, content_rule: None });
        let by_content = |kind, content_rule: fn(&[u8]) -> bool| Some(Self { kind, content_rule: Some(content_rule) });
        match (folder, name) {
            (b"", b"connections.json") => by_name(SecretKind::Connections),
            // Also `connections-lab.json` and whatever else it is called while somebody tries
            // another system.
            (_, name) if name.starts_with(b"connections") && name.ends_with(b".json") => {
                by_content(SecretKind::Connections, has_connections)
            }
            (_, b"id_rsa" | b"id_dsa" | b"id_ecdsa" | b"id_ed25519" | b"id_ecdsa_sk" | b"id_ed25519_sk") => {
                by_name(SecretKind::PrivateKey)
            }
            (_, b".netrc" | b"_netrc" | b".git-credentials") => by_name(SecretKind::NetworkLogins),
            (_, b".pypirc") => by_content(SecretKind::PackageIndexLogin, |text| has_key(text, &["password"])),
            (_, b".npmrc") => by_content(SecretKind::PackageIndexLogin, has_npm_token),
            (_, b"gradle.properties") => {
                by_content(SecretKind::PackageIndexLogin, |text| has_secret_key(text) || has_url_with_password(text))
            }
            (_, b"pip.conf" | b"pip.ini" | b"pyproject.toml" | b"poetry.toml" | b"uv.toml" | b"setup.cfg" | b"Pipfile") => {
                by_content(SecretKind::PackageIndexLogin, has_url_with_password)
            }
            (_, b".condarc" | b".yarnrc" | b".yarnrc.yml" | b"settings.xml" | b"sources.list") => {
                by_content(SecretKind::PackageIndexLogin, has_url_with_password)
            }
            (b".aws", b"credentials") => by_name(SecretKind::AwsCredentials),
            (
                b".azure",
                b"accessTokens.json" | b"msal_token_cache.json" | b"msal_token_cache.bin" | b"service_principal_entries.json",
            ) => by_name(SecretKind::AzureCredentials),
            (_, b"application_default_credentials.json") | (b"gcloud", b"credentials.db" | b"access_tokens.db") => {
                by_name(SecretKind::GoogleCredentials)
            }
            (b".docker", b"config.json") | (b"containers", b"auth.json") | (_, b".dockercfg" | b".dockerconfigjson") => {
                by_content(SecretKind::RegistryLogins, has_registry_login)
            }
            (_, b"config.json") => {
                by_content(SecretKind::RegistryLogins, |text| contains(text, "\"auths\"") && has_registry_login(text))
            }
            (b".kube", b"config") | (_, b"kubeconfig") => by_content(SecretKind::Kubeconfig, has_cluster_login),
            (_, b".env") => by_name(SecretKind::Environment),
            (_, name) if name.starts_with(b"kubeconfig") => by_content(SecretKind::Kubeconfig, has_cluster_login),
            _ => Self::by_extension(name),
        }
    }

    fn by_extension(name: &[u8]) -> Option<Self> {
        let by_content = |kind, content_rule: fn(&[u8]) -> bool| Some(Self { kind, content_rule: Some(content_rule) });
        if let Some(variant) = name.strip_prefix(b".env.") {
            let example: [&[u8]; 8] = [b"example", b"sample", b"template", b"dist", b"tpl", b"default", b"defaults", b"schema"];
            let is_example = variant.split(|byte| *byte == b'.').any(|part| example.contains(&part));
            return (!is_example).then_some(Self { kind: SecretKind::Environment, content_rule: None });
        }
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        match name[dot..].to_ascii_lowercase().as_slice() {
            b".pem" | b".key" | b".ppk" => by_content(SecretKind::PrivateKey, has_private_key),
            b".txt" if ["requirements", "constraints"].iter().any(|word| contains(name, word)) => {
                by_content(SecretKind::PackageIndexLogin, has_url_with_password)
            }
            b".repo" => by_content(SecretKind::PackageIndexLogin, has_url_with_password),
            b".kubeconfig" => by_content(SecretKind::Kubeconfig, has_cluster_login),
            b".json" if looks_like_service_account(&name[..dot]) => {
                by_content(SecretKind::GoogleCredentials, has_service_account_key)
            }
            _ => None,
        }
    }
}

/// The name without what editors and people put behind it when they keep an older state of a file.
fn without_backup_suffix(mut name: &[u8]) -> &[u8] {
    const SUFFIXES: [&[u8]; 8] = [b"~", b".bak", b".backup", b".old", b".orig", b".save", b".copy", b".rej"];
    while let Some(shorter) = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|rest| !rest.is_empty()) {
        name = shorter;
    }
    name
}

/// Whether a URL has a user and a password that is written out, as in `--index-url
/// https://user:password@host/simple`.
fn has_url_with_password(text: &[u8]) -> bool {
    text.split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'=' | b',')).any(|word| {
        let Some(scheme) = word.windows(3).position(|window| window == b"://") else { return false };
        let authority = word[scheme + 3..].split(|byte| *byte == b'/').next().unwrap_or_default();
        let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else { return false };
        let Some(colon) = authority[..at].iter().position(|byte| *byte == b':') else { return false };
        // A variable, or a placeholder.
        let password = &authority[colon + 1..at];
        !password.is_empty() && !matches!(password[0], b'$' | b'{' | b'%' | b'[')
    })
}

/// Whether a property with a name such as `nexusPassword` has a value that is written out.
fn has_secret_key(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().starts_with(b"#")).any(|line| {
        let Some(equals) = line.iter().position(|byte| matches!(byte, b'=' | b':')) else { return false };
        let (key, value) = (line[..equals].trim_ascii().to_ascii_lowercase(), line[equals + 1..].trim_ascii());
        let secret = ["password", "passwd", "token", "secret", "apikey"].iter().any(|word| key.ends_with(word.as_bytes()));
        secret && !value.is_empty() && !value.starts_with(b"$")
    })
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}

fn has_connections(text: &[u8]) -> bool {
    ["\"suite_api_password\"", "\"credential\""].iter().any(|key| contains(text, key))
}

fn has_private_key(text: &[u8]) -> bool {
    contains(text, "PRIVATE KEY-----") || text.starts_with(b"PuTTY-User-Key-File")
}

/// Whether a line sets one of `keys` to something that is written out, not taken from a variable.
fn has_key(text: &[u8], keys: &[&str]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let Some(equals) = line.iter().position(|byte| matches!(byte, b'=' | b':')) else { return false };
        let (key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
        let key = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")).unwrap_or(key);
        keys.iter().any(|wanted| wanted.as_bytes() == key) && !value.is_empty() && !value.starts_with(b"$")
    })
}

/// `//registry.npmjs.org/:_authToken=…`: the key is between the last colon and the equals sign.
fn has_npm_token(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else { return false };
        let key = line[..equals].trim_ascii().rsplit(|byte| *byte == b':').next().unwrap_or_default();
        let value = line[equals + 1..].trim_ascii();
        matches!(key, b"_authToken" | b"_auth" | b"_password") && !value.is_empty() && !value.starts_with(b"$")
    })
}

fn has_registry_login(text: &[u8]) -> bool {
    ["\"auth\"", "\"identitytoken\"", "\"registrytoken\""].iter().any(|key| contains(text, key))
}

fn has_cluster_login(text: &[u8]) -> bool {
    has_key(text, &["client-key-data", "token", "password", "id-token", "refresh-token"])
}

fn looks_like_service_account(stem: &[u8]) -> bool {
    let stem = stem.to_ascii_lowercase();
    ["account", "credential", "key", "google", "gcp"].iter().any(|word| contains(&stem, word))
}

fn has_service_account_key(text: &[u8]) -> bool {
    contains(text, "\"service_account\"") && contains(text, "PRIVATE KEY-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{BuildContext, ContextOptions, Patterns};

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIE\n";

    fn entry(path: &str, text: &str) -> (tempfile::TempDir, WalkEntry) {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        let context = BuildContext::open(root.path(), ContextOptions::default()).unwrap();
        let source = context.sources(path).unwrap().remove(0);
        let entry = source.walk(&Patterns::default()).unwrap().next().unwrap().unwrap();
        (root, entry)
    }

    #[test]
    fn secrets_are_recognised() {
        for (path, text, kind) in [
            ("connections.json", "{}", SecretKind::Connections),
            ("app/connections.json", r#"{"connections": [{"credential": {}}]}"#, SecretKind::Connections),
            ("app/id_ed25519", "x", SecretKind::PrivateKey),
            ("tls/server.key", PEM, SecretKind::PrivateKey),
            ("tls/Both.PEM", &format!("-----BEGIN CERTIFICATE-----\n{}{PEM}", "A".repeat(4000)), SecretKind::PrivateKey),
            ("a.ppk", "PuTTY-User-Key-File-3: ssh-rsa", SecretKind::PrivateKey),
            (".env", "A=b", SecretKind::Environment),
            ("app/.env.production", "A=b", SecretKind::Environment),
            (".netrc", "machine a", SecretKind::NetworkLogins),
            (".pypirc", "[pypi]\nusername = u\npassword = p\n", SecretKind::PackageIndexLogin),
            (".npmrc", "//registry.npmjs.org/:_authToken=abc\n", SecretKind::PackageIndexLogin),
            ("pip.conf", "[global]\nindex-url=https://ci:s3cret@nexus.example.com/simple\n", SecretKind::PackageIndexLogin),
            ("adapter_requirements.txt", "--index-url https://u:p@h/simple\nrequests\n", SecretKind::PackageIndexLogin),
            ("gradle.properties", "org.gradle.caching=true\nnexusPassword = abc\n", SecretKind::PackageIndexLogin),
            ("connections.json.bak", r#"{"connections": [{"credential": {}}]}"#, SecretKind::Connections),
            ("connections-lab.json", r#"{"connections": [{"credential": {}}]}"#, SecretKind::Connections),
            ("kubeconfig-lab.yaml", "users:\n- user:\n    token: abc\n", SecretKind::Kubeconfig),
            ("ci/config.json", r#"{"auths": {"h": {"auth": "dTpw"}}}"#, SecretKind::RegistryLogins),
            ("id_rsa.old", "x", SecretKind::PrivateKey),
            ("home/.aws/credentials", "[default]", SecretKind::AwsCredentials),
            (".config/gcloud/credentials.db", "x", SecretKind::GoogleCredentials),
            (
                "service-account.json",
                &format!("{{\"type\": \"service_account\", \"private_key\": \"{PEM}\"}}"),
                SecretKind::GoogleCredentials,
            ),
            (".azure/msal_token_cache.json", "{}", SecretKind::AzureCredentials),
            (".docker/config.json", r#"{"auths": {"h": {"auth": "dTpw"}}}"#, SecretKind::RegistryLogins),
            (".kube/config", "users:\n- user:\n    token: abc\n", SecretKind::Kubeconfig),
            ("dev.kubeconfig", "{\n  \"client-key-data\": \"abc\"\n}", SecretKind::Kubeconfig),
        ] {
            let (_root, entry) = entry(path, text);
            assert_eq!(secret_in(&entry).unwrap(), Some(kind), "{path}");
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_passes() {
        for (path, text) in [
            ("app/connections.json", r#"{"nodes": []}"#),
            ("cacert.pem", "-----BEGIN CERTIFICATE-----\nMIIE\n"),
            ("public.key", "-----BEGIN PUBLIC KEY-----\nMIIE\n"),
            ("translations.key", "hello=world"),
            ("id_rsa.pub", "ssh-rsa AAAA"),
            (".env.example", "A=b"),
            (".env.local.sample", "A=b"),
            (".env", ""),
            ("my.env.py", "A=b"),
            (".pypirc", "[pypi]\nusername = __token__\n"),
            (".npmrc", "//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nregistry=https://r\n"),
            ("aws/credentials", "x"),
            ("requirements.txt", "--index-url https://$USER:$PASSWORD@h/simple\nrequests @ https://h/a@b:c.whl\n"),
            ("pip.conf", "[global]\nindex-url = https://ci@nexus.example.com/simple\n"),
            ("gradle.properties", "# password=x\nnexusPassword=\norg.gradle.jvmargs=-Xmx1g\n"),
            ("connections-lab.json", r#"{"nodes": []}"#),
            (".docker/config.json", r#"{"auths": {"h": {}}, "credsStore": "pass"}"#),
            (".kube/config", "clusters: []\n"),
            ("config.json", r#"{"auth": "x"}"#),
            ("keymap.json", r#"{"type": "service_account"}"#),
        ] {
            let (_root, entry) = entry(path, text);
            assert_eq!(secret_in(&entry).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn the_message_names_file_instruction_and_both_remedies() {
        let (_root, entry) = entry("app/id_rsa", "x");
        let stop = SecretGuard::new(GuardPolicy::Stop, [""; 0]).unwrap().check(&entry, "COPY app app").unwrap_err();
        assert_eq!(stop.kind(), ErrorKind::Secret);
        assert_eq!(stop.to_string(), "`app/id_rsa` holds a private key, and `COPY app app` would put it into the image");
        assert_eq!(
            stop.hint(),
            Some("add the line `app/id_rsa` to .dockerignore, or let the file through with `allowed_secret_files: app/id_rsa`")
        );
        let warning = SecretGuard::new(GuardPolicy::Warn, [""; 0]).unwrap().check(&entry, "COPY app app").unwrap().unwrap();
        assert_eq!(warning.to_string(), "`app/id_rsa` holds a private key, and `COPY app app` puts it into the image");
        let allowed = SecretGuard::new(GuardPolicy::Stop, ["./app/id_rsa"]).unwrap();
        assert!(allowed.check(&entry, "COPY app app").unwrap().is_none());
    }
}
