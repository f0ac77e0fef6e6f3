//! Where a store is, and whether a folder is one.
//!
//! Refuses a folder with foreign content (pruning and tidying delete files below it) and a layout
//! newer than this version.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::layout::{CONTAINERS, GATE, LOCKS, MOUNTS, TMP, UNPACKED, failed};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::SET_GROUP_ID;

/// The layout's number. A store of an older one is brought up to date here; there is none yet.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "version";

pub(super) fn default_root(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(root) = set("MPIMG_HOME") {
        return Ok(root);
    }
    // XDG base directory specification: a relative path is to be ignored.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| set("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("mpimg")).ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            "no place for the local store: neither `MPIMG_HOME` nor `HOME` is set, and this user has no home",
        )
        .with_hint("set MPIMG_HOME to a folder that you can write to")
    })
}

/// Makes `root` a store unless it is one. The inner result tells whether it can be written to.
pub(super) fn prepare(root: &Path) -> Result<io::Result<()>> {
    match read_version(root)? {
        Some(VERSION) => {}
        Some(version) => {
            let message = format!("the store `{}` has version {version}; this mpimg knows version {VERSION}", root.display());
            return Err(
                Error::new(ErrorKind::Store, message).with_hint("install the newest mpimg, or set MPIMG_HOME to another folder")
            );
        }
        None => create(root)?,
    }
    // Some of these may be missing after a power cut.
    let complete = || {
        for folder in [TMP, LOCKS] {
            DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder))?;
        }
        // What images are unpacked and changed in: nothing of the store's surroundings may reach a
        // layer.
        for folder in [TMP, UNPACKED, MOUNTS, CONTAINERS] {
            let folder = root.join(folder);
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            stop_inheritance(&folder)?;
        }
        std::fs::OpenOptions::new().create(true).append(true).open(root.join(GATE)).map(drop)
    };
    Ok(complete())
}

/// Takes from a folder what new files in it would inherit: the group of a set-group-ID folder, and
/// a default access control list (acl(5)).
fn stop_inheritance(folder: &Path) -> io::Result<()> {
    let metadata = folder.symlink_metadata()?;
    let mode = metadata.permissions().mode();
    if mode & SET_GROUP_ID != 0 {
        let group = rustix::process::getegid();
        rustix::fs::chown(folder, None, Some(group))?;
        std::fs::set_permissions(folder, Permissions::from_mode(mode & 0o7777 & !SET_GROUP_ID))?;
    }
    match rustix::fs::removexattr(folder, "system.posix_acl_default") {
        // None there, or a file system without such lists.
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read_version(root: &Path) -> Result<Option<u32>> {
    let path = root.join(VERSION_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path, error)),
    };
    let version = text.trim().parse().map_err(|error| {
        Error::new(ErrorKind::Store, format!("`{}` holds no version number", path.display()))
            .with_hint("set MPIMG_HOME to another folder")
            .with_source(error)
    })?;
    Ok(Some(version))
}

fn create(root: &Path) -> Result<()> {
    let cannot = |error| failed("make the store", root, error);
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(cannot)?;
    for entry in std::fs::read_dir(root).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        // Another process that makes this store at the same moment has such files; a disk of its
        // own has a lost+found.
        let ours = name.as_encoded_bytes().starts_with(VERSION_FILE.as_bytes()) || name == "lost+found";
        if !ours && !root.join(VERSION_FILE).exists() {
            return Err(Error::new(
                ErrorKind::Store,
                format!("`{}` is not a store of mpimg: it holds other files", root.display()),
            )
            .with_hint("set MPIMG_HOME to an empty or missing folder"));
        }
    }
    let write = || {
        let mut file = tempfile::Builder::new().prefix(VERSION_FILE).tempfile_in(root)?;
        writeln!(file, "{VERSION}")?;
        file.as_file().sync_all()?;
        file.persist(root.join(VERSION_FILE)).map_err(|error| error.error)?;
        // What is synced later counts on these folders being on disk themselves.
        for folder in ["blobs/sha256", "blobs/sha512", "names"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        [root.join("blobs"), root.to_owned()].iter().try_for_each(|folder| File::open(folder)?.sync_all())
    };
    write().map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(variables: &[(&str, &str)]) -> Result<PathBuf> {
        default_root(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let home = ("HOME", "/home/me");
        let data = ("XDG_DATA_HOME", "/data");
        assert_eq!(root_with(&[("MPIMG_HOME", "here"), data, home]).unwrap(), Path::new("here"));
        assert_eq!(root_with(&[("MPIMG_HOME", ""), data, home]).unwrap(), Path::new("/data/mpimg"));
        assert_eq!(root_with(&[("XDG_DATA_HOME", "relative"), home]).unwrap(), Path::new("/home/me/.local/share/mpimg"));
        assert_eq!(root_with(&[]).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn a_folder_with_other_files_is_no_store_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        assert_eq!(prepare(dir.path()).unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_newer_store_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(VERSION_FILE), "7\n").unwrap();
        let error = prepare(dir.path()).unwrap_err();
        assert!(error.to_string().ends_with("has version 7; this mpimg knows version 1"), "{error}");
    }

    #[test]
    fn a_new_store_can_be_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        prepare(&root).unwrap().unwrap();
        prepare(&root).unwrap().unwrap();
    }

    #[test]
    fn what_is_made_in_a_store_inherits_nothing_from_the_folder_that_the_store_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let surroundings = dir.path().join("shared");
        std::fs::create_dir(&surroundings).unwrap();
        std::fs::set_permissions(&surroundings, Permissions::from_mode(0o2777)).unwrap();
        // acl(5) as the kernel has it, version 2: user::rwx, group::rwx, other::rw-.
        let entries: [(u16, u16); 3] = [(1, 7), (4, 7), (0x20, 6)];
        let entries = entries
            .iter()
            .flat_map(|(tag, rights)| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &u32::MAX.to_le_bytes()].concat());
        let list: Vec<u8> = 2_u32.to_le_bytes().into_iter().chain(entries).collect();
        let flags = rustix::fs::XattrFlags::empty();
        let lists = rustix::fs::setxattr(&surroundings, "system.posix_acl_default", &list, flags).is_ok();
        let root = surroundings.join("store");
        prepare(&root).unwrap().unwrap();
        for folder in [TMP, UNPACKED, MOUNTS, CONTAINERS] {
            let made = root.join(folder).join("made");
            std::fs::create_dir(&made).unwrap();
            let file = made.join("file");
            std::fs::write(&file, "").unwrap();
            assert_eq!(made.metadata().unwrap().permissions().mode() & SET_GROUP_ID, 0, "{folder}");
            // With the list it would be 664 or 666 under any umask.
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert!(!lists || mode & 0o022 == 0, "{folder}: {mode:o}");
        }
    }
}
