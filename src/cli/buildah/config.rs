//! What `buildah config` changes.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::invocation::Failure;
use crate::cli::drop_in::{Flag, Parsed};
use crate::image::{Healthcheck, ImageConfig};

/// The flags of `buildah config`.
pub(super) const CONFIG_FLAGS: &[Flag] = &[
    Flag::value("cmd", "Default command, words as in a shell"),
    Flag::value("entrypoint", "Entry point: a JSON list, or a command for /bin/sh"),
    Flag::list("env", "NAME=VALUE; NAME- removes it").short('e'),
    Flag::list("label", "NAME=VALUE; NAME- removes it").short('l'),
    Flag::list("unsetlabel", "Label that is removed"),
    Flag::list("annotation", "NAME=VALUE of the manifest; NAME- removes it").short('a'),
    Flag::list("unsetannotation", "Annotation that is removed"),
    Flag::list("port", "Port; PORT- removes it").short('p'),
    Flag::list("volume", "Volume; PATH- removes it").short('v'),
    Flag::value("user", "User").short('u'),
    Flag::value("workingdir", "Folder that commands start in"),
    Flag::value("author", "Author"),
    Flag::value("arch", "Architecture"),
    Flag::value("os", "Operating system"),
    Flag::value("variant", "Variant of the architecture"),
    Flag::value("stop-signal", "Signal that stops a container"),
    Flag::value("shell", "Shell of shell forms, words as in a shell"),
    Flag::list("onbuild", "Instruction for images that are built on this one"),
    Flag::value("healthcheck", "Command that tells whether a container is well; NONE"),
    Flag::value("healthcheck-interval", "How often").differs("whole seconds: 30s, 5m"),
    Flag::value("healthcheck-timeout", "How long it may take").differs("whole seconds: 30s, 5m"),
    Flag::value("healthcheck-start-period", "How long failures do not count").differs("whole seconds: 30s, 5m"),
    Flag::value("healthcheck-retries", "How many failures count"),
    Flag::value("created-by", "Who made it").ignored("each command writes its own history"),
    Flag::value("comment", "Comment").ignored("each command writes its own history"),
    Flag::value("history-comment", "Comment of the history").ignored("each command writes its own history"),
    Flag::switch("add-history", "Write it into the history").ignored("each command writes its own history"),
    Flag::value("hostname", "Host name").ignored("an OCI image has none"),
    Flag::value("domainname", "Domain name").ignored("an OCI image has none"),
    Flag::value("os-version", "Version of the operating system").ignored("it is for Windows"),
    Flag::list("os-feature", "Feature of the operating system").ignored("it is for Windows"),
];

/// Changes the configuration as the flags say.
pub(super) fn change_config(
    parsed: &Parsed,
    config: &mut ImageConfig,
    annotations: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    let text = |flag: &str| parsed.value(flag).map(str::to_owned);
    let run = &mut config.config;
    if let Some(entrypoint) = text("entrypoint") {
        run.entrypoint = words_or_shell(&entrypoint);
        // As in buildah: the old command belonged to the old entry point.
        run.cmd = None;
    }
    if let Some(cmd) = text("cmd") {
        run.cmd = Some(shell_words(&cmd)?).filter(|words| !words.is_empty());
    }
    for pair in parsed.list("env") {
        match pair.split_once('=') {
            Some((name, value)) => run.set_env(name, value),
            None => {
                let name = pair.strip_suffix('-').unwrap_or(pair);
                let own = std::env::var(name).ok().filter(|_| !pair.ends_with('-'));
                match own {
                    Some(value) => run.set_env(name, &value),
                    None => run.env.retain(|known| known.split('=').next() != Some(name)),
                }
            }
        }
    }
    change_map(&mut run.labels, &parsed.list("label"), &parsed.list("unsetlabel"));
    change_map(annotations, &parsed.list("annotation"), &parsed.list("unsetannotation"));
    for (flag, set) in [("port", &mut run.exposed_ports), ("volume", &mut run.volumes)] {
        for item in parsed.list(flag) {
            // As in buildah, a port stays as it is written.
            match item.strip_suffix('-') {
                Some("") => set.clear(),
                Some(item) => drop(set.remove(item)),
                None => drop(set.insert(item.to_owned())),
            }
        }
    }
    for (flag, place) in [("user", &mut run.user), ("workingdir", &mut run.working_dir)] {
        if let Some(value) = text(flag) {
            *place = value;
        }
    }
    run.stop_signal = text("stop-signal").or(run.stop_signal.take());
    if let Some(shell) = text("shell") {
        run.shell = Some(shell_words(&shell)?);
    }
    run.on_build.extend(parsed.list("onbuild").into_iter().map(str::to_owned));
    change_healthcheck(parsed, &mut run.healthcheck)?;
    config.author = text("author").or(config.author.take());
    config.variant = text("variant").or(config.variant.take());
    for (flag, place) in [("arch", &mut config.architecture), ("os", &mut config.os)] {
        if let Some(value) = text(flag) {
            *place = value;
        }
    }
    Ok(())
}

