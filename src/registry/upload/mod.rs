//! Uploads that survive what networks, registries and the death of the process do to them.
//!
//! `state` decides, `sender` sends, `session` remembers on disk. Refuses to trust a registry's word over the digest.

mod chunk;
mod lanes;
mod limits;
#[cfg(test)]
mod model;
mod pace;
mod range;
mod sender;
mod session;
mod state;

pub(crate) use lanes::Lanes;
pub(crate) use limits::Limits;
pub(crate) use sender::{Job, send};
pub(crate) use session::{SessionLock, Sessions};
