//! Who asks: challenges, credentials, tokens.
//!
//! Refuses to show a secret: neither Debug, nor an error, nor a log line contains one.

mod authenticator;
mod aws;
mod challenge;
mod credential;
mod docker_config;
mod ecr;
mod helper;
mod login;
mod token;

pub(crate) use authenticator::Authenticator;
pub(crate) use challenge::{Challenge, Scope};
pub use credential::{Credential, CredentialSources};
pub use login::CredentialStore;
