//! docs/docker.md has a table of all commands and flags; it is made of the same tables that
//! commands are parsed by.

use std::fmt::Write as _;

use super::command::Command;
use super::{commands, global};
use crate::cli::drop_in::{Effect, Flag, document};

fn flags_of(command: &Command) -> Vec<&Flag> {
    command.flags.iter().copied().flatten().collect()
}

fn names(flags: &[&Flag], wanted: impl Fn(&Flag) -> bool) -> String {
    let names: Vec<String> = flags.iter().filter(|flag| wanted(flag)).map(|flag| format!("`--{}`", flag.long)).collect();
    if names.is_empty() { "–".into() } else { names.join(", ") }
}

/// The flags of one kind, each with its words.
fn notes(flags: &[&Flag], words: impl Fn(Effect) -> Option<&'static str>) -> String {
    let mut by_words: Vec<(&str, Vec<String>)> = Vec::new();
    for flag in flags {
        let Some(words) = words(flag.effect) else { continue };
        let name = format!("`--{}`", flag.long);
        match by_words.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(name),
            None => by_words.push((words, vec![name])),
        }
    }
    let lines: Vec<String> = by_words.into_iter().map(|(words, names)| format!("{}: {words}", names.join(", "))).collect();
    lines.join("; ")
}

fn section(title: &str, differs: &str, flags: &[&Flag]) -> String {
    let mut text = format!("\n### {title}\n\n");
    if !differs.is_empty() {
        let _ = writeln!(text, "Different: {differs}.\n");
    }
    if flags.is_empty() {
        return text + "No flags.\n";
    }
    text += "| flags | |\n| --- | --- |\n";
    let _ = writeln!(text, "| same | {} |", names(flags, |flag| flag.effect == Effect::Same));
    for (kind, words) in [
        (
            "different",
            (|effect| if let Effect::Differs(how) = effect { Some(how) } else { None }) as fn(Effect) -> Option<&'static str>,
        ),
        ("without effect", |effect| if let Effect::Ignored(why) = effect { Some(why) } else { None }),
        ("refused", |effect| if let Effect::Refused(remedy) = effect { Some(remedy) } else { None }),
    ] {
        let notes = notes(flags, words);
        if !notes.is_empty() {
            let _ = writeln!(text, "| {kind} | {} |", notes.replace('|', "\\|"));
        }
    }
    text
}

fn table() -> String {
    let mut text = String::from("\n## Every command and flag\n");
    text += &section("Options before the command", "", &global::FLAGS.iter().collect::<Vec<_>>());
    for command in commands::ALL {
        let title: Vec<String> = command.names.iter().map(|name| format!("`docker {name}`")).collect();
        text += &section(&title.join(", "), command.differs, &flags_of(command));
    }
    text += "\n### Refused commands\n\n| command | remedy |\n| --- | --- |\n";
    for (name, remedy) in commands::REFUSED {
        let _ = writeln!(text, "| `docker {name}` | {remedy} |");
    }
    text
}

#[test]
fn the_documentation_names_every_command_and_flag() {
    document::check("docker.md", &table());
}

#[test]
fn no_command_has_a_flag_or_name_twice() {
    let mut names: Vec<&str> = commands::ALL.iter().flat_map(|command| command.names).copied().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for command in commands::ALL {
        // Clap checks flags and letters as it parses.
        let parsed = crate::cli::drop_in::Parsed::parse(command.flags, command.options_first, &["--help".into()]);
        assert!(parsed.is_ok_and(|parsed| parsed.help), "{:?}", command.names);
    }
}
