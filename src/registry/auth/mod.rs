//! Who asks: challenges, credentials, tokens.
//!
//! Refuses to show a secret: neither Debug, nor an error, nor a log line contains one.

mod credential;

pub use credential::{Credential, CredentialSources};
