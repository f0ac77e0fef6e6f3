//! Tokens and what they grant (distribution's "Token Authentication Specification"). They live in
//! memory and end with the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};

use super::auth::User;
use super::route::RepositoryName;
use crate::error::{Error, Result};
use crate::oci::hex;

/// What can be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// Rights on one repository: `repository:NAME:ACTION,ACTION…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    name: RepositoryName,
    actions: Vec<Action>,
}

impl Scope {
    /// Reads one scope, without the actions that `allowed` refuses. Kinds of resources other than
    /// repositories grant nothing.
    pub(super) fn parse(text: &str, allowed: impl Fn(Action) -> bool) -> Option<Self> {
        let (name, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        let asked = |action: Action| actions.split(',').any(|word| word == "*" || word == action.as_str());
        let all = [Action::Pull, Action::Push, Action::Delete].into_iter();
        let actions = all.filter(|action| asked(*action) && allowed(*action)).collect();
        Some(Self { name: RepositoryName::parse(name)?, actions })
    }

    pub(super) fn covers(&self, name: &RepositoryName, action: Action) -> bool {
        self.name == *name && self.actions.contains(&action)
    }
}

/// The tokens that were handed out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    access: Mutex<HashMap<String, (Instant, Vec<Scope>)>>,
    // Refresh tokens: the user's name.
    refresh: Mutex<HashMap<String, String>>,
}

impl Tokens {
    /// What a token grants; `None` if it is unknown or has expired.
    pub(super) fn scopes(&self, token: &str) -> Option<Vec<Scope>> {
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let (expires, scopes) = access.get(token)?;
        (Instant::now() < *expires).then(|| scopes.clone())
    }

    pub(super) fn issue(&self, lifetime: Duration, scopes: Vec<Scope>) -> Result<String> {
        let token = random_token()?;
        let now = Instant::now();
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.retain(|_, (expires, _)| now < *expires);
        access.insert(token.clone(), (now + lifetime, scopes));
        Ok(token)
    }

    pub(super) fn issue_refresh(&self, user: &User) -> Result<String> {
        let token = random_token()?;
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), user.name().to_owned());
        Ok(token)
    }

    pub(super) fn refresh_user(&self, token: &str) -> Option<String> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

fn random_token() -> Result<String> {
    let mut random = [0; 32];
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| Error::io("take random numbers for", "a token", error.into()))?;
    Ok(hex(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_grant_what_is_asked_and_allowed() {
        let name = RepositoryName::parse("a/b").unwrap();
        let scope = Scope::parse("repository:a/b:pull,push", |_| true).unwrap();
        assert!(scope.covers(&name, Action::Pull) && scope.covers(&name, Action::Push));
        assert!(!scope.covers(&name, Action::Delete));
        assert!(!scope.covers(&RepositoryName::parse("a").unwrap(), Action::Pull));
        let all = Scope::parse("repository:a/b:*", |action| action == Action::Pull).unwrap();
        assert!(all.covers(&name, Action::Pull) && !all.covers(&name, Action::Push));
        assert_eq!(Scope::parse("registry:catalog:*", |_| true), None);
        assert_eq!(Scope::parse("repository:../x:pull", |_| true), None);
    }
}
