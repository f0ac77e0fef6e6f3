//! What the files of one layer tell of packages. It depends on the layer alone, so the store keeps
//! it, and a layer is read once.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::readers::{Fact, read};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::image::Layer;
use crate::layer::{Entry, LayerIndex, LayerObserver, LayerPath};
use crate::oci::DiffId;
use crate::store::{LayerData, Store};

/// Format of the stored bytes, and what is looked for: a new number makes old ones a miss. Raise it
/// whenever a reader is added or finds more.
const MAGIC: &[u8] = b"mpimgp05";

/// The most files of a layer that tell anything; node_modules of a large application have 5,000.
const MOST_FACTS: usize = 500_000;

/// What the files of a layer tell, in the order of its tar.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) files: Vec<(LayerPath, Fact)>,
    /// What could not be read.
    pub(super) notices: Vec<String>,
}

impl Facts {
    /// Takes in the next entry of the layer.
    fn add(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        if self.files.len() >= MOST_FACTS {
            return Ok(());
        }
        let (fact, notice) = read(entry, content).context(ErrorKind::Corrupt, || format!("cannot read `{}`", entry.path))?;
        self.files.extend(fact.map(|fact| (entry.path.clone(), fact)));
        self.notices.extend(notice);
        if self.files.len() == MOST_FACTS {
            self.notices
                .push(format!("a layer has more than {MOST_FACTS} files that tell of packages: the others were left out"));
        }
        Ok(())
    }

    /// Keeps them in the store. Without them the next look reads the layer; that is all.
    fn keep(&self, store: &Store, diff_id: &DiffId) {
        let kept = postcard::to_extend(self, MAGIC.to_vec())
            .map_err(|error| Error::new(ErrorKind::Io, "cannot keep the packages of a layer").with_source(error))
            .and_then(|bytes| store.write_layer_data(diff_id, LayerData::Packages, &bytes));
        if let Err(error) = kept {
            tracing::info!(%error, "what a layer tells of packages is not kept");
        }
    }
}

/// Reads what a layer tells of packages while it is written, so that nobody reads it again.
pub(crate) struct PackageObserver {
    store: Store,
    facts: Facts,
}

impl PackageObserver {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, facts: Facts::default() }
    }
}

impl LayerObserver for PackageObserver {
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        self.facts.add(entry, content)
    }

    fn finished(self: Box<Self>, diff_id: &DiffId) {
        self.facts.keep(&self.store, diff_id);
    }
}

/// What is known of a layer: what it holds, and what that tells.
#[derive(Debug)]
pub struct LayerFacts {
    pub(super) index: LayerIndex,
    pub(super) facts: Facts,
}

impl LayerFacts {
    /// What the store knows of a layer; `None`: it must be read.
    ///
    /// # Errors
    /// [`ErrorKind::Store`]: the store cannot be read.
    pub fn stored(store: &Store, layer: &Layer) -> Result<Option<Self>> {
        let Some(bytes) = store.read_layer_data(&layer.diff_id, LayerData::Packages)? else { return Ok(None) };
        let facts = bytes.strip_prefix(MAGIC).and_then(|bytes| postcard::from_bytes(bytes).ok());
        Ok(layer.stored_index(store)?.zip(facts).map(|(index, facts)| Self { index, facts }))
    }

    /// Reads the uncompressed tar of a layer. The store keeps what is found.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the layer is damaged.
    pub fn read(store: &Store, layer: &Layer, tar: impl Read) -> Result<Self> {
        tracing::debug!(layer = %layer.descriptor.digest, "a layer is read for its packages");
        let mut facts = Facts::default();
        let index = layer.read_index_with(store, tar, |entry, content| facts.add(entry, content))?;
        facts.keep(store, &layer.diff_id);
        Ok(Self { index, facts })
    }

    /// Those of a tar that is nowhere stored.
    #[cfg(test)]
    pub(super) fn of_tar(tar: impl Read) -> Result<Self> {
        let mut facts = Facts::default();
        let (index, _) = crate::layer::index_layer_with(tar, |entry, content| facts.add(entry, content))?;
        Ok(Self { index, facts })
    }
}
