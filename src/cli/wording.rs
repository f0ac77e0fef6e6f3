//! How hints write the settings of the library: as flags.

use crate::error::Setting;

/// The flag of a setting, with its value where there is one.
pub(super) fn flag(setting: Setting, value: Option<&str>) -> String {
    let flag = match setting {
        Setting::AllowSecretFile => "--allow-secret-file",
        Setting::Allow => "--allow",
        Setting::BuildArg => "--build-arg",
        Setting::CaFile => "--ca-file",
        Setting::Compression => "--compression",
        Setting::Dockerfile => "--file",
        Setting::Format => "--format",
        Setting::InsecureRegistry => "--insecure-registry",
        Setting::Interactive => "-i",
        Setting::Isolation => "--isolation",
        Setting::Memory => "--memory",
        Setting::Name => "--tag",
        Setting::Network => "--network",
        Setting::Platform => "--platform",
        Setting::Publish => "-p",
        Setting::Referrers => "--referrers",
        Setting::Registry => "--registry",
        Setting::Repository => "-r",
        Setting::RunCaFile => "--run-ca-file",
        Setting::SdkBase => "--sdk-base",
        Setting::Secret => "--secret",
        Setting::Ssh => "--ssh",
    };
    match value {
        Some(value) => format!("{flag} {value}"),
        None => flag.to_owned(),
    }
}
