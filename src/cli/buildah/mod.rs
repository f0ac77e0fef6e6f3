//! mpimg started by the name `buildah`: buildah's words, what it prints, on its stream and with its
//! exit codes.
//!
//! The table of commands decides what there is; docs/buildah.md is made of it. What mpimg lacks is
//! an error with a remedy, and what changes nothing is said once on standard error.

mod build;
mod command;
mod config;
mod container;
mod images;
mod invocation;
mod login;
mod manifest;
mod options;
mod steps;
mod template;
mod transfer;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use command::{Command, GLOBAL};
use invocation::{FAILED, Failure, Invocation};

use super::drop_in::{Parsed, look_at_flags, words};
use super::logging;
use super::runtime::run_to_end;
use super::terminal::write_output;

/// All commands.
const COMMANDS: &[&Command] = &[
    &container::ADD,
    &build::BUILD,
    &container::COMMIT,
    &container::CONFIG,
    &container::CONTAINERS,
    &container::COPY,
    &container::FROM,
    &images::IMAGES,
    &images::INSPECT,
    &login::LOGIN,
    &login::LOGOUT,
    &manifest::CREATE,
    &manifest::ADD,
    &manifest::PUSH,
    &manifest::INSPECT,
    &manifest::RM,
    &transfer::PULL,
    &transfer::PUSH,
    &container::RM,
    &images::RMI,
    &container::RUN,
    &images::TAG,
];

/// Commands of buildah that mpimg does not have, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("mount", "use `buildah copy` to put files in, `buildah run` to change them, or `mpimg save` and tar to read them"),
    ("umount", "nothing is mounted: `buildah mount` is refused"),
    ("unmount", "nothing is mounted: `buildah mount` is refused"),
    ("unshare", "run the commands without it: mpimg needs no user namespace of yours"),
    ("rename", "make the container with `buildah from --name NAME`"),
    ("untag", "remove the name: `buildah rmi NAME`"),
    ("info", "`mpimg doctor` shows what is there"),
    ("prune", "`mpimg prune` frees space"),
    ("source", "mpimg has no source images"),
    ("mkcw", "mpimg has no images for confidential computing"),
    ("manifest annotate", "give --os, --arch and --variant to `buildah manifest add`"),
    ("manifest remove", "make the list again: `buildah manifest create --amend`"),
];

/// The flags of all commands.
#[cfg(test)]
pub(super) fn flags() -> impl Iterator<Item = super::drop_in::Flag> {
    COMMANDS.iter().flat_map(|command| command.flags).copied().flatten().copied()
}

/// Runs a command line that begins with the name `buildah`; returns its exit code.
pub(super) fn main(arguments: Vec<OsString>) -> ExitCode {
    let words = words(arguments);
    let words = words.get(1..).unwrap_or_default();
    let global = match Parsed::parse(&[GLOBAL, VERSION], true, words) {
        Ok(global) => global,
        Err(wrong) => return fail(&Failure::new(wrong.to_string())),
    };
    if global.is("version") || global.arguments.first().is_some_and(|word| word == "version") {
        return printed(&format!("buildah version 1.28.2 (mpimg {})\n", env!("CARGO_PKG_VERSION")));
    }
    if let Some(("help", about)) = global.arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return match (find(about), about) {
            (Some((command, _)), _) => printed(&help(command)),
            (None, []) => printed(&overview("")),
            (None, [group, ..]) => match overview(&format!("{group} ")) {
                text if text.is_empty() => fail(&Failure::new(format!("unknown help topic \"{group}\""))),
                text => printed(&text),
            },
        };
    }
    let Some((command, length)) = find(&global.arguments) else { return without_command(&global) };
    let rest = &global.arguments[length..];
    let flags: Vec<_> = command.flags.iter().copied().chain([GLOBAL]).collect();
    let parsed = match Parsed::parse(&flags, command.options_first, rest) {
        Ok(parsed) if parsed.help || global.help => return printed(&help(command)),
        Ok(parsed) => parsed,
        Err(wrong) => return fail(&Failure::new(wrong.to_string())),
    };
    let (fewest, most) = command.arguments;
    if parsed.arguments.len() < fewest || parsed.arguments.len() > most {
        let usage = format!("buildah {} {}", command.names[0], command.usage);
        return fail(&Failure::new(format!("wrong number of arguments: {}", parsed.arguments.len())).with_hint(&usage));
    }
    let invocation = Invocation::new(&global, &parsed);
    logging::note_start(command.names[0]);
    let looked = look_at_flags(invocation.terminal(), &global, "buildah")
        .and_then(|()| look_at_flags(invocation.terminal(), &parsed, "buildah"));
    let done = match looked {
        Ok(()) => run_to_end((command.run)(&invocation, &parsed)),
        Err(error) => Err(error.into()),
    };
    logging::note_end(None);
    invocation.terminal().display().end();
    let interrupted = invocation.terminal().interrupt().exit_code();
    match done {
        Ok(code) => interrupted.unwrap_or(code).into(),
        Err(failure) => {
            let code = fail(&failure);
            interrupted.map_or(code, ExitCode::from)
        }
    }
}

