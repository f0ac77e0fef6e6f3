//! What was copied into a container before it started: layers over those of its image, in the
//! container's folder.

use std::io::Write as _;

use super::monitor_protocol::LayerFile;
use super::record::Folder;
use crate::error::{Error, ErrorKind, Result};

/// The list of the layers that were put over those of the image.
const LIST: &str = "copied.json";

/// The layers that were put over those of the image, lowest first.
pub(super) fn read(folder: &Folder) -> Result<Vec<LayerFile>> {
    let path = folder.path().join(LIST);
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", &path, error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("`{}` is damaged", path.display()))
                .with_hint("remove the container, and make it again")
                .with_source(error)
        }),
    }
}

/// Moves a layer into the container's folder, and adds it to the list.
pub(super) fn keep(folder: &Folder, layer: LayerFile) -> Result<()> {
    let mut layers = read(folder)?;
    let file = folder.path().join(format!("copied-{}", layers.len()));
    std::fs::rename(&layer.file, &file).map_err(|error| Error::io("write", &file, error))?;
    layers.push(LayerFile { file, ..layer });
    let path = folder.path().join(LIST);
    let write = || {
        let mut list = tempfile::NamedTempFile::new_in(folder.path())?;
        list.write_all(&serde_json::to_vec(&layers)?)?;
        list.persist(&path).map_err(|error| error.error).map(drop)
    };
    write().map_err(|error| Error::io("write", &path, error))
}
