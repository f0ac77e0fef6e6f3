//! What a build was made of, by digest: for the image's provenance.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::request::BuildRequest;
use crate::context::{BuildContext, has_untracked, is_modified, last_commit};
use crate::oci::{Digest, Platform};
use crate::sandbox::IsolationMode;

/// What an image was built from and how. Two builds of the same inputs on one machine give the same
/// value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildMaterials {
    /// The Dockerfile's path in the build context; of one that is elsewhere, its name.
    pub dockerfile: String,
    /// The digest of the Dockerfile's bytes.
    pub dockerfile_digest: Digest,
    /// The stage that was wanted; the last without it.
    pub target: Option<String>,
    /// What the image runs on.
    pub platform: Platform,
    /// The build arguments that were given.
    pub build_args: BTreeMap<String, String>,
    /// The images that stages stand on, or that steps copy from or mount, with the digest of each
    /// one's manifest.
    pub images: Vec<ImageMaterial>,
    /// What ADD fetched: addresses without user names and passwords, and the digests of what came.
    pub downloads: BTreeMap<String, Digest>,
    /// The git repositories that ADD fetched: addresses without user names and passwords, and the
    /// commits that came.
    pub repositories: BTreeMap<String, String>,
    /// The git commit that is checked out in the folder of the build context.
    pub commit: Option<String>,
    /// Whether a file that was committed is changed or missing in that folder's work tree; `None`
    /// where nobody asked ([`BuildRequest::provenance`]), and where it cannot be told.
    pub modified: Option<bool>,
    /// Whether the build context has a file that git does not know; `None` as for `modified`.
    pub untracked: Option<bool>,
    /// Which isolation RUN was to have. Which one `auto` took is not part of it: a step from the
    /// cache had none.
    pub isolation: IsolationMode,
    /// The time of the image, in seconds since 1970.
    pub source_date_epoch: i64,
}

/// An image that a build used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ImageMaterial {
    /// Its name in the Dockerfile, with variables expanded.
    pub name: String,
    /// For which platform it was looked up.
    pub platform: String,
    /// Of its manifest.
    pub digest: Digest,
}

impl BuildMaterials {
    pub(super) fn new(
        request: &BuildRequest,
        (dockerfile, digest): &(String, Digest),
        context: &BuildContext,
        epoch: i64,
    ) -> Self {
        Self {
            dockerfile: dockerfile.clone(),
            dockerfile_digest: *digest,
            target: request.target.clone(),
            platform: request.platform.clone(),
            build_args: request.build_args.clone(),
            images: Vec::new(),
            downloads: BTreeMap::new(),
            repositories: BTreeMap::new(),
            // A commit that cannot be read is left out: the build has warned of it already.
            commit: last_commit(&request.context).ok().flatten(),
            modified: if request.provenance { is_modified(&request.context) } else { None },
            untracked: if request.provenance { has_untracked(context) } else { None },
            isolation: request.isolation,
            source_date_epoch: epoch,
        }
    }
}

/// What ADD has fetched so far, in all stages, by address without a user name or password.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    files: Mutex<BTreeMap<String, Digest>>,
    commits: Mutex<BTreeMap<String, String>>,
}

impl Downloads {
    /// Notes that `address` gave these bytes.
    pub(super) fn add_file(&self, address: String, digest: Digest) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(address, digest);
    }

    /// Notes that the git repository at `address` gave this commit.
    pub(super) fn add_commit(&self, address: String, id: String) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).insert(address, id);
    }

    pub(super) fn files(&self) -> BTreeMap<String, Digest> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn commits(&self) -> BTreeMap<String, String> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
