//! mpimg builds container images of Integration SDK adapter projects and pushes them to registries, with no daemon.

pub mod build;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(target_os = "linux")]
pub mod container;
pub mod context;
pub mod dockerfile;
pub mod error;
pub mod image;
pub mod layer;
pub mod oci;
pub mod progress;
pub mod project;
pub mod registry;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod serve;
pub mod store;

pub use error::{Error, ErrorKind, Result};
