//! The flags of another program's command as a table: it is parsed by, and documentation is made of
//! it.
//!
//! Follows the Go package pflag, which docker, kaniko and buildah parse with: a switch may be
//! `--rm=false`, a value may begin with `-`, the last of two wins, and options may stand after
//! arguments.

use std::fmt;

use clap::builder::{BoolishValueParser, StringValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// What mpimg makes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Effect {
    /// It does what it does there.
    Same,
    /// It does something else, or less; in words.
    Differs(&'static str),
    /// It is accepted and changes nothing; why.
    Ignored(&'static str),
    /// It is an error; the remedy.
    Refused(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    List,
}

/// A flag of another program's command.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Flag {
    /// Without its dashes.
    pub(in crate::cli) long: &'static str,
    /// Its letter, if it has one.
    pub(in crate::cli) short: Option<char>,
    /// What mpimg makes of it.
    pub(in crate::cli) effect: Effect,
    /// What it is for, in a line.
    pub(in crate::cli) help: &'static str,
    takes: Takes,
    check: Option<Check>,
}

/// Why a value of a flag is invalid, if it is.
pub(in crate::cli) type Check = fn(&str) -> Result<(), String>;

impl Flag {
    const fn new(long: &'static str, takes: Takes, help: &'static str) -> Self {
        Self { long, short: None, effect: Effect::Same, help, takes, check: None }
    }

    /// One that is there or not.
    pub(in crate::cli) const fn switch(long: &'static str, help: &'static str) -> Self {
        Self::new(long, Takes::Nothing, help)
    }

    /// One with a value.
    pub(in crate::cli) const fn value(long: &'static str, help: &'static str) -> Self {
        Self::new(long, Takes::Value, help)
    }

    /// One with a value that may be repeated.
    pub(in crate::cli) const fn list(long: &'static str, help: &'static str) -> Self {
        Self::new(long, Takes::List, help)
    }

    /// The flag has this letter, too.
    pub(in crate::cli) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Only values are taken that this finds right.
    pub(in crate::cli) const fn checked(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// The flag in messages: `-c, --cpu-shares`.
    fn shown(&self) -> String {
        self.short.map_or_else(String::new, |letter| format!("-{letter}, ")) + "--" + self.long
    }

    /// It does something else, or less.
    pub(in crate::cli) const fn differs(mut self, how: &'static str) -> Self {
        self.effect = Effect::Differs(how);
        self
    }

    /// It changes nothing.
    pub(in crate::cli) const fn ignored(mut self, why: &'static str) -> Self {
        self.effect = Effect::Ignored(why);
        self
    }

    /// It is an error.
    pub(in crate::cli) const fn refused(mut self, remedy: &'static str) -> Self {
        self.effect = Effect::Refused(remedy);
        self
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.long).long(self.long).help(self.help);
        let argument = match self.short {
            Some(letter) => argument.short(letter),
            None => argument,
        };
        match self.takes {
            Takes::Nothing => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .hide_possible_values(true)
                .value_parser(BoolishValueParser::new()),
            Takes::Value => argument.action(ArgAction::Set).allow_hyphen_values(true).value_parser(StringValueParser::new()),
            Takes::List => argument.action(ArgAction::Append).allow_hyphen_values(true).value_parser(StringValueParser::new()),
        }
    }
}

/// Why a command line could not be parsed, in pflag's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct WrongFlag(pub(in crate::cli) String);

impl fmt::Display for WrongFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command line that was parsed.
#[derive(Debug)]
pub(in crate::cli) struct Parsed {
    matches: ArgMatches,
    flags: Vec<Flag>,
    /// What is not a flag, in order.
    pub(in crate::cli) arguments: Vec<String>,
    /// Whether help was asked for.
    pub(in crate::cli) help: bool,
}

impl Parsed {
    /// Parses what follows a command's name. With `options_first`, all that follows the first
    /// argument is an argument.
    pub(in crate::cli) fn parse(flags: &[&[Flag]], options_first: bool, words: &[String]) -> Result<Self, WrongFlag> {
        const ARGUMENTS: &str = "arguments of the command";
        const HELP: &str = "help";
        let flags = flags.concat();
        let mut command = Command::new("command").no_binary_name(true).disable_help_flag(true).args_override_self(true);
        command = command.args(flags.iter().map(Flag::argument));
        let help = Arg::new(HELP).long(HELP).action(ArgAction::SetTrue);
        command = command.arg(if flags.iter().any(|flag| flag.short == Some('h')) { help } else { help.short('h') });
        let arguments = Arg::new(ARGUMENTS).num_args(0..).trailing_var_arg(options_first);
        command = command.arg(arguments.value_parser(StringValueParser::new()));
        let mut matches = command.try_get_matches_from(words).map_err(|error| WrongFlag(explain(&error, words)))?;
        let arguments = matches.remove_many(ARGUMENTS).into_iter().flatten().collect();
        let help = matches.get_flag(HELP);
        let parsed = Self { matches, flags, arguments, help };
        parsed.check().map(|()| parsed)
    }

    /// The first value that is invalid for its flag.
    fn check(&self) -> Result<(), WrongFlag> {
        for (flag, check) in self.flags.iter().filter_map(|flag| Some((flag, flag.check?))) {
            for value in self.list(flag.long) {
                check(value)
                    .map_err(|why| WrongFlag(format!("invalid argument {value:?} for \"{}\" flag: {why}", flag.shown())))?;
            }
        }
        Ok(())
    }

    /// Whether a switch is on. A command may lack the flags that are asked for here and below: then
    /// they were not given.
    pub(in crate::cli) fn is(&self, switch: &str) -> bool {
        self.switch(switch) == Some(true)
    }

    /// Whether a switch is off or on, where it was given.
    pub(in crate::cli) fn switch(&self, switch: &str) -> Option<bool> {
        self.matches.try_get_one(switch).ok().flatten().copied()
    }

    /// The value of a flag.
    pub(in crate::cli) fn value(&self, flag: &str) -> Option<&str> {
        self.matches.try_get_one(flag).ok().flatten().map(String::as_str)
    }

    /// The values of a flag that may be repeated.
    pub(in crate::cli) fn list(&self, flag: &str) -> Vec<&str> {
        self.matches.try_get_many(flag).ok().flatten().into_iter().flatten().map(String::as_str).collect()
    }

    /// The flags that were given and are not off, in the table's order.
    pub(in crate::cli) fn given(&self) -> impl Iterator<Item = &Flag> {
        self.flags.iter().filter(|flag| match flag.takes {
            Takes::Nothing => self.is(flag.long),
            Takes::Value | Takes::List => self.matches.contains_id(flag.long),
        })
    }
}

/// What is wrong, as pflag says it.
fn explain(error: &clap::Error, words: &[String]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let name = context(ContextKind::InvalidArg).unwrap_or_default().split([' ', '=', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with("--") => format!("unknown flag: {name}"),
        ErrorKind::UnknownArgument => {
            let letter = name.chars().nth(1).unwrap_or_default();
            let word = words.iter().find(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter));
            format!("unknown shorthand flag: '{letter}' in {}", word.map_or(name, String::as_str))
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_none_or(str::is_empty) => {
            format!("flag needs an argument: {name}")
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            format!("invalid argument \"{}\" for \"{name}\" flag", context(ContextKind::InvalidValue).unwrap_or_default())
        }
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::switch("quiet", "").short('q'),
        Flag::switch("interactive", "").short('i'),
        Flag::switch("tty", "").short('t'),
        Flag::value("file", "").short('f'),
        Flag::list("env", "").short('e'),
    ];

    fn parse(options_first: bool, words: &[&str]) -> Result<Parsed, WrongFlag> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Parsed::parse(&[FLAGS], options_first, &words)
    }

    #[test]
    fn options_stand_before_and_after_arguments() {
        let parsed = parse(false, &[".", "-f", "-", "-q", "--env=A=1", "-eB", "x", "-"]).unwrap();
        assert_eq!(parsed.arguments, [".", "x", "-"]);
        assert_eq!((parsed.is("quiet"), parsed.value("file")), (true, Some("-")));
        assert_eq!(parsed.list("env"), ["A=1", "B"]);
        let given: Vec<&str> = parsed.given().map(|flag| flag.long).collect();
        assert_eq!(given, ["quiet", "file", "env"]);
    }

    #[test]
    fn after_the_first_argument_all_belongs_to_the_command() {
        let parsed = parse(true, &["-it", "-e", "-q", "image", "-q", "--nope"]).unwrap();
        assert_eq!(parsed.arguments, ["image", "-q", "--nope"]);
        assert!(parsed.is("interactive") && parsed.is("tty") && !parsed.is("quiet"));
        assert_eq!(parsed.list("env"), ["-q"]);
    }

    #[test]
    fn the_last_word_on_a_switch_or_value_counts() {
        let parsed = parse(false, &["-q", "--quiet=false", "-f", "a", "-f", "b", "--tty=true"]).unwrap();
        assert_eq!((parsed.is("quiet"), parsed.value("file"), parsed.is("tty")), (false, Some("b"), true));
        assert_eq!(parsed.given().map(|flag| flag.long).collect::<Vec<_>>(), ["tty", "file"]);
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_pflag() {
        for (words, message) in [
            (&["--nope=1", "."][..], "unknown flag: --nope"),
            (&["-qx"], "unknown shorthand flag: 'x' in -qx"),
            (&["--file"], "flag needs an argument: --file"),
            (&["--quiet=perhaps"], "invalid argument \"perhaps\" for \"--quiet\" flag"),
        ] {
            assert_eq!(parse(false, words).unwrap_err().0, message);
        }
    }
}
