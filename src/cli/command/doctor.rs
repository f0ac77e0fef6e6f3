//! `mpimg doctor`: what this machine gives: isolation for RUN, the store, configuration files,
//! where credentials come from.
//!
//! Invariant: no secret is shown; of credentials only the registry and the place.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::flags::ConnectionFlags;
use crate::cli::message::error_json;
use crate::cli::size::Size;
use crate::cli::style::Theme;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::{Error, Result};
use crate::operation::{ConfigurationFile, DoctorReport, Policy, Settings, StoredCredential};
use crate::sandbox::{Attempt, Report, kernel};
use crate::store::DiskUsage;

const EXAMPLES: &str = "\
Each kind of isolation is tried, best first: root (namespaces as root), userns (a user namespace with a range of ids), single \
(with one id), chroot and emulated (not security boundaries). `mpimg build` takes the best unless --isolation says otherwise.

Examples:
  mpimg doctor
  mpimg doctor --json | jq -r .isolation.selected";

/// Show what this machine provides: isolation for RUN, the store, configuration, credentials
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let theme = terminal.theme();
        let report = ConnectionFlags::default().mpimg(terminal, None).doctor().await?;
        let DoctorReport { isolation, store, cache_limit, files, settings, variables, credentials, .. } = &report;

        let mut text = isolation_text(isolation, theme);
        text += &format!("\n{}\n{}", theme.strong("Local store"), store_text(store, theme));
        text += &match cache_limit {
            Some(limit) => format!("  limit of the build cache and unpacked layers: {}\n", Size(*limit)),
            None => "  the build cache has no limit\n".to_owned(),
        };
        text += &format!("\n{}\n", theme.strong("Configuration"));
        for ConfigurationFile { path, purpose, exists, .. } in files {
            let sign = if *exists { theme.good("✓").to_string() } else { theme.faint("-").to_string() };
            text += &format!("  {sign} {}  {}\n", path.display(), theme.faint(purpose));
        }
        text += &settings_text(settings, theme);
        if !variables.is_empty() {
            text += &format!("  set: {}\n", variables.join(", "));
        }
        text += &format!("\n{}\n", theme.strong("Credentials"));
        for StoredCredential { registry, place, .. } in credentials {
            text += &format!("  {registry}  {}\n", theme.faint(place));
        }
        if credentials.is_empty() {
            text += "  none stored; `mpimg login HOST` stores some\n";
        }
        terminal.answer(&Answer {
            text,
            quiet: isolation.selected.map_or_else(String::new, |isolation| format!("{isolation}\n")),
            json: json!({
                "isolation": isolation_json(isolation),
                "store": store_json(store),
                "cache_limit": cache_limit,
                "files": files.iter().map(file_json).collect::<Vec<_>>(),
                "run": settings_json(settings),
                "policy": policy_json(settings),
                "variables": variables,
                "credentials": credentials.iter().map(credential_json).collect::<Vec<_>>(),
            }),
        })
    }
}

fn store_text(usage: &Result<(PathBuf, DiskUsage)>, theme: Theme) -> String {
    match usage {
        Ok((root, usage)) => format!(
            "  {}\n  blobs {}, build cache {}, unpacked layers {}, work under way {}\n",
            root.display(),
            Size(usage.blobs),
            Size(usage.cache),
            Size(usage.unpacked),
            Size(usage.scratch)
        ),
        Err(error) => failure_text(error, theme),
    }
}

/// What RUN gets of this machine; of variables the names alone.
fn settings_text(settings: &Result<Settings>, theme: Theme) -> String {
    let (run, policy) = match settings {
        Ok(settings) => (&settings.run, &settings.policy),
        Err(error) => return failure_text(error, theme),
    };
    let authorities = run.ca_files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let mounts = run.mounts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let names = run.env.keys().cloned().collect::<Vec<_>>();
    let rows = [("certificate authorities", authorities), ("variables", names), ("mounts", mounts)];
    let rows = rows.iter().filter(|(_, values)| !values.is_empty());
    let run: String = rows.map(|(what, values)| format!("  RUN gets {what}: {}\n", values.join(", "))).collect();
    let demands = demands(policy).join(", ");
    if demands.is_empty() { run } else { format!("{run}  what is pushed must have: {demands}\n") }
}

