//! Registries by their host names: which service it is, and under which names it is known. Nothing
//! is connected to.

use std::net::IpAddr;

use url::Url;

use super::aws_hosts::PrivateEcr;

/// A service with habits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryKind {
    /// docker.io
    DockerHub,
    /// ghcr.io
    Ghcr,
    /// Amazon ECR, private or public.
    Ecr,
    /// quay.io
    Quay,
    /// Google Artifact Registry and gcr.io.
    Google,
    /// Anything else: distribution, Harbor, zot, Artifactory, …
    Other,
}

impl RegistryKind {
    /// The service behind a registry's name.
    pub(crate) fn of(registry: &str) -> Self {
        let host = host_of(registry);
        match host {
            "docker.io" | "index.docker.io" | "registry-1.docker.io" => Self::DockerHub,
            "ghcr.io" => Self::Ghcr,
            "quay.io" => Self::Quay,
            "gcr.io" => Self::Google,
            "public.ecr.aws" => Self::Ecr,
            _ if host.ends_with(".gcr.io") || host.ends_with("-docker.pkg.dev") => Self::Google,
            _ if PrivateEcr::of(host).is_some() => Self::Ecr,
            _ => Self::Other,
        }
    }

    /// Whether NAME_UNKNOWN as the response to a push may mean that the repository must be made
    /// first.
    pub(crate) fn may_have_to_be_created(self) -> bool {
        matches!(self, Self::Ecr | Self::Google | Self::Other)
    }
}

/// The host that is connected to for a registry's name.
pub(crate) fn api_authority(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    }
}

/// The host of `host[:port]`, without an IPv6 address's brackets.
pub(crate) fn host_of(registry: &str) -> &str {
    match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    }
}

/// Whether a registry is on this machine: it may be plain HTTP without being asked for.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = host_of(registry);
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// One name for Docker Hub's many.
pub(crate) fn canonical(registry: &str) -> &str {
    match host_of(registry) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        _ => registry,
    }
}

/// The name under which docker stores a registry's credential.
pub(crate) fn server_key(registry: &str) -> String {
    match canonical(registry) {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        other => other.to_owned(),
    }
}

/// Host and port of an address, for messages: its path and query may hold a signature.
pub(crate) fn host_and_port(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_known_by_their_hosts() {
        for (registry, kind) in [
            ("docker.io", RegistryKind::DockerHub),
            ("ghcr.io", RegistryKind::Ghcr),
            ("quay.io", RegistryKind::Quay),
            ("gcr.io", RegistryKind::Google),
            ("europe-west3-docker.pkg.dev", RegistryKind::Google),
            ("public.ecr.aws", RegistryKind::Ecr),
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", RegistryKind::Ecr),
            ("123456789012.dkr-ecr.us-west-2.on.aws:443", RegistryKind::Ecr),
            ("123456789012.dkr.ecr.eu-central-1.evil.example", RegistryKind::Other),
            ("harbor.example.com:8443", RegistryKind::Other),
            ("docker.io.example.com", RegistryKind::Other),
        ] {
            assert_eq!(RegistryKind::of(registry), kind, "{registry}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "r.localhost:80"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["10.0.0.1:5000", "localhost.example.com", "[fe80::1]:5000", "127.0.0.1.example.com"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
