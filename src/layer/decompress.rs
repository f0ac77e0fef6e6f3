//! Reading compressed tars: gzip of any number of members, zstd, and what ADD and import accept
//! besides.
//!
//! Zeros after the last gzip member are padding (tapes, GNU gzip). Refuses any other trailing
//! bytes, and input that ends early: both would otherwise pass as a shorter layer.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Compression;

const BUFFER: usize = 256 * 1024;

/// Memory that an .xz file may ask for: `xz -9` needs 65 MiB, a hostile file up to 4 GiB.
const XZ_MEMORY: u64 = 256 << 20;

/// How a local archive may be compressed: more ways than a layer ([`Compression`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveCompression {
    /// A tar as it is.
    Plain,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// .xz.
    Xz,
    /// RFC 8878.
    Zstd,
}

/// Where `ustar` stands in a tar's first block, and how much of a file must be seen to tell what it
/// is.
const TAR_MAGIC: usize = 257;
const TAR_BLOCK: usize = 512;

impl ArchiveCompression {
    /// Tells by the first bytes of a file, 512 if there are as many; `None` if mpimg
    /// reads no such archive.
    pub fn sniff(start: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], ArchiveCompression); 4] = [
            (b"\x1f\x8b\x08", ArchiveCompression::Gzip),
            (b"BZh", ArchiveCompression::Bzip2),
            (b"\xfd7zXZ\0", ArchiveCompression::Xz),
            (b"\x28\xb5\x2f\xfd", ArchiveCompression::Zstd),
        ];
        let wrapped = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
        match wrapped {
            Some((_, wrapping)) => Some(*wrapping),
            // A skippable frame may come first (RFC 8878, 3.1.2).
            None if matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) => Some(Self::Zstd),
            None => is_tar(start).then_some(Self::Plain),
        }
    }
}

/// A header of any tar, also of the kind from before `ustar`, has its own checksum; an empty tar is
/// zeros.
fn is_tar(start: &[u8]) -> bool {
    let Some(block) = start.get(..TAR_BLOCK) else { return false };
    if block[TAR_MAGIC..].starts_with(b"ustar") || block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let field = 148..156;
    let bytes = block.iter().enumerate();
    let sum: u32 = bytes.map(|(at, byte)| if field.contains(&at) { u32::from(b' ') } else { u32::from(*byte) }).sum();
    tar::Header::from_byte_slice(block).cksum().is_ok_and(|written| written == sum)
}

/// The tar inside a layer's stored bytes.
pub fn decompress<'a>(reader: impl Read + Send + 'a, compression: Compression) -> Result<Box<dyn Read + Send + 'a>> {
    let wrapping = match compression {
        Compression::None => ArchiveCompression::Plain,
        Compression::Gzip => ArchiveCompression::Gzip,
        Compression::Zstd => ArchiveCompression::Zstd,
    };
    decompress_as(BufReader::with_capacity(BUFFER, reader), wrapping)
}

/// The tar inside a layer's stored bytes. Their start decides: registries hold layers whose media
/// type says something else, and docker and containerd do not look at it. `declared` counts where
/// the start says nothing; `None`: it is not a layer.
pub fn decompress_layer<'a>(
    reader: impl Read + Send + 'a,
    declared: Option<Compression>,
) -> Result<Option<Box<dyn Read + Send + 'a>>> {
    let cannot = |error| Error::new(ErrorKind::Io, "cannot read the layer").with_source(error);
    let (start, whole) = with_start(reader).map_err(cannot)?;
    // A tar's first bytes are a name, which may look like anything.
    let found = if is_tar(&start) { Some(ArchiveCompression::Plain) } else { ArchiveCompression::sniff(&start) };
    match (found, declared) {
        (Some(wrapping), _) => decompress_as(whole, wrapping).map(Some),
        (None, Some(declared)) => decompress(whole, declared).map(Some),
        (None, None) => Ok(None),
    }
}

/// The tar inside a local archive, compressed or not; `None` if its first bytes are not those of
/// an archive.
pub fn decompress_tar<'a>(reader: impl Read + Send + 'a) -> Result<Option<(ArchiveCompression, Box<dyn Read + Send + 'a>)>> {
    let cannot = |error| Error::new(ErrorKind::Io, "cannot read the archive").with_source(error);
    let (start, whole) = with_start(reader).map_err(cannot)?;
    let Some(wrapping) = ArchiveCompression::sniff(&start) else { return Ok(None) };
    Ok(Some((wrapping, decompress_as(whole, wrapping)?)))
}

/// The first block of `reader`, or less if there is less, and a reader of everything from the
/// start.
fn with_start<'a>(mut reader: impl Read + Send + 'a) -> io::Result<(Vec<u8>, impl BufRead + Send + 'a)> {
    let mut start = Vec::with_capacity(TAR_BLOCK);
    reader.by_ref().take(TAR_BLOCK as u64).read_to_end(&mut start)?;
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(start.clone()).chain(reader));
    Ok((start, whole))
}

