//! Which file had a COPY or ADD done again: for the log, which asks for it, the layer that it made
//! then is compared with the one that it makes now.

use std::collections::BTreeMap;
use std::io::Read;

use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::image::Layer;
use crate::layer::{Kind, LayerPath, Metadata, read_entries};
use crate::oci::{Digest, Hasher};
use crate::store::BlobSource;

/// Names in the log the first file that is not what it was. A layer that cannot be read is not an
/// error of the build, which needs it no more.
pub(super) fn log_first(before: &Layer, now: &Layer) {
    let (BlobSource::File(then), BlobSource::File(there)) = (&before.source, &now.source) else { return };
    let found = before.open_tar(then).and_then(|then| first(then, now.open_tar(there)?));
    if let Ok(Some((file, difference))) = found {
        tracing::info!(%file, difference, "the first file that is not what it was");
    }
}

#[derive(PartialEq)]
struct Seen {
    kind: Kind,
    metadata: Metadata,
    content: Digest,
}

/// The first path, in the order of a layer, at which two tars differ, and in what.
fn first(before: impl Read, now: impl Read) -> Result<Option<(LayerPath, &'static str)>> {
    let mut then = BTreeMap::new();
    each(before, |path, seen| drop(then.insert(path, seen)))?;
    let mut found: Vec<(LayerPath, &'static str)> = Vec::new();
    each(now, |path, seen| {
        let difference = match then.remove(&path) {
            Some(then) if then == seen => return,
            None => "it is new",
            Some(then) if (&then.kind, &then.metadata) == (&seen.kind, &seen.metadata) => "it has other content",
            Some(_) => "it has another size, mode or owner, or is of another kind",
        };
        found.push((path, difference));
    })?;
    found.extend(then.into_keys().map(|path| (path, "it is gone")));
    Ok(found.into_iter().min_by(|(one, _), (other, _)| one.cmp(other)))
}

fn each(tar: impl Read, mut take: impl FnMut(LayerPath, Seen)) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    read_entries(tar, |entry, content| {
        let mut hasher = Hasher::new();
        loop {
            match content.read(&mut buffer).context(ErrorKind::Io, || "cannot read a layer".into())? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        take(entry.path, Seen { kind: entry.kind, metadata: entry.metadata, content: hasher.finish() });
        Ok(())
    })
}
