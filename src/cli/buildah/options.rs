//! What several commands say with the same flags: the platform, the format, what RUN has around it.

use std::str::FromStr;

use super::invocation::Failure;
use crate::build::BuildRequest;
use crate::cli::drop_in::Parsed;
use crate::cli::flags::{HostFlag, memory_size};
use crate::dockerfile::Network;
use crate::image::Format;
use crate::oci::Platform;

/// What RUN has around it: also of `buildah run`.
pub(super) fn run_settings(parsed: &Parsed, request: &mut BuildRequest) -> Result<(), Failure> {
    request.network = match parsed.value("network").or_else(|| parsed.value("net")) {
        Some("none" | "private") => Network::None,
        _ => Network::Default,
    };
    let hosts = parsed.list("add-host").into_iter().map(HostFlag::from_str).collect::<Result<Vec<_>, _>>()?;
    request.extra_hosts = hosts.into_iter().map(HostFlag::into_pair).collect();
    request.shm_size = parsed.value("shm-size").map(memory_size).transpose().map_err(Failure::new)?;
    request.ulimits = parsed.list("ulimit").into_iter().map(str::parse).collect::<Result<_, _>>()?;
    Ok(())
}

/// `--platform`, or `--os`, `--arch` and `--variant`; else this machine's.
pub(super) fn platform(parsed: &Parsed) -> Result<Platform, Failure> {
    let given: Vec<&str> =
        parsed.list("platform").into_iter().flat_map(|list| list.split(',')).filter(|text| !text.is_empty()).collect();
    let host = Platform::host();
    match given.as_slice() {
        [] => {
            let part = |flag: &str| parsed.value(flag).filter(|text| !text.is_empty());
            let (os, architecture) = (part("os").unwrap_or(&host.os), part("arch").unwrap_or(&host.architecture));
            let variant = part("variant").map(|variant| format!("/{variant}")).unwrap_or_default();
            Ok(format!("{os}/{architecture}{variant}").parse()?)
        }
        [one] => Ok(one.parse()?),
        _ => Err(Failure {
            hint: Some("build each alone, with the same --manifest NAME; or `mpimg build --platform A,B --push`".into()),
            ..Failure::new("several platforms in one build")
        }),
    }
}

/// `--format`, else BUILDAH_FORMAT, else OCI's.
pub(super) fn format(parsed: &Parsed) -> Result<Format, Failure> {
    let variable = std::env::var("BUILDAH_FORMAT").ok().filter(|format| !format.is_empty());
    match parsed.value("format").map(str::to_owned).or(variable).as_deref() {
        None | Some("oci" | "ociv1") => Ok(Format::Oci),
        Some("docker" | "v2s2") => Ok(Format::Docker),
        Some(other) => Err(Failure::new(format!("unrecognized image type \"{other}\""))),
    }
}
