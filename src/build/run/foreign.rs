//! RUN for a platform that is not this machine's: the kernel starts an emulator where one is
//! registered (binfmt_misc).

use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Platform;
use crate::sandbox::IsolationKind;

/// Where the kernel lists its emulators, if the file system is mounted.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// Whether commands of `platform` cannot be run without an emulator.
pub(super) fn is_foreign(platform: &Platform) -> bool {
    let host = Platform::host();
    let own = platform.architecture == host.architecture;
    // The other mode of the same CPU; whether an arm64 machine has that of arm shows when it is
    // tried.
    let mode = matches!((host.architecture.as_str(), platform.architecture.as_str()), ("amd64", "386") | ("arm64", "arm"));
    !own && !mode
}

/// An error if a command of `platform` cannot be run here.
pub(super) fn check(platform: &Platform, isolation: IsolationKind) -> Result<()> {
    if !is_foreign(platform) {
        return Ok(());
    }
    if !isolation.can_run_foreign_platforms() {
        let message = format!("RUN for {platform} cannot be emulated in the isolation `{isolation}`");
        return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
            "`mpimg doctor` shows what a better isolation takes; or build this platform on a machine of its own kind",
        ));
    }
    match emulator(Path::new(REGISTERED), &platform.architecture) {
        Emulator::Unknown | Emulator::Ready => Ok(()),
        Emulator::Missing => Err(missing(platform)),
        Emulator::NotFixed(name) => {
            let message =
                format!("the emulator `{name}` for {platform} is registered without the flag F: a RUN step cannot see it");
            Err(Error::new(ErrorKind::Unsupported, message).with_hint(REMEDY))
        }
    }
}

const REMEDY: &str = "register qemu as root, once a boot: `apt-get install qemu-user-static`, or \
                      `docker run --privileged --rm tonistiigi/binfmt --install all`";

/// The error of a machine that has no emulator for `platform`.
pub(super) fn missing(platform: &Platform) -> Error {
    let message = format!("RUN for {platform} needs an emulator on {}, and none is registered", Platform::host());
    Error::new(ErrorKind::Unsupported, message).with_hint(REMEDY)
}

#[derive(Debug, PartialEq, Eq)]
enum Emulator {
    Ready,
    Missing,
    /// It is looked up inside the image, where it is not.
    NotFixed(String),
    /// The list cannot be seen, as in most containers: the command itself will show.
    Unknown,
}

/// What is registered for an architecture. Format: Documentation/admin-guide/binfmt-misc.rst.
fn emulator(folder: &Path, architecture: &str) -> Emulator {
    if !folder.join("register").exists() {
        return Emulator::Unknown;
    }
    let wanted = format!("qemu-{}", qemu_name(architecture));
    let mut found = Emulator::Missing;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for text in entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let name = value("interpreter ").unwrap_or_default().rsplit('/').next().unwrap_or_default();
        if !text.starts_with("enabled") || (name != wanted && name.strip_suffix("-static") != Some(&wanted)) {
            continue;
        }
        match value("flags:").is_some_and(|flags| flags.contains('F')) {
            true => return Emulator::Ready,
            false => found = Emulator::NotFixed(name.to_owned()),
        }
    }
    found
}

/// qemu's names of Go's architectures.
fn qemu_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        "loong64" => "loongarch64",
        "mips64le" => "mips64el",
        "mipsle" => "mipsel",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_counts_only_if_a_step_can_start_it() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(emulator(folder.path(), "arm64"), Emulator::Unknown);
        entry("register", "");
        entry("status", "enabled");
        assert_eq!(emulator(folder.path(), "arm64"), Emulator::Missing);
        entry("qemu-arm", "enabled\ninterpreter /usr/bin/qemu-arm-static\nflags: F\n");
        entry("off", "disabled\ninterpreter /usr/bin/qemu-aarch64\nflags: F\n");
        assert_eq!(emulator(folder.path(), "arm64"), Emulator::Missing);
        entry("a", "enabled\ninterpreter /usr/libexec/qemu-binfmt/qemu-aarch64\nflags: OC\n");
        assert_eq!(emulator(folder.path(), "arm64"), Emulator::NotFixed("qemu-aarch64".into()));
        entry("b", "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\n");
        assert_eq!(emulator(folder.path(), "arm64"), Emulator::Ready);
        assert_eq!(emulator(folder.path(), "arm"), Emulator::Ready);
    }

    #[test]
    fn the_other_mode_of_a_cpu_is_not_foreign() {
        assert!(!is_foreign(&Platform::host()));
        assert!(is_foreign(&"linux/s390x".parse().unwrap()));
    }
}
