//! The variables of this process's environment.

use std::ffi::OsString;

/// The value of the environment variable `name`; an empty one counts as unset. Services and jobs
/// may run without `HOME`: then it is the home folder of the password file, as for programs in
/// Python, the SDK among them, and in Go.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || std::env::home_dir().map(OsString::from).filter(|home| !home.is_empty());
    value.or_else(|| if name == "HOME" { home() } else { None })
}
