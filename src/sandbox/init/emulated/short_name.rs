//! Short names for folders whose paths are too long for the address of a socket.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

/// A link in a folder with a short path, to one whose path is too long for an address. Goes when it
/// is dropped.
#[derive(Debug)]
pub(super) struct ShortName(PathBuf);

impl ShortName {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }

    /// Makes one that leads to `folder`, where this user can.
    pub(super) fn of(folder: &[u8]) -> Result<Self, Errno> {
        for place in ["/tmp", "/dev/shm", "/var/tmp"] {
            let path = PathBuf::from(format!("{place}/.mpimg-{:x}", fastrand::u64(..)));
            if rustix::fs::symlink(std::ffi::OsStr::from_bytes(folder), &path).is_ok() {
                return Ok(Self(path));
            }
        }
        Err(Errno::NAMETOOLONG)
    }
}

impl Drop for ShortName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
