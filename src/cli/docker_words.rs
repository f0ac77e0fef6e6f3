//! Docker's flags and commands that mpimg does not have, each with what to use instead.
//!
//! A word that docker does not have either is left to clap, whose message is better for a typing
//! error.

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};

use super::drop_in::Effect;
use crate::error::{Error, ErrorKind};

/// Flags of `docker run` that a link called `docker` does and `mpimg run` does not, and the remedy.
/// Of the others, the drop-in's own table says what is to be done.
const FLAGS: &[(&[&str], &str)] = &[
    (&["--cidfile"], "leave it out: `-d` prints the ID, and --name gives a name"),
    (&["--label-file"], "give each label by --label"),
    (&["--network-alias"], "leave it out: there are no networks between containers; --add-host adds names"),
    (&["--pull"], "leave it out: images are not pulled implicitly; one in a registry is named `docker://NAME`"),
    (&["--tmpfs"], "write it as `--mount type=tmpfs,target=/PATH`"),
];

/// Flags that docker's other commands for containers and images have, and what to do instead.
const OTHER_FLAGS: &[(&[&str], &[&str], &str)] = &[
    (
        &["ps", "images", "stats", "inspect"],
        &[
            "--format",
            "-f",
            "--filter",
            "--no-trunc",
            "-n",
            "--last",
            "-l",
            "--latest",
            "-s",
            "--size",
            "--digests",
            "-a",
            "--all",
        ],
        "leave it out: `--json` prints all fields, for a program such as jq",
    ),
    (
        &["build"],
        &["--dns", "--memory", "-m", "--cpu-shares", "--cgroup-parent"],
        "leave it out: RUN has this machine's name servers; `--ulimit` limits what a command may use",
    ),
    (&["build"], &["--builder"], "leave it out: there is no builder to choose; nothing runs in the background"),
    (&["build"], &["--rm", "--force-rm", "--compress", "--stream"], "leave it out: it has no meaning here"),
    (&["push"], &["-a", "--all-tags"], "push each tag: `-t TAG` may be repeated"),
    (&["logs"], &["--since", "--until", "--details"], "leave it out: `--tail LINES` shows the end, `-t` the times"),
    (&["stop"], &["-s", "--signal"], "leave it out: the image's STOPSIGNAL is sent, and SIGKILL after `-t SECONDS`"),
];

/// Commands of docker that mpimg has under another name, and the remedy.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["container"], "`mpimg ps`, `logs`, `stats` and `stop` are for containers"),
    (&["image"], "`mpimg images`, `inspect`, `tag`, `rm` and `prune` are for images"),
    (&["system", "info"], "`mpimg doctor` shows what is there, `mpimg prune` frees space"),
    (&["buildx"], "`mpimg build` does it"),
];

/// The error with a remedy, where `error` is about a word of docker's. `command` is the command
/// that was given, if it was one.
pub(super) fn explain(command: Option<&str>, error: &clap::Error) -> Option<Error> {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    let (message, hint) = match error.kind() {
        ClapErrorKind::UnknownArgument => {
            let (command, flag) = (command?, word(ContextKind::InvalidArg)?);
            let others = || {
                let mut rows =
                    OTHER_FLAGS.iter().filter(|(commands, flags, _)| commands.contains(&command) && flags.contains(&flag));
                rows.next().map(|(.., remedy)| *remedy)
            };
            let remedy = match command {
                "run" => remedy(FLAGS, flag).map(str::to_owned).or_else(|| of_drop_in(flag)),
                _ => others().map(str::to_owned),
            };
            (format!("`mpimg {command}` has no `{flag}`"), remedy?)
        }
        ClapErrorKind::InvalidSubcommand if command.is_none() => {
            let name = word(ContextKind::InvalidSubcommand)?;
            (format!("mpimg has no command `{name}`"), about_command(name)?)
        }
        _ => return None,
    };
    Some(Error::new(ErrorKind::Usage, message).with_hint(hint))
}

/// What the drop-in's table of `docker run` has of a flag, for somebody who can leave it out.
fn of_drop_in(flag: &str) -> Option<String> {
    match super::docker::effect_on_run(flag)? {
        Effect::Ignored(why) => Some(format!("leave it out: {why}")),
        Effect::Refused(remedy) => Some(remedy.to_owned()),
        Effect::Same | Effect::Differs(_) => None,
    }
    .map(|words| as_own(&words))
}

/// What to do instead of a command.
fn about_command(name: &str) -> Option<String> {
    let refused = || super::docker::refused(name).map(as_own);
    let linked =
        || super::docker::does(name).then(|| format!("a link called `docker` to mpimg has it: `docker {name}` (docs/docker.md)"));
    remedy(COMMANDS, name).map(str::to_owned).or_else(refused).or_else(linked)
}

/// Words for docker's users with mpimg's own commands where it has them.
fn as_own(words: &str) -> String {
    let grammar = super::grammar();
    let mut parts = words.split("`docker ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let command = part.split([' ', '`']).next().unwrap_or_default();
        text += if grammar.find_subcommand(command).is_some() { "`mpimg " } else { "`docker " };
        text += part;
    }
    text
}

fn remedy(table: &[(&[&str], &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_these_is_mpimg_s_own() {
        let grammar = super::super::grammar();
        for name in COMMANDS.iter().flat_map(|(names, _)| *names) {
            assert!(grammar.find_subcommand(name).is_none(), "{name}");
        }
        let about = about_command("attach").unwrap();
        assert_eq!(about, "`mpimg logs -f` shows what a container writes");
        assert!(about_command("exec").unwrap().contains("`docker exec`"));
        assert_eq!(of_drop_in("--restart").unwrap(), "leave it out: nothing watches a container here");
        assert!(of_drop_in("-P").is_some() && of_drop_in("--nope").is_none());
        let run = grammar.find_subcommand("run").unwrap();
        for flag in FLAGS.iter().flat_map(|(flags, _)| flags.iter()) {
            let short = |argument: &clap::Arg| argument.get_short().is_some_and(|short| *flag == format!("-{short}"));
            let long = |argument: &clap::Arg| argument.get_long().is_some_and(|long| *flag == format!("--{long}"));
            assert!(!run.get_arguments().any(|argument| short(argument) || long(argument)), "{flag}");
        }
    }
}
