//! The first opening of the store after the machine's boot: what a power cut may have damaged is doubted or removed.

use std::fs::File;
use std::io;
use std::path::Path;

use super::blob_state::BlobState;
use super::layout::{BLOBS, GATE, MARK, UNPACKED, file_names};
use super::lock::lock_exclusive;
use crate::layer::remove_tree;

/// The file that names the boot that [`BlobState::Fresh`] refers to.
pub(super) const BOOT: &str = "boot";

/// At the first opening since the machine's boot: fresh blobs become doubtful, unmarked unpacked layers go.
/// `tmp` is this process's folder. Tells whether fresh blobs must be doubted because nothing could be written down.
pub(super) fn after_boot(root: &Path, tmp: Option<&Path>) -> bool {
    let path = root.join(BOOT);
    // Where the kernel does not tell, the sizes of blobs are all that is checked.
    let Ok(current) = std::fs::read("/proc/sys/kernel/random/boot_id") else { return false };
    let same = |path: &Path| std::fs::read(path).is_ok_and(|last| last == current);
    if same(&path) {
        return false;
    }
    let note = || -> io::Result<()> {
        let gate = File::open(root.join(GATE))?;
        lock_exclusive(&gate)?;
        if same(&path) {
            return Ok(());
        }
        doubt_fresh(root)?;
        remove_unmarked(root, tmp)?;
        let file = tempfile::NamedTempFile::new_in(tmp.ok_or(io::ErrorKind::ReadOnlyFilesystem)?)?;
        std::fs::write(&file, &current)?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    note().is_err()
}

/// Makes all fresh blobs doubtful.
fn doubt_fresh(root: &Path) -> io::Result<()> {
    for algorithm in ["sha256", "sha512"] {
        let folder = root.join(BLOBS).join(algorithm);
        for name in file_names(&folder)? {
            let path = folder.join(name);
            if BlobState::of(&std::fs::symlink_metadata(&path)?) == BlobState::Fresh {
                BlobState::Doubtful.set(&path)?;
            }
        }
    }
    Ok(())
}

/// Removes unpacked layers that are not known to be on disk. What this user may not remove goes into `tmp`, where pruning finds it.
fn remove_unmarked(root: &Path, tmp: Option<&Path>) -> io::Result<()> {
    let folder = root.join(UNPACKED);
    for name in file_names(&folder)? {
        let home = folder.join(&name);
        if home.join(MARK).exists() {
            continue;
        }
        if let Err(error) = remove_tree(&home) {
            std::fs::rename(&home, tmp.ok_or(error)?.join(name))?;
        }
    }
    Ok(())
}
