//! Who may pull and push: users with passwords, and the scheme in which they prove who they are.
//!
//! Never shows a password: `Debug` leaves it out.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
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
    password: Password,
    push: bool,
}

#[derive(Clone)]
enum Password {
    /// Of the password, so that comparing takes as long for a wrong one as for the right one.
    Digest(Digest),
    /// As htpasswd has it; and the digest of the password once it was given, because each check
    /// takes long by design.
    Bcrypt(String, Arc<OnceLock<Digest>>),
}

impl Password {
    fn is(&self, text: &str) -> bool {
        let given = Digest::of(text);
        match self {
            Self::Digest(own) => *own == given,
            Self::Bcrypt(_, known) if known.get() == Some(&given) => true,
            Self::Bcrypt(hash, known) => {
                let right = bcrypt::verify(text, hash).unwrap_or(false);
                if right {
                    known.get_or_init(|| given);
                }
                right
            }
        }
    }
}

/// How users prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Authorization: Basic` with every request.
    Basic,
    /// `Authorization: Bearer` with a token from `/token` of this registry (distribution's token
    /// authentication). The challenge names it by plain `http` and the host that the client named.
    Bearer {
        /// How long a token is good for; tests use very short ones.
        lifetime: Duration,
    },
}

impl User {
    /// A user who may pull, push and delete.
    pub fn new(name: impl Into<String>, password: impl AsRef<str>) -> Self {
        Self { name: name.into(), password: Password::Digest(Digest::of(password.as_ref())), push: true }
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
    /// The users of a file as `htpasswd -B` writes it, who may pull and push; Basic authentication.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: a line is not `NAME:HASH`, or its hash is not bcrypt's.
    pub fn from_htpasswd(text: &str, anonymous_pull: bool) -> Result<Self> {
        let mut users = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').filter(|(name, _)| !name.is_empty()).unwrap_or_default();
            if !["$2a$", "$2b$", "$2y$"].iter().any(|kind| hash.starts_with(kind)) {
                let message = format!("line {} of the htpasswd file is not a user with a bcrypt hash", number + 1);
                return Err(Error::new(ErrorKind::Usage, message).with_hint("write it with `htpasswd -B FILE NAME`"));
            }
            let password = Password::Bcrypt(hash.to_owned(), Arc::default());
            users.push(User { name: name.to_owned(), password, push: true });
        }
        Ok(Self { users, scheme: AuthScheme::Basic, anonymous_pull })
    }

    /// The user with this name and password.
    pub(super) fn user(&self, name: &str, password: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name && user.password.is(password))
    }

    pub(super) fn user_named(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }
}
