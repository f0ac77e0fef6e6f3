//! Layers on disk: what unpacking makes of good, unusual and hostile tars.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test may panic and speak")]

mod blocks;
mod unpack;
mod unpack_hostile;
