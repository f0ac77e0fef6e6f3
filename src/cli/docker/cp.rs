//! `docker cp`: files out of a container and into one, and `docker export`.

use std::io;
use std::path::{Path, PathBuf};

use super::command::{Arguments, Command};
use super::container_id::find;
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::error::ErrorKind;
use crate::image::replace_file;
use crate::operation::{CopyIntoSource, ImageFiles};

pub(super) const CP: Command = Command {
    arguments: Arguments::Exactly(2),
    flags: &[&[
        Flag::switch("archive", "Archive mode (copy all uid/gid information)")
            .short('a')
            .differs("out of a container, owners are those of the user who copies; into one, they stay"),
        Flag::switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
        Flag::switch("quiet", "Suppress progress output during copy").short('q'),
    ]],
    differs: "not into or out of a volume; into a running container with isolation root and chroot, into others before they start",
    ..Command::new(
        &["cp", "container cp"],
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
        "Copy files/folders between a container and the local filesystem",
        |invocation, parsed| Box::pin(cp(invocation, parsed)),
    )
};

pub(super) const EXPORT: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[Flag::value("output", "Write to a file, instead of STDOUT").short('o')]],
    ..Command::new(
        &["export", "container export"],
        "[OPTIONS] CONTAINER",
        "Export a container's filesystem as a tar archive",
        |invocation, parsed| Box::pin(export(invocation, parsed)),
    )
};

/// A place in a container: its name, and a path. A path of this machine has a slash or dot before
/// its first colon.
fn in_container(text: &str) -> Option<(&str, &str)> {
    let (name, path) = text.split_once(':')?;
    (!name.is_empty() && !name.contains('/') && !name.starts_with('.')).then_some((name, path))
}

async fn cp(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let (source, target) = (&parsed.arguments[0], &parsed.arguments[1]);
    let (name, path) = match (in_container(source), in_container(target)) {
        (Some(_), Some(_)) => return Err(Failure::new("copying between containers is not supported")),
        (None, None) => return Err(Failure::new("must specify at least one container source")),
        (None, Some((name, path))) => return into_container(invocation, parsed, source, name, path).await,
        (Some(found), None) => found,
    };
    let files = files(invocation, name).await?;
    let missing = || Failure::daemon(format!("Could not find the file {path} in container {name}"));
    // A link is copied as a link; one that a slash or dot follows is what it leads to.
    let follow = parsed.is("follow-link") || path.ends_with('/') || path.ends_with("/.");
    let found =
        files.find(path, follow).map_err(|error| if error.kind() == ErrorKind::NotFound { missing() } else { error.into() })?;
    let base = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    if target == "-" {
        files.write_tar(&found, base.as_deref().unwrap_or_default(), &mut io::stdout().lock())?;
        return Ok(0);
    }
    let to = destination(Path::new(target), found.is_folder, path.ends_with("/.") || path == ".", base.as_deref())?;
    files.write_to(&found, &to)?;
    if !parsed.is("quiet") && std::io::IsTerminal::is_terminal(&io::stderr()) {
        invocation.tell(format!("Successfully copied to {target}"));
    }
    Ok(0)
}

/// A file or folder of this machine, or a tar on standard input, into a container.
async fn into_container(invocation: &Invocation, parsed: &Parsed, source: &str, name: &str, path: &str) -> CommandResult {
    let container = find(invocation, name)?;
    let follow = parsed.is("follow-link");
    let tar = source == "-";
    if !tar && Path::new(source).symlink_metadata().is_err() {
        return Err(Failure::new(format!("lstat {source}: no such file or directory")));
    }
    let from = match tar {
        true => CopyIntoSource::Tar(Box::new(io::stdin())),
        false => CopyIntoSource::Path { path: source.into(), follow },
    };
    invocation.mpimg().copy_into_container(&container, from, path).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::daemon(format!("Could not find the file {path} in container {name}")),
        ErrorKind::Usage if error.hint().is_none() && tar => {
            Failure::new(format!("destination \"{name}:{path}\" must be a directory"))
        }
        ErrorKind::Usage if error.hint().is_none() => Failure::new(error.to_string()),
        _ => error.into(),
    })?;
    if !parsed.is("quiet") && std::io::IsTerminal::is_terminal(&io::stderr()) {
        invocation.tell(format!("Successfully copied to {name}:{path}"));
    }
    Ok(0)
}

/// The path that the file or folder gets, by docker's rules.
fn destination(target: &Path, is_folder: bool, content_only: bool, base: Option<&str>) -> Result<PathBuf, Failure> {
    let ends_with_slash = target.as_os_str().to_string_lossy().ends_with('/');
    match target.metadata() {
        Ok(metadata) if metadata.is_dir() && (is_folder && content_only || base.is_none()) => Ok(target.to_owned()),
        Ok(metadata) if metadata.is_dir() => Ok(target.join(base.unwrap_or_default())),
        Ok(_) if is_folder => Err(Failure::new("cannot copy directory")),
        Ok(_) => Ok(target.to_owned()),
        Err(_) if ends_with_slash && !is_folder => Err(Failure::new("destination directory must exist")),
        Err(_) => match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
                Err(Failure::new(format!("invalid output path: directory {:?} does not exist", parent.display())))
            }
            _ => Ok(target.to_owned()),
        },
    }
}

/// The files of a container.
async fn files(invocation: &Invocation, name: &str) -> Result<ImageFiles, Failure> {
    Ok(invocation.mpimg().container_files(&find(invocation, name)?).await?)
}

async fn export(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let files = files(invocation, &parsed.arguments[0]).await?;
    let all = files.find("/", false)?;
    match parsed.value("output") {
        Some(path) => replace_file(Path::new(path), |file| files.write_tar(&all, "", file))?,
        None if std::io::IsTerminal::is_terminal(&io::stdout()) => {
            return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
        }
        None => files.write_tar(&all, "", &mut io::stdout().lock())?,
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_no_slash_in_its_name() {
        assert_eq!(in_container("web:/etc/passwd"), Some(("web", "/etc/passwd")));
        for text in ["./a:b", "/a:b", "a/b:c", ":x", "file"] {
            assert_eq!(in_container(text), None, "{text}");
        }
    }

    #[test]
    fn the_destination_follows_docker_s_rules() {
        let folder = tempfile::tempdir().unwrap();
        let (here, file) = (folder.path(), folder.path().join("file"));
        std::fs::write(&file, "").unwrap();
        let to = |target: &Path, is_folder, content| {
            destination(target, is_folder, content, Some("x")).map_err(|failure| failure.text().to_owned())
        };
        assert_eq!(to(here, false, false), Ok(here.join("x")));
        assert_eq!(to(here, true, false), Ok(here.join("x")));
        assert_eq!(to(here, true, true), Ok(here.to_owned()));
        assert_eq!(to(&file, false, false), Ok(file.clone()));
        assert_eq!(to(&file, true, false), Err("cannot copy directory".into()));
        assert_eq!(to(&here.join("new"), true, false), Ok(here.join("new")));
        assert_eq!(to(&here.join("new/"), false, false), Err("destination directory must exist".into()));
        assert!(to(&here.join("a/b"), false, false).unwrap_err().contains("does not exist"));
    }
}
