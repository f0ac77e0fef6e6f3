//! Settings that a remedy names: a field in Rust, a keyword in Python, a flag on the command line.
//!
//! The library does not know flags, so a hint names the setting, and the interface of this process
//! says how a user writes it.

use std::fmt;
use std::sync::OnceLock;

/// A setting of an operation, as hints name it. `Display` is how a user of this process's interface
/// writes it, in backticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// Files that may enter an image although they look like secrets.
    AllowSecretFile,
    /// Rights that RUN may ask for.
    Allow,
    /// Values of ARG.
    BuildArg,
    /// Further certificate authorities.
    CaFile,
    /// How layers are compressed.
    Compression,
    /// The Dockerfile.
    Dockerfile,
    /// The manifest format.
    Format,
    /// Whether a container reads standard input.
    Interactive,
    /// Registries without TLS or with an unknown certificate.
    InsecureRegistry,
    /// How RUN and containers are isolated.
    Isolation,
    /// A limit of memory.
    Memory,
    /// The image's name in the local store.
    Name,
    /// A container's network.
    Network,
    /// One of several platforms.
    Platform,
    /// Whether the provenance is attached.
    Provenance,
    /// Published ports.
    Publish,
    /// Whether referrers are copied.
    Referrers,
    /// The product's default registry.
    Registry,
    /// The repository.
    Repository,
    /// What stands in for a base image of the SDK.
    SdkBase,
    /// Certificate authorities for RUN.
    RunCaFile,
    /// Whether an SBOM is attached.
    Sbom,
    /// A secret for RUN.
    Secret,
    /// The key that signs the image.
    SignedBy,
    /// An SSH agent for RUN.
    Ssh,
}

/// How an interface writes a setting, what the user types in backticks; with its value where there
/// is one.
pub type Wording = fn(Setting, Option<&str>) -> String;

static WORDING: OnceLock<Wording> = OnceLock::new();

/// Sets how hints of this process write settings. The first call counts: a process has one
/// interface.
pub fn set_wording(wording: Wording) {
    let _ = WORDING.set(wording);
}

impl Setting {
    /// The setting with a value: a hint that can be copied.
    pub fn with(self, value: impl fmt::Display) -> String {
        self.write(Some(&value.to_string()))
    }

    /// The name of the field in Rust, which is that of the keyword in Python.
    pub fn field(self) -> &'static str {
        match self {
            Self::AllowSecretFile => "allowed_secret_files",
            Self::Allow => "allow_insecure",
            Self::BuildArg => "build_args",
            Self::CaFile => "ca_files",
            Self::Compression => "codec",
            Self::Dockerfile => "dockerfile",
            Self::Format => "format",
            Self::InsecureRegistry => "insecure_registries",
            Self::Interactive => "interactive",
            Self::Isolation => "isolation",
            Self::Memory => "memory",
            Self::Name => "name",
            Self::Network => "network",
            Self::Platform => "platform",
            Self::Provenance => "provenance",
            Self::Publish => "ports",
            Self::Referrers => "referrers",
            Self::Registry => "registry",
            Self::Repository => "repository",
            Self::RunCaFile => "run_ca_files",
            Self::SdkBase => "sdk_base",
            Self::Sbom => "sbom",
            Self::Secret => "secrets",
            Self::SignedBy => "signed_by",
            Self::Ssh => "ssh",
        }
    }

    fn write(self, value: Option<&str>) -> String {
        let of_library: Wording = |setting, value| match value {
            Some(value) => format!("`{}: {value}`", setting.field()),
            None => format!("`{}`", setting.field()),
        };
        WORDING.get().copied().unwrap_or(of_library)(self, value)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_names_its_fields() {
        assert_eq!(Setting::CaFile.to_string(), "`ca_files`");
        assert_eq!(Setting::Platform.with("linux/arm"), "`platform: linux/arm`");
    }
}