fn change_map(map: &mut BTreeMap<String, String>, set: &[&str], unset: &[&str]) {
    for pair in set {
        match pair.split_once('=') {
            Some((name, value)) => drop(map.insert(name.to_owned(), value.to_owned())),
            None if *pair == "-" => map.clear(),
            None => match pair.strip_suffix('-') {
                Some(name) => drop(map.remove(name)),
                None => drop(map.insert((*pair).to_owned(), String::new())),
            },
        }
    }
    unset.iter().for_each(|name| drop(map.remove(*name)));
}

fn change_healthcheck(parsed: &Parsed, check: &mut Option<Healthcheck>) -> Result<(), Failure> {
    let nanoseconds = |flag: &str| {
        let age = parsed.value(flag).map(crate::cli::flags::Age::from_str).transpose();
        age.map(|age| age.and_then(|age| i64::try_from(age.0.as_nanos()).ok()))
    };
    let (interval, timeout) = (nanoseconds("healthcheck-interval")?, nanoseconds("healthcheck-timeout")?);
    let start = nanoseconds("healthcheck-start-period")?;
    let wrong = |text: &str| Failure::new(format!("parsing --healthcheck-retries \"{text}\": not a number"));
    let retries = parsed.value("healthcheck-retries").map(|text| text.parse().map_err(|_| wrong(text))).transpose()?;
    let command = parsed.value("healthcheck");
    if command.is_none() && interval.is_none() && timeout.is_none() && start.is_none() && retries.is_none() {
        return Ok(());
    }
    let check = check.get_or_insert_default();
    match command {
        Some("NONE") => check.test = vec!["NONE".into()],
        Some(command) => {
            let words = command.strip_prefix("CMD ").map(words_or_shell);
            check.test = match words {
                Some(Some(words)) => [vec!["CMD".to_owned()], words].concat(),
                _ => vec!["CMD-SHELL".into(), command.trim_start_matches("CMD-SHELL ").to_owned()],
            };
        }
        None => {}
    }
    check.interval = interval.unwrap_or(check.interval);
    check.timeout = timeout.unwrap_or(check.timeout);
    check.start_period = start.unwrap_or(check.start_period);
    check.retries = retries.unwrap_or(check.retries);
    Ok(())
}

/// A JSON list, else a command for a shell; nothing for nothing.
fn words_or_shell(text: &str) -> Option<Vec<String>> {
    let listed = || {
        let list: Value = serde_json::from_str(text).ok()?;
        list.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    match text.trim() {
        "" => None,
        text => Some(listed().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), text.to_owned()]))
            .filter(|words| !words.is_empty()),
    }
}

/// Words as a shell parts them: quotes and backslashes, no expansion.
fn shell_words(text: &str) -> Result<Vec<String>, Failure> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (letter, Some(open)) if letter == open => quote = None,
            (letter, Some(_)) => word.get_or_insert_default().push(letter),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, None) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(Failure::new(format!("parsing --cmd \"{text}\": a quote is not closed")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Platform;

    fn changed(words: &[&str]) -> ImageConfig {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let parsed = Parsed::parse(&[CONFIG_FLAGS], false, &words).unwrap();
        let mut config = ImageConfig::scratch(&Platform::default());
        config.config.cmd = Some(vec!["old".into()]);
        config.config.env = vec!["A=1".into(), "B=2".into()];
        change_config(&parsed, &mut config, &mut BTreeMap::new()).unwrap();
        config
    }

    #[test]
    fn a_new_entry_point_takes_the_old_command_away() {
        let config = changed(&["--entrypoint", r#"["/run", "it"]"#]).config;
        assert_eq!((config.entrypoint, config.cmd), (Some(vec!["/run".into(), "it".into()]), None));
        let config = changed(&["--cmd", "a 'b c' d\\ e", "--entrypoint", "x y"]).config;
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "x y"]);
        assert_eq!(config.cmd.unwrap(), ["a", "b c", "d e"]);
        assert!(shell_words("'a").is_err());
    }

    #[test]
    fn a_dash_takes_away() {
        let config = changed(&["-e", "A-", "-e", "C=3", "-p", "80", "-p", "53/udp", "-p", "80-", "-l", "x=1", "-u", "5"]).config;
        assert_eq!(config.env, ["B=2", "C=3"]);
        assert_eq!(config.exposed_ports.into_iter().collect::<Vec<_>>(), ["53/udp"]);
        assert_eq!((config.labels["x"].as_str(), config.user.as_str()), ("1", "5"));
    }

    #[test]
    fn a_health_check_is_a_command_or_none() {
        let check = changed(&["--healthcheck", "curl localhost", "--healthcheck-interval", "30s", "--healthcheck-retries", "2"]);
        let check = check.config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
        assert_eq!((check.interval, check.retries), (30_000_000_000, 2));
        assert_eq!(changed(&["--healthcheck", r#"CMD ["a"]"#]).config.healthcheck.unwrap().test, ["CMD", "a"]);
        assert_eq!(changed(&["--healthcheck", "NONE"]).config.healthcheck.unwrap().test, ["NONE"]);
    }
}
