//! Registries: credentials, pulling, resumable pushing, checking (OCI distribution specification
//! 1.1).
//!
//! Invariant: a credential is sent only to the host that it belongs to.

mod attached;
mod auth;
mod aws_hosts;
mod blob;
mod check;
mod children;
mod client;
mod copy;
mod delete;
mod discovery;
mod download;
mod endpoint;
mod environment;
mod errors;
mod failure;
mod host;
mod listing;
mod login;
mod login_state;
mod manifest;
mod preflight;
mod proxies;
mod pull;
mod push;
mod push_manifest;
mod pushed;
mod ranges;
mod registries_conf;
mod retry;
mod schema2;
mod tls;
mod transport;
mod upload;
mod verifier;

pub use auth::{Credential, CredentialSources, CredentialStore};
pub(crate) use check::REGISTRY;
pub use check::{AnonymousReport, CheckItem, CheckState};
pub use client::{Client, ClientOptions};
pub use download::Download;
pub use environment::Environment;
pub use manifest::PulledManifest;
pub(crate) use preflight::UploadTrial;
pub use pull::RemoteImage;
pub use push::{BlobOutcome, PushSession, Pushed, PushedBlob};
pub use retry::RetryPolicy;
#[cfg(feature = "run")]
pub(crate) use {failure::innermost, tls::Connections};
