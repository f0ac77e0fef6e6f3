//! The vocabulary of OCI images: digests, references, platforms, descriptors. Each is parsed once
//! and right from then on.
//!
//! Values only: no files, no HTTP.

mod descriptor;
mod digest;
mod name;
mod platform;
mod reference;

pub(crate) use descriptor::or_default;
pub use descriptor::{Compression, Descriptor, MediaType};
pub(crate) use digest::hex;
pub use digest::{ChainId, DiffId, Digest, Hasher};
pub use platform::Platform;
pub use reference::{Reference, Repository, Tag};
pub(crate) use reference::{expect_no_scheme, expect_path};
