//! mpimg started by the name `executor` or `kaniko`: kaniko's flags, its files with results, its
//! exit codes.

mod context;
mod flags;
mod job;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use context::Context;
use flags::FLAGS;
use job::Job;

use super::drop_in::{self, Parsed, look_at_flags, make_parent, words};
use super::flags::ProgressMode;
use super::runtime::run_to_end;
use super::terminal::{Terminal, write_output};
use super::{logging, message};
use crate::build::BuildRequest;
use crate::context::{ContextAddress, existing_dockerfile};
use crate::error::{Error, ErrorKind, Result};
use crate::image::write_result;
use crate::oci::{Digest, Reference};
use crate::operation::{BuildOutputs, Mpimg, Options};
use crate::registry::CredentialSources;

/// kaniko ends with it whatever is wrong.
const FAILED: u8 = 1;

/// All flags.
#[cfg(test)]
pub(super) fn flags() -> impl Iterator<Item = super::drop_in::Flag> {
    flags::FLAGS.iter().copied()
}

/// Runs a command line that begins with kaniko's name; returns its exit code.
pub(super) fn main(arguments: Vec<OsString>) -> ExitCode {
    let words = words(arguments);
    let words = words.get(1..).unwrap_or_default();
    if words.first().is_some_and(|word| word == "version") {
        // Nobody reads it: no error.
        let _ = write_output(format!("Kaniko version :  v1.24.0 (mpimg {})\n", env!("CARGO_PKG_VERSION")).as_bytes());
        return ExitCode::SUCCESS;
    }
    let parsed = match Parsed::parse(&[FLAGS], false, words) {
        Ok(parsed) if parsed.help => {
            let _ = write_output(help().as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(parsed) => parsed,
        Err(wrong) => {
            let _ = writeln!(std::io::stderr().lock(), "Error: {wrong}\nSee 'executor --help'.");
            return FAILED.into();
        }
    };
    let terminal = terminal(&parsed);
    logging::note_start("executor");
    let done = run_to_end(execute(&terminal, &parsed));
    logging::note_end(done.as_ref().err());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.display().end();
            let text = message::draw_error(&error, terminal.error_theme(), None);
            // Standard error is gone: the exit code says it.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            terminal.interrupt().exit_code().unwrap_or(FAILED).into()
        }
    }
}

fn help() -> String {
    let mut text = "Usage:\n  executor [flags]\n\nmpimg in place of kaniko: builds an image and pushes it\n\nFlags:\n".to_owned();
    for flag in FLAGS {
        let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        text += &format!("  {short}--{:<34} {}\n", flag.long, flag.help);
    }
    text
}

fn terminal(parsed: &Parsed) -> Terminal {
    let (quiet, verbose) = match parsed.value("verbosity").unwrap_or("info") {
        "panic" | "fatal" | "error" | "warn" | "warning" => (true, 0),
        "debug" => (false, 1),
        "trace" => (false, 2),
        _ => (false, 0),
    };
    drop_in::terminal(quiet, verbose, ProgressMode::Plain)
}

