//! The threads of a command line: for the network. What computes has threads of its own.

/// How many threads serve the network.
pub(super) const WORKERS: usize = 2;
