//! Files from the web, for ADD.

use std::io::Write;
use std::path::Path;

use flate2::write::MultiGzDecoder;
use futures_util::StreamExt as _;

use crate::build::session::Session;
use crate::dockerfile::hide_credentials;
use crate::error::{Error, Result};
use crate::oci::{Digest, Hasher};
use crate::progress::TaskKind;

/// Downloads `url` into the file `path`; the digest of what came.
pub(super) async fn download(session: &Session<'_>, url: &str, checksum: Option<&str>, path: &Path) -> Result<Digest> {
    let expected = checksum.map(Digest::parse).transpose()?;
    let shown = hide_credentials(url);
    let failed = || format!("cannot download `{shown}`");
    let mut download = session.client.download(url).await.map_err(|error| error.wrap(failed()))?;
    let task = session.progress.task(TaskKind::Pull, &format!("download {shown}"), download.size);
    let file = std::fs::File::create(path).map_err(|error| Error::io("create", path, error))?;
    let hasher = expected.as_ref().map_or_else(Hasher::new, Digest::hasher);
    let mut body = Body::new(Hashed { file, hasher }, download.is_gzip);
    let mut received = 0;
    while let Some(bytes) = download.bytes.next().await {
        let bytes = bytes.map_err(|error| error.wrap(failed()))?;
        body.write_all(&bytes).map_err(|error| Error::io("write", path, error))?;
        received += bytes.len() as u64;
        task.advance(received);
    }
    let digest = body.finish().map_err(|error| Error::io("write", path, error))?.hasher.finish();
    if let Some(expected) = expected {
        expected.expect(digest).map_err(|error| {
            error.wrap(failed()).with_hint("check `--checksum`, and whether the file at that address has been replaced")
        })?;
    }
    task.done();
    session.downloads.add_file(shown, digest);
    Ok(digest)
}

/// A file that is hashed while it is written.
struct Hashed {
    file: std::fs::File,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// What a server sends, on its way to the file that it stands for.
enum Body {
    Plain(Box<Hashed>),
    Gzip(Box<MultiGzDecoder<Hashed>>),
}

impl Body {
    fn new(file: Hashed, is_gzip: bool) -> Self {
        if is_gzip { Self::Gzip(Box::new(MultiGzDecoder::new(file))) } else { Self::Plain(Box::new(file)) }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
        }
    }

    fn finish(self) -> std::io::Result<Hashed> {
        match self {
            Self::Plain(file) => Ok(*file),
            Self::Gzip(decoder) => decoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_comes_as_gzip_unasked_is_the_file_that_it_stands_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"the file").unwrap();
        let packed = packed.finish().unwrap();
        let received = |is_gzip: bool, bytes: &[u8]| {
            let file = std::fs::File::create(&path).unwrap();
            let mut body = Body::new(Hashed { file, hasher: Hasher::new() }, is_gzip);
            bytes.chunks(5).try_for_each(|piece| body.write_all(piece))?;
            let digest = body.finish()?.hasher.finish();
            Ok::<_, std::io::Error>((std::fs::read(&path)?, digest))
        };
        assert_eq!(received(true, &packed).unwrap(), (b"the file".to_vec(), Digest::of("the file")));
        assert_eq!(received(false, &packed).unwrap().0, packed);
        assert!(received(true, &packed[..packed.len() - 6]).is_err());
    }
}
