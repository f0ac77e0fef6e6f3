//! Objects by id: loose ones, those in packs, and those of the repositories that this one borrows
//! objects from.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::file::{MAX_COMMIT_SIZE, corrupt, open, read_text};
use super::pack::Pack;

/// The bytes of a commit, without its header.
pub(super) fn read_commit(objects: &Path, id: &str) -> io::Result<Vec<u8>> {
    let name = decode_id(id).ok_or_else(|| corrupt(format!("`{id}` is not an object id")))?;
    for folder in with_alternates(objects)? {
        if let Some(commit) = read_loose(&folder, id)? {
            return Ok(commit);
        }
        for index in pack_indexes(&folder)? {
            if let Some(commit) = Pack::open(&index, name.len())?.read_commit(&name)? {
                return Ok(commit);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("the commit {id} is not in the repository")))
}

fn decode_id(id: &str) -> Option<Vec<u8>> {
    let digits = id.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The folder of objects with those named in its `info/alternates`, and in theirs.
fn with_alternates(objects: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![objects.to_owned()];
    let mut seen = BTreeSet::from([objects.to_owned()]);
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        let text = read_text(&folder.join("info/alternates"))?.unwrap_or_default();
        let alternates = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        found.extend(alternates.map(|line| folder.join(line)).filter(|path| seen.insert(path.clone())));
    }
    Ok(found)
}

/// A loose object: `commit SIZE`, a zero byte and the content, compressed with zlib.
fn read_loose(objects: &Path, id: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match open(&objects.join(&id[..2]).join(&id[2..])) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut object = Vec::new();
    ZlibDecoder::new(file).take(MAX_COMMIT_SIZE).read_to_end(&mut object)?;
    let end = object.iter().position(|byte| *byte == 0).filter(|_| object.starts_with(b"commit "));
    let end = end.ok_or_else(|| corrupt(format!("the object {id} is not a commit")))?;
    Ok(Some(object.split_off(end + 1)))
}

fn pack_indexes(objects: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match std::fs::read_dir(objects.join("pack")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        folder => folder?,
    };
    let mut found = Vec::new();
    for entry in folder {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
