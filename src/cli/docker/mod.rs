//! mpimg started by the name `docker`: docker's words, what docker prints, on its stream and with
//! its exit codes.
//!
//! The table of commands decides what there is; documentation is made of it. What mpimg lacks is an
//! error with a remedy, and what changes nothing is said once on standard error.

mod archive;
mod build;
mod build_output;
mod buildx;
mod command;
mod commands;
mod commit;
mod confirm;
mod container_id;
mod container_image;
mod container_json;
mod containers;
mod cp;
#[cfg(test)]
mod documentation;
mod exec;
mod filter;
mod format;
mod global;
mod history;
mod image_json;
mod images;
mod imagetools;
mod inspect;
mod invocation;
mod login;
mod logs;
mod manifest;
mod networks;
mod ps;
mod pull;
mod push;
mod rmi;
mod run;
mod run_spec;
mod system;
mod tag;
mod value;
mod version;
mod volumes;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use command::Command;
use invocation::{CommandResult, Failure, Invocation};

use super::drop_in::{self, Effect, Parsed, WrongFlag};
use super::logging;
use super::runtime::run_to_end;
use crate::error::{Error, ErrorKind};

/// The exit code of mistakes in flags, and of containers that could not be started.
const WRONG_FLAG: u8 = 125;

/// The flags of all commands.
#[cfg(test)]
pub(super) fn flags() -> impl Iterator<Item = drop_in::Flag> {
    commands::ALL.iter().flat_map(|command| command.flags).copied().flatten().copied()
}

/// Whether mpimg does this command of docker, or one of its group.
pub(super) fn does(name: &str) -> bool {
    commands::is_group(name) || commands::ALL.iter().any(|command| command.names.contains(&name))
}

/// What to do instead of a command that mpimg does not have.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    commands::refused(name)
}

/// What mpimg makes of a flag of `docker run`: `--restart`, `-P`.
pub(super) fn effect_on_run(flag: &str) -> Option<Effect> {
    let is = |known: &&drop_in::Flag| match flag.strip_prefix("--") {
        Some(long) => known.long == long,
        None => flag.strip_prefix('-').is_some_and(|short| known.short.is_some_and(|letter| short == letter.to_string())),
    };
    run::RUN.flags.iter().copied().flatten().find(is).map(|flag| flag.effect)
}

/// Runs a command line that begins with the name `docker`; returns its exit code.
pub(super) fn main(arguments: Vec<OsString>) -> ExitCode {
    let words = drop_in::words(arguments);
    let words = words.get(1..).unwrap_or_default();
    let global = match Parsed::parse(&[global::FLAGS], true, words) {
        Ok(global) => global,
        Err(wrong) => return report(&format!("{wrong}\nSee 'docker --help'."), WRONG_FLAG),
    };
    let levels = ["debug", "info", "warn", "error", "fatal"];
    if let Some(level) = global.value("log-level").filter(|level| !levels.contains(level)) {
        return report(&format!("Unable to parse logging level: {level}"), 1);
    }
    if global.is("version") {
        return printed(&version::line());
    }
    if let Some(("help", about)) = global.arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return help_about(about);
    }
    let Some((command, name, rest)) = commands::find(&global.arguments) else { return without_command(&global) };
    let parsed = match Parsed::parse(command.flags, command.options_first, rest) {
        Ok(parsed) if parsed.help || global.help => return printed(&help(command, name)),
        Ok(parsed) => parsed,
        Err(WrongFlag(wrong)) => return report(&with_usage(&wrong, command, name), WRONG_FLAG),
    };
    if let Some(wrong) = command.arguments.wrong(parsed.arguments.len()) {
        return report(&with_usage(&format!("docker: 'docker {name}' {wrong}"), command, name), 1);
    }
    let invocation = Invocation::new(&global, &parsed, command.tells_progress());
    logging::note_start(name);
    let done = start(&invocation, command, &global, &parsed);
    logging::note_end(None);
    match done {
        Ok(code) => invocation.terminal().interrupt().exit_code().unwrap_or(code).into(),
        Err(failure) => invocation.fail(&failure),
    }
}

fn start(invocation: &Invocation, command: &Command, global: &Parsed, parsed: &Parsed) -> CommandResult {
    let refused = |error: Error| Failure::from(error).with_code(WRONG_FLAG);
    invocation.look_at_flags(global).map_err(refused)?;
    invocation.look_at_flags(parsed).map_err(refused)?;
    run_to_end((command.run)(invocation, parsed))
}

