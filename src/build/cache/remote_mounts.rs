//! Cache mounts in a repository: what `RUN --mount=type=cache` keeps on one machine, for the next
//! to begin with.
//!
//! An entry is an image of one layer, which has the folder as `cache`, under a tag made of the
//! mount's name: its id, and the owner and mode that it is made with. It is not a result: a step
//! whose command runs finds it in its mount, as it finds what the step before it left there, and no
//! layer is ever made of it. Of several machines that save one the last counts.
//!
//! An entry ends a month after it was begun: what nobody has used since is not carried on for
//! ever. A folder of more than [`MOST`] bytes is not saved.

use std::time::Duration;

use super::mount_folder::CacheFolder;
use super::remote::{LAYER, MADE, Offer, RemoteCache};
use super::young::is_young;
use crate::build::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image, ImageConfig, Layer};
use crate::oci::{Digest, Platform, Reference, Tag};
use crate::store::now;

/// The label with the digest of the mount's name.
const NAME: &str = "mpimg.cache.mount";
/// The label with a digest of what the folder has, by names, sizes and times: equal, nothing is
/// compressed or sent.
const STAMP: &str = "mpimg.cache.stamp";
/// What the label that tells the kind of an entry says of one.
const KIND: &str = "mount";

/// How long after its beginning an entry is taken.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The largest folder that is saved, in bytes of its files.
const MOST: u64 = 1 << 30;

/// A cache that was saved.
pub(in crate::build) struct SavedMount {
    pub(in crate::build) layer: Layer,
    /// When it was begun, in seconds since 1970.
    pub(in crate::build) begun: i64,
    stamp: String,
}

impl RemoteCache {
    /// What was saved under this name, if it may be used.
    pub(super) fn saved_mount(&self, name: &str) -> Option<SavedMount> {
        if self.is_off() {
            return None;
        }
        match self.find_mount(name) {
            Ok(saved) => Some(saved).filter(|saved| is_young(saved.begun, now(), LONGEST)),
            Err(error) => {
                match error.kind() {
                    ErrorKind::NotFound | ErrorKind::Interrupted => {}
                    ErrorKind::Corrupt => tracing::warn!(error = error.in_one_line(), "a saved cache mount is not used"),
                    _ => self.failed(&error),
                }
                None
            }
        }
    }

    fn find_mount(&self, name: &str) -> Result<SavedMount> {
        let reference = self.mount_reference(name)?;
        let image = self.pull_entry(&reference, &Platform::default())?;
        let label = |name: &str| image.config().config.labels.get(name).map(String::as_str);
        let is_it = label(LAYER) == Some(KIND) && label(NAME) == Some(Digest::of(name).hex().as_str());
        match (is_it, image.layers()) {
            (true, [layer]) => Ok(SavedMount {
                layer: layer.clone(),
                begun: label(MADE).and_then(|made| made.parse().ok()).unwrap_or(0),
                stamp: label(STAMP).unwrap_or_default().to_owned(),
            }),
            _ => Err(Error::new(ErrorKind::Corrupt, format!("`{}` is not what the mount has kept", reference.familiar()))),
        }
    }

    /// Saves the folder, in the background, unless that is what is saved. `begun`: when what it
    /// began with was begun.
    pub(super) fn save_mount(&self, session: &Session<'_>, folder: &CacheFolder, begun: Option<i64>) {
        if self.is_off() {
            return;
        }
        match self.try_save_mount(session, folder, begun) {
            Ok(()) => {}
            // A folder that changes while it is read, or is too large: the next build saves it.
            Err(error) => tracing::warn!(error = error.in_one_line(), "a cache mount is not saved"),
        }
    }

    fn try_save_mount(&self, session: &Session<'_>, folder: &CacheFolder, begun: Option<i64>) -> Result<()> {
        let reference = self.mount_reference(&folder.name)?;
        let stamp = folder.stamp(session, MOST)?;
        if self.saved_mount(&folder.name).is_some_and(|saved| saved.stamp == stamp) {
            return Ok(());
        }
        let layer = folder.layer(session)?;
        let mut config = ImageConfig::scratch(&Platform::default());
        let labels = [
            (LAYER, KIND.to_owned()),
            (NAME, Digest::of(&folder.name).hex()),
            (STAMP, stamp),
            (MADE, begun.unwrap_or_else(now).to_string()),
        ];
        config.config.labels.extend(labels.map(|(name, value)| (name.to_owned(), value)));
        self.upload(Image::assemble(config, vec![layer], Default::default(), Format::Oci)?, reference, Offer::Always);
        Ok(())
    }

    fn mount_reference(&self, name: &str) -> Result<Reference> {
        Ok(self.repository().with_tag(Tag::parse(&format!("mount-{}", Digest::of(name).hex()))?))
    }
}
