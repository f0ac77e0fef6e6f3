//! Docker's flags and commands that mpimg does not have, each with what to use instead.
//!
//! A word that docker does not have either is left to clap, whose message is better for a typing
//! error.

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};

use crate::error::{Error, ErrorKind};

/// Flags of `docker run`, and the remedy.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &[
            "--privileged",
            "--cap-add",
            "--cap-drop",
            "--security-opt",
            "--userns",
            "--pid",
            "--ipc",
            "--uts",
            "--cgroupns",
            "--device",
            "--gpus",
            "--runtime",
        ],
        "leave it out: a container has the rights that its isolation gives; `mpimg doctor` shows them, --isolation chooses one",
    ),
    (
        &["--restart", "--health-cmd", "--health-interval", "--health-retries", "--health-timeout", "--no-healthcheck"],
        "leave it out: nothing watches or restarts a container here; let systemd or the CI job do so",
    ),
    (
        &[
            "--cpus",
            "--cpu-shares",
            "-c",
            "--cpuset-cpus",
            "--cpu-quota",
            "--cpu-period",
            "--memory-swap",
            "--memory-reservation",
            "--pids-limit",
            "--ulimit",
            "--shm-size",
            "--oom-kill-disable",
            "--oom-score-adj",
        ],
        "leave it out: memory alone can be limited, by --memory",
    ),
    (
        &["--link", "--network-alias", "--net-alias", "--ip", "--ip6", "--mac-address", "--add-host", "--dns", "--dns-search"],
        "leave it out: there are no networks between containers, and names are looked up as this machine does; -p publishes a port",
    ),
    (&["--label", "-l", "--label-file", "--cidfile"], "leave it out: identify containers by --name and by the ID that -d prints"),
    (&["--pull"], "leave it out: images are not pulled implicitly; one in a registry is named `docker://NAME`"),
    (
        &["--read-only"],
        "leave it out: what is written is discarded at the end; `-v HOST:CONTAINER:ro` protects this machine's files",
    ),
    (&["-P", "--publish-all"], "name the ports: `-p 8080` on a free one, `-p 8080:8080` on that one"),
    (&["--tmpfs"], "write it as `--mount type=tmpfs,target=/PATH`"),
    (&["--log-driver", "--log-opt"], "leave it out: `mpimg logs` shows what a container of -d has written"),
    (&["--stop-signal", "--stop-timeout"], "leave it out: the image's STOPSIGNAL counts, and `mpimg stop -t SECONDS`"),
    (&["--volumes-from", "--volume-driver"], "name the folder: `-v HOST:CONTAINER`"),
    (
        &["--group-add"],
        "leave it out: `-u USER` brings the groups that the image's /etc/group has for it, `-u USER:GROUP` another one",
    ),
    (
        &["-a", "--attach", "--sig-proxy", "--detach-keys"],
        "leave it out: without -d, output and signals are passed on; -i passes input",
    ),
];

/// The same of docker's other commands for containers and images.
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

/// A command that mpimg does when it is started as docker.
macro_rules! as_docker {
    ($name:literal) => {
        (&[$name], concat!("a link called `docker` to mpimg has it: `docker ", $name, "` (docs/docker.md)"))
    };
}

/// Commands of docker, and the remedy.
const COMMANDS: &[(&[&str], &str)] = &[
    as_docker!("exec"),
    as_docker!("start"),
    as_docker!("restart"),
    as_docker!("create"),
    as_docker!("cp"),
    as_docker!("export"),
    as_docker!("kill"),
    as_docker!("wait"),
    as_docker!("top"),
    as_docker!("port"),
    as_docker!("history"),
    (&["attach"], "a container runs one command: `mpimg run -it IMAGE sh` starts another one of the same image"),
    (
        &["commit", "diff"],
        "what a container wrote is discarded when it ends: `mpimg run` starts a new one, `-v HOST:CONTAINER` keeps files",
    ),
    (&["container"], "`mpimg ps`, `logs`, `stats` and `stop` are for containers"),
    (&["image"], "`mpimg images`, `inspect`, `tag`, `rm` and `prune` are for images"),
    (&["system", "info"], "`mpimg doctor` shows what is there, `mpimg prune` frees space"),
    (&["volume", "network"], "there are none here: `mpimg run -v HOST:CONTAINER` takes paths, -p publishes ports"),
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
            let remedy = if command == "run" { remedy(FLAGS, flag) } else { others() };
            (format!("`mpimg {command}` has no `{flag}`"), remedy?)
        }
        ClapErrorKind::InvalidSubcommand if command.is_none() => {
            let name = word(ContextKind::InvalidSubcommand)?;
            (format!("mpimg has no command `{name}`"), remedy(COMMANDS, name)?)
        }
        _ => return None,
    };
    Some(Error::new(ErrorKind::Usage, message).with_hint(hint))
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
        for (name, remedy) in COMMANDS.iter().flat_map(|(names, remedy)| names.iter().map(move |name| (name, remedy))) {
            assert!(grammar.find_subcommand(name).is_none(), "{name}");
            let refers = remedy.starts_with("a link called `docker`");
            assert!(!refers || super::super::docker::does(name), "{name}");
        }
        let run = grammar.find_subcommand("run").unwrap();
        for flag in FLAGS.iter().flat_map(|(flags, _)| flags.iter()) {
            let short = |argument: &clap::Arg| argument.get_short().is_some_and(|short| *flag == format!("-{short}"));
            let long = |argument: &clap::Arg| argument.get_long().is_some_and(|long| *flag == format!("--{long}"));
            assert!(!run.get_arguments().any(|argument| short(argument) || long(argument)), "{flag}");
        }
    }
}
