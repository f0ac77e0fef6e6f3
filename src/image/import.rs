//! Tars that become layers: a root file system as `docker import` takes it, and the layers of
//! docker archives.
//!
//! Compression belongs to another room: it is passed in. Refuses what is not a tar from its first
//! header to its end.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::hashing::{self, HashingReader};
use super::transport::TarWalk;
use super::{Format, History, Image, ImageConfig, Layer, rfc3339};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{ArchiveCompression, GzipReader, decompress_tar};
use crate::oci::{Compression, Descriptor, DiffId, Digest, Platform};
use crate::store::{BlobSource, Store};

/// Makes a stored, compressed layer of an uncompressed tar, which it reads to the end and does not
/// change.
pub type PackLayer<'a> = dyn Fn(&mut dyn Read) -> Result<Layer> + Send + Sync + 'a;

/// Opens the same bytes each time.
pub(super) type OpenFile<'a> = dyn Fn() -> Result<Box<dyn Read + Send>> + 'a;

const BUFFER: usize = 256 * 1024;

/// A one-layer image of a root file system in a tar file, plain or compressed, as `docker import`
/// makes it. `created` is in seconds since 1970. The image is not named yet.
///
/// A gzip file becomes the layer as it is; anything else goes through `pack`.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: the file is not a tar, or is damaged.
pub fn import_rootfs(store: &Store, tar: &Path, platform: &Platform, created: i64, pack: &PackLayer<'_>) -> Result<Image> {
    import_with_comment(store, tar, platform, created, None, pack)
}

/// As `import_rootfs`, with what the image's history says, instead of the file's name.
pub(crate) fn import_with_comment(
    store: &Store,
    tar: &Path,
    platform: &Platform,
    created: i64,
    comment: Option<String>,
    pack: &PackLayer<'_>,
) -> Result<Image> {
    let open =
        || -> Result<Box<dyn Read + Send>> { Ok(Box::new(File::open(tar).map_err(|error| Error::io("open", tar, error))?)) };
    let cannot = |error: Error| error.wrap(format!("cannot import `{}`", tar.display()));
    let layer = read_layer(store, &open, Some(pack)).map_err(cannot)?;
    let mut config = ImageConfig::scratch(platform);
    config.created = Some(rfc3339(created));
    let name = tar.file_name().unwrap_or_default().to_string_lossy();
    let comment = comment.unwrap_or_else(|| format!("imported from {name}"));
    config.history = vec![History { created: config.created.clone(), comment: Some(comment), ..History::default() }];
    Image::assemble(config, vec![layer], Default::default(), Format::Oci)
}

/// The layer in a file, which is a tar, compressed or not. Without `pack`, an unwrapped tar is
/// stored as it is.
pub(super) fn read_layer(store: &Store, open: &OpenFile<'_>, pack: Option<&PackLayer<'_>>) -> Result<Layer> {
    let mut first = Vec::new();
    open()?.take(512).read_to_end(&mut first).map_err(unreadable)?;
    if ArchiveCompression::sniff(&first) == Some(ArchiveCompression::Gzip)
        && let Some(layer) = keep_gzip(store, open()?)?
    {
        return Ok(layer);
    }
    let tar = || match decompress_tar(open()?)? {
        Some((_, tar)) => Ok(tar),
        None => Err(Error::new(ErrorKind::Corrupt, "it is not a tar, plain or compressed with gzip, bzip2, xz or zstd")),
    };
    let Some(pack) = pack else { return keep_plain(store, tar()?) };
    // The packer need not know what a tar is; and a file that changes between the two readings is
    // found out.
    let diff_id = check_tar(&mut tar()?)?;
    let layer = pack(&mut tar()?)?;
    diff_id.0.expect(layer.diff_id.0).map_err(|error| error.wrap("the file changed while it was read"))?;
    Ok(layer)
}

/// Stores a gzip file as it is while its content is checked; `None` if other readers would stumble
/// over its end.
fn keep_gzip(store: &Store, file: impl Read + Send) -> Result<Option<Layer>> {
    let mut writer = store.blob_writer()?;
    let mut stored = HashingReader::new(Tee { reader: file, writer: &mut writer });
    let mut gzip = GzipReader::new(BufReader::with_capacity(BUFFER, &mut stored));
    let diff_id = check_tar(&mut gzip)?;
    if gzip.padded() {
        return Ok(None);
    }
    drop(gzip);
    let (digest, size) = stored.finish().map_err(unreadable)?;
    let descriptor = Descriptor::new(Compression::Gzip.layer_media_type(), digest, size);
    let path = writer.commit(descriptor.clone(), diff_id)?;
    Ok(Some(Layer { diff_id, descriptor, source: BlobSource::File(path) }))
}

fn keep_plain(store: &Store, reader: impl Read) -> Result<Layer> {
    let mut writer = store.blob_writer()?;
    let mut tee = Tee { reader, writer: &mut writer };
    let diff_id = check_tar(&mut tee)?;
    let descriptor = Descriptor::new(Compression::None.layer_media_type(), diff_id.0, writer.written());
    let path = writer.commit(descriptor.clone(), diff_id)?;
    Ok(Layer { diff_id, descriptor, source: BlobSource::File(path) })
}

/// Reads a whole tar, walking over its headers; tells its diff ID.
fn check_tar(reader: &mut impl Read) -> Result<DiffId> {
    let mut hashed = HashingReader::new(reader);
    let mut walk = TarWalk::new(&mut hashed);
    while walk.next_member()?.is_some() {}
    let (digest, _): (Digest, u64) = hashed.finish().map_err(unreadable)?;
    Ok(DiffId(digest))
}

fn unreadable(error: io::Error) -> Error {
    hashing::unreadable("the archive cannot be read".into(), error)
}

/// Writes what is read.
struct Tee<'a, R> {
    reader: R,
    writer: &'a mut crate::store::BlobWriter,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        io::Write::write_all(self.writer, &buffer[..read])?;
        Ok(read)
    }
}
