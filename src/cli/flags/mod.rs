//! Flags that several commands share, and how their values are read.

mod age;
mod attest;
mod build;
mod cache;
mod connection;
mod destination;
mod global;
mod pair;
mod run;
mod sdk_base;
mod secret;
mod signing;

use std::str::FromStr;

pub(super) use age::Age;
pub(super) use attest::AttestFlags;
pub(super) use build::BuildFlags;
pub(super) use cache::CacheFlags;
pub(super) use connection::{ConnectionFlags, LoginFlags, read_password};
pub(super) use destination::DestinationFlags;
pub(super) use global::{ColorMode, Global, ProgressMode};
pub(super) use pair::Pair;
pub(super) use run::{HostFlag, RunFlags, memory_size};
pub(super) use sdk_base::ask_for_sdk_base;
pub(super) use secret::{SecretFlag, SshFlag};
pub(super) use signing::{PushSigningFlags, SigningFlags, given_password};

use crate::error::Error;
use crate::oci::Reference;

/// Reads a flag's value with the library's own parser. Clap repeats the value and the flag; what is
/// left to say is the remedy.
pub(super) fn parsed<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| explained(&error))
}

/// An image in a registry, with or without `docker://`.
pub(super) fn registry_image(text: &str) -> Result<Reference, String> {
    Reference::parse_remote(text.strip_prefix("docker://").unwrap_or(text)).map_err(|error| explained(&error))
}

/// Whether a text names a place on this machine by one of skopeo's transports.
pub(super) fn names_a_file(text: &str) -> bool {
    ["oci:", "oci-archive:", "docker-archive:", "dir:"].iter().any(|transport| text.starts_with(transport))
}

/// What is wrong and what to write instead, in one line.
pub(super) fn explained(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}
