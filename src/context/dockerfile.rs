//! The Dockerfile of a build context: where there is no `Dockerfile`, docker takes `dockerfile`.

use std::borrow::Cow;
use std::io;
use std::path::Path;

/// The file that is there: `path`, or for a missing `Dockerfile` the `dockerfile` beside it.
///
/// Its ignore file is called after `path` in either case, as in BuildKit.
pub fn existing_dockerfile(path: &Path) -> Cow<'_, Path> {
    if path.file_name().is_some_and(|name| name == "Dockerfile") && is_missing(path) {
        let lower = path.with_file_name("dockerfile");
        if !is_missing(&lower) {
            return Cow::Owned(lower);
        }
    }
    Cow::Borrowed(path)
}

fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}
