//! Writing OCI archives and docker archives: tars of an OCI layout, docker's with a `manifest.json`
//! beside the index.
//!
//! Same image, same bytes. Never leaves half an archive: the file appears when it is complete.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::{Format, Image, Layer, Manifest};
use super::docker::MANIFEST_FILE;
use super::layout::{IMAGE_NAME, INDEX_FILE, LAYOUT, LAYOUT_FILE, REF_NAME, blob_name};
use super::write::{BUFFER, Blob, blobs, empty_index, entry, replace_file, sorted, with_entry};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::ArchiveCompression;
use crate::oci::{Compression, Descriptor, Reference};
use crate::store::{BlobSource, Store};

/// As many bytes of a file tell what it is.
const TAR_BLOCK: u64 = 512;

/// Writes a tar of an OCI layout of this one image.
pub(super) fn oci_archive(file: &Path, tag: Option<&str>, image: &Image, files: &[PathBuf]) -> Result<()> {
    of_layout(file, &blobs(image, files), &[entry(image, tag.map(|tag| (REF_NAME, tag.to_owned())))])
}

/// Writes a tar of an OCI layout with these blobs and entries.
pub(super) fn of_layout(file: &Path, blobs: &[Blob<'_>], entries: &[Descriptor]) -> Result<()> {
    let mut index = empty_index();
    for entry in entries {
        index = with_entry(&index, entry)?;
    }
    let documents = [(LAYOUT_FILE, LAYOUT.as_bytes()), (INDEX_FILE, &index)];
    write(file, &documents, blobs)
}

/// Writes what `docker load` reads, any version of it: docker before 25 and containers/image go by
/// `manifest.json`, containerd by the index. Each image comes with its names and the files of its
/// layers.
pub(super) fn docker_archive(store: &Store, file: &Path, images: &[(Image, Vec<Reference>, Vec<PathBuf>)]) -> Result<()> {
    let mut loadable_images = Vec::new();
    for (image, names, files) in images {
        let (image, files) = loadable(store, image, files)?;
        loadable_images.push((image, names, files));
    }
    let (mut index, mut manifest, mut all) = (empty_index(), Vec::new(), Vec::new());
    for (image, names, files) in &loadable_images {
        let annotations = names.iter().map(|name| vec![(IMAGE_NAME, name.to_string()), (REF_NAME, name.target())]);
        let annotations: Vec<_> = if names.is_empty() { vec![Vec::new()] } else { annotations.collect() };
        for annotations in annotations {
            index = with_entry(&index, &entry(image, annotations))?;
        }
        let layers: Vec<String> = image.layers().iter().map(|layer| blob_name(&layer.descriptor.digest)).collect();
        // Docker takes no digest as a tag.
        let tags: Vec<String> = names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect();
        manifest.push(json!({
            "Config": blob_name(&image.manifest().config.digest),
            "RepoTags": if tags.is_empty() { None } else { Some(tags) },
            "Layers": layers,
        }));
        all.extend(blobs(image, files));
    }
    let manifest = json!(manifest).to_string();
    let documents = [(LAYOUT_FILE, LAYOUT.as_bytes()), (INDEX_FILE, &index), (MANIFEST_FILE, manifest.as_bytes())];
    write(file, &documents, &sorted(all))
}

/// The image with zstd layers unwrapped: docker before 23 reads gzip and plain tars alone. Its
/// configuration stays as it is.
fn loadable(store: &Store, image: &Image, files: &[PathBuf]) -> Result<(Image, Vec<PathBuf>)> {
    let are_zstd: Vec<bool> = files.iter().map(|path| is_zstd(path)).collect::<Result<_>>()?;
    if !are_zstd.contains(&true) {
        return Ok((image.clone(), files.to_vec()));
    }
    let mut descriptors = Vec::new();
    let mut paths = Vec::new();
    for ((layer, path), is_zstd) in image.layers().iter().zip(files).zip(are_zstd) {
        let (descriptor, path) = match is_zstd {
            true => unwrap_layer(store, layer, path)?,
            false => (layer.descriptor.clone(), path.clone()),
        };
        descriptors.push(descriptor);
        paths.push(path);
    }
    let annotations = image.manifest().annotations.clone();
    let manifest = Manifest::new(Format::Oci, image.manifest().config.clone(), descriptors, annotations)?;
    let sources = paths.iter().cloned().map(BlobSource::File).collect();
    let bytes = manifest.to_bytes()?.into();
    let image = Image::from_parts(bytes, Some(&manifest.media_type), image.config_bytes().clone(), sources)?;
    Ok((image, paths))
}

/// Whether a layer is compressed so, whatever its media type says.
fn is_zstd(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    file.take(TAR_BLOCK).read_to_end(&mut start).map_err(|error| Error::io("read", path, error))?;
    Ok(ArchiveCompression::sniff(&start) == Some(ArchiveCompression::Zstd))
}

/// Puts a layer's plain tar into the store.
fn unwrap_layer(store: &Store, layer: &Layer, path: &Path) -> Result<(Descriptor, PathBuf)> {
    let unreadable = |error| {
        let message = format!("layer `{}` cannot be decompressed", layer.descriptor.digest);
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    };
    // Its length must be known first.
    let size = io::copy(&mut layer.open_tar(path)?, &mut io::sink()).map_err(unreadable)?;
    let descriptor = Descriptor::new(Compression::None.layer_media_type(), layer.diff_id.0, size);
    let path = store.import(&mut layer.open_tar(path)?, &descriptor)?;
    Ok((descriptor, path))
}

fn write(file: &Path, documents: &[(&str, &[u8])], blobs: &[Blob<'_>]) -> Result<()> {
    let fill = |out: &mut dyn Write| -> Result<()> {
        let cannot = |error| Error::io("write", file, error);
        for (name, bytes) in documents {
            header(out, name, bytes.len() as u64).and_then(|()| out.write_all(bytes)).map_err(cannot)?;
            pad(out, bytes.len() as u64).map_err(cannot)?;
        }
        for blob in blobs {
            let size = blob.descriptor.size;
            header(out, &blob_name(&blob.descriptor.digest), size).map_err(cannot)?;
            blob.copy(out, file)?;
            pad(out, size).map_err(cannot)?;
        }
        // The end-of-archive mark.
        out.write_all(&[0; 1024]).and_then(|()| out.flush()).map_err(cannot)
    };
    // A pipe or /dev/stdout takes the bytes as they come.
    let special = file.metadata().is_ok_and(|metadata| !metadata.is_file());
    if special {
        let out = File::options().write(true).open(file).map_err(|error| Error::io("open", file, error))?;
        return fill(&mut BufWriter::with_capacity(BUFFER, out));
    }
    replace_file(file, |out| fill(&mut BufWriter::with_capacity(BUFFER, out)))
}

/// A member that anybody may read, of nobody and no time.
fn header(out: &mut dyn Write, name: &str, size: u64) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let missing = size.next_multiple_of(512) - size;
    io::copy(&mut io::repeat(0).take(missing), out).map(drop)
}
