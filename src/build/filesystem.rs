//! The file system of a stage: its layers, and what is known of them.
//!
//! Layers are fetched, indexed and unpacked only when something asks; a stage that only changes the
//! config fetches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;

use super::session::Session;
use super::sink::LayerSink;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Layer, unpacked_layers};
use crate::layer::unpack::Limits;
use crate::layer::{FinishedLayer, Kind, LayerIndex, LayerPath, Node, Origin, Resolved, Tree, read_entries};
use crate::oci::ChainId;
use crate::sandbox::User;
use crate::store::{BlobSource, LayerData};

/// BuildKit's limit for a file of users or groups, in bytes.
const MOST_ACCOUNTS: u64 = 10 << 20;

/// How many bytes of a layer are read at a time.
const BUFFER: usize = 256 * 1024;

/// Layers, lowest first, and the tree they make as far as anybody has asked.
#[derive(Clone, Default)]
pub(super) struct Filesystem {
    layers: Vec<Layer>,
    tree: Arc<Tree>,
    /// How many layers are in `tree`.
    indexed: usize,
    /// Whether a RUN will want the layers unpacked.
    will_run: bool,
}

impl Filesystem {
    pub(super) fn new(layers: Vec<Layer>) -> Self {
        Self { layers, ..Self::default() }
    }

    /// As `new`, for a stage with a RUN, where `will_run` says so: what is read of its layers is
    /// unpacked on the way.
    pub(super) fn of_stage(layers: Vec<Layer>, will_run: bool) -> Self {
        Self { layers, will_run, ..Self::default() }
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(super) fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(self.layers.iter().map(|layer| layer.diff_id))
    }

    /// Puts a layer on top. Its index is read when a later step asks for the tree; the last layer's
    /// never is.
    pub(super) fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// Stores a layer that was just written and puts it on top.
    pub(super) fn push_finished(&mut self, session: &Session<'_>, finished: FinishedLayer<LayerSink>) -> Result<Layer> {
        let FinishedLayer { descriptor, diff_id, index, blocks, sink, .. } = finished;
        session.store.write_layer_data(&diff_id, LayerData::Index, index.to_bytes())?;
        session.store.write_blocks(&descriptor.digest, session.request.codec, &blocks)?;
        let path = sink.commit(descriptor.clone(), diff_id)?;
        let layer = Layer { diff_id, descriptor, source: BlobSource::File(path) };
        self.push(layer.clone());
        Ok(layer)
    }

    /// What the stage looks like.
    pub(super) fn tree(&mut self, session: &Session<'_>) -> Result<&Arc<Tree>> {
        let mut fetching = None;
        while self.indexed < self.layers.len() {
            let layer = &self.layers[self.indexed];
            let index = match layer.stored_index(session.store)? {
                Some(index) => index,
                None => {
                    fetching.get_or_insert_with(|| FetchAhead::begin(session, &self.layers[self.indexed..]));
                    index(session, layer)?
                }
            };
            Arc::make_mut(&mut self.tree).apply(&index, self.indexed)?;
            self.indexed += 1;
        }
        Ok(&self.tree)
    }

    /// The content of /etc/passwd or /etc/group: inside the image wherever links lead, and empty
    /// where there is no such file. Of a file with another name, which the layer's index does not
    /// keep, the layer is read.
    pub(super) fn account_file(&mut self, session: &Session<'_>, path: &str) -> Result<Vec<u8>> {
        let tree = Arc::clone(self.tree(session)?);
        if let Some(kept) = tree.kept_content(path) {
            return Ok(kept.to_vec());
        }
        let Ok(Resolved { node: Some(Node { kind: Kind::File { size }, origin: Some(origin), .. }), .. }) =
            tree.resolve(path, true)
        else {
            return Ok(Vec::new());
        };
        if *size == 0 {
            return Ok(Vec::new());
        }
        if *size > MOST_ACCOUNTS {
            return Err(Error::new(ErrorKind::Context, format!("`{path}` of the image has more than {MOST_ACCOUNTS} bytes"))
                .with_hint("name users and groups by number"));
        }
        let scratch = session.store.scratch()?;
        let files = self.files(session, std::iter::once(origin), scratch.path())?;
        let Some(file) = files.get(&origin.file) else { return Ok(Vec::new()) };
        std::fs::read(file).map_err(|error| Error::io("read", file, error))
    }

    /// Whether all of a layer will have to be read before anything is known of what is in it, and
    /// later once more by a RUN. Looks at the first `layers`.
    pub(super) fn will_be_read_twice(&self, session: &Session<'_>, layers: usize) -> bool {
        let unread = |layer: &Layer| !session.store.has_layer_data(&layer.diff_id, LayerData::Index);
        self.will_run && self.layers[..layers].iter().skip(self.indexed).any(unread)
    }

    /// Folders with the unpacked layers, topmost first, each made only once by all builds together.
    ///
    /// `user`: whose step wants them.
    pub(super) fn unpacked(&self, session: &Session<'_>, user: &User) -> Result<Vec<PathBuf>> {
        let isolation = session.isolation()?;
        let _fetching = FetchAhead::begin(session, &self.layers);
        unpacked_layers(session.store, &self.layers, &isolation.ownership(user), |layer, folder, below| {
            let unpacked = with_tar(session, layer, |tar| {
                layer.index_beside(session.store, tar, |tar| isolation.unpack_for(user, tar, folder, below, &Limits::default()))
            });
            Ok(unpacked?.uses_lower_layers)
        })
    }

