//! `mpimg doctor`: what this machine gives: isolation for RUN, the store, configuration files, where credentials come from.
//!
//! Refuses to show a secret: of credentials, only whose they are and where.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::blocking;
use crate::cli::size::Size;
use crate::cli::style::Theme;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::sandbox::{Attempt, Report, Rung};
use crate::store::Store;

const EXAMPLES: &str = "\
Isolation is really tried, best first: root (namespaces as root), userns (a user namespace with a range of ids), single \
(with one id), chroot (no security boundary). `mpimg build` takes the best unless --isolation says otherwise.

Examples:
  mpimg doctor
  mpimg doctor --json | jq -r .isolation.rung";

/// Show what this machine gives: isolation for RUN, the store, configuration, credentials
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Doctor {}

impl Doctor {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let theme = terminal.theme();
        let store = Store::open(Store::default_root()?)?;
        let root = store.root().to_owned();
        let (report, usage) = blocking(move || Ok((Report::of_all(store.root()), store.disk_usage()?))).await?;
        let files = files();
        let variables: Vec<&str> = VARIABLES.into_iter().filter(|name| std::env::var_os(name).is_some()).collect();
        let credentials = credentials(&files);

        let mut text = isolation_text(&report, theme);
        text += &format!("\n{}\n", theme.strong("Local store"));
        text += &format!("  {}\n", root.display());
        text += &format!(
            "  blobs {}, build cache {}, unpacked layers {}, work under way {}\n",
            Size(usage.blobs),
            Size(usage.cache),
            Size(usage.unpacked),
            Size(usage.scratch)
        );
        text += &format!("\n{}\n", theme.strong("Configuration"));
        for File { path, what, there, .. } in &files {
            let sign = if *there { theme.good("✓").to_string() } else { theme.faint("-").to_string() };
            text += &format!("  {sign} {}  {}\n", path.display(), theme.faint(what));
        }
        if !variables.is_empty() {
            text += &format!("  set: {}\n", variables.join(", "));
        }
        text += &format!("\n{}\n", theme.strong("Credentials"));
        text += &credentials.iter().map(|(whose, place)| format!("  {whose}  {}\n", theme.faint(place))).collect::<String>();
        if credentials.is_empty() {
            text += "  none stored; `mpimg login HOST` stores some\n";
        }
        terminal.answer(&Answer {
            text,
            quiet: report.rung.map_or_else(String::new, |rung| format!("{rung}\n")),
            json: json!({
                "isolation": isolation_json(&report),
                "store": {
                    "path": root.display().to_string(),
                    "blobs": usage.blobs,
                    "cache": usage.cache,
                    "unpacked": usage.unpacked,
                    "scratch": usage.scratch,
                },
                "files": files.iter().map(File::json).collect::<Vec<_>>(),
                "variables": variables,
                "credentials": credentials.iter()
                    .map(|(whose, place)| json!({ "registry": whose, "from": place })).collect::<Vec<_>>(),
            }),
        })
    }
}

/// Variables that change what mpimg does. Only whether they are set is told: some hold secrets.
const VARIABLES: [&str; 15] = [
    "MPIMG_HOME",
    "SOURCE_DATE_EPOCH",
    "DOCKER_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "CONTAINERS_REGISTRIES_CONF",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "NO_COLOR",
    "CI",
];

fn isolation_text(report: &Report, theme: Theme) -> String {
    let mut text = format!("{}\n", theme.strong("Isolation of RUN"));
    for Attempt { rung, failure } in &report.attempts {
        let in_use = if report.rung == Some(*rung) { "  in use" } else { "" };
        text += &match failure {
            None => format!("  {} {rung}{}\n", theme.good("✓"), theme.faint(in_use)),
            Some(failure) => {
                let number = failure.errno.map(|number| format!(": {}", std::io::Error::from_raw_os_error(number)));
                format!(
                    "  {} {rung}  {}{}\n      {}: {}\n",
                    theme.bad("✗"),
                    failure.step,
                    number.unwrap_or_default(),
                    theme.guide("hint"),
                    failure.remedy
                )
            }
        };
    }
    match report.rung {
        None => text += "  no RUN step can be run on this machine; Dockerfiles without RUN can be built\n",
        Some(Rung::Chroot) => text += "  chroot is no security boundary: build only Dockerfiles that you trust\n",
        Some(_) => {}
    }
    text
}

