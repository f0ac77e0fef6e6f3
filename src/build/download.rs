//! Files from the web, for ADD.
//!
//! Refuses anything but http and https, and bytes that do not have the checksum.

use std::io::Write as _;
use std::path::Path;

use futures_util::StreamExt as _;

use super::session::Session;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::{Digest, Hasher};
use crate::progress::TaskKind;

/// Downloads `url` into the new file `path`.
pub(super) async fn download(session: &Session<'_>, url: &str, checksum: Option<&str>, path: &Path) -> Result<()> {
    let expected = checksum.map(Digest::parse).transpose()?;
    let failed = || format!("cannot download `{url}`");
    let response = session.client.get(url).await.context(ErrorKind::Network, failed)?;
    let mut task = session.progress.task(TaskKind::Pull, &format!("download {url}"), response.content_length());
    let mut file = std::fs::File::create(path).map_err(|error| Error::io("create", path, error))?;
    let mut hasher = expected.as_ref().map_or_else(Hasher::new, Digest::hasher);
    if let Some(total) = response.content_length() {
        task.set_total(total);
    }
    let mut stream = response.bytes_stream();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.context(ErrorKind::Network, failed)?;
        hasher.update(&bytes);
        file.write_all(&bytes).map_err(|error| Error::io("write", path, error))?;
        task.advance(hasher.length());
    }
    if let Some(expected) = expected {
        expected.expect(hasher.finish()).map_err(|error| {
            error.wrap(failed()).with_hint("check --checksum, and whether the file at that address has been replaced")
        })?;
    }
    task.done();
    Ok(())
}
