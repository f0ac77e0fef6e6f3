//! The folder of a cache mount as a layer, owners as a step sees them.

use std::io::Read;

use crate::build::filesystem::Filesystem;
use crate::build::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Layer;
use crate::layer::owners::Identity;
use crate::layer::{Entry, Kind, LayerPath, Metadata};
use crate::oci::Hasher;
use crate::sandbox::{Emit, RootSpec};

/// The folder's name in the layer.
pub(in crate::build) const FOLDER: &str = "cache";

/// A cache mount that a step of this build has used.
#[derive(Debug, Clone)]
pub(in crate::build) struct CacheFolder {
    /// What it is kept under.
    pub(in crate::build) name: String,
    /// What it is made with.
    pub(in crate::build) mode: u32,
    pub(in crate::build) uid: u32,
    pub(in crate::build) gid: u32,
}

impl CacheFolder {
    /// A digest of what it has, by names, owners, sizes and times.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: its files have more than `most` bytes.
    pub(super) fn stamp(&self, session: &Session<'_>, most: u64) -> Result<String> {
        let (mut hash, mut size) = (Hasher::new(), 0);
        self.walk(session, &mut |entry, _| {
            size += entry.kind.size();
            if size > most {
                return Err(Error::new(ErrorKind::Usage, format!("the cache has more than {most} bytes")));
            }
            let Entry { path, kind, metadata } = entry;
            let (word, link) = kind.describe();
            let numbers =
                [kind.size(), metadata.mode.into(), metadata.uid.into(), metadata.gid.into(), metadata.mtime.cast_unsigned()];
            hash.update_field(path.as_bytes());
            hash.update_field(word.as_bytes());
            hash.update_field(link.unwrap_or_default().as_bytes());
            numbers.iter().for_each(|number| hash.update(&number.to_le_bytes()));
            Ok(())
        })?;
        Ok(hash.finish().hex())
    }

    /// It as a layer of the store.
    pub(super) fn layer(&self, session: &Session<'_>) -> Result<Layer> {
        let mut writer = session.layer_writer(false)?;
        self.walk(session, &mut |entry, content| match content {
            Some(mut content) => writer.append_file(entry, &mut content),
            None => writer.append(entry),
        })?;
        Filesystem::default().push_finished(session, writer.finish()?)
    }

    /// Its entries in the order of a layer, below [`FOLDER`].
    fn walk(&self, session: &Session<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let isolation = session.isolation()?;
        let folder = LayerPath::parse(FOLDER)?;
        let metadata = Metadata::new(self.mode, self.uid, self.gid, 0);
        emit(&Entry { path: folder.clone(), kind: Kind::Directory, metadata }, None)?;
        // As if a step had made it on nothing: all of it is a change.
        let scratch = session.store.scratch()?;
        let upper = session.store.mount_folder(&self.name)?;
        if isolation.kind().records_owners_in_xattrs() {
            // Files without a record belong to the owner that the mount was made for.
            let owner = Identity { uid: self.uid, gid: self.gid, groups: Vec::new() };
            owner.mark_tree(&upper).map_err(|errno| Error::io("record the owner of", &upper, errno.into()))?;
        }
        let root = RootSpec::Overlay { lower: Vec::new(), upper, work: scratch.path().to_owned() };
        let before = isolation.snapshot(&root)?;
        let no_originals = &mut |_: &[LayerPath]| Ok(Default::default());
        let inside = &mut |entry: &Entry, content: Option<&mut dyn Read>| emit(&entry.clone().below(&folder), content);
        isolation.changes(&root, &before, no_originals, inside).map(drop)
    }
}
