//! `--digest-file`: the digest alone, for the next step of a CI job.
//!
//! Refuses halves: a reader sees the old digest or the new one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::oci::Digest;

/// Where the digest goes besides standard output.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct DigestFile {
    /// Write the image's digest, and nothing else, to this file
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
}

impl DigestFile {
    /// Writes the digest, without a line feed, if it is wanted.
    pub(super) fn write(&self, digest: &Digest) -> Result<()> {
        let Some(path) = &self.digest_file else { return Ok(()) };
        write(path, digest.to_string().as_bytes()).map_err(|error| Error::io("write", path, error))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A pipe or /dev/stderr cannot be replaced; it is written to.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return File::options().write(true).open(path)?.write_all(bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".digest-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
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
