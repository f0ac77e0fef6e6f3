//! Writing OCI layouts (image specification, image-layout.md).
//!
//! Same image, same bytes. Never leaves half of anything: blobs first, the index last, files by a
//! rename. The index is synced to the disk, blobs are not: one that a power cut left short is
//! written again by the next that has it. Refuses a layer file that is not what its descriptor
//! says.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use serde_json::{Value, json};

use super::super::hashing::HashingReader;
use super::super::{Image, MANIFEST_LIMIT};
use super::layout::{INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutFiles as _, LayoutFolder, REF_NAME, blob_name};
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Descriptor;

/// How much is read or written at once. A reader reads, and hashes, as much as it is asked for: by
/// the 8 KiB of `io::copy`, a layer cost 30 times the system calls.
pub(super) const BUFFER: usize = 256 * 1024;

/// One blob to be written.
pub(super) struct Blob<'a> {
    pub(super) descriptor: &'a Descriptor,
    bytes: Bytes<'a>,
}

enum Bytes<'a> {
    Memory(&'a [u8]),
    File(&'a Path),
}

impl<'a> Blob<'a> {
    pub(super) fn memory(descriptor: &'a Descriptor, bytes: &'a [u8]) -> Self {
        Self { descriptor, bytes: Bytes::Memory(bytes) }
    }

    pub(super) fn file(descriptor: &'a Descriptor, path: &'a Path) -> Self {
        Self { descriptor, bytes: Bytes::File(path) }
    }

    fn open(&self) -> Result<Box<dyn Read + 'a>> {
        Ok(match self.bytes {
            Bytes::Memory(bytes) => Box::new(bytes),
            Bytes::File(path) => Box::new(File::open(path).map_err(|error| Error::io("open", path, error))?),
        })
    }

    /// Copies the bytes, checking them on the way.
    pub(super) fn copy(&self, writer: &mut dyn Write, target: &Path) -> Result<()> {
        let mut reader = HashingReader::with(self.open()?, self.descriptor.digest.hasher());
        let mut whole = BufReader::with_capacity(BUFFER, (&mut reader).take(self.descriptor.size));
        io::copy(&mut whole, writer).map_err(|error| Error::io("write", target, error))?;
        reader.expect(self.descriptor)
    }
}

/// Config, manifest and layers of an image, each once, sorted by digest.
pub(super) fn blobs<'a>(image: &'a Image, files: &'a [PathBuf]) -> Vec<Blob<'a>> {
    let documents = [(&image.manifest().config, image.config_bytes()), (image.descriptor(), image.manifest_bytes())];
    let documents = documents.map(|(descriptor, bytes)| Blob::memory(descriptor, bytes));
    let layers = image.layers().iter().zip(files).map(|(layer, file)| Blob::file(&layer.descriptor, file));
    sorted(documents.into_iter().chain(layers).collect())
}

/// The blobs by digest, each once.
pub(super) fn sorted(mut blobs: Vec<Blob<'_>>) -> Vec<Blob<'_>> {
    blobs.sort_by_key(|blob| blob.descriptor.digest);
    blobs.dedup_by_key(|blob| blob.descriptor.digest);
    blobs
}

/// The image's entry in an index.
pub(super) fn entry(image: &Image, annotations: impl IntoIterator<Item = (&'static str, String)>) -> Descriptor {
    let mut entry = image.descriptor().clone();
    entry.annotations = annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    entry.platform = Some(image.config().platform());
    entry
}

/// Adds the image to the layout in `folder`.
pub(super) fn layout(folder: &Path, tag: Option<&str>, image: &Image, files: &[PathBuf]) -> Result<()> {
    add(folder, &blobs(image, files), &[entry(image, tag.map(|tag| (REF_NAME, tag.to_owned())))])
}

/// Adds blobs and entries to the layout in `folder`, which is made if it is missing. An entry of
/// the same tag is replaced; the other entries stay, and so do all blobs.
pub(super) fn add(folder: &Path, blobs: &[Blob<'_>], entries: &[Descriptor]) -> Result<()> {
    let _held = prepare(folder)?;
    let mut index = match folder.join(INDEX_FILE).exists() {
        true => LayoutFolder(folder).read_small(INDEX_FILE, MANIFEST_LIMIT)?,
        false => empty_index().into(),
    };
    for blob in blobs {
        write_blob(folder, blob)?;
    }
    for entry in entries {
        index = with_entry(&index, entry)?.into();
    }
    write_whole(&folder.join(INDEX_FILE), &index)
}

/// Makes `folder` a layout if it is none, and locks it.
///
/// # Errors
/// [`ErrorKind::Usage`]: it holds something else.
pub(super) fn prepare(folder: &Path) -> Result<File> {
    let cannot = |error| Error::io("write to", folder, error);
    std::fs::create_dir_all(folder).map_err(cannot)?;
    // The folder itself is the lock: a layout has no file for one.
    let held = File::open(folder).map_err(cannot)?;
    held.lock().map_err(cannot)?;
    if folder.join(LAYOUT_FILE).exists() {
        return Ok(held);
    }
    if folder.read_dir().map_err(cannot)?.next().is_some() {
        return Err(Error::new(ErrorKind::Usage, format!("`{}` holds other files and is not an OCI layout", folder.display()))
            .with_hint("choose an empty or missing folder"));
    }
    write_whole(&folder.join(LAYOUT_FILE), LAYOUT.as_bytes())?;
    Ok(held)
}

/// Whether the blob's file is in a layout. A power cut may have left it short.
pub(super) fn has_blob(path: &Path, blob: &Descriptor) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() == blob.size)
}

fn write_blob(folder: &Path, blob: &Blob<'_>) -> Result<()> {
    let path = folder.join(blob_name(&blob.descriptor.digest));
    if has_blob(&path, blob.descriptor) {
        return Ok(());
    }
    make_parent(&path)?;
    replace_file(&path, |file| blob.copy(file, &path))
}

/// Writes a blob's file as its bytes come; the stream ends with an error if they are not the
/// blob's.
pub(super) fn write_parts(path: &Path, parts: impl Iterator<Item = Result<bytes::Bytes>>) -> Result<()> {
    make_parent(path)?;
    replace_file(path, |file| {
        for part in parts {
            file.write_all(&part?).map_err(|error| Error::io("write", path, error))?;
        }
        Ok(())
    })
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = folder_of(path);
    std::fs::create_dir_all(parent).map_err(|error| Error::io("make", parent, error))
}

/// Writes a small file that must be the old one or the new one, even after a power cut.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_file(path, |file| {
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| Error::io("write", path, error))
    })
}

