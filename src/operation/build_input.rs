//! What a build reads from elsewhere: a Dockerfile or a tar of the build context from a stream such
//! as standard input (docker's `-f -` and `-`), a build context in a git repository or on the web.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Write as _};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;

use super::{Mpimg, blocking};
use crate::build::{BuildRequest, NamedContext, git_authorization};
use crate::context::{ContextAddress, fetch_git};
use crate::dockerfile::hide_credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{ArchiveCompression, decompress_tar};
use crate::progress::TaskKind;
use crate::sandbox::SecretBytes;
use crate::store::ScratchDir;

/// The longest Dockerfile that is read from a stream, in bytes: BuildKit's limit for one.
const DOCKERFILE_LIMIT: u64 = 16 << 20;

/// How much is read to tell a tar from a Dockerfile: one block.
const BLOCK: u64 = 512;

/// A folder of the local store that holds what was read. It is removed when this is dropped, so it
/// must outlive the build.
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

    /// Reads the build context of `request` from `reader`: a tar, plain or compressed; or a
    /// Dockerfile alone, which is built with an empty context. A Dockerfile that the request names
    /// is one in the tar.
    ///
    /// # Errors
    /// [`ErrorKind::Context`]: the tar is damaged, or has entries outside of it; [`ErrorKind::Io`]:
    /// it cannot be read.
    pub fn read_context(&self, request: &mut BuildRequest, reader: impl Read + Send) -> Result<StreamedInput> {
        let input = StreamedInput(self.store()?.scratch()?);
        let context = input.0.path().join("context");
        std::fs::create_dir(&context).map_err(|error| Error::io("create", &context, error))?;
        match unpack_tar(reader, &context)? {
            Some(text) => request.dockerfile = Some(input.write_dockerfile(text)?),
            None => request.dockerfile = request.dockerfile.take().map(|file| context.join(file)),
        }
        request.context = context;
        Ok(input)
    }
}

impl Mpimg {
    /// Fetches the build contexts that `request` names by their addresses; it names the folders
    /// then. What is fetched is removed when the values are dropped.
    ///
    /// A git server is asked with the secret `GIT_AUTH_TOKEN` or `GIT_AUTH_HEADER`, if there is
    /// one, as BuildKit does.
    ///
    /// # Errors
    /// [`ErrorKind::Network`], [`ErrorKind::NotFound`], [`ErrorKind::Auth`]: it cannot be
    /// had; [`ErrorKind::Context`]: it is damaged, or has no such commit or
    /// folder; [`ErrorKind::Usage`]: an invalid address.
    pub async fn fetch_inputs(&self, request: &mut BuildRequest) -> Result<Vec<StreamedInput>> {
        let mut inputs = Vec::new();
        let dockerfile = request.dockerfile.as_deref().and_then(Path::to_str).and_then(ContextAddress::parse);
        if let Some(ContextAddress::Http(url)) = dockerfile.transpose()? {
            let input = StreamedInput(self.store()?.scratch()?);
            let file = input.0.path().join("download").join("Dockerfile");
            self.download(&url, &file).await?;
            request.dockerfile = Some(file);
            inputs.push(input);
        }
        let address = request.context.to_str().filter(|_| !request.context.exists()).and_then(ContextAddress::parse);
        if let Some(address) = address.transpose()? {
            inputs.push(self.fetch_context(request, &address).await?);
        }
        for (name, context) in &mut request.contexts {
            let NamedContext::Address(text) = context else { continue };
            let address = ContextAddress::parse(text).transpose()?.ok_or_else(|| {
                Error::new(ErrorKind::Usage, format!("`{text}` is not an address")).with_hint("write a URL, or name a folder")
            })?;
            let fetched = self.fetch(&address, &request.secrets).await;
            let (input, found) = fetched.map_err(|error| error.wrap(format!("cannot use the build context `{name}`")))?;
            *context = match found {
                Fetched::Folder(folder) => NamedContext::Folder(folder),
                Fetched::File(file) => NamedContext::Folder(file.parent().map(Path::to_owned).unwrap_or_default()),
            };
            inputs.push(input);
        }
        Ok(inputs)
    }

