//! What a command of buildah is: its names, its flags, and the function that does it.

use futures_util::future::LocalBoxFuture;

use super::invocation::{CommandResult, Invocation};
use crate::cli::drop_in::{Flag, Parsed, longest_name};

/// Does a command.
pub(super) type Run = for<'a> fn(&'a Invocation, &'a Parsed) -> LocalBoxFuture<'a, CommandResult>;

/// A command of buildah.
#[derive(Clone, Copy)]
pub(super) struct Command {
    /// Its names, the usual one first: `build`, `bud`; `manifest add`.
    pub(super) names: &'static [&'static str],
    /// What stands behind the name in its usage.
    pub(super) usage: &'static str,
    /// What it is for, in a line.
    pub(super) about: &'static str,
    /// The fewest and the most arguments.
    pub(super) arguments: (usize, usize),
    /// Whether options end at the first argument.
    pub(super) options_first: bool,
    pub(super) flags: &'static [&'static [Flag]],
    /// How it differs as a whole, for the documentation; empty where it does not.
    pub(super) differs: &'static str,
    pub(super) run: Run,
}

impl Command {
    /// How many of `words` are the name of this command, if they begin with it.
    pub(super) fn matches(&self, words: &[String]) -> Option<usize> {
        longest_name(self.names, words).map(|(_, length)| length)
    }
}

/// Flags of all commands that reach a registry.
pub(super) const REGISTRY: &[Flag] = &[
    Flag::value("authfile", "File with credentials"),
    Flag::value("cert-dir", "Folder with certificates")
        .refused("put the certificates into /etc/containers/certs.d/HOST/, or name an authority in SSL_CERT_FILE"),
    Flag::value("creds", "USERNAME[:PASSWORD] for the registry"),
    Flag::switch("tls-verify", "false: reach registries by plain HTTP or whatever their certificate is"),
    Flag::value("signature-policy", "Path of a signature policy").ignored("signatures are not checked"),
    Flag::value("retry", "How often to try again").ignored("requests that fail are repeated in any case"),
    Flag::value("retry-delay", "How long to wait before").ignored("requests that fail are repeated in any case"),
];

/// Flags of all commands, which may also stand before the command.
pub(super) const GLOBAL: &[Flag] = &[
    Flag::switch("debug", "Say more"),
    Flag::value("log-level", "trace, debug, info, warn, error, fatal or panic"),
    Flag::value("root", "Storage root folder").ignored(ONE_STORE),
    Flag::value("runroot", "Storage state folder").ignored(ONE_STORE),
    Flag::value("storage-driver", "Storage driver").ignored(ONE_STORE),
    Flag::list("storage-opt", "Storage driver option").ignored(ONE_STORE),
    Flag::value("registries-conf", "Path of registries.conf").refused("set CONTAINERS_REGISTRIES_CONF to it"),
    Flag::value("registries-conf-dir", "Folder of registries.conf.d").refused("set CONTAINERS_REGISTRIES_CONF to a file"),
    Flag::value("cgroup-manager", "Cgroup manager").ignored("no cgroup is made"),
    Flag::list("userns-uid-map", "User namespace UID mapping").ignored("`mpimg doctor` shows how commands are isolated"),
    Flag::list("userns-gid-map", "User namespace GID mapping").ignored("`mpimg doctor` shows how commands are isolated"),
    Flag::value("short-name-alias-conf", "Path of short name aliases").ignored("a short name is Docker Hub's"),
];

const ONE_STORE: &str = "images are in mpimg's local store, which MPIMG_HOME names";
