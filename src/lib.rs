//! mpimg builds container images of Integration SDK adapter projects and pushes them to registries, with no daemon.

pub mod dockerfile;
pub mod context;
pub mod error;
pub mod image;
pub mod layer;
pub mod oci;
pub mod progress;
pub mod project;
pub mod registry;
pub mod serve;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod store;

pub use error::{Error, ErrorKind, Result};
