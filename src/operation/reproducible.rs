//! Whether a build gives the same image again: it is done twice without the build cache, and
//! compared file by file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;

use super::blocking;
use crate::build::{BuildMaterials, BuildRequest, Builder};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Layer};
use crate::layer::{Entry, Kind, LayerPath, read_entries};
use crate::oci::{Digest, Hasher};
use crate::store::{BlobSource, Store};

/// How many files an error names.
const MOST_NAMED: usize = 50;

/// Builds twice; the image, if it is the same both times.
///
/// # Errors
/// [`ErrorKind::RunFailed`]: it is not. The message names each file that differs, how, and the step
/// that made it.
pub(super) async fn build_twice(builder: Builder, store: &Store, mut request: BuildRequest) -> Result<(Image, BuildMaterials)> {
    request.no_cache = true;
    let (work, store) = (request, store.clone());
    blocking(move || {
        let (first, _) = builder.build(&work, None)?;
        let (second, materials) = builder.build(&work, None)?;
        if first.descriptor().digest == second.descriptor().digest {
            return Ok((second, materials));
        }
        Err(error(&compare(&store, &first, &second)?))
    })
    .await
}

fn error(differences: &[String]) -> Error {
    let mut message = match differences.len() {
        0 => "the image is not reproducible: two builds differ in its configuration".to_owned(),
        1 => "the image is not reproducible: one file differs between two builds".to_owned(),
        number => format!("the image is not reproducible: {number} files differ between two builds"),
    };
    for difference in differences.iter().take(MOST_NAMED) {
        let _ = write!(message, "\n  {difference}");
    }
    if differences.len() > MOST_NAMED {
        let _ = write!(message, "\n  and {} more", differences.len() - MOST_NAMED);
    }
    Error::new(ErrorKind::RunFailed, message).with_hint(
        "keep clock and chance out of these files (tools that know SOURCE_DATE_EPOCH do), or remove them in the RUN that makes them",
    )
}

/// A line for each file that differs.
fn compare(store: &Store, first: &Image, second: &Image) -> Result<Vec<String>> {
    let (first, second) = (steps(first), steps(second));
    let mut numbers: Vec<usize> = first.keys().chain(second.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut lines = Vec::new();
    for number in numbers {
        let (one, other) = (first.get(&number), second.get(&number));
        let step = one.or(other).map_or("a step", |(step, _)| *step);
        let (one, other) = (one.map(|(_, layer)| *layer), other.map(|(_, layer)| *layer));
        if one.map(|layer| layer.diff_id) == other.map(|layer| layer.diff_id) {
            continue;
        }
        let (one, other) = (files(store, one)?, files(store, other)?);
        for (path, file) in &one {
            match other.get(path) {
                None => lines.push(line(path, "is only in the first", step)),
                Some(again) if again != file => lines.push(line(path, &difference(file, again), step)),
                Some(_) => {}
            }
        }
        lines.extend(other.keys().filter(|path| !one.contains_key(*path)).map(|path| line(path, "is only in the second", step)));
    }
    Ok(lines)
}

/// The layers by the number of the step that made each, with its text. The steps of both images are
/// those of one Dockerfile.
fn steps(image: &Image) -> BTreeMap<usize, (&str, &Layer)> {
    let history = &image.config().history;
    let made: Vec<(usize, &str)> = history
        .iter()
        .enumerate()
        .filter(|(_, step)| !step.empty_layer)
        .map(|(number, step)| (number, step.created_by.as_deref().unwrap_or("a step of the base image")))
        .collect();
    if made.len() == image.layers().len() {
        return made.into_iter().zip(image.layers()).map(|((number, step), layer)| (number, (step, layer))).collect();
    }
    // The history of the base image does not tell of all its layers: those of the build itself come
    // last.
    let unknown = image.layers().len().saturating_sub(made.len());
    image
        .layers()
        .iter()
        .enumerate()
        .map(|(number, layer)| match number.checked_sub(unknown).and_then(|at| made.get(at)) {
            Some((_, step)) => (number, (*step, layer)),
            None => (number, ("a step of the base image", layer)),
        })
        .collect()
}

fn line(path: &LayerPath, what: &str, step: &str) -> String {
    let step = step.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("`{path}` {what} ({step})")
}

/// What a layer holds, with the digests of the files' contents.
type Files = BTreeMap<LayerPath, (Entry, Option<Digest>)>;

fn files(store: &Store, layer: Option<&Layer>) -> Result<Files> {
    let mut files = Files::new();
    let Some(layer) = layer else { return Ok(files) };
    let path = match &layer.source {
        BlobSource::File(path) => path.clone(),
        source => tokio::runtime::Handle::current().block_on(store.fetch(source, &layer.descriptor))?,
    };
    read_entries(layer.open_tar(&path)?, |entry, content| {
        let digest = if entry.kind.size() > 0 { Some(digest(content, &entry.path)?) } else { None };
        files.insert(entry.path.clone(), (entry, digest));
        Ok(())
    })?;
    Ok(files)
}

/// The digest of a file's content.
pub(super) fn digest(content: &mut dyn Read, path: &LayerPath) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = content.read(&mut buffer).map_err(|error| Error::io("read", path.as_path(), error))?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
    }
}

/// In what two files of one path differ.
fn difference((one, content): &(Entry, Option<Digest>), (other, again): &(Entry, Option<Digest>)) -> String {
    let (before, after) = (&one.metadata, &other.metadata);
    let is_file = |entry: &Entry| matches!(entry.kind, Kind::File { .. });
    let mut in_what = Vec::new();
    match is_file(one) && is_file(other) {
        true if content != again => in_what.push("content"),
        false if one.kind != other.kind => in_what.push("type or target"),
        _ => {}
    }
    for (name, differs) in [
        ("mode", before.mode != after.mode),
        ("owner", (before.uid, before.gid) != (after.uid, after.gid)),
        ("time", before.mtime != after.mtime),
        ("extended attributes", before.xattrs != after.xattrs),
    ] {
        if differs {
            in_what.push(name);
        }
    }
    format!("differs in {}", in_what.join(", "))
}
