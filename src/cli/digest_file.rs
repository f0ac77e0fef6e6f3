//! `--digest-file`: the digest alone, for the next step of a CI job.
//!
//! Invariant: a reader sees the old digest or the new one, never half of one.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::image::{expect_writable, write_result};
use crate::oci::Digest;

/// Where the digest goes besides standard output.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct DigestFile {
    /// Write the image's digest, and nothing else, to this file
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
}

impl DigestFile {
    /// Checks that it can be written, before the work begins.
    pub(super) fn expect_writable(&self) -> Result<()> {
        self.digest_file.as_deref().map_or(Ok(()), expect_writable)
    }

    /// Writes the digest, without a line feed, if the flag was given.
    pub(super) fn write(&self, digest: &Digest) -> Result<()> {
        let Some(path) = &self.digest_file else { return Ok(()) };
        write_result(path, digest.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_digest_alone_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digest");
        std::fs::write(&path, "old and much longer than a digest, so that a rest would show".repeat(3)).unwrap();
        let digest = Digest::of("x");
        DigestFile { digest_file: Some(path.clone()) }.write(&digest).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), digest.to_string());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
