//! Tests that cannot run on this machine: each prints `SKIPPED: reason`, and tests/run counts them.
//! With CI=true, a test must not be skipped for something that CI has to provide.

use std::fs::OpenOptions;
use std::io::Write as _;

/// What a test needs and this machine lacks.
#[derive(Clone, Copy)]
pub(crate) enum Missing {
    /// The tests do not run as root.
    Root,
    /// dockerd does not start: it needs more of the kernel and of this machine's privileges than
    /// the tests do otherwise.
    Dockerd,
    /// tests/setup did not build BuildKit, for want of Go.
    BuildKit,
    /// tests/setup did not build tests/judges/oci-client.
    OciClient,
    /// No Java.
    Java,
    /// tests/setup did not build distribution 3, cosign, crane and regctl, for want of Go.
    Registries,
    /// PyPI has no syft for this machine's architecture.
    Syft,
    /// No browser.
    Chromium,
    /// No network interface, or no /dev/net/tun.
    Tun,
    /// No qemu, or a kernel on which no emulator can be registered (binfmt_misc).
    Emulator,
    /// No control group that limits processes can be made.
    Pids,
    /// The kernel, or the filter of `benches/old-kernels`, lacks what `emulated` cannot do without.
    Openat2,
    /// An emulator is registered for the CPU that a test wants none for.
    NoEmulator,
}

impl Missing {
    fn reason(self) -> &'static str {
        match self {
            Self::Root => "this test needs root",
            Self::Dockerd => "this test needs dockerd, which does not start on this machine",
            Self::BuildKit => "this test needs BuildKit, which tests/setup builds where Go is installed",
            Self::OciClient => "this test needs tests/judges/oci-client, which tests/setup builds",
            Self::Java => "this test needs Java's keytool: apt-get install default-jre-headless",
            Self::Registries => {
                "this test needs distribution 3, cosign, crane and regctl, which tests/setup builds where Go is installed"
            }
            Self::Syft => "this test needs syft, which tests/setup installs from PyPI",
            Self::Chromium => "this test needs chromium: apt-get install chromium",
            Self::Tun => "this test needs a network interface and /dev/net/tun",
            Self::Pids => "this test needs a control group with the controller `pids`",
            Self::Openat2 => "`emulated` needs openat2 (Linux 5.6)",
            Self::NoEmulator => "this test needs a machine without an emulator of s390x",
            Self::Emulator => "this test needs qemu-user-static and a kernel with binfmt_misc",
        }
    }

    /// Whether .ci/run promises it: root, and what tests/setup builds. The rest depends on the
    /// machine that CI runs on.
    fn is_promised_in_ci(self) -> bool {
        matches!(self, Self::Root | Self::BuildKit | Self::Registries | Self::OciClient)
    }
}

/// Ends a test that lacks something: `skip!(Missing::Tun)`.
macro_rules! skip {
    ($missing:expr) => {{
        $crate::skip::record($missing);
        return;
    }};
}

/// Skips the test unless it runs as root.
macro_rules! needs_root {
    () => {
        if !$crate::skip::is_root() {
            $crate::skip::skip!($crate::skip::Missing::Root);
        }
    };
}

/// Skips the test unless the isolation `emulated` is possible here.
macro_rules! needs_emulated {
    () => {
        if !$crate::skip::is_possible("emulated") {
            return;
        }
    };
}

pub(crate) use {needs_emulated, needs_root, skip};

/// Whether the kernel has what this isolation cannot do without. Where it has not, that part of the
/// test is skipped.
pub(crate) fn is_possible(isolation: &str) -> bool {
    let flags = rustix::fs::OFlags::PATH;
    let possible = isolation != "emulated"
        || rustix::fs::openat2(rustix::fs::CWD, "/", flags, rustix::fs::Mode::empty(), rustix::fs::ResolveFlags::empty()).is_ok();
    if !possible {
        record(Missing::Openat2);
    }
    possible
}

/// Those of some isolations that are possible.
pub(crate) fn possible<'a>(isolations: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    isolations.into_iter().filter(|isolation| is_possible(isolation))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints and counts a test, or a part of one, that is skipped.
///
/// # Panics
/// With CI=true, if CI has to provide what is missing.
#[expect(clippy::print_stderr, reason = "who runs the test reads it")]
pub(crate) fn record(missing: Missing) {
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!(in_ci && missing.is_promised_in_ci()), "{}, and CI=true: CI has to provide that", missing.reason());
    let reason = missing.reason();
    eprintln!("SKIPPED: {reason}");
    if let Some(file) = std::env::var_os("SKIPPED_TESTS") {
        let thread = std::thread::current();
        let line = format!("{}: {reason}\n", thread.name().unwrap_or("?"));
        // One write, so that lines of tests that run side by side do not mix.
        OpenOptions::new().create(true).append(true).open(file).unwrap().write_all(line.as_bytes()).unwrap();
    }
}
