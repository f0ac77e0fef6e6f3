//! How hints write the settings of the library: as flags of the program that this process was
//! started as.

use super::drop_in::DropIn;
use crate::error::{Setting, Wording};

/// The words of mpimg, or of the program that it stands in for.
pub(super) fn of(program: Option<DropIn>) -> Wording {
    match program {
        None => |setting, value| with_value(mpimg(setting).1, value),
        Some(DropIn::Docker) => |setting, value| in_place_of(docker(setting), setting, value),
        Some(DropIn::Kaniko) => |setting, value| in_place_of(kaniko(setting), setting, value),
        Some(DropIn::Buildah) => |setting, value| in_place_of(buildah(setting), setting, value),
    }
}

fn with_value(flag: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("`{flag} {value}`"),
        None => format!("`{flag}`"),
    }
}

/// The program's own flag, if it has one; otherwise what has the same effect.
fn in_place_of(own: Option<&str>, setting: Setting, value: Option<&str>) -> String {
    match (own, setting) {
        // A switch: it holds for every registry.
        (Some(flag), _) if flag.contains('=') => with_value(flag, None),
        (Some(flag), _) => with_value(flag, value),
        (None, Setting::CaFile) => "`SSL_CERT_FILE`".to_owned(),
        (None, Setting::InsecureRegistry) => "`insecure = true` in registries.conf".to_owned(),
        (None, setting) => {
            let (command, flag) = mpimg(setting);
            with_value(&format!("mpimg {command} {flag}"), value)
        }
    }
}

/// A command of mpimg that has the setting, and its flag.
fn mpimg(setting: Setting) -> (&'static str, &'static str) {
    match setting {
        Setting::AllowSecretFile => ("build", "--allow-secret-file"),
        Setting::Allow => ("build", "--allow"),
        Setting::BuildArg => ("build", "--build-arg"),
        Setting::CaFile => ("push", "--ca-file"),
        Setting::Compression => ("build", "--compression"),
        Setting::Dockerfile => ("build", "--file"),
        Setting::Format => ("build", "--format"),
        Setting::InsecureRegistry => ("push", "--insecure-registry"),
        Setting::Interactive => ("run", "-i"),
        Setting::Isolation => ("build", "--isolation"),
        Setting::Memory => ("run", "--memory"),
        Setting::Name => ("build", "--tag"),
        Setting::Network => ("run", "--network"),
        Setting::Platform => ("build", "--platform"),
        Setting::Provenance => ("push", "--provenance"),
        Setting::Publish => ("run", "-p"),
        Setting::Referrers => ("copy", "--referrers"),
        Setting::Registry => ("pak", "--registry"),
        Setting::Repository => ("push", "-r"),
        Setting::RunCaFile => ("build", "--run-ca-file"),
        Setting::SdkBase => ("build", "--sdk-base"),
        Setting::Sbom => ("push", "--sbom"),
        Setting::Secret => ("build", "--secret"),
        Setting::SignedBy => ("push", "--sign"),
        Setting::Ssh => ("build", "--ssh"),
    }
}

fn docker(setting: Setting) -> Option<&'static str> {
    Some(match setting {
        Setting::Allow => "--allow",
        Setting::BuildArg => "--build-arg",
        Setting::Dockerfile => "--file",
        Setting::Interactive => "-i",
        Setting::Memory => "--memory",
        Setting::Name => "--tag",
        Setting::Network => "--network",
        Setting::Platform => "--platform",
        Setting::Publish => "-p",
        Setting::Secret => "--secret",
        Setting::Ssh => "--ssh",
        _ => return None,
    })
}

fn kaniko(setting: Setting) -> Option<&'static str> {
    Some(match setting {
        Setting::BuildArg => "--build-arg",
        Setting::CaFile => "--registry-certificate",
        Setting::Compression => "--compression",
        Setting::Dockerfile => "--dockerfile",
        Setting::InsecureRegistry => "--insecure-registry",
        Setting::Name => "--destination",
        Setting::Platform => "--custom-platform",
        Setting::Secret => "--secret",
        _ => return None,
    })
}

