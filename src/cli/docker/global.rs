//! Docker's options before the command.

use crate::cli::drop_in::Flag;

const NO_DAEMON: &str = "there is no daemon to reach: images and containers are in mpimg's local store";

/// Docker's options before the command.
pub(super) const FLAGS: &[Flag] = &[
    Flag::value("config", "Location of client config files"),
    Flag::value("context", "Name of the context to use to connect to the daemon").short('c').ignored(NO_DAEMON),
    Flag::switch("debug", "Enable debug mode").short('D').differs("explains mpimg's decisions"),
    Flag::list("host", "Daemon socket to connect to").short('H').ignored(NO_DAEMON),
    Flag::value("log-level", "Set the logging level").short('l').ignored("MPIMG_LOG=FILE writes a log"),
    Flag::switch("tls", "Use TLS").ignored(NO_DAEMON),
    Flag::value("tlscacert", "Trust certs signed only by this CA").ignored(NO_DAEMON),
    Flag::value("tlscert", "Path to TLS certificate file").ignored(NO_DAEMON),
    Flag::value("tlskey", "Path to TLS key file").ignored(NO_DAEMON),
    Flag::switch("tlsverify", "Use TLS and verify the remote").ignored(NO_DAEMON),
    Flag::switch("version", "Print version information and quit").short('v'),
];