fn isolation_json(report: &Report) -> Value {
    let attempt = |Attempt { rung, failure }: &Attempt| {
        json!({
            "rung": rung.to_string(),
            "works": failure.is_none(),
            "step": failure.as_ref().map(|failure| &failure.step),
            "errno": failure.as_ref().and_then(|failure| failure.errno),
            "remedy": failure.as_ref().map(|failure| &failure.remedy),
        })
    };
    json!({ "rung": report.rung.map(|rung| rung.to_string()), "attempts": report.attempts.iter().map(attempt).collect::<Vec<_>>() })
}

/// A file that mpimg reads if it is there.
struct File {
    path: PathBuf,
    what: &'static str,
    there: bool,
    holds_credentials: bool,
}

impl File {
    fn new(path: PathBuf, what: &'static str) -> Self {
        Self { there: path.is_file(), path, what, holds_credentials: false }
    }

    fn with_credentials(path: PathBuf, what: &'static str) -> Self {
        Self { holds_credentials: true, ..Self::new(path, what) }
    }

    fn json(&self) -> Value {
        json!({ "path": self.path.display().to_string(), "what": self.what, "there": self.there })
    }
}

fn files() -> Vec<File> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    let below_home = |below: &str| home.as_ref().map(|home| home.join(below));
    let config_home = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let in_config = |below: &str| config_home.as_ref().map(|folder| folder.join(below));
    let registries = match variable("CONTAINERS_REGISTRIES_CONF") {
        Some(path) => vec![path],
        None => in_config("containers/registries.conf").into_iter().chain(["/etc/containers/registries.conf".into()]).collect(),
    };
    let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker")).map(|folder| folder.join("config.json"));
    let runtime = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let podman = [variable("REGISTRY_AUTH_FILE"), runtime, in_config("containers/auth.json")];
    let mut files: Vec<File> = registries.into_iter().map(|path| File::new(path, "mirrors and insecure registries")).collect();
    files.extend(docker.map(|path| File::with_credentials(path, "docker's credentials")));
    files.extend(podman.into_iter().flatten().map(|path| File::with_credentials(path, "podman's credentials")));
    files.extend(crate::project::GlobalConfig::path().map(|path| File::new(path, "the Integration SDK's settings")));
    files
}

/// Registries with a login, and where it is.
fn credentials(files: &[File]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(text) = std::env::var_os("DOCKER_AUTH_CONFIG") {
        found.extend(registries(text.as_encoded_bytes(), "DOCKER_AUTH_CONFIG"));
    }
    for file in files.iter().filter(|file| file.holds_credentials && file.there) {
        found.extend(read(&file.path));
    }
    found
}

fn read(path: &Path) -> Vec<(String, String)> {
    let place = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => registries(&bytes, &place),
        Err(error) => vec![("?".into(), format!("{place} cannot be read: {error}"))],
    }
}

/// The names of registries in a file of docker's format; its values are not looked at.
fn registries(bytes: &[u8], place: &str) -> Vec<(String, String)> {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        return vec![("?".into(), format!("{place} is not JSON"))];
    };
    let keys = |name: &str| document.get(name).and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let helpers =
        keys("credHelpers").map(|(host, helper)| (host.clone(), format!("docker-credential-{}, {place}", text(helper))));
    let all =
        document.get("credsStore").map(|helper| ("all others".into(), format!("docker-credential-{}, {place}", text(helper))));
    let direct = keys("auths").map(|(host, _)| (host.clone(), place.to_owned()));
    helpers.chain(direct).chain(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_by_registry_and_place_alone() {
        let file =
            br#"{"auths":{"ghcr.io":{"auth":"aHVudGVyMg=="}},"credsStore":"pass","credHelpers":{"x.amazonaws.com":"ecr-login"}}"#;
        let found = registries(file, "config.json");
        assert_eq!(
            found,
            [
                ("x.amazonaws.com", "docker-credential-ecr-login, config.json"),
                ("ghcr.io", "config.json"),
                ("all others", "docker-credential-pass, config.json"),
            ]
            .map(|(whose, place)| (whose.to_owned(), place.to_owned()))
        );
        assert!(!format!("{found:?}").contains("aHVudGVyMg"));
        assert_eq!(registries(b"{", "config.json")[0].1, "config.json is not JSON");
    }
}