/// Flags that stand alone.
const VERSION: &[super::drop_in::Flag] = &[super::drop_in::Flag::switch("version", "Print the version").short('v')];

/// The command that `words` begin with, and of how many words its name is.
fn find(words: &[String]) -> Option<(&'static Command, usize)> {
    let found = COMMANDS.iter().filter_map(|command| Some((*command, command.matches(words)?)));
    found.max_by_key(|(_, length)| *length)
}

fn without_command(global: &Parsed) -> ExitCode {
    let given = global.arguments.join(" ");
    if given.is_empty() || global.help {
        return printed(&overview(""));
    }
    if let [group, rest @ ..] = global.arguments.as_slice()
        && rest.iter().all(|word| word == "--help" || word == "-h")
        && !overview(&format!("{group} ")).is_empty()
    {
        return printed(&overview(&format!("{group} ")));
    }
    let refused = REFUSED.iter().find(|(name, _)| given == *name || given.starts_with(&format!("{name} ")));
    match refused {
        Some((name, remedy)) => fail(&Failure::new(format!("mpimg does not have `buildah {name}`")).with_hint(remedy)),
        None => fail(&Failure::new(format!("unknown command \"{}\" for \"buildah\"", global.arguments[0]))),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    let hint = failure.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    // Standard error is gone: the exit code says it.
    let _ = write!(std::io::stderr().lock(), "Error: {}\n{hint}", failure.text);
    if failure.code == 0 { FAILED.into() } else { failure.code.into() }
}

fn printed(text: &str) -> ExitCode {
    // Help that nobody reads is not an error.
    let _ = write_output(text.as_bytes());
    ExitCode::SUCCESS
}

/// The commands whose names begin with `group`; empty where there are none.
fn overview(group: &str) -> String {
    let mut text = format!(
        "mpimg in place of buildah: no containers-storage, images in mpimg's local store\n\nUsage:\n  buildah {group}[command]\n\n\
         Available Commands:\n"
    );
    let names = COMMANDS.iter().filter_map(|command| Some((command.names[0].strip_prefix(group)?, command.about)));
    let lines: Vec<String> = names.map(|(name, about)| format!("  {name:<18} {about}\n")).collect();
    if lines.is_empty() {
        return String::new();
    }
    text += &lines.concat();
    text + "\nUse \"buildah [command] --help\" for more information about a command.\n"
}

fn help(command: &Command) -> String {
    let mut text = format!("{}\n\nUsage:\n  buildah {} {}\n", command.about, command.names[0], command.usage);
    if let [_, aliases @ ..] = command.names
        && !aliases.is_empty()
    {
        text += &format!("\nAliases:\n  {}\n", command.names.join(", "));
    }
    if !command.differs.is_empty() {
        text += &format!("\nDifferent from buildah: {}\n", command.differs);
    }
    text += "\nFlags:\n";
    for flag in command.flags.iter().copied().flatten() {
        let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        text += &format!("  {short}--{:<22} {}\n", flag.long, flag.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_there_and_has_a_remedy() {
        for (name, remedy) in REFUSED {
            let words: Vec<String> = name.split(' ').map(str::to_owned).collect();
            assert!(COMMANDS.iter().all(|command| command.matches(&words).is_none()), "{name}");
            assert!(!remedy.is_empty());
        }
    }

    #[test]
    fn the_page_has_the_tables_of_commands() {
        use crate::cli::drop_in::{Flag, document};
        let mut text = String::new();
        for command in COMMANDS {
            let names: Vec<String> = command.names.iter().map(|name| format!("`{name}`")).collect();
            text += &format!("\n### {}\n\n{}.", names.join(", "), command.about);
            if !command.differs.is_empty() {
                text += &format!(" Different: {}.", command.differs);
            }
            // Not by its address: the compiler may keep a constant in several places.
            let is_registry =
                |table: &[Flag]| table.iter().map(|flag| flag.long).eq(command::REGISTRY.iter().map(|flag| flag.long));
            let flags: Vec<_> = command.flags.iter().copied().filter(|table| !is_registry(table)).collect();
            text += "\n";
            if flags.iter().any(|table| !table.is_empty()) {
                text += &format!("\n| flag | | how |\n| --- | --- | --- |\n{}", document::flags(&flags));
            }
            if command.flags.len() > flags.len() {
                text += "\nAnd the flags of registries.\n";
            }
        }
        text += &format!(
            "\n### Flags of registries\n\n| flag | | how |\n| --- | --- | --- |\n{}",
            document::flags(&[command::REGISTRY])
        );
        text += &format!("\n### Flags of all commands\n\n| flag | | how |\n| --- | --- | --- |\n{}", document::flags(&[GLOBAL]));
        text += "\n### Refused\n\n| command | instead |\n| --- | --- |\n";
        REFUSED.iter().for_each(|(name, remedy)| text += &format!("| `{name}` | {remedy} |\n"));
        document::check("buildah.md", &text);
    }

    #[test]
    fn no_command_has_a_flag_twice() {
        for command in COMMANDS {
            let flags: Vec<_> = command.flags.iter().copied().chain([GLOBAL]).collect();
            assert!(Parsed::parse(&flags, command.options_first, &[]).is_ok(), "{:?}", command.names);
        }
    }
}
