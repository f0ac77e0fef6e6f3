//! Signatures of images: keys, what is signed, the two forms in which registries keep a signature,
//! and whether one is good.
//!
//! Both forms are cosign's (github.com/sigstore/cosign, specs): an image under the tag
//! `sha256-HEX.sig` whose layer is a "simple signing" document, and an artifact that refers to the
//! image and holds a Sigstore bundle. Keys are ECDSA on P-256 with SHA-256. Nothing here knows
//! registries.

mod bundle;
mod command;
mod cosign_key;
mod key;
mod simple_signing;
mod statement;

pub(crate) use bundle::BUNDLE_TYPES;
pub use bundle::{BUNDLE_TYPE, Bundle, ENVELOPE_TYPE, Envelope};
pub use command::SigningCommand;
pub use key::{PublicKey, SigningKey, read_pem};
pub use simple_signing::{SIGNATURE_ANNOTATION, SIMPLE_SIGNING_TYPE, SimpleSigning, SimpleSigningImage};
pub use statement::{COSIGN_SIGN, Statement};