    /// Fetches the build context of `request` from `address`; a Dockerfile that the request names
    /// is one in it.
    ///
    /// # Errors
    /// See [`Mpimg::fetch_inputs`].
    pub async fn fetch_context(&self, request: &mut BuildRequest, address: &ContextAddress) -> Result<StreamedInput> {
        let (input, found) = self.fetch(address, &request.secrets).await?;
        match found {
            // A Dockerfile from standard input has an absolute path, which stays as it is.
            Fetched::Folder(folder) => {
                request.dockerfile = request.dockerfile.take().map(|file| folder.join(file));
                request.context = folder;
            }
            Fetched::File(file) => {
                let context = input.0.path().join("empty");
                std::fs::create_dir(&context).map_err(|error| Error::io("create", &context, error))?;
                request.dockerfile = Some(file);
                request.context = context;
            }
        }
        Ok(input)
    }

    async fn fetch(&self, address: &ContextAddress, secrets: &BTreeMap<String, SecretBytes>) -> Result<(StreamedInput, Fetched)> {
        let input = StreamedInput(self.store()?.scratch()?);
        let folder = input.0.path().join("fetched");
        std::fs::create_dir(&folder).map_err(|error| Error::io("create", &folder, error))?;
        let found = match address {
            ContextAddress::Git(git) => {
                let shown = hide_credentials(&git.remote);
                let task = self.progress().task(TaskKind::Work, &format!("fetch {shown}"), None);
                let commit = fetch_git(git, git_authorization(secrets), &folder, self.cancellation()).await?;
                task.done();
                Fetched::Folder(commit.folder)
            }
            ContextAddress::Http(url) => {
                let name = file_name(url);
                let file = input.0.path().join("download").join(&name);
                self.download(url, &file).await?;
                let to = folder.clone();
                blocking(move || {
                    let reader = File::open(&file).map_err(|error| Error::io("open", &file, error))?;
                    Ok(match unpack_tar(reader, &to)? {
                        Some(_) => Fetched::File(file),
                        None => Fetched::Folder(to),
                    })
                })
                .await?
            }
        };
        Ok((input, found))
    }

    async fn download(&self, url: &str, path: &Path) -> Result<()> {
        let shown = hide_credentials(url);
        let failed = |error: Error| error.wrap(format!("cannot download the build context `{shown}`"));
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir(folder).map_err(|error| Error::io("create", folder, error))?;
        let mut download = self.client().download(url).await.map_err(failed)?;
        let task = self.progress().task(TaskKind::Pull, &format!("download {shown}"), download.size);
        let mut file = File::create(path).map_err(|error| Error::io("create", path, error))?;
        let mut length = 0;
        while let Some(bytes) = download.bytes.next().await {
            let bytes = bytes.map_err(failed)?;
            length += bytes.len() as u64;
            file.write_all(&bytes).map_err(|error| Error::io("write", path, error))?;
            task.advance(length);
        }
        task.done();
        Ok(())
    }
}

/// What was fetched.
enum Fetched {
    Folder(PathBuf),
    /// No tar: a file in a folder of its own.
    File(PathBuf),
}

/// The last part of a URL's path, as a name of a file.
fn file_name(url: &str) -> String {
    let path = url::Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name.starts_with('.') { "context".to_owned() } else { name.to_owned() }
}

/// Unpacks a tar, plain or compressed; gives back the stream if it is not a tar.
fn unpack_tar<R: Read + Send>(mut reader: R, folder: &Path) -> Result<Option<impl Read + use<R>>> {
    let mut start = Vec::new();
    reader.by_ref().take(BLOCK).read_to_end(&mut start).map_err(unreadable)?;
    let is_tar = ArchiveCompression::sniff(&start).is_some();
    let whole = Cursor::new(start).chain(reader);
    if !is_tar {
        return Ok(Some(whole));
    }
    if let Some((_, tar)) = decompress_tar(whole)? {
        unpack(tar, folder)?;
    }
    Ok(None)
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

/// Unpacks the tar of a build context. Entries outside of the folder, by `..` or through a link,
/// are not followed.
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
