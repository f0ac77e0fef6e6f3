//! Authentication: challenges, credentials, tokens.
//!
//! Invariant: neither `Debug`, nor an error, nor a log line contains a secret.

mod authenticator;
#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
#[path = "without_aws.rs"]
mod aws;
mod challenge;
mod credential;
mod credential_store;
mod docker_config;
mod helper;
mod sources;
mod token;

pub(crate) use authenticator::{Authenticator, LoginState};
pub(crate) use challenge::{Challenge, Scope};
pub use credential::Credential;
pub use credential_store::CredentialStore;
pub use sources::CredentialSources;
pub(crate) use token::granted;
