//! What would make an isolation work that does not: one remedy for the step that has failed.

use std::path::Path;

use rustix::io::Errno;

use super::setup_error::{Cause, SetupError, limit_hint};
use super::{IsolationKind, kernel};

/// Why user namespaces are refused, and what to do about it, by the setting under /proc/sys that
/// says so.
const SETTINGS: [(&str, &str, &str); 3] = [
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor refuses them to programs without a profile (Ubuntu since 23.10): `sudo sysctl -w \
         kernel.apparmor_restrict_unprivileged_userns=0`, or give mpimg a profile with the rule `userns,`",
    ),
    ("kernel/unprivileged_userns_clone", "0", "they are switched off here: `sudo sysctl -w kernel.unprivileged_userns_clone=1`"),
    ("user/max_user_namespaces", "0", "they are switched off here: `sudo sysctl -w user.max_user_namespaces=65536`"),
];

pub(super) fn remedy(isolation: IsolationKind, error: &SetupError) -> String {
    let errno = error.errno.map(Errno::from_raw_os_error);
    match (&error.cause, errno) {
        (Cause::Request(remedy), _) => return remedy.clone(),
        (Cause::StateFolder, _) => return "set MPIMG_HOME to a folder that you can write to".into(),
        // A container's root file system is an overlay itself, and an overlay on an overlay has
        // nowhere to put its marks.
        (Cause::Overlay, Some(Errno::INVAL | Errno::PERM)) => {
            return "put the state directory (`MPIMG_HOME`) on a volume, a tmpfs or a local disk".into();
        }
        (Cause::OwnerRecord, _) => {
            return "put the state directory (`MPIMG_HOME`) on a file system with extended attributes: ext4, xfs, btrfs, or tmpfs since \
                    Linux 6.6"
                .into();
        }
        (Cause::MountOptions(needed), _) => {
            let needed = needed.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(" and ");
            return format!("put the state directory (`MPIMG_HOME`) on a file system that is mounted with {needed}");
        }
        _ => {}
    }
    if let Some(hint) = limit_hint(errno) {
        return hint.into();
    }
    if errno == Some(Errno::NOSYS) {
        return format!(
            "Linux {} or a seccomp filter of the surrounding container lacks this call: use a newer runtime (Docker 20.10.10 or later), or \
             run without its filter (`--security-opt seccomp=unconfined`)",
            kernel::release()
        );
    }
    match isolation {
        IsolationKind::Root => "run as root on a virtual machine or in a privileged container (`docker run --privileged`)".into(),
        IsolationKind::UserNamespace | IsolationKind::SingleId => of_namespaces(&error.cause, errno, Path::new("/proc/sys")),
        IsolationKind::Emulated if error.cause == Cause::Trace => {
            "allow the process to trace its children: seccomp must let `ptrace` through, and `kernel.yama.ptrace_scope` must be 0 or 1"
                .into()
        }
        IsolationKind::Emulated if !cfg!(target_arch = "x86_64") => "build on an x86-64 machine, or use another isolation".into(),
        IsolationKind::Emulated => {
            "use Linux 5.14 or newer, with a runtime whose seccomp profile lets `seccomp`, `ptrace` and `openat2` through (Docker since \
             20.10.10, containerd, CRI-O)"
                .into()
        }
        IsolationKind::Chroot => "run as root, in a container with docker's default capabilities or more".into(),
    }
}

/// As `remedy`, for isolations in user namespaces; `settings`: /proc/sys.
fn of_namespaces(cause: &Cause, errno: Option<Errno>, settings: &Path) -> String {
    if *cause == Cause::IdRange {
        return "give the user a range of 65536 ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`"
            .into();
    }
    let root = rustix::process::geteuid().is_root();
    let is_set = |(name, value, _): &&(&str, &str, &str)| {
        std::fs::read_to_string(settings.join(name)).is_ok_and(|found| found.trim() == *value)
    };
    // Root is not asked for the first two.
    let applies = |(name, ..): &&(&str, &str, &str)| !root || name.starts_with("user/");
    if let Some((.., remedy)) = SETTINGS.iter().filter(applies).find(is_set) {
        return format!("allow user namespaces: {remedy}");
    }
    match (cause, errno) {
        (Cause::IdProgram, _) => "install the package `uidmap`, and allow its programs to change ids (no `no_new_privs`)",
        (Cause::Namespace, Some(Errno::NOSPC)) => {
            "raise the number of user namespaces of this machine (`sysctl user.max_user_namespaces`)"
        }
        (Cause::Namespace, _) => {
            "allow user namespaces: seccomp and AppArmor unconfined for this container (`--security-opt seccomp=unconfined \
             --security-opt apparmor=unconfined`), or use sudo"
        }
        // user_namespaces(7): who maps the id 0 of the namespace above must have had CAP_SETFCAP
        // there.
        (Cause::UidMap, Some(Errno::PERM)) if root => {
            "run as another user than root, or give the container the capability SETFCAP (CRI-O leaves it out)"
        }
        _ => "run as root instead (sudo), or in a container with seccomp and AppArmor unconfined",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &Path, name: &str, value: &str) {
        let path = settings.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{value}\n")).unwrap();
    }

    #[test]
    fn a_setting_of_the_machine_that_forbids_user_namespaces_is_named() {
        let settings = tempfile::tempdir().unwrap();
        let remedy = |cause: Cause, errno: Errno| of_namespaces(&cause, Some(errno), settings.path());
        assert!(remedy(Cause::Namespace, Errno::PERM).contains("seccomp=unconfined"));
        assert!(remedy(Cause::Namespace, Errno::NOSPC).contains("raise the number of user namespaces"));
        set(settings.path(), "user/max_user_namespaces", "127132");
        assert!(remedy(Cause::Namespace, Errno::PERM).contains("seccomp=unconfined"));
        set(settings.path(), "user/max_user_namespaces", "0");
        assert!(remedy(Cause::Namespace, Errno::NOSPC).contains("-w user.max_user_namespaces"));
        set(settings.path(), "kernel/apparmor_restrict_unprivileged_userns", "1");
        let apparmor = remedy(Cause::UidMap, Errno::PERM).contains("kernel.apparmor_restrict_unprivileged_userns=0");
        assert_eq!(apparmor, !rustix::process::geteuid().is_root());
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_or_has_no_programs_is_told_as_such() {
        let of = |cause| remedy(IsolationKind::Emulated, &SetupError::new("try", Some(libc::EROFS)).with_cause(cause));
        assert!(of(Cause::StateFolder).starts_with("set MPIMG_HOME"));
        assert!(of(Cause::MountOptions(vec!["exec".into()])).ends_with("mounted with `exec`"));
        assert!(of(Cause::MountOptions(vec!["exec".into(), "dev".into()])).ends_with("mounted with `exec` and `dev`"));
    }
}
