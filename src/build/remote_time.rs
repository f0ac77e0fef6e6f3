//! The time of what is on the web, for `SOURCE_DATE_EPOCH`: of a file what the server says, else
//! that of the newest file in an archive; of a git repository that of the commit (BuildKit,
//! dockerfile2llb, `epoch.go`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};

use futures_util::StreamExt as _;
use tokio::runtime::Handle;

use super::git_authorization::git_authorization;
use crate::context::{GitAddress, fetch_git, last_commit_time};
use crate::dockerfile::hide_credentials;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::layer::{Kind, TarReader, decompress_tar};
use crate::registry::Client;
use crate::sandbox::SecretBytes;
use crate::store::Store;

/// The time of a file in seconds since 1970; `None` where nothing tells. Blocks this thread, which
/// must be one of a tokio runtime's for what blocks.
pub(super) fn of_file(store: &Store, client: &Client, url: &str) -> Result<Option<i64>> {
    let failed = || format!("cannot tell the time of `{}`", hide_credentials(url));
    let runtime = Handle::try_current().context(ErrorKind::Usage, failed)?;
    let mut download = runtime.block_on(client.download(url)).map_err(|error| error.wrap(failed()))?;
    if download.last_modified.is_some() {
        return Ok(download.last_modified);
    }
    let scratch = store.scratch()?;
    let path = scratch.path().join("file");
    let mut file =
        File::options().create_new(true).read(true).write(true).open(&path).map_err(|error| Error::io("create", &path, error))?;
    while let Some(bytes) = runtime.block_on(download.bytes.next()) {
        let bytes = bytes.map_err(|error| error.wrap(failed()))?;
        file.write_all(&bytes).map_err(|error| Error::io("write", &path, error))?;
    }
    file.rewind().map_err(|error| Error::io("read", &path, error))?;
    // What is not an archive has no time.
    Ok(newest(file).unwrap_or(None))
}

/// When the commit at `address` was made, in seconds since 1970. Blocks as [`of_file`] does.
pub(super) fn of_commit(
    store: &Store,
    client: &Client,
    address: &str,
    secrets: &BTreeMap<String, SecretBytes>,
) -> Result<Option<i64>> {
    let address = GitAddress::parse(address)?;
    let failed = || format!("cannot tell the time of `{}`", hide_credentials(&address.remote));
    let runtime = Handle::try_current().context(ErrorKind::Usage, failed)?;
    let scratch = store.scratch()?;
    let cancel = &client.options().cancel;
    let fetched = runtime.block_on(fetch_git(&address, git_authorization(secrets), scratch.path(), cancel));
    last_commit_time(&fetched.map_err(|error| error.wrap(failed()))?.folder)
}

fn newest(archive: impl Read + Send) -> Result<Option<i64>> {
    let Some((_, tar)) = decompress_tar(archive)? else { return Ok(None) };
    let mut tar = TarReader::of_archive(tar);
    let mut newest = None;
    while let Some(entry) = tar.next_entry()? {
        if matches!(entry.kind, Kind::File { .. }) {
            newest = newest.max(Some(entry.metadata.mtime));
        }
    }
    Ok(newest)
}
