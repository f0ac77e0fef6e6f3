//! Files from the web, for ADD.

use std::io::Write as _;
use std::path::Path;

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
    let mut file = std::fs::File::create(path).map_err(|error| Error::io("create", path, error))?;
    let mut hasher = expected.as_ref().map_or_else(Hasher::new, Digest::hasher);
    while let Some(bytes) = download.bytes.next().await {
        let bytes = bytes.map_err(|error| error.wrap(failed()))?;
        hasher.update(&bytes);
        file.write_all(&bytes).map_err(|error| Error::io("write", path, error))?;
        task.advance(hasher.length());
    }
    let digest = hasher.finish();
    if let Some(expected) = expected {
        expected.expect(digest).map_err(|error| {
            error.wrap(failed()).with_hint("check `--checksum`, and whether the file at that address has been replaced")
        })?;
    }
    task.done();
    Ok(digest)
}
