//! The first opening of the store after the machine's boot: what a power cut may have damaged is
//! doubted or removed.
//!
//! A store in a home folder that several machines share is seen by several kernels. Each is known
//! by its boot, and what living processes use, here or there, is left alone.

use std::fs::File;
use std::io;
use std::path::Path;

use super::blob_state::BlobState;
use super::layout::{BLOBS, GATE, MARK, TMP, UNPACKED, diff_id, file_names};
use super::lock::lock_exclusive;
use super::process_session;
use crate::layer::remove_tree;

/// The file that names the boots that [`BlobState::Fresh`] refers to, one a line, the newest first.
pub(super) const BOOT: &str = "boot";

/// How many are kept: of more machines than these that take turns, each finds itself forgotten,
/// which costs only time.
const MOST_BOOTS: usize = 16;

/// At the first opening since the machine's boot: fresh blobs become unverified, unmarked unpacked
/// layers go. `tmp` is this process's folder. Tells whether fresh blobs must be doubted because
/// nothing could be written down.
pub(super) fn after_boot(root: &Path, tmp: Option<&Path>) -> bool {
    let path = root.join(BOOT);
    // Where the kernel does not tell, the sizes of blobs are all that is checked.
    let Ok(current) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return false };
    let known = || std::fs::read_to_string(&path).unwrap_or_default();
    let same = |known: &str| known.lines().any(|boot| boot == current.trim_end());
    if same(&known()) {
        return false;
    }
    let note = || -> io::Result<()> {
        let gate = File::open(root.join(GATE))?;
        lock_exclusive(&gate)?;
        let known = known();
        if same(&known) {
            return Ok(());
        }
        distrust_fresh(root)?;
        remove_unmarked(root, tmp)?;
        let file = tempfile::NamedTempFile::new_in(tmp.ok_or(io::ErrorKind::ReadOnlyFilesystem)?)?;
        let boots: Vec<&str> = std::iter::once(current.trim_end()).chain(known.lines()).take(MOST_BOOTS).collect();
        std::fs::write(&file, boots.join("\n"))?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    note().is_err()
}

/// Makes all fresh blobs unverified.
fn distrust_fresh(root: &Path) -> io::Result<()> {
    for algorithm in ["sha256", "sha512"] {
        let folder = root.join(BLOBS).join(algorithm);
        for name in file_names(&folder)? {
            let path = folder.join(name);
            if BlobState::of(&std::fs::symlink_metadata(&path)?) == BlobState::Fresh {
                BlobState::Unverified.set(&path)?;
            }
        }
    }
    Ok(())
}

/// Removes unpacked layers that are not known to be on disk, but for those of living processes.
/// What this user may not remove goes into `tmp`, where pruning finds it.
fn remove_unmarked(root: &Path, tmp: Option<&Path>) -> io::Result<()> {
    let folder = root.join(UNPACKED);
    let used = process_session::pinned(&root.join(TMP))?;
    for name in file_names(&folder)? {
        let home = folder.join(&name);
        if home.join(MARK).exists() || diff_id(&name).is_some_and(|digest| used.contains(&digest)) {
            continue;
        }
        if let Err(error) = remove_tree(&home) {
            std::fs::rename(&home, tmp.ok_or(error)?.join(name))?;
        }
    }
    Ok(())
}
