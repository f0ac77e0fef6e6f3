//! Who may pull and push: users with passwords, and the scheme in which they prove who they are.
//!
//! Refuses to show a password: Debug leaves it out.

use std::fmt;
use std::time::Duration;

use crate::oci::Digest;

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
    // Of the password, so that comparing takes as long for a wrong one as for the right one.
    password: Digest,
    push: bool,
}

/// How users prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Authorization: Basic` with every request.
    Basic,
    /// `Authorization: Bearer` with a token from `/token` of this registry (distribution's token authentication). The challenge
    /// names it by plain `http` and the host that the client named.
    Bearer {
        /// How long a token is good for; tests use very short ones.
        lifetime: Duration,
    },
}

impl User {
    /// A user who may pull, push and delete.
    pub fn new(name: impl Into<String>, password: impl AsRef<str>) -> Self {
        Self { name: name.into(), password: Digest::of(password.as_ref()), push: true }
    }

    /// The same user without the right to push and delete.
    #[must_use]
    pub fn pull_only(mut self) -> Self {
        self.push = false;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the user may push and delete.
    pub fn may_push(&self) -> bool {
        self.push
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("push", &self.push).finish_non_exhaustive()
    }
}

impl AuthOptions {
    /// The user with this name and password.
    pub(super) fn user(&self, name: &str, password: &str) -> Option<&User> {
        let password = Digest::of(password);
        self.users.iter().find(|user| user.name == name && user.password == password)
    }

    pub(super) fn user_named(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }
}
