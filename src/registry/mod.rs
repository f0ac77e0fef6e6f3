//! Registries: credentials, pulling, resumable pushing, checking (OCI distribution specification 1.1).
//!
//! Refuses Dockerfiles, terminals and prompts; refuses to send a credential to any host but the one it belongs to.

mod auth;
mod check;
mod client;
mod pull;
mod push;

pub use auth::{Credential, CredentialSources};
pub use check::{AnonymousReport, CheckItem, CheckState};
pub use client::{Client, ClientOptions};
pub use pull::PulledImage;
pub use push::{BlobOutcome, PushSession, Pushed, PushedBlob};
