//! mpimg builds container images of Integration SDK adapter projects and pushes them to registries, with no daemon.

// Base images are unpacked and RUN steps run with Linux's own system calls; a port that cannot do so would build other images.
#[cfg(not(target_os = "linux"))]
compile_error!("mpimg runs on Linux: on macOS or Windows build it in a virtual machine or WSL2");

pub mod build;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "run")]
pub mod container;
pub mod context;
pub mod dockerfile;
pub mod error;
pub mod image;
pub mod layer;
pub mod oci;
pub mod operation;
pub mod progress;
pub mod project;
pub mod registry;
pub mod sandbox;
pub mod sbom;
#[cfg(feature = "serve")]
pub mod serve;
pub mod store;

/// The examples of the documentation are compiled and run.
#[cfg(all(doctest, feature = "run", feature = "serve"))]
#[doc = include_str!("../docs/library.md")]
mod documentation {}

pub use error::{Error, ErrorKind, Result};
pub use tokio_util::sync::CancellationToken;
