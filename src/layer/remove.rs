//! Removing trees that hold whatever an image or a RUN step put there: any depth, any permissions.
//!
//! Never follows a symbolic link or goes into a mount: what is mounted in a left-over tree is not
//! ours to delete.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes the folder `path` and everything in it; one that is not there is not an error. No other
/// process may be writing there.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Errno> {
    match open_folder(CWD, path) {
        Ok(folder) => clear(&folder)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)
}

/// Removes `name`, a file or a folder with everything in it; one that is not there is not an error.
pub(crate) fn remove(folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let gone = |removed| if removed == Err(Errno::NOENT) { Ok(()) } else { removed };
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        // A folder: as Linux and as POSIX say it.
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return gone(removed),
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        removed => return gone(removed),
    }
    clear(&open_folder(folder, name)?)?;
    gone(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR))
}

/// Empties the folder `top`.
///
/// Instead of descending, every folder that is not empty is moved up into `top`: that needs two
/// open files for any depth, and the kernel answers `EBUSY` for a mount point, so none is ever
/// entered.
fn clear(top: &OwnedFd) -> Result<(), Errno> {
    let mut next_name = 0u64;
    loop {
        let names = list(top)?;
        let mut failed = None;
        let mut progress = false;
        for (name, kind) in &names {
            let removed = match remove_one(top.as_fd(), name, *kind) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => raise_entries(top, name, &mut next_name),
                result => result,
            };
            match removed {
                Ok(()) => progress = true,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            _ if names.is_empty() => return Ok(()),
            Some(error) if !progress => return Err(error),
            _ => {}
        }
    }
}

/// Empties the folder `name` of `top`, moving its own full folders into `top`, then removes it.
fn raise_entries(top: &OwnedFd, name: &CString, next_name: &mut u64) -> Result<(), Errno> {
    let folder = open_folder(top, name)?;
    for (entry, kind) in list(&folder)? {
        match remove_one(folder.as_fd(), &entry, kind) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => raise(&folder, &entry, top, next_name)?,
            result => result?,
        }
    }
    rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR)
}

fn raise(folder: &OwnedFd, entry: &CString, top: &OwnedFd, next_name: &mut u64) -> Result<(), Errno> {
    loop {
        let name = format!(".removed-{next_name}");
        *next_name += 1;
        match rustix::fs::renameat(folder, entry, top, &name) {
            // The tree itself may hold such a name.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            // Moving a folder changes its `..`: without privileges that takes the right to write in
            // it.
            Err(Errno::ACCESS) => {
                open_folder(folder, entry)?;
                return rustix::fs::renameat(folder, entry, top, &name);
            }
            result => return result,
        }
    }
}

fn remove_one(folder: BorrowedFd<'_>, name: &CString, kind: FileType) -> Result<(), Errno> {
    match kind {
        FileType::Directory => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
        _ => match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            // Some file systems do not tell the type when listing.
            Err(Errno::ISDIR | Errno::PERM) if kind == FileType::Unknown => {
                rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
            }
            result => result,
        },
    }
}

/// Opens a folder so that its entries can be listed and removed, whatever its permissions were.
fn open_folder(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(&parent, name, flags, Mode::empty())?
        }
        result => result?,
    };
    if !rustix::process::geteuid().is_root() {
        rustix::fs::fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

fn list(folder: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_tree_with_links_closed_folders_and_misleading_names_is_removed_and_nothing_beyond_it() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::create_dir_all(tree.join(".removed-0/full")).unwrap();
        std::fs::write(tree.join(".removed-1"), "x").unwrap();
        std::fs::write(tree.join("a/b/c/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        std::fs::set_permissions(tree.join("a/b"), std::fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_tree_deeper_than_the_limit_on_open_files_and_path_lengths_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut folder = open_folder(CWD, &tree).unwrap();
        for _ in 0..1100 {
            rustix::fs::mkdirat(&folder, "deep", Mode::RWXU).unwrap();
            folder = open_folder(&folder, "deep").unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        remove_tree(&dir.path().join("none")).unwrap();
    }

    #[test]
    fn a_nest_of_thousands_of_folders_is_removed_in_a_small_stack() {
        let parent = tempfile::tempdir().unwrap();
        let folder = open_folder(CWD, parent.path()).unwrap();
        let mut inner = open_folder(&folder, ".").unwrap();
        for depth in 0..3000 {
            rustix::fs::mkdirat(&inner, "nest", Mode::RWXU).unwrap();
            // Names that flattening would take itself, and files beside.
            if depth % 100 == 0 {
                rustix::fs::mkdirat(&inner, ".removed-1", Mode::RWXU).unwrap();
                rustix::fs::symlinkat("nowhere", &inner, ".removed-2").unwrap();
            }
            inner = open_folder(&inner, "nest").unwrap();
        }
        let removal = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            remove(&folder, b"nest").unwrap();
            assert_eq!(rustix::fs::statat(&folder, "nest", AtFlags::SYMLINK_NOFOLLOW).err(), Some(Errno::NOENT));
            remove(&folder, b"nest").unwrap();
        });
        removal.unwrap().join().unwrap();
    }
}
