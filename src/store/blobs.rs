//! Stored bytes by digest.
//!
//! Refuses bytes that do not have the digest and size they are stored under, as they come and when
//! they are read whole.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Store;
use super::blob_state::BlobState;
use super::layout::{BLOBS, failed, file_names};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Descriptor, Digest, MediaType};

const CHUNK: usize = 256 * 1024;

impl Store {
    /// Where the blob is if the store has it; ask [`has`](Self::has) first.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join(BLOBS).join(digest.algorithm()).join(digest.hex())
    }

    /// Whether the store has the blob, whole. From then on it stays while this process lives.
    pub fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        match self.verified(digest) {
            Ok((_, metadata)) => Ok(metadata.len() == size),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the blob. A caller that reads it whole should check its digest, and call
    /// [`mark_unverified`](Self::mark_unverified) if it is wrong.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: the store does not have it.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let (path, _) = self.verified(digest)?;
        File::open(&path).map_err(|error| failed("open", &path, error))
    }

    /// The bytes of a manifest or config: at most `limit`, checked against the digest.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: not there. [`ErrorKind::Corrupt`]: damaged, or larger than `limit`
    /// bytes.
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        let path = self.blob_path(digest);
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed("read", &path, error))?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(ErrorKind::Corrupt, format!("blob `{digest}` is larger than {limit} bytes")));
        }
        digest.verify(&bytes).map_err(|error| self.mark_unverified(digest, error))?;
        Ok(bytes)
    }

    /// Stores `bytes`.
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        if !self.has(&descriptor.digest, descriptor.size)? {
            let mut writer = self.blob_writer()?;
            io::Write::write_all(&mut writer, bytes).map_err(|error| writer.failure(error))?;
            writer.commit_as(&descriptor)?;
        }
        Ok(descriptor)
    }

    /// Stores the bytes of `reader`, which must be what `expected` says. If the store has them
    /// already, nothing is read.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the bytes have another digest or size; nothing is stored.
    pub fn import(&self, reader: &mut dyn Read, expected: &Descriptor) -> Result<PathBuf> {
        if self.has(&expected.digest, expected.size)? {
            return Ok(self.blob_path(&expected.digest));
        }
        let mut writer = self.blob_writer()?.expecting(expected);
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::new(ErrorKind::Io, format!("cannot read blob `{}`", expected.digest)).with_source(error));
                }
            };
            writer.write_checked(&buffer[..read])?;
        }
        writer.commit()
    }

    /// Says that the blob turned out to be damaged: it is checked, and dropped, when it is next
    /// used. Returns the error to give up with, caused by `cause`.
    pub fn mark_unverified(&self, digest: &Digest, cause: Error) -> Error {
        self.distrust(digest);
        Error::new(ErrorKind::Corrupt, format!("blob `{digest}` of the local store is damaged"))
            .with_hint("run `mpimg prune` to drop damaged blobs, then pull or build the image again")
            .with_source(cause)
    }

    /// Has the blob checked when it is next used.
    pub(super) fn distrust(&self, digest: &Digest) {
        // If this fails, the store is read-only and the blob stays as it is.
        let _ = BlobState::Unverified.set(&self.blob_path(digest));
    }

    /// The blob's file, pinned, and checked if it was unverified.
    pub(super) fn verified(&self, digest: &Digest) -> Result<(PathBuf, Metadata)> {
        self.pin(digest)?;
        let path = self.blob_path(digest);
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Err(Error::new(ErrorKind::Corrupt, format!("`{}` is not a file", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found(digest)),
            Err(error) => return Err(failed("read", &path, error)),
        };
        match BlobState::of(&metadata) {
            BlobState::Durable => Ok((path, metadata)),
            BlobState::Fresh if !self.0.distrust_fresh => Ok((path, metadata)),
            BlobState::Fresh | BlobState::Unverified if verify_file(&path, digest)? => Ok((path, metadata)),
            BlobState::Fresh | BlobState::Unverified => Err(not_found(digest)),
        }
    }

    /// Checks every unverified blob; the damaged ones go.
    pub(super) fn settle_all(&self) -> Result<()> {
        for (digest, path) in list(self.root())? {
            let unverified =
                std::fs::symlink_metadata(&path).is_ok_and(|metadata| BlobState::of(&metadata) == BlobState::Unverified);
            if unverified {
                verify_file(&path, &digest)?;
            }
        }
        Ok(())
    }
}

fn not_found(digest: &Digest) -> Error {
    Error::new(ErrorKind::NotFound, format!("blob `{digest}` is not in the local store"))
}

/// Compares the file with its digest: whole, it becomes durable; damaged, it goes. Tells which.
fn verify_file(path: &Path, digest: &Digest) -> Result<bool> {
    let cannot = |error| failed("read", path, error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(cannot(error)),
    };
    let mut hasher = digest.hasher();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(cannot)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    if hasher.finish() == *digest {
        // A store that cannot be written to has the blob checked again next time.
        let _ = file.sync_all().and_then(|()| BlobState::Durable.set_open(&file));
        return Ok(true);
    }
    // Another process may have put a good one in its place meanwhile: then that one stays.
    if same_file(&file, path) {
        std::fs::remove_file(path).map_err(|error| failed("remove", path, error))?;
    }
    Ok(false)
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// All blobs. Files whose names are not digests are left alone.
pub(super) fn list(root: &Path) -> Result<Vec<(Digest, PathBuf)>> {
    let mut blobs = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        let folder = root.join(BLOBS).join(algorithm);
        for name in file_names(&folder).map_err(|error| failed("read", &folder, error))? {
            if let Ok(digest) = Digest::parse(&format!("{algorithm}:{name}")) {
                blobs.push((digest, folder.join(name)));
            }
        }
    }
    Ok(blobs)
}
