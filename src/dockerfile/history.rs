//! The text of a step in the image's history, in BuildKit's form.
//!
//! Proxy variables are left out: they must not enter the image.

use std::fmt::Write as _;

use super::duration::format_duration;
use super::{AddSource, AddStep, Chmod, CopyStep, Destination, Healthcheck, InlineFile, RunStep, Step};

impl Step {
    /// `created_by` of the step's history entry; `None` for ONBUILD, of which BuildKit keeps no
    /// entry.
    pub fn history_text(&self) -> Option<String> {
        Some(match self {
            Self::Add(add) => add_text(add),
            Self::Arg(args) => args.iter().fold("ARG".to_owned(), |text, (name, value)| match value {
                Some(value) => format!("{text} {name}={value}"),
                None => format!("{text} {name}"),
            }),
            Self::Cmd(argv) => format!("CMD {}", quoted_list(argv)),
            Self::Copy(copy) => copy_text(copy),
            Self::Entrypoint(argv) => format!("ENTRYPOINT {}", quoted_list(argv)),
            Self::Env(pairs) => pairs_text("ENV", pairs),
            Self::Expose(ports) => {
                let ports: Vec<String> = ports.iter().map(|port| port.to_string()).collect();
                format!("EXPOSE [{}]", ports.join(" "))
            }
            Self::Healthcheck(healthcheck) => healthcheck_text(healthcheck),
            Self::Label(pairs) => pairs_text("LABEL", pairs),
            Self::Maintainer(name) => format!("MAINTAINER {name}"),
            Self::Onbuild(_) => return None,
            Self::Run(run) => run_text(run),
            Self::Shell(argv) => format!("SHELL [{}]", argv.join(" ")),
            Self::StopSignal(signal) => format!("STOPSIGNAL {signal}"),
            Self::User(user) => format!("USER {user}"),
            Self::Volume(volumes) => format!("VOLUME [{}]", volumes.join(" ")),
            Self::Workdir(path) => format!("WORKDIR {path}"),
        })
    }

    /// Whether the step makes a layer; without one, its history entry has `empty_layer`.
    pub fn makes_layer(&self) -> bool {
        match self {
            Self::Add(_) | Self::Copy(_) | Self::Run(_) => true,
            Self::Workdir(path) => path != "/",
            _ => false,
        }
    }
}

fn pairs_text(name: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(name.to_owned(), |text, (key, value)| format!("{text} {key}={value}"))
}

/// `RUN |2 A=1 B=2 /bin/sh -c …`: the number of ARGs and the ARGs come before the command.
fn run_text(run: &RunStep) -> String {
    let mut text = String::from("RUN ");
    if !run.history_args.is_empty() {
        let args = run.history_args.iter().map(|(name, value)| format!("{name}={value} "));
        text.push_str(&format!("|{} ", run.history_args.len()));
        text.extend(args);
    }
    text + &run.argv.join(" ") + " # buildkit"
}

fn copy_text(copy: &CopyStep) -> String {
    let head = if copy.parents { "COPY --parents" } else { "COPY" };
    let sources = copy.sources.iter().map(String::as_str);
    files_text(head, copy.chown.as_deref(), copy.chmod.as_ref(), sources, &copy.inline_files, &copy.destination)
}

fn add_text(add: &AddStep) -> String {
    let sources = add.sources.iter().map(|source| match source {
        AddSource::Path(source) | AddSource::Url { url: source, .. } | AddSource::Git(source) => source.as_str(),
    });
    files_text("ADD", add.chown.as_deref(), add.chmod.as_ref(), sources, &add.inline_files, &add.destination)
}

/// Of the flags, BuildKit shows only these.
fn files_text<'a>(
    head: &str,
    chown: Option<&str>,
    chmod: Option<&Chmod>,
    sources: impl Iterator<Item = &'a str>,
    inline_files: &[InlineFile],
    destination: &Destination,
) -> String {
    let chown = chown.map(|chown| format!("--chown={chown}"));
    let chmod = chmod.map(|chmod| format!("--chmod={}", chmod.as_str()));
    let inline = inline_files.iter().map(|file| format!("<<{}", file.name));
    let words: Vec<String> = std::iter::once(head.to_owned())
        .chain(chown)
        .chain(chmod)
        .chain(sources.map(str::to_owned))
        .chain(inline)
        .chain([destination.written.clone(), "# buildkit".to_owned()])
        .collect();
    words.join(" ")
}

/// The struct as Go's `%+v` writes it.
fn healthcheck_text(healthcheck: &Healthcheck) -> String {
    let Healthcheck { test, interval, timeout, start_period, start_interval, retries } = healthcheck;
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{retries}}}",
        test.join(" "),
        format_duration(*interval),
        format_duration(*timeout),
        format_duration(*start_period),
        format_duration(*start_interval),
    )
}

/// A list of strings as Go's `%q` writes it: `["a" "b"]`.
fn quoted_list(strings: &[String]) -> String {
    let quoted: Vec<String> = strings.iter().map(|string| quoted(string)).collect();
    format!("[{}]", quoted.join(" "))
}

/// A string as Go's `strconv.Quote` writes it.
fn quoted(string: &str) -> String {
    let mut text = String::from('"');
    for character in string.chars() {
        // Writing to a String cannot fail.
        let _ = match character {
            '"' | '\\' => write!(text, "\\{character}"),
            '\x07' => write!(text, "\\a"),
            '\x08' => write!(text, "\\b"),
            '\x0c' => write!(text, "\\f"),
            '\n' => write!(text, "\\n"),
            '\r' => write!(text, "\\r"),
            '\t' => write!(text, "\\t"),
            '\x0b' => write!(text, "\\v"),
            ' '..='~' => write!(text, "{character}"),
            '\0'..='\x7f' => write!(text, "\\x{:02x}", u32::from(character)),
            // Rust's table of unprintable characters instead of Go's.
            _ if character.escape_debug().count() == 1 => write!(text, "{character}"),
            '\u{80}'..='\u{ffff}' => write!(text, "\\u{:04x}", u32::from(character)),
            _ => write!(text, "\\U{:08x}", u32::from(character)),
        };
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn strings_are_quoted_as_go_does() {
        for (string, text) in [
            ("echo hi", r#""echo hi""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("tab\tline\nbell\x07nul\0del\x7f", r#""tab\tline\nbell\anul\x00del\x7f""#),
            ("grüße 한국어", r#""grüße 한국어""#),
            ("\u{200b}\u{e000}", r#""\u200b\ue000""#),
        ] {
            assert_eq!(quoted(string), text);
        }
    }
}
