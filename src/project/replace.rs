//! Replacing a file of a project that somebody else edits, too: in one step, with mode, owner and
//! symbolic link kept.

use std::io::Write as _;
use std::path::Path;

/// Replaces `file` in one step: a reader, and a machine that loses power, has the old bytes or the
/// new ones.
pub(crate) fn replace_file(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // The file behind a symbolic link is replaced, not the link.
    let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let before = std::fs::metadata(&target).ok();
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut new = builder.prefix(".mpimg-").tempfile_in(folder)?;
    new.write_all(bytes)?;
    if let Some(before) = before {
        keep_owner(new.as_file(), &before);
        new.as_file().set_permissions(before.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(&target)?;
    sync_folder(folder)
}

/// Root may write the file of a user, who wants to write it again.
fn keep_owner(file: &std::fs::File, before: &std::fs::Metadata) {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    // Only root can do it; for all others the new file is as good as the one that an editor writes.
    let _ = fchown(file, Some(before.uid()), Some(before.gid()));
}

/// Makes the new name survive a loss of power; a file system that cannot sync a folder is not an
/// error.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}
