//! The command `mpimg`: flags, terminals, prompts, messages and exit codes around the library.
//!
//! Decisions about images are the library's, so that every program gets them.

mod buildah;
mod command;
mod contents;
mod digest_file;
mod docker;
mod docker_words;
mod drop_in;
mod flags;
mod image;
mod interrupt;
mod kaniko;
mod logging;
mod message;
mod progress;
mod prompt;
mod runtime;
mod size;
mod style;
mod table;
mod terminal;
mod visible;
mod when;
mod wording;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser};

use crate::error::{Error, ErrorKind};
use command::Command;
use drop_in::DropIn;
use flags::Global;
use terminal::Terminal;

/// The exit code of mistakes in flags.
const WRONG_USE: u8 = 2;

const ENVIRONMENT: &str = "\
Environment:
  MPIMG_LOG            Append a log as JSON lines to this file, as --log-file does
  MPIMG_HOME           The local store [default: ~/.local/share/mpimg]
  MPIMG_CONFIG         mpimg's configuration file
  SOURCE_DATE_EPOCH    Latest time in new layers, in seconds since 1970
                       [default: that of the last git commit, else 0]
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY
                       Proxies for registries and RUN; never in an image
  DOCKER_CONFIG        Folder of docker's config.json [default: ~/.docker]
  DOCKER_AUTH_CONFIG   Credentials: the content of such a file
  REGISTRY_AUTH_FILE   A file with credentials, as podman has it
  CONTAINERS_REGISTRIES_CONF
                       Mirrors and insecure registries
                       [default: the user's registries.conf, else the system's]
  COSIGN_PASSWORD      Password of an encrypted signing key
  SSL_CERT_FILE        Certificate authorities instead of the system's
  NO_COLOR             Turns colours off
  CI                   Shows progress as lines instead of bars, unless empty or `false`
  DOCKER_DEFAULT_PLATFORM
                       The default of --platform
  MPIMG_PYTHON         The Python of mp-build and mp-test [default: the first in PATH with the SDK]
  MPIMG_COMMAND        The mpimg that mp-build uses [default: the one that started it]

Exit codes:
  0 done   1 failed   2 wrong use   129, 130, 143 ended by SIGHUP, Ctrl-C, SIGTERM

Examples:
  mpimg push                               The project in this folder
  mpimg push -r harbor.example.com/mp/nsx  The same, to another repository
  mpimg build -t app:1 --progress plain    Any folder with a Dockerfile
  mpimg serve --addr 0.0.0.0:5000          Let a Cloud Proxy pull from here";

/// The line about global options in the help of each command.
const GLOBAL_OPTIONS: &str = "\
Global options: --json, -q, -v, --log-file, --color, --progress; see `mpimg help options`";

/// Build container images of Integration SDK projects and push them to registries, with no daemon
#[derive(Debug, Parser)]
#[command(name = "mpimg", version, max_term_width = 110, subcommand_required = true)]
#[command(arg_required_else_help = true, after_help = ENVIRONMENT)]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

/// Lets hints name flags of the program that this process was started as. To be called first: also
/// helpers of this process give hints.
pub fn word_hints() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    crate::error::set_wording(wording::of(DropIn::of(&arguments)));
}

/// Runs the command line of this process; returns its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match DropIn::of(&arguments) {
        Some(DropIn::Docker) => return docker::main(arguments),
        Some(DropIn::Kaniko) => return kaniko::main(arguments),
        Some(DropIn::Buildah) => return buildah::main(arguments),
        None => {}
    }
    if let [_, help, options] = arguments.as_slice()
        && (help, options) == (&"help".into(), &"options".into())
    {
        // Help that nobody reads is not an error.
        let _ = Global::augment_args(clap::Command::new("options"))
            .about("Options of every command; they stand before or after it")
            .disable_help_flag(true)
            .print_long_help();
        return ExitCode::SUCCESS;
    }
    match parsed_grammar().try_get_matches_from(&arguments).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => run(cli),
        Err(error) => explain(&error, &arguments),
    }
}

fn run(cli: Cli) -> ExitCode {
    let terminal = Terminal::new(&cli.global);
    if let Err(error) = logging::start(&cli.global, terminal.display(), terminal.error_theme().enabled()) {
        return terminal.fail(&error);
    }
    logging::note_start(cli.command.name());
    let done = runtime::run_to_end(cli.command.run(&terminal, grammar));
    logging::note_end(done.as_ref().err());
    match done {
        Ok(()) => terminal.done(),
        Err(error) => terminal.fail(&error),
    }
}

/// Help, version, and mistakes in flags.
fn explain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let help = matches!(
        error.kind(),
        ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion | ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if help {
        // Help that nobody reads is not an error.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let matches = grammar().ignore_errors(true).try_get_matches_from(arguments).ok();
    let command = matches.as_ref().and_then(|matches| matches.subcommand_name());
    let code = ExitCode::from(if command == Some("run") { command::NOT_STARTED } else { WRONG_USE });
    let explained = docker_words::explain(command, error);
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim);
        let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
        // The names of what is missing stand in lines of their own.
        let message = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names)) if error.kind() == ClapErrorKind::MissingRequiredArgument => {
                format!("{} {}", first.trim_end_matches(':'), names.join(", "))
            }
            _ => first.to_owned(),
        };
        let tip = lines.find_map(|line| line.strip_prefix("tip: "));
        let wrong = Error::new(ErrorKind::Usage, message).with_hint(tip.unwrap_or("`mpimg help COMMAND` shows all flags"));
        let json = message::error_json(&explained.unwrap_or(wrong));
        // The exit code says it, whether the output is read or not.
        let _ = terminal::write_output(format!("{json}\n").as_bytes());
        return code;
    }
    let _ = match explained {
        Some(error) => {
            let theme = style::Theme::new(flags::ColorMode::Auto, std::io::stderr().is_terminal());
            std::io::stderr().lock().write_all(message::draw_error(&error, theme, None).as_bytes())
        }
        None => error.print(),
    };
    code
}

/// The command line as it is parsed: the help of a command names the global options in one line,
/// instead of all that they do.
fn parsed_grammar() -> clap::Command {
    let command = grammar();
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let globals: Vec<clap::Arg> = command.get_arguments().filter(|argument| argument.is_global_set()).cloned().collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| {
            let missing: Vec<_> = globals.iter().filter(|global| !has_long(&command, global)).cloned().collect();
            let help = command.get_after_help().map(|help| format!("{help}\n\n{GLOBAL_OPTIONS}"));
            let help = help.unwrap_or_else(|| GLOBAL_OPTIONS.to_owned());
            command.args(missing.into_iter().map(|global| global.hide(true))).after_help(help)
        })
    })
}

/// Whether a command has a flag of its own in place of a global one.
fn has_long(command: &clap::Command, global: &clap::Arg) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == global.get_id())
}

/// The whole command line, for completions and manual pages.
fn grammar() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        grammar().debug_assert();
    }
}
