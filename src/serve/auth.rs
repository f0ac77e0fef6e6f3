//! Who may pull and push: Basic users, or Bearer tokens that the registry itself hands out at `/token`.
//!
//! Refuses to remember tokens across restarts: they live in memory and are short.

use std::fmt;
use std::time::Duration;

/// Access to a registry.
#[derive(Debug, Clone)]
pub struct AuthOptions {
    /// The users.
    pub users: Vec<User>,
    /// How they prove who they are.
    pub scheme: AuthScheme,
    /// Whether anybody may pull. In the Bearer scheme, anybody then gets a token for pulling.
    pub anonymous_pull: bool,
}

/// A user, who may pull everything.
#[derive(Clone)]
pub struct User {
    name: String,
    password: String,
    push: bool,
}

impl User {
    /// A user who may pull and push (and delete).
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { name: name.into(), password: password.into(), push: true }
    }

    /// The same user without the right to push.
    #[must_use]
    pub fn pull_only(mut self) -> Self {
        self.push = false;
        self
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("push", &self.push).finish_non_exhaustive()
    }
}

/// How users prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Authorization: Basic` with every request.
    Basic,
    /// `Authorization: Bearer` with a token from `/token` of this registry (distribution's token authentication).
    Bearer {
        /// How long a token is good for; tests use very short ones.
        lifetime: Duration,
    },
}
