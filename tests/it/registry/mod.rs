//! Pushing and pulling, against Debian's docker-registry and nginx, skopeo as the judge, and a
//! server that misbehaves on order.

mod attestations;
mod copy_killed;
mod distribution;
mod faults;
pub(crate) mod fixture;
mod forged;
mod listing;
mod login;
mod mirrors;
mod peer;
mod proxy;
pub(crate) mod real;
mod resume;
mod scripted;
mod signed_referrers;
mod signing;
mod signing_keys;
pub(crate) mod tls;
mod token_server;