/// What the site demands of its images.
fn demands(policy: &Policy) -> Vec<String> {
    let list = |all: Vec<String>| all.join(" or ");
    let mut demands = Vec::new();
    if !policy.signed_by.is_empty() {
        let keys = policy.signed_by.iter().map(|path| path.display().to_string()).collect();
        demands.push(format!("a signature by {}", list(keys)));
    }
    demands.extend(policy.sbom.then(|| "an SBOM".to_owned()));
    demands.extend(policy.provenance.then(|| "provenance".to_owned()));
    if !policy.bases.is_empty() {
        demands.push(format!("only base images from {}", list(policy.bases.iter().map(ToString::to_string).collect())));
    }
    demands
}

fn policy_json(settings: &Result<Settings>) -> Value {
    match settings {
        Ok(Settings { policy, .. }) => json!({
            "signed_by": policy.signed_by,
            "sbom": policy.sbom,
            "provenance": policy.provenance,
            "bases": policy.bases.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Err(error) => error_json(error),
    }
}

fn settings_json(settings: &Result<Settings>) -> Value {
    match settings {
        Ok(Settings { run, .. }) => json!({
            "ca_files": run.ca_files,
            "env": run.env.keys().collect::<Vec<_>>(),
            "mounts": run.mounts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Err(error) => error_json(error),
    }
}

fn failure_text(error: &Error, theme: Theme) -> String {
    let hint = error.hint().map(|hint| format!("      {}: {hint}\n", theme.guide("hint"))).unwrap_or_default();
    format!("  {} {}\n{hint}", theme.bad("✗"), error.in_one_line())
}

fn store_json(usage: &Result<(PathBuf, DiskUsage)>) -> Value {
    match usage {
        Ok((root, usage)) => json!({
            "path": root.display().to_string(),
            "blobs": usage.blobs,
            "cache": usage.cache,
            "unpacked": usage.unpacked,
            "scratch": usage.scratch,
        }),
        Err(error) => error_json(error),
    }
}

fn isolation_text(report: &Report, theme: Theme) -> String {
    let mut text = format!("{}  {}\n", theme.strong("Isolation of RUN"), theme.faint(format!("Linux {}", kernel::release())));
    for Attempt { isolation, failure } in &report.attempts {
        let in_use = if report.selected == Some(*isolation) { "  in use" } else { "" };
        text += &match failure {
            None => format!("  {} {isolation}{}\n", theme.good("✓"), theme.faint(in_use)),
            Some(failure) => {
                let number = failure.errno.map(|number| format!(": {}", std::io::Error::from_raw_os_error(number)));
                format!(
                    "  {} {isolation}  {}{}\n      {}: {}\n",
                    theme.bad("✗"),
                    failure.step,
                    number.unwrap_or_default(),
                    theme.guide("hint"),
                    failure.remedy
                )
            }
        };
    }
    match report.selected {
        None => text += "  no RUN step can be run on this machine; Dockerfiles without RUN can be built\n",
        Some(kind) if !kind.is_boundary() => {
            text += &format!("  {kind} is not a security boundary: build only Dockerfiles that you trust\n");
        }
        Some(_) => {}
    }
    text
}

fn isolation_json(report: &Report) -> Value {
    let attempt = |Attempt { isolation, failure }: &Attempt| {
        json!({
            "isolation": isolation.to_string(),
            "rung": isolation.to_string(),
            "works": failure.is_none(),
            "step": failure.as_ref().map(|failure| &failure.step),
            "errno": failure.as_ref().and_then(|failure| failure.errno),
            "remedy": failure.as_ref().map(|failure| &failure.remedy),
        })
    };
    let selected = report.selected.map(|isolation| isolation.to_string());
    // `rung` is the former name of both keys, which scripts read.
    json!({ "kernel": kernel::release(), "selected": selected, "rung": selected, "attempts": report.attempts.iter().map(attempt).collect::<Vec<_>>() })
}

fn file_json(file: &ConfigurationFile) -> Value {
    json!({ "path": file.path.display().to_string(), "what": file.purpose, "there": file.exists })
}

fn credential_json(credential: &StoredCredential) -> Value {
    json!({ "registry": credential.registry, "from": credential.place })
}