/// `docker help [COMMAND]`.
fn help_about(words: &[String]) -> ExitCode {
    match (commands::find(words), words) {
        (Some((command, name, _)), _) => printed(&help(command, name)),
        (None, []) => printed(&overview("")),
        (None, [group, ..]) if commands::is_group(group) => printed(&overview(&format!("{group} "))),
        (None, [name, ..]) => match commands::refused(name) {
            Some(remedy) => printed(&format!("mpimg does not have `docker {name}`: {remedy}\n")),
            None => report(&format!("docker: unknown help topic: {name}"), 1),
        },
    }
}

/// Without a command, or with one that docker does not have either, or that mpimg does not.
fn without_command(global: &Parsed) -> ExitCode {
    match global.arguments.as_slice() {
        // As docker: help that nobody asked for is not output.
        [] => report(overview("").trim_end(), 0),
        [group, rest @ ..] if commands::is_group(group) => match rest.iter().find(|word| !word.starts_with('-')) {
            Some(word) => report(
                &format!("docker: unknown command: docker {group} {word}\n\nRun 'docker {group} --help' for more information"),
                1,
            ),
            None if rest.iter().any(|word| word == "--help" || word == "-h") => printed(&overview(&format!("{group} "))),
            None => report(overview(&format!("{group} ")).trim_end(), 0),
        },
        [name, ..] => match commands::refused(name) {
            Some(remedy) => {
                let error = Error::new(ErrorKind::Unsupported, format!("mpimg does not have `docker {name}`")).with_hint(remedy);
                report(
                    super::message::draw_error(&error, super::style::Theme::new(super::flags::ColorMode::Never, false), None)
                        .trim_end(),
                    1,
                )
            }
            None => report(&format!("docker: unknown command: docker {name}\n\nRun 'docker --help' for more information"), 1),
        },
    }
}

fn usage(command: &Command, name: &str) -> String {
    format!("Usage:  docker {name} {}", command.usage).trim_end().to_owned()
}

fn with_usage(wrong: &str, command: &Command, name: &str) -> String {
    format!("{wrong}\n\n{}\n\nRun 'docker {name} --help' for more information", usage(command, name))
}

fn help(command: &Command, name: &str) -> String {
    let mut text = format!("{}\n\n{}\n", usage(command, name), command.about);
    if !command.differs.is_empty() {
        text += &format!("Here: {}.\n", command.differs);
    }
    if command.names.len() > 1 {
        let names: Vec<String> = command.names.iter().map(|name| format!("docker {name}")).collect();
        text += &format!("\nAliases:\n  {}\n", names.join(", "));
    }
    let flags: Vec<_> = command.flags.iter().copied().flatten().collect();
    if !flags.is_empty() {
        text += "\nOptions:\n";
    }
    for flag in flags {
        let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let note = match flag.effect {
            Effect::Same => String::new(),
            Effect::Differs(how) => format!(" (here: {how})"),
            Effect::Ignored(why) => format!(" (no effect: {why})"),
            Effect::Refused(remedy) => format!(" (not here: {remedy})"),
        };
        text += &format!("  {short}--{:<22} {}{note}\n", flag.long, flag.help);
    }
    text
}

/// The commands whose names begin with `group`, which ends with a space.
fn overview(group: &str) -> String {
    let mut text = format!(
        "Usage:  docker {}{group}COMMAND\n\nmpimg in place of docker: no daemon, images in mpimg's local store\n\nCommands:\n",
        if group.is_empty() { "[OPTIONS] " } else { "" }
    );
    let all = commands::ALL.iter().flat_map(|command| command.names.iter().map(move |name| (*name, command.about)));
    let mut lines: Vec<String> = all
        .filter_map(|(name, about)| Some((name.strip_prefix(group)?, about)))
        .filter(|(name, _)| !group.is_empty() || !name.contains(' '))
        .map(|(name, about)| format!("  {name:<18} {about}\n"))
        .collect();
    lines.sort();
    text += &lines.concat();
    text += "\nRun 'docker COMMAND --help' for more information on a command.\n";
    text
}

/// Prints help or a version; help that nobody reads is not an error.
fn printed(text: &str) -> ExitCode {
    let _ = super::terminal::write_output(text.as_bytes());
    ExitCode::SUCCESS
}

fn report(text: &str, code: u8) -> ExitCode {
    // Standard error is gone: the exit code says it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
    code.into()
}