/// Gives `path` the content that `write` writes, if it succeeds; nothing changes otherwise, and a
/// kill leaves nothing where the file system can have files without a name.
pub(crate) fn replace_file(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let cannot = |error| Error::io("write", path, error);
    let folder = folder_of(path);
    let named = match nameless(folder) {
        Some(mut file) => {
            write(&mut file)?;
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            let name = |new: &Path| Ok(linkat(CWD, &open, CWD, new, AtFlags::SYMLINK_FOLLOW)?);
            // A new name first: one that is taken can be replaced by a rename alone.
            temporary().make_in(folder, name).map_err(cannot)?.into_temp_path()
        }
        None => {
            let mut file = temporary().tempfile_in(folder).map_err(cannot)?;
            write(file.as_file_mut())?;
            file.into_temp_path()
        }
    };
    named.persist(path).map_err(|error| cannot(error.error))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As if made by a shell's `>`: the umask takes its part.
const MODE: u32 = 0o666;

fn temporary() -> tempfile::Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::fs::Permissions::from_mode(MODE)).prefix(".mpimg-");
    builder
}

/// A file in `folder` that goes with this process; `None` where there cannot be any.
fn nameless(folder: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    // It gets its name through /proc.
    let file = File::from(rustix::fs::open(folder, flags, Mode::from_raw_mode(MODE)).ok()?);
    Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())).exists().then_some(file)
}

/// Writes a result for the next program: a reader sees the old bytes or all of the new ones. A pipe
/// or a device, which cannot be replaced, is written to.
pub(crate) fn write_result(path: &Path, bytes: &[u8]) -> Result<()> {
    let all = |file: &mut File| file.write_all(bytes).map_err(|error| Error::io("write", path, error));
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return all(&mut File::options().write(true).open(path).map_err(|error| Error::io("write", path, error))?);
    }
    replace_file(path, all)
}

/// Finds out whether [`write_result`] could write to `path`, before the work is done whose result
/// it is.
pub(crate) fn expect_writable(path: &Path) -> Result<()> {
    let ready = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        _ => temporary().tempfile_in(folder_of(path)).map(drop),
    };
    ready.map_err(|error| Error::io("write", path, error))
}

/// An index of no images.
pub(super) fn empty_index() -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": crate::oci::MediaType::Index.as_str(), "manifests": []}).to_string().into_bytes()
}

/// The index with one more entry. It takes the place of one with the same name, or of the same
/// image without a name.
pub(super) fn with_entry(index: &[u8], entry: &Descriptor) -> Result<Vec<u8>> {
    let damaged = || Error::new(ErrorKind::Corrupt, format!("`{INDEX_FILE}` cannot be read"));
    // Kept as JSON: what other tools have written there stays.
    let mut index: Value = serde_json::from_slice(index).map_err(|error| damaged().with_source(error))?;
    let manifests = index.get_mut("manifests").and_then(Value::as_array_mut).ok_or_else(damaged)?;
    let new = serde_json::to_value(entry).map_err(|error| damaged().with_source(error))?;
    let name = |entry: &Value| entry.get("annotations").and_then(|all| all.get(REF_NAME)).cloned();
    let takes_the_place_of = |old: &Value| match (name(old), name(&new)) {
        (None, None) => old.get("digest") == new.get("digest"),
        (old, new) => old == new,
    };
    let at = manifests.iter().position(takes_the_place_of).unwrap_or(manifests.len());
    manifests.retain(|old| !takes_the_place_of(old));
    manifests.insert(at, new);
    Ok(index.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    fn named(name: Option<&str>, content: &str) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::Manifest, content.as_bytes());
        entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
        entry
    }

    #[test]
    fn an_entry_takes_the_place_of_its_namesake_and_everything_else_stays() {
        let mut index = br#"{"schemaVersion":2,"manifests":[{"digest":"x","urls":["u"]}],"annotations":{"a":"b"}}"#.to_vec();
        for (name, content) in [(Some("v1"), "one"), (Some("v2"), "one"), (Some("v1"), "two"), (None, "three"), (None, "three")] {
            index = with_entry(&index, &named(name, content)).unwrap();
        }
        let index: Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(index["annotations"], json!({"a": "b"}));
        let digests: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|entry| entry["digest"].clone()).collect();
        let digest = |content: &str| json!(named(None, content).digest.to_string());
        assert_eq!(digests, [json!("x"), digest("two"), digest("one"), digest("three")]);
        assert_eq!(index["manifests"][0]["urls"], json!(["u"]));
    }

    #[test]
    fn an_index_that_is_none_is_left_alone() {
        for text in ["", "[]", r#"{"manifests":{}}"#] {
            assert_eq!(with_entry(text.as_bytes(), &named(None, "x")).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
