//! Frees what nothing needs any more: images whose last tag was deleted, and blobs that no manifest
//! names.
//!
//! An image that never had a tag, or whose tag was moved to another, stays: it is pulled by its
//! digest.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::disk::{Disk, files};
use super::index::Index;
use super::manifest::Manifest;
use super::repository::Repository;
use crate::error::{ErrorKind, Result};
use crate::oci::Digest;

impl Disk {
    /// Frees garbage in all repositories. Blobs that came, were mounted or asked for within `age`
    /// stay: their manifest may be on its way.
    pub(super) fn collect_garbage(&self, age: Duration) -> Result<()> {
        for name in self.repository_names()? {
            let collected = match self.repository(&name) {
                Ok(Some(repository)) => self.collect_in(&repository, age),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            match collected {
                // What its index names is not known, so nothing of it is freed; the other
                // repositories are served all the same.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(repository = ?name, %error, "nothing is freed")
                }
                collected => collected?,
            }
        }
        Ok(())
    }

    fn collect_in(&self, repository: &Repository, age: Duration) -> Result<()> {
        // Nobody adds a manifest meanwhile.
        repository.change(|index| {
            let dropped = dropped(index, repository);
            for digest in &dropped {
                index.remove_manifest(digest);
            }
            let named = named(index, repository);
            for algorithm in ["sha256", "sha512"] {
                for path in files(&repository.blobs_dir(algorithm))? {
                    let digest = path.file_name().and_then(|name| Digest::parse(&format!("{algorithm}:{}", name.to_str()?)).ok());
                    // A file of another name is not ours.
                    let Some(digest) = digest.filter(|digest| !named.contains(digest)) else { continue };
                    if dropped.contains(&digest) || is_older(&path, age) {
                        self.remove_blob(&digest, repository)?;
                    }
                }
            }
            Ok(!dropped.is_empty())
        })?;
        Ok(())
    }
}

/// The manifests whose last tag was deleted and that no other manifest needs, and those that refer
/// to them.
fn dropped(index: &Index, repository: &Repository) -> BTreeSet<Digest> {
    let mut dropped: BTreeSet<Digest> = index.dropped().collect();
    loop {
        let kept = index.digests().filter(|digest| !dropped.contains(digest));
        let needed: BTreeSet<Digest> =
            kept.filter_map(|digest| read(repository, &digest)).flat_map(|manifest| children(&manifest)).collect();
        let before = dropped.len();
        dropped.retain(|digest| !needed.contains(digest));
        let referrers: Vec<Digest> = dropped.iter().flat_map(|digest| index.untagged_referrers(digest)).collect();
        let added = referrers.into_iter().filter(|digest| dropped.insert(*digest)).count();
        if added == 0 && dropped.len() == before {
            return dropped;
        }
    }
}

/// All manifests, and the blobs that they name.
fn named(index: &Index, repository: &Repository) -> BTreeSet<Digest> {
    let mut named: BTreeSet<Digest> = index.digests().collect();
    for digest in index.digests() {
        let blobs = read(repository, &digest);
        named.extend(blobs.iter().flat_map(Manifest::blobs).map(|blob| blob.digest));
    }
    named
}

fn children(manifest: &Manifest) -> Vec<Digest> {
    manifest.manifests().map(|child| child.digest).collect()
}

fn read(repository: &Repository, digest: &Digest) -> Option<Manifest> {
    Manifest::parse(&fs::read(repository.blob_path(digest)).ok()?).ok()
}

/// Whether a file got its bytes, its last link and its last touch longer ago.
fn is_older(path: &std::path::Path, age: Duration) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(metadata.ctime().try_into().unwrap_or(0)));
    changed.and_then(|changed| SystemTime::now().duration_since(changed).ok()).is_some_and(|elapsed| elapsed >= age)
}