    /// Unpacks the layers from number `from` on over what is in `folder`.
    pub(super) fn unpack_over(&self, session: &Session<'_>, from: usize, folder: &Path) -> Result<()> {
        let _fetching = FetchAhead::begin(session, &self.layers[from..]);
        for layer in &self.layers[from..] {
            let isolation = session.isolation()?;
            with_tar(session, layer, |tar| {
                layer.index_beside(session.store, tar, |tar| isolation.unpack(tar, folder, &[], &Limits::default()))
            })?;
        }
        Ok(())
    }

    /// Files of this machine with the bytes of `origins`, by the origin's file number. What is not
    /// unpacked anywhere is taken out of the layer into `scratch`.
    pub(super) fn files<'o>(
        &self,
        session: &Session<'_>,
        origins: impl Iterator<Item = &'o Origin>,
        scratch: &Path,
    ) -> Result<BTreeMap<u64, PathBuf>> {
        let mut files = BTreeMap::new();
        let mut unpacked: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
        let mut missing: BTreeMap<usize, BTreeMap<&LayerPath, u64>> = BTreeMap::new();
        for origin in origins {
            let trees =
                unpacked.entry(origin.layer).or_insert_with(|| session.store.unpacked_paths(&self.layers[origin.layer].diff_id));
            // What belongs to another user on disk may not be readable here.
            let mut paths = trees.iter().map(|tree| tree.join(origin.path.as_path()));
            match paths.find(|path| File::open(path).is_ok()) {
                Some(path) => drop(files.insert(origin.file, path)),
                None => drop(missing.entry(origin.layer).or_default().insert(&origin.path, origin.file)),
            }
        }
        for (number, wanted) in missing {
            let mut found = BTreeSet::new();
            read_entries(open(session, &self.layers[number])?, |entry, content| {
                if let Some(file) = wanted.get(&entry.path).filter(|_| entry.kind.size() > 0) {
                    let path = scratch.join(file.to_string());
                    let mut target = File::create(&path).map_err(|error| Error::io("create", &path, error))?;
                    std::io::copy(content, &mut target).map_err(|error| Error::io("write", &path, error))?;
                    found.insert(*file);
                    files.insert(*file, path);
                }
                Ok(())
            })?;
            if let Some((path, _)) = wanted.iter().find(|(_, file)| !found.contains(*file)) {
                return Err(Error::new(ErrorKind::Corrupt, format!("`{path}` is not in the layer that its index names")));
            }
        }
        Ok(files)
    }
}

/// The uncompressed tar of a layer, which is fetched first if it is elsewhere.
fn open(session: &Session<'_>, layer: &Layer) -> Result<Box<dyn Read + Send>> {
    let path = match &layer.source {
        BlobSource::File(path) => path.clone(),
        source => session.runtime.block_on(session.store.fetch(source, &layer.descriptor))?,
    };
    layer.open_tar(&path)
}

/// Fetches layers that will be unpacked while those below them are.
struct FetchAhead(JoinHandle<()>);

impl FetchAhead {
    /// How many layers come at once, beside the one that is read as it comes. Docker fetches three
    /// (dockerd, `max-concurrent-downloads`).
    const AT_ONCE: usize = 2;

    fn begin(session: &Session<'_>, layers: &[Layer]) -> Self {
        let is_elsewhere = |layer: &&Layer| {
            matches!(layer.source, BlobSource::Remote(_)) && session.store.unpacked_paths(&layer.diff_id).is_empty()
        };
        let ahead: Vec<Layer> = layers.iter().filter(is_elsewhere).skip(1).cloned().collect();
        let store = session.store.clone();
        let fetch = async move {
            let fetch = |layer: Layer| {
                let store = store.clone();
                // What fails here fails again where it is needed, and is told there.
                async move { drop(store.fetch(&layer.source, &layer.descriptor).await) }
            };
            stream::iter(ahead).for_each_concurrent(Self::AT_ONCE, fetch).await;
        };
        Self(session.runtime.spawn(fetch))
    }
}

impl Drop for FetchAhead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives the uncompressed tar of a layer to `work`, while it comes where it is elsewhere: what
/// `work` makes of it counts only if there is no error.
fn with_tar<T>(session: &Session<'_>, layer: &Layer, work: impl FnOnce(&mut (dyn Read + Send)) -> Result<T>) -> Result<T> {
    let source = &layer.source;
    if let BlobSource::File(path) = source {
        return work(&mut layer.open_tar(path)?);
    }
    session.store.fetch_along(&session.runtime, source, (&layer.descriptor, layer.diff_id), |stored| {
        work(&mut layer.tar_in(BufReader::with_capacity(BUFFER, stored))?)
    })
}

fn index(session: &Session<'_>, layer: &Layer) -> Result<LayerIndex> {
    match layer.stored_index(session.store)? {
        Some(index) => Ok(index),
        None => with_tar(session, layer, |tar| layer.read_index(session.store, tar)),
    }
}

/// Reads all of a layer, which is fetched first if it is elsewhere: its bytes must have its digest,
/// its tar its diff ID.
pub(super) fn verify(session: &Session<'_>, layer: &Layer) -> Result<()> {
    with_tar(session, layer, |tar| layer.read_index(session.store, tar)).map(drop)
}