fn buildah(setting: Setting) -> Option<&'static str> {
    Some(match setting {
        Setting::BuildArg => "--build-arg",
        Setting::Dockerfile => "--file",
        Setting::Format => "--format",
        Setting::InsecureRegistry => "--tls-verify=false",
        Setting::Isolation => "--isolation",
        Setting::Name => "--tag",
        Setting::Network => "--network",
        Setting::Platform => "--platform",
        Setting::Secret => "--secret",
        Setting::Ssh => "--ssh",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::drop_in;
    use super::*;

    const ALL: [Setting; 25] = [
        Setting::AllowSecretFile,
        Setting::Allow,
        Setting::BuildArg,
        Setting::CaFile,
        Setting::Compression,
        Setting::Dockerfile,
        Setting::Format,
        Setting::InsecureRegistry,
        Setting::Interactive,
        Setting::Isolation,
        Setting::Memory,
        Setting::Name,
        Setting::Network,
        Setting::Platform,
        Setting::Provenance,
        Setting::Publish,
        Setting::Referrers,
        Setting::Registry,
        Setting::Repository,
        Setting::RunCaFile,
        Setting::Sbom,
        Setting::SdkBase,
        Setting::Secret,
        Setting::SignedBy,
        Setting::Ssh,
    ];

    fn takes(command: &clap::Command, flag: &str) -> bool {
        let is = |argument: &clap::Arg| {
            argument.get_long().is_some_and(|long| flag == format!("--{long}"))
                || argument.get_short().is_some_and(|short| flag == format!("-{short}"))
        };
        command.get_arguments().any(is) || command.get_subcommands().any(|command| takes(command, flag))
    }

    /// Whether the flag is one of these, and does something.
    fn is_in(mut flags: impl Iterator<Item = drop_in::Flag>, flag: &str) -> bool {
        let flag = flag.split('=').next().unwrap();
        flags.any(|own| {
            let works = matches!(own.effect, drop_in::Effect::Same | drop_in::Effect::Differs(_));
            works && (flag == format!("--{}", own.long) || own.short.is_some_and(|short| flag == format!("-{short}")))
        })
    }

    #[test]
    fn every_flag_that_hints_name_is_one_of_the_program() {
        let grammar = super::super::grammar();
        for setting in ALL {
            let (command, flag) = mpimg(setting);
            assert!(takes(grammar.find_subcommand(command).unwrap(), flag), "mpimg {command} {flag}");
            if let Some(flag) = docker(setting) {
                assert!(is_in(super::super::docker::flags(), flag), "docker {flag}");
            }
            if let Some(flag) = kaniko(setting) {
                assert!(is_in(super::super::kaniko::flags(), flag), "kaniko {flag}");
            }
            if let Some(flag) = buildah(setting) {
                assert!(is_in(super::super::buildah::flags(), flag), "buildah {flag}");
            }
        }
    }

    #[test]
    fn a_setting_that_the_program_lacks_is_named_as_what_has_its_effect() {
        let written = |program, setting, value| of(program)(setting, value);
        let path = Some("key.pem");
        assert_eq!(written(None, Setting::AllowSecretFile, path), "`--allow-secret-file key.pem`");
        for program in [DropIn::Docker, DropIn::Kaniko, DropIn::Buildah] {
            let words = written(Some(program), Setting::AllowSecretFile, path);
            assert_eq!(words, "`mpimg build --allow-secret-file key.pem`");
        }
        let insecure = |program| written(Some(program), Setting::InsecureRegistry, Some("h:5000"));
        assert_eq!(insecure(DropIn::Docker), "`insecure = true` in registries.conf");
        assert_eq!(insecure(DropIn::Kaniko), "`--insecure-registry h:5000`");
        assert_eq!(insecure(DropIn::Buildah), "`--tls-verify=false`");
        assert_eq!(written(Some(DropIn::Docker), Setting::CaFile, None), "`SSL_CERT_FILE`");
        assert_eq!(written(Some(DropIn::Kaniko), Setting::CaFile, None), "`--registry-certificate`");
    }
}
