//! Reading compressed tars: gzip of any number of members, zstd, and what ADD and import accept besides.
//!
//! Refuses trailing garbage and truncated input.

use std::io::Read;

use crate::error::Result;
use crate::oci::Compression;

/// What a tar may be wrapped in, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrapping {
    /// A tar as it is.
    Plain,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// .xz.
    Xz,
    /// RFC 8878.
    Zstd,
}

/// The tar inside a layer's stored bytes.
pub fn decompress<'a>(_reader: impl Read + Send + 'a, _compression: Compression) -> Result<Box<dyn Read + Send + 'a>> {
    unimplemented!()
}

/// The tar inside a local archive, `None` if the first bytes are of no archive.
pub fn unwrap_tar<'a>(_reader: impl Read + Send + 'a) -> Result<Option<(Wrapping, Box<dyn Read + Send + 'a>)>> {
    unimplemented!()
}
