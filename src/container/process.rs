//! From an image's configuration and a spec to the command: arguments, environment, user, working
//! directory.
//!
//! Refuses an image without a command when none is given.

use super::ContainerSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::image::RunConfig;

/// The command and its arguments (docker's rules: a new entrypoint drops the image's default
/// arguments).
///
/// # Errors
/// [`ErrorKind::Usage`]: there is none.
pub(super) fn arguments(config: &RunConfig, spec: &ContainerSpec) -> Result<Vec<String>> {
    let image = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let (mut argv, defaults) = match &spec.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), Vec::new()),
        None => (image(&config.entrypoint), image(&config.cmd)),
    };
    argv.extend(if spec.command.is_empty() { defaults } else { spec.command.clone() });
    if argv.first().is_none_or(String::is_empty) {
        return Err(Error::new(ErrorKind::Usage, "the image has no command, and none was given")
            .with_hint("add one: `mpimg run IMAGE COMMAND`"));
    }
    Ok(argv)
}

/// The image's environment with the spec's over it.
pub(super) fn environment(config: &RunConfig, spec: &ContainerSpec, hostname: &str) -> Vec<(String, String)> {
    let pair = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let terminal = spec.terminal.then(|| ("TERM".to_owned(), "xterm".to_owned()));
    let mut env: Vec<(String, String)> = std::iter::once(("HOSTNAME".to_owned(), hostname.to_owned())).chain(terminal).collect();
    let kept = |(name, _): &(String, String)| !spec.without_env.contains(name);
    for (name, value) in config.env.iter().filter_map(pair).filter(kept).chain(spec.env.iter().cloned()) {
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => env.push((name, value)),
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entrypoint_and_arguments_combine_as_docker_has_it() {
        let config = |entrypoint: Option<&str>, cmd: Option<&str>| RunConfig {
            entrypoint: entrypoint.map(words),
            cmd: cmd.map(words),
            ..RunConfig::default()
        };
        let spec = |entrypoint: Option<&str>, command: &str| ContainerSpec {
            entrypoint: entrypoint.map(words),
            command: words(command),
            ..ContainerSpec::default()
        };
        for (image, wanted, expected) in [
            (config(Some("e"), Some("c d")), spec(None, ""), "e c d"),
            (config(Some("e"), Some("c d")), spec(None, "x"), "e x"),
            (config(None, Some("c")), spec(None, "x y"), "x y"),
            (config(Some("e"), Some("c")), spec(Some("n"), ""), "n"),
            (config(Some("e"), Some("c")), spec(Some("n"), "x"), "n x"),
            (config(Some("e"), Some("c")), spec(Some(""), "x"), "x"),
        ] {
            assert_eq!(arguments(&image, &wanted).unwrap(), words(expected));
        }
        assert_eq!(arguments(&config(Some("e"), Some("c")), &spec(Some(""), "")).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn given_variables_win_over_the_image_s() {
        let config = RunConfig { env: words("PATH=/bin A=1 HOSTNAME=own"), ..RunConfig::default() };
        let spec = ContainerSpec { env: vec![("A".into(), "2".into()), ("B".into(), "a=b".into())], ..ContainerSpec::default() };
        let env: Vec<String> = environment(&config, &spec, "h").iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["HOSTNAME=own", "PATH=/bin", "A=2", "B=a=b"]);
    }
}
