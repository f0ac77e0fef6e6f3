//! What a build reads from a stream such as standard input: a Dockerfile, or a tar of the build context (docker's `-f -` and `-`).

use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use super::Mpimg;
use crate::build::BuildRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Wrapping, unwrap_tar};
use crate::store::ScratchDir;

/// The longest Dockerfile that is read from a stream, in bytes: BuildKit's limit for one.
const DOCKERFILE_LIMIT: u64 = 16 << 20;

/// How much is read to tell a tar from a Dockerfile: one block.
const BLOCK: u64 = 512;

/// A folder of the local store that holds what was read. It is removed when this is dropped, so it must outlive the build.
#[derive(Debug)]
#[must_use]
pub struct StreamedInput(ScratchDir);

impl Mpimg {
    /// Reads the Dockerfile of `request` from `reader`; it replaces the one in the build context.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: it cannot be read. [`ErrorKind::Dockerfile`]: it is too long.
    pub fn read_dockerfile(&self, request: &mut BuildRequest, reader: impl Read) -> Result<StreamedInput> {
        let input = StreamedInput(self.store()?.scratch()?);
        request.dockerfile = Some(input.write_dockerfile(reader)?);
        Ok(input)
    }

    /// Reads the build context of `request` from `reader`: a tar, plain or compressed; or a Dockerfile alone, which is built with an
    /// empty context. A Dockerfile that the request names is one in the tar.
    ///
    /// # Errors
    /// [`ErrorKind::Context`]: the tar is damaged, or has entries outside of it; [`ErrorKind::Io`]: it cannot be read.
    pub fn read_context(&self, request: &mut BuildRequest, reader: impl Read + Send) -> Result<StreamedInput> {
        let input = StreamedInput(self.store()?.scratch()?);
        let context = input.0.path().join("context");
        std::fs::create_dir(&context).map_err(|error| Error::io("create", &context, error))?;
        let (mut reader, mut start) = (reader, Vec::new());
        reader.by_ref().take(BLOCK).read_to_end(&mut start).map_err(unreadable)?;
        let whole = Cursor::new(start.clone()).chain(reader);
        if Wrapping::sniff(&start).is_none() {
            request.dockerfile = Some(input.write_dockerfile(whole)?);
        } else if let Some((_, tar)) = unwrap_tar(whole)? {
            unpack(tar, &context)?;
            request.dockerfile = request.dockerfile.take().map(|file| context.join(file));
        }
        request.context = context;
        Ok(input)
    }
}

impl StreamedInput {
    fn write_dockerfile(&self, reader: impl Read) -> Result<PathBuf> {
        let mut text = Vec::new();
        reader.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > DOCKERFILE_LIMIT {
            return Err(Error::new(ErrorKind::Dockerfile, format!("the Dockerfile is longer than {DOCKERFILE_LIMIT} bytes")));
        }
        let path = self.0.path().join("Dockerfile");
        std::fs::write(&path, text).map_err(|error| Error::io("write", &path, error))?;
        Ok(path)
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot read the input of the build").with_source(error)
}

/// Unpacks the tar of a build context. Entries outside of the folder, by `..` or through a link, are not followed.
fn unpack(tar: impl Read, folder: &Path) -> Result<()> {
    let damaged = |error: io::Error| {
        Error::new(ErrorKind::Context, "cannot unpack the build context")
            .with_source(error)
            .with_hint("give the tar of a folder: `tar -c . | mpimg build -`")
    };
    let mut archive = tar::Archive::new(tar);
    archive.set_preserve_permissions(true);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.unpack_in(folder).map_err(damaged)? {
            let message = format!("the build context has an entry outside of it: `{name}`");
            return Err(Error::new(ErrorKind::Context, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    fn mpimg() -> (tempfile::TempDir, Mpimg) {
        let home = tempfile::tempdir().unwrap();
        let mpimg = Mpimg::new(Options { home: Some(home.path().into()), ..Options::default() });
        (home, mpimg)
    }

    #[test]
    fn a_stream_is_a_context_or_a_dockerfile() {
        let (_home, mpimg) = mpimg();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        tar.append_data(&mut header, "sub/Dockerfile", &b"FROM "[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let mut request = BuildRequest::new("-");
        request.dockerfile = Some("sub/Dockerfile".into());
        let input = mpimg.read_context(&mut request, tar.as_slice()).unwrap();
        assert_eq!(std::fs::read(request.dockerfile.unwrap()).unwrap(), b"FROM ");
        drop(input);
        assert!(!request.context.exists());

        let mut request = BuildRequest::new("-");
        let _input = mpimg.read_context(&mut request, &b"FROM scratch\n"[..]).unwrap();
        assert_eq!(std::fs::read(request.dockerfile.unwrap()).unwrap(), b"FROM scratch\n");
        assert_eq!(std::fs::read_dir(&request.context).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_unpacked_outside_of_the_context() {
        let (home, mpimg) = mpimg();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../../out");
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
        let tar = tar.into_inner().unwrap();
        let error = mpimg.read_context(&mut BuildRequest::new("-"), tar.as_slice()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("../../out")), (ErrorKind::Context, true));
        assert!(!home.path().join("out").exists());
    }
}
