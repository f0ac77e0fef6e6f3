//! The build context: a folder, seen through `.dockerignore` and the SDK's exclusions, and never beyond its root.
//!
//! Refuses tar and hashing: it hands out paths, metadata and open files, in a definite order.

mod guard;
mod ignore;
mod pattern;
mod source;
mod walk;

pub use guard::{GuardPolicy, SecretGuard, SecretKind};
pub use ignore::{Ignore, IgnoreFile};
pub use pattern::Patterns;
pub use source::{BuildContext, ContextOptions, Source};
pub use walk::{Walk, WalkEntry};
