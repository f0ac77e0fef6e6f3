//! Giving an image to the docker or podman of this machine.

use std::io;
use std::process::{Command, Stdio};

use super::blocking;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Transport};
use crate::oci::Reference;
use crate::store::Store;

/// The programs, in the order in which they are looked for.
const PROGRAMS: [&str; 2] = ["docker", "podman"];

/// Loads `image` into the first engine that is installed, and gives it `names` there.
pub(super) async fn load(store: &Store, image: &Image, names: &[Reference]) -> Result<()> {
    let scratch = store.scratch()?;
    let archive = scratch.path().join("image.tar");
    Transport::DockerArchive { file: archive.clone(), reference: names.first().cloned() }.write(store, image).await?;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    blocking(move || {
        for program in PROGRAMS {
            match run(program, &["load".as_ref(), "--input".as_ref(), archive.as_os_str()]) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let Some((first, others)) = names.split_first() else { return Ok(()) };
                    return others.iter().try_for_each(|name| run(program, &["tag".as_ref(), first.as_ref(), name.as_ref()]));
                }
            }
        }
        Err(Error::new(ErrorKind::NotFound, "neither docker nor podman is installed to load the image into")
            .with_hint("the image is in the local store; `mpimg save NAME -o FILE` writes an archive for another machine"))
    })
    .await
}

/// Runs a program; what it prints belongs to the error.
fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("`{program}` is not installed")),
        _ => Error::new(ErrorKind::Io, format!("cannot start `{program}`")).with_source(error),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let message = format!("`{program} {}` failed", arguments[0].to_string_lossy());
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(ErrorKind::Io, message)
        .with_source(said)
        .with_hint(format!("check that `{program} info` works for this user")))
}