async fn execute(terminal: &Terminal, parsed: &Parsed) -> Result<()> {
    look_at_flags(terminal, parsed, "kaniko")?;
    let job = Job::read(parsed)?;
    for file in job.files() {
        make_parent(file)?;
    }
    let mut request = job::request(parsed, &job)?;
    let mpimg = Mpimg::new(Options {
        credentials: CredentialSources { docker_config_dir: credentials(parsed), ..CredentialSources::default() },
        ca_files: job::ca_files(parsed),
        insecure_registries: job::insecure_registries(parsed, &job, &request),
        registry_mirrors: job::mirrors(parsed),
        progress: terminal.progress().clone(),
        cancel: terminal.interrupt().cancel().clone(),
        ..Options::default()
    });
    terminal.handle_signals();
    let git = parsed.list("git");
    let text = parsed.value("context").filter(|context| !context.is_empty()).unwrap_or("/workspace/");
    let context = Context { text, sub_path: parsed.value("context-sub-path"), git: &git };
    let _input = context.put_into(&mpimg, &mut request).await?;
    request.dockerfile = Some(dockerfile(parsed.value("dockerfile").unwrap_or("Dockerfile"), &request)?);
    let names = if job.push { job.destinations.clone() } else { Vec::new() };
    if let Some(file) = job.outputs.iter().find_map(|output| match output {
        crate::image::Transport::DockerArchive { file, .. } => Some(file),
        _ => None,
    }) {
        make_parent(file)?;
    }
    let outputs = BuildOutputs { names, outputs: job.outputs.clone(), push: job.push, ..BuildOutputs::default() };
    let built = mpimg.build(request, &outputs).await?;
    let digest = built.descriptor().digest;
    if let Some(file) = &job.digest_file {
        write_result(file, digest.to_string().as_bytes())?;
    }
    // As in kaniko: with a file for both, both have the tag.
    let with_tag = job.name_tag_file.is_some();
    let lines: String = job.destinations.iter().map(|name| line(name, with_tag, &digest)).collect();
    for file in [&job.name_file, &job.name_tag_file].into_iter().flatten() {
        write_result(file, lines.as_bytes())?;
    }
    let what = if job.push { "pushed" } else { "built" };
    let names = job.destinations.iter().map(|name| format!("{name} "));
    terminal.say(&format!("{what} {}{digest}", names.collect::<String>()));
    Ok(())
}

/// A line of the files with names: go-containerregistry's name of the repository, and the digest.
fn line(name: &Reference, with_tag: bool, digest: &Digest) -> String {
    let registry = if name.registry() == "docker.io" { "index.docker.io" } else { name.registry() };
    let tag = name.tag().filter(|_| with_tag).map(|tag| format!(":{tag}")).unwrap_or_default();
    format!("{registry}/{}{tag}@{digest}\n", name.path())
}

/// kaniko's image has its credentials in a folder of its own, which DOCKER_CONFIG names there; ours
/// may be started without that.
fn credentials(parsed: &Parsed) -> Option<PathBuf> {
    if std::env::var_os("DOCKER_CONFIG").is_some() {
        return None;
    }
    let own =
        parsed.value("kaniko-dir").map(str::to_owned).or_else(|| job::variable("KANIKO_DIR")).unwrap_or_else(|| "/kaniko".into());
    let folder = Path::new(&own).join(".docker");
    folder.join("config.json").is_file().then_some(folder)
}

/// The Dockerfile: a path from here, else one in the build context; or an address.
fn dockerfile(text: &str, request: &BuildRequest) -> Result<PathBuf> {
    let path = PathBuf::from(text);
    if matches!(ContextAddress::parse(text), Some(Ok(ContextAddress::Http(_)))) {
        return Ok(path);
    }
    let inside = request.context.join(&path);
    let places = [&path, &inside];
    let found = places.into_iter().find(|place| existing_dockerfile(place).is_file());
    found.map(|place| std::path::absolute(place).unwrap_or_else(|_| place.clone())).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("`{text}` is neither a Dockerfile here nor one in the build context"))
            .with_hint("please provide a valid path to a Dockerfile within the build context with --dockerfile")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_names_are_those_of_go_containerregistry() {
        let digest = Digest::of("x");
        let line = |name: &str, with_tag| line(&Reference::parse(name).unwrap(), with_tag, &digest);
        assert_eq!(line("h:5000/a/b:1", false), format!("h:5000/a/b@{digest}\n"));
        assert_eq!(line("h:5000/a/b", true), format!("h:5000/a/b:latest@{digest}\n"));
        assert_eq!(line("app:1", true), format!("index.docker.io/library/app:1@{digest}\n"));
    }

    #[test]
    fn the_page_has_the_table_of_flags() {
        use crate::cli::drop_in::document;
        document::check("kaniko.md", &format!("| flag | | how |\n| --- | --- | --- |\n{}", document::flags(&[FLAGS])));
    }

    #[test]
    fn the_flags_are_in_the_order_of_their_names() {
        assert!(FLAGS.is_sorted_by(|a, b| a.long.to_lowercase() <= b.long.to_lowercase()));
        assert!(FLAGS.iter().all(|flag| !flag.help.is_empty()));
    }
}
