//! All commands of docker: those that mpimg does, and the remedies for those that it does not.

use super::command::Command;
use super::version;

/// The commands that mpimg does.
pub(super) const ALL: &[Command] = &[version::COMMAND];

/// Commands of docker that mpimg does not have, each with what to do instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("swarm", "there is no cluster here; run the containers one by one with `docker run`"),
    ("stack", "there is no cluster here; run the containers one by one with `docker run`"),
    ("service", "there is no cluster here; run the containers one by one with `docker run`"),
    ("node", "there is no cluster here; run the containers one by one with `docker run`"),
    ("secret", "there is no cluster here; `docker build --secret` and `docker run -v` pass secrets on"),
    ("config", "there is no cluster here; `docker run -v` passes files on"),
    ("compose", "run the containers one by one with `docker run`"),
    ("plugin", "nothing can be plugged in; credential helpers work without"),
    ("trust", "sign with cosign, by the digest that `docker push` prints"),
    ("events", "`docker ps -a` shows what has become of containers"),
    ("search", "look at https://hub.docker.com"),
];

/// The command that `words` begin with, the name that they have for it, and what follows.
pub(super) fn find(words: &[String]) -> Option<(&'static Command, &'static str, &[String])> {
    let found = ALL.iter().filter_map(|command| command.matches(words).map(|(name, length)| (command, name, length)));
    found.max_by_key(|(_, _, length)| *length).map(|(command, name, length)| (command, name, &words[length..]))
}

/// Whether commands stand below this word: `docker image`.
pub(super) fn is_group(word: &str) -> bool {
    let begins = |name: &&str| name.split_once(' ').is_some_and(|(group, _)| group == word);
    ALL.iter().any(|command| command.names.iter().any(|name| begins(&name)))
}

/// What to do instead of a command that mpimg does not have.
pub(super) fn refused(word: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == word).map(|(_, remedy)| *remedy)
}
