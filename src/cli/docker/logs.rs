//! `docker logs`.

use std::io::Write as _;
use std::time::Duration;

use super::command::{Arguments, Command};
use super::container_id::find;
use super::filter;
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::command::Lines;
use crate::cli::drop_in::{Flag, Parsed};
use crate::operation::LogOptions;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::switch("details", "Show extra details provided to logs").ignored("there are none"),
        Flag::switch("follow", "Follow log output").short('f'),
        Flag::value("since", "Show logs since timestamp or relative"),
        Flag::value("tail", "Number of lines to show from the end of the logs").short('n'),
        Flag::switch("timestamps", "Show timestamps").short('t'),
        Flag::value("until", "Show logs before a timestamp or relative"),
    ]],
    ..Command::new(&["logs", "container logs"], "[OPTIONS] CONTAINER", "Fetch the logs of a container", |invocation, parsed| {
        Box::pin(run(invocation, parsed))
    })
};

async fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let container = find(invocation, &parsed.arguments[0])?;
    invocation.terminal().handle_signals();
    let time = |flag: &str| match parsed.value(flag) {
        None => Ok::<_, Failure>(None),
        Some(text) => {
            let time = filter::time(text).ok_or_else(|| Failure::daemon(format!("invalid value for {flag:?}: {text:?}")))?;
            Ok(Some(Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))))
        }
    };
    let (since, until): (Option<Duration>, Option<Duration>) = (time("since")?, time("until")?);
    // Docker takes what is not a number for all of them.
    let tail = parsed.value("tail").and_then(|lines| lines.parse().ok());
    let mut lines = Lines::new(parsed.is("timestamps"));
    let options = LogOptions { follow: parsed.is("follow"), tail };
    let output = move |stream, time, text: &[u8]| {
        if since.is_some_and(|since| time < since) || until.is_some_and(|until| time > until) {
            return Ok(());
        }
        lines.write(stream, time, text)
    };
    invocation.mpimg().logs(container.id(), options, output).await?;
    // Nothing may hang behind in a buffer.
    let _ = std::io::stdout().lock().flush();
    Ok(0)
}