fn decompress_as<'a>(reader: impl BufRead + Send + 'a, wrapping: ArchiveCompression) -> Result<Box<dyn Read + Send + 'a>> {
    let cannot = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Io, "cannot set up decompression").with_source(error)
    };
    Ok(match wrapping {
        ArchiveCompression::Plain => Box::new(reader),
        ArchiveCompression::Gzip => Box::new(GzipReader::new(reader)),
        ArchiveCompression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        ArchiveCompression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(|error| cannot(error.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        ArchiveCompression::Zstd => Box::new(zstd::Decoder::with_buffer(reader).map_err(|error| cannot(error.into()))?),
    })
}

/// All members of a gzip file, one after the other. flate2's own decoder of several members takes
/// padding for a broken one.
pub(crate) struct GzipReader<R> {
    state: GzipState<R>,
    padded: bool,
}

#[expect(clippy::large_enum_variant, reason = "one value a file")]
enum GzipState<R> {
    Inside(GzDecoder<R>),
    Done,
}

impl<R: BufRead> GzipReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { state: GzipState::Inside(GzDecoder::new(reader)), padded: false }
    }

    /// Whether padding came after the last member: readers written in Go take such a file for
    /// damaged. Known at the end.
    pub(crate) fn padded(&self) -> bool {
        self.padded
    }

    fn next_member(&mut self) {
        if let GzipState::Inside(decoder) = std::mem::replace(&mut self.state, GzipState::Done) {
            self.state = GzipState::Inside(GzDecoder::new(decoder.into_inner()));
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let GzipState::Inside(decoder) = &mut self.state else { return Ok(0) };
            let read = decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            // A failure leaves the state as it is: callers read again after a signal.
            match decoder.get_mut().fill_buf()?.first() {
                None => self.state = GzipState::Done,
                Some(0) => {
                    self.padded = true;
                    skip_padding(decoder.get_mut())?;
                    self.state = GzipState::Done;
                }
                Some(_) => self.next_member(),
            }
        }
    }
}

fn skip_padding(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "garbage after the end of the gzip data"));
        }
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        decompress(bytes, Compression::Gzip).unwrap().read_to_end(&mut read).map(|_| read)
    }

    fn a_tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(5);
        builder.append_data(&mut header, "file", &b"hello"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn all_gzip_members_are_read() {
        let bytes = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        assert_eq!(gunzip(&bytes).unwrap(), b"one two");
    }

    #[test]
    fn zeros_after_the_last_member_are_padding_and_anything_else_is_an_error() {
        assert_eq!(gunzip(&[gzip(b"one"), vec![0; 70_000]].concat()).unwrap(), b"one");
        assert!(gunzip(&[gzip(b"one"), b"x".to_vec()].concat()).is_err());
        assert!(gunzip(&[gzip(b"one"), vec![0; 512], b"x".to_vec()].concat()).is_err());
        assert!(gunzip(&[gzip(b"one"), vec![0; 512], gzip(b"two")].concat()).is_err());
    }

    #[test]
    fn input_that_ends_early_or_is_damaged_is_an_error() {
        let whole = [gzip(b"first"), gzip(&a_tar())].concat();
        for end in [0, 5, whole.len() / 2, whole.len() - 1] {
            assert!(gunzip(&whole[..end]).is_err(), "{end}");
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(gunzip(&damaged).is_err());
        let zstd = zstd::encode_all(&a_tar()[..], 1).unwrap();
        let mut read = Vec::new();
        assert!(decompress(&zstd[..zstd.len() - 1], Compression::Zstd).unwrap().read_to_end(&mut read).is_err());
    }

    #[test]
    fn every_compression_is_known_by_its_first_bytes_and_read() {
        let tar = a_tar();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&tar).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar).unwrap();
        let xz = xz.finish().unwrap();
        let zstd = zstd::encode_all(&tar[..], 1).unwrap();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9][..], &zstd, &zstd].concat();
        for (bytes, wrapping, times) in [
            (tar.clone(), ArchiveCompression::Plain, 1),
            ([gzip(&tar), gzip(&tar)].concat(), ArchiveCompression::Gzip, 2),
            (bzip2.finish().unwrap(), ArchiveCompression::Bzip2, 1),
            ([&xz[..], &xz].concat(), ArchiveCompression::Xz, 2),
            (skippable, ArchiveCompression::Zstd, 2),
        ] {
            let (found, mut reader) = decompress_tar(&bytes[..]).unwrap().unwrap();
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert_eq!((found, read), (wrapping, tar.repeat(times)));
        }
    }

    #[test]
    fn a_layer_is_read_as_what_its_first_bytes_say_whatever_its_media_type_says() {
        let tar = a_tar();
        let zstd = zstd::encode_all(&tar[..], 1).unwrap();
        let declared = [None, Some(Compression::None), Some(Compression::Gzip), Some(Compression::Zstd)];
        for (bytes, declared) in
            [&tar, &gzip(&tar), &zstd].into_iter().flat_map(|bytes| declared.map(|declared| (bytes, declared)))
        {
            let mut read = Vec::new();
            decompress_layer(&bytes[..], declared).unwrap().unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, tar, "{declared:?}");
        }
        // Where the bytes say nothing the media type counts; where neither does, it is not a layer.
        assert!(decompress_layer(&b"text"[..], None).unwrap().is_none());
        let mut text = String::new();
        decompress_layer(&b"text"[..], Some(Compression::None)).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert!(decompress_layer(&b"text"[..], Some(Compression::Gzip)).unwrap().unwrap().read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn old_and_empty_tars_are_known_and_other_files_are_not() {
        let mut old = [0; 512];
        let header = tar::Header::from_byte_slice(&old);
        assert_eq!(header.as_bytes().len(), 512);
        assert_eq!(ArchiveCompression::sniff(&old), Some(ArchiveCompression::Plain));
        let mut header = tar::Header::new_old();
        header.set_path("file").unwrap();
        header.set_cksum();
        old.copy_from_slice(header.as_bytes());
        assert_eq!(ArchiveCompression::sniff(&old), Some(ArchiveCompression::Plain));
        old[0] ^= 1;
        assert_eq!(ArchiveCompression::sniff(&old), None);
        assert_eq!(ArchiveCompression::sniff(b"PK\x03\x04"), None);
        assert_eq!(ArchiveCompression::sniff(b""), None);
    }
}
