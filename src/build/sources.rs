//! What a step sees of finished stages and of images: their file systems, for `COPY --from` and
//! bind mounts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::filesystem::Filesystem;
use crate::dockerfile::{Base, StageIndex};
use crate::error::{Error, ErrorKind, Result};

/// The file system of a finished stage or of an image. Clones share what was found out about its
/// layers.
#[derive(Clone)]
pub(super) struct StageFiles {
    /// As the Dockerfile calls it.
    name: String,
    filesystem: Arc<Mutex<Filesystem>>,
}

impl StageFiles {
    pub(super) fn new(name: impl Into<String>, filesystem: Filesystem) -> Self {
        Self { name: name.into(), filesystem: Arc::new(Mutex::new(filesystem)) }
    }

    /// The file system, for one thread at a time.
    pub(super) fn lock(&self) -> MutexGuard<'_, Filesystem> {
        self.filesystem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a path that is not in it.
    pub(super) fn not_found(&self, path: &str) -> Error {
        Error::new(ErrorKind::Context, format!("`{path}` is not in `{}`", self.name))
            .with_hint("check the path; it is relative to the root of that stage or image")
    }
}

/// Everything that the steps of one stage may copy from or mount.
#[derive(Clone)]
pub(super) struct Sources {
    images: Arc<BTreeMap<String, StageFiles>>,
    stages: BTreeMap<StageIndex, StageFiles>,
}

impl Sources {
    /// `images` by the names that the Dockerfile gives them; `stages` that are finished.
    pub(super) fn new(images: Arc<BTreeMap<String, StageFiles>>, stages: BTreeMap<StageIndex, StageFiles>) -> Self {
        Self { images, stages }
    }

    /// What `from` names.
    pub(super) fn find(&self, from: &Base) -> Result<StageFiles> {
        let (found, name) = match from {
            Base::Scratch => (Some(StageFiles::new("scratch", Filesystem::default())), "scratch".into()),
            Base::Image(name) => (self.images.get(name).cloned(), name.clone()),
            Base::Stage(index) => (self.stages.get(index).cloned(), format!("stage {}", index.0)),
        };
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("`{name}` is not among the images and stages of the plan")))
    }
}
