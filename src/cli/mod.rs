//! The command `mpimg`: flags, terminals, prompts, messages and exit codes around the library.
//!
//! Refuses decisions about images: those are the library's, and every program that uses it gets them.

mod command;
mod configuration;
mod contents;
mod digest_file;
mod docker_words;
mod flags;
mod image;
mod interrupt;
mod message;
mod progress;
mod prompt;
mod size;
mod style;
mod table;
mod terminal;
mod when;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind as ClapErrorKind;
use clap::{CommandFactory as _, Parser};

use crate::error::{Error, ErrorKind};
use crate::operation::blocking;
use command::Command;
use flags::Global;
use terminal::Terminal;

/// Threads for the network. What computes has threads of its own.
const WORKERS: usize = 2;

/// The exit code of mistakes in flags.
const WRONG_USE: u8 = 2;

const ENVIRONMENT: &str = "\
Environment:
  MPIMG_HOME           The local store [default: ~/.local/share/mpimg]
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
  SSL_CERT_FILE        Certificate authorities instead of the system's
  NO_COLOR             Turns colours off
  CI                   Turns bars into lines

Exit codes:
  0 done   1 failed   2 wrong use   130 ended by Ctrl-C   143 ended by SIGTERM

Examples:
  mpimg push                               The project in this folder
  mpimg push -r harbor.example.com/mp/nsx  The same, to another repository
  mpimg build -t app:1 --progress plain    Any folder with a Dockerfile
  mpimg serve --addr 0.0.0.0:5000          Let a Cloud Proxy pull from here";

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

/// Runs the command line of this process; tells its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli),
        Err(error) => explain(&error, &arguments),
    }
}

fn run(cli: Cli) -> ExitCode {
    let terminal = Terminal::new(&cli.global);
    if cli.global.verbose > 1 {
        log_to_stderr();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return terminal.fail(&Error::new(ErrorKind::Io, "cannot start threads").with_source(error)),
    };
    let done = runtime.block_on(cli.command.run(&terminal));
    // A thread that still waits for a disk or a name server must not keep the user waiting.
    runtime.shutdown_background();
    match done {
        Ok(()) => terminal.done(),
        Err(error) => terminal.fail(&error),
    }
}

/// What the library and nobody else logs: headers of others may hold secrets.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::new("mpimg=debug");
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Somebody else may have set a log up: then that one counts.
    let _ = log.try_init();
}

/// Help, version, and mistakes in flags.
fn explain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let help = matches!(
        error.kind(),
        ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion | ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if help {
        // Help that nobody reads is no failure.
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
        let message = lines.next().unwrap_or_default().trim_start_matches("error: ");
        let tip = lines.find_map(|line| line.strip_prefix("tip: "));
        let wrong = Error::new(ErrorKind::Usage, message).with_hint(tip.unwrap_or("`mpimg help COMMAND` shows all flags"));
        let json = message::error_json(&explained.unwrap_or(wrong));
        // Whether anybody reads it or not, the exit code tells.
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
