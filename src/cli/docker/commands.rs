//! All commands of docker: those that mpimg does, and the remedies for those that it does not.

use super::command::Command;
use super::{
    archive, build, buildx, commit, containers, cp, exec, history, images, imagetools, inspect, login, logs, manifest, networks,
    ps, pull, push, rmi, run, system, tag, version, volumes,
};

/// The commands that mpimg does.
pub(super) const ALL: &[Command] = &[
    build::COMMAND,
    push::COMMAND,
    pull::COMMAND,
    tag::COMMAND,
    login::LOGIN,
    login::LOGOUT,
    images::COMMAND,
    rmi::COMMAND,
    inspect::ANY,
    inspect::IMAGE,
    inspect::CONTAINER,
    history::COMMAND,
    archive::SAVE,
    archive::LOAD,
    archive::IMPORT,
    run::RUN,
    run::CREATE,
    containers::START,
    containers::STOP,
    containers::KILL,
    containers::WAIT,
    containers::RM,
    containers::RESTART,
    containers::PORT,
    containers::TOP,
    exec::COMMAND,
    ps::COMMAND,
    logs::COMMAND,
    cp::CP,
    commit::COMMAND,
    cp::EXPORT,
    buildx::VERSION,
    buildx::CREATE,
    buildx::USE,
    buildx::RM,
    buildx::LS,
    buildx::INSPECT,
    buildx::STOP,
    buildx::DU,
    buildx::BAKE,
    imagetools::INSPECT,
    imagetools::CREATE,
    networks::CREATE,
    networks::LS,
    networks::RM,
    networks::INSPECT,
    networks::PRUNE,
    networks::CONNECT,
    networks::DISCONNECT,
    volumes::CREATE,
    volumes::LS,
    volumes::RM,
    volumes::INSPECT,
    volumes::PRUNE,
    manifest::INSPECT,
    manifest::CREATE,
    manifest::ANNOTATE,
    manifest::PUSH,
    manifest::RM,
    version::COMMAND,
    system::INFO,
    system::DF,
    system::SYSTEM_PRUNE,
    system::IMAGE_PRUNE,
    system::CONTAINER_PRUNE,
    system::BUILDER_PRUNE,
    system::CONTEXT_LS,
    system::CONTEXT_SHOW,
    system::CONTEXT_USE,
    system::CONTEXT_INSPECT,
    system::CONTEXT_CREATE,
    system::CONTEXT_RM,
];

/// Commands of docker that mpimg does not have, each with what to do instead.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("attach", "`docker logs -f` shows what a container writes"),
    ("diff", "`docker cp` shows single files"),
    ("pause", "`docker stop` ends a container"),
    ("unpause", "`docker stop` ends a container"),
    ("update", "start a new container with other limits"),
    ("rename", "name the container as it starts: `docker run --name NAME`"),
    ("stats", "`mpimg stats` shows what containers use"),
    ("swarm", "there is no cluster here; run the containers one by one with `docker run`"),
    ("stack", "there is no cluster here; run the containers one by one with `docker run`"),
    ("service", "there is no cluster here; run the containers one by one with `docker run`"),
    ("node", "there is no cluster here; run the containers one by one with `docker run`"),
    ("secret", "there is no cluster here; `docker build --secret` and `docker run -v` pass secrets on"),
    ("config", "there is no cluster here; `docker run -v` passes files on"),
    ("compose", "run the containers one by one with `docker run`"),
    ("scout", "`mpimg push --sbom` attaches a list of packages that other scanners read"),
    ("plugin", "nothing can be plugged in; credential helpers work without"),
    ("trust", "`mpimg sign IMAGE --key KEY` signs it in its registry"),
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
    ALL.iter().any(|command| command.names.iter().any(&begins))
}

/// What to do instead of a command that mpimg does not have.
pub(super) fn refused(word: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == word).map(|(_, remedy)| *remedy)
}
