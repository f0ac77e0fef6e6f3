//! mpimg builds container images of Integration SDK adapter projects and pushes them to registries, with no daemon.

pub mod error;
pub mod image;
pub mod layer;
pub mod oci;
pub mod progress;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod store;

pub use error::{Error, ErrorKind, Result};
