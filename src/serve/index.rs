//! What one repository holds: its manifests, their tags and who refers to whom. On the disk this is
//! the `index.json` of an OCI image layout (image specification, image-layout.md).
//!
//! Knows nothing of files: it is a value, changed as a whole and written as a whole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::Vacant;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use crate::error::{ErrorKind, Result, ResultExt as _};
use crate::oci::{Descriptor, Digest, MediaType, Tag};

/// The annotation that names an image in a layout (image specification, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Marks a manifest whose last tag was deleted: nobody wants it any more, unless another manifest
/// needs it.
const DROPPED: &str = "io.mpimg.serve.tag-deleted";

/// One manifest of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    subject: Option<Digest>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
    dropped: bool,
}

impl IndexEntry {
    pub(super) fn new(media_type: MediaType, size: u64, manifest: Manifest) -> Self {
        Self {
            artifact_type: manifest.effective_artifact_type(),
            subject: manifest.subject.map(|subject| subject.digest),
            annotations: manifest.annotations,
            media_type,
            size,
            dropped: false,
        }
    }
}

/// All manifests and tags of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    manifests: BTreeMap<Digest, IndexEntry>,
    tags: BTreeMap<Tag, Digest>,
}

/// A descriptor in the answer of the referrers API (distribution specification, "Listing
/// Referrers").
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Referrer<'a> {
    media_type: &'a MediaType,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    schema_version: u8,
    media_type: Option<MediaType>,
    manifests: Vec<Descriptor>,
}

impl Index {
    /// Reads an `index.json`. `entry` reads the manifest of a descriptor; where there is none, the
    /// descriptor is dropped.
    pub(super) fn parse(json: &[u8], mut entry: impl FnMut(&Descriptor) -> Option<IndexEntry>) -> Result<Self> {
        let file: File =
            serde_json::from_slice(json).context(ErrorKind::Corrupt, || "cannot read a repository's `index.json`".into())?;
        let mut index = Self::default();
        for descriptor in file.manifests {
            if let Vacant(place) = index.manifests.entry(descriptor.digest) {
                let Some(entry) = entry(&descriptor) else { continue };
                let dropped = descriptor.annotations.contains_key(DROPPED);
                place.insert(IndexEntry { dropped, ..entry });
            }
            // A name that is not a tag was put there by another program; its manifest stays
            // reachable by digest.
            if let Some(Ok(tag)) = descriptor.annotations.get(REF_NAME).map(|name| Tag::parse(name)) {
                index.tags.insert(tag, descriptor.digest);
            }
        }
        Ok(index)
    }

    /// The `index.json`: a descriptor for every tag, and one for every manifest without a tag.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let describe = |digest: &Digest, tag: Option<&Tag>| {
            let entry = self.manifests.get(digest)?;
            let mut descriptor = Descriptor::new(entry.media_type.clone(), *digest, entry.size);
            descriptor.annotations.extend(tag.map(|tag| (REF_NAME.to_owned(), tag.to_string())));
            let dropped = (tag.is_none() && entry.dropped).then(|| (DROPPED.to_owned(), "true".to_owned()));
            descriptor.annotations.extend(dropped);
            Some(descriptor)
        };
        let tagged: std::collections::BTreeSet<&Digest> = self.tags.values().collect();
        let untagged = self.manifests.keys().filter(|digest| !tagged.contains(digest));
        let manifests = (self.tags.iter().filter_map(|(tag, digest)| describe(digest, Some(tag))))
            .chain(untagged.filter_map(|digest| describe(digest, None)))
            .collect();
        let file = File { schema_version: 2, media_type: Some(MediaType::Index), manifests };
        // Strings, numbers and maps with string keys always become JSON.
        serde_json::to_vec(&file).unwrap_or_default()
    }

    pub(super) fn tagged(&self, tag: &Tag) -> Option<Digest> {
        self.tags.get(tag).copied()
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<&IndexEntry> {
        self.manifests.get(digest)
    }

    /// Adds a manifest, and points `tags` to it.
    pub(super) fn put(&mut self, digest: Digest, entry: IndexEntry, tags: impl IntoIterator<Item = Tag>) {
        self.manifests.insert(digest, entry);
        self.tags.extend(tags.into_iter().map(|tag| (tag, digest)));
    }

    /// Removes a tag; its manifest stays until garbage is collected, or for good if it has other
    /// tags. Tells whether the tag was there.
    pub(super) fn remove_tag(&mut self, tag: &Tag) -> bool {
        let Some(digest) = self.tags.remove(tag) else { return false };
        let is_last = !self.tags.values().any(|tagged| *tagged == digest);
        if let Some(entry) = self.manifests.get_mut(&digest) {
            entry.dropped = is_last;
        }
        true
    }

    /// The digests of all manifests.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.manifests.keys().copied()
    }

    /// The manifests whose last tag was deleted.
    pub(super) fn dropped(&self) -> impl Iterator<Item = Digest> {
        let tagged: std::collections::BTreeSet<&Digest> = self.tags.values().collect();
        let dropped = self.manifests.iter().filter(move |(digest, entry)| entry.dropped && !tagged.contains(digest));
        dropped.map(|(digest, _)| *digest)
    }

    /// The manifests without a tag that refer to `subject`.
    pub(super) fn untagged_referrers(&self, subject: &Digest) -> Vec<Digest> {
        let is_tagged = |digest: &Digest| self.tags.values().any(|tagged| tagged == digest);
        let refers = self.manifests.iter().filter(|(_, entry)| entry.subject.as_ref() == Some(subject));
        refers.map(|(digest, _)| *digest).filter(|digest| !is_tagged(digest)).collect()
    }

    /// Removes a manifest and every tag that points to it. Tells whether it was there.
    pub(super) fn remove_manifest(&mut self, digest: &Digest) -> bool {
        self.tags.retain(|_, tagged| tagged != digest);
        self.manifests.remove(digest).is_some()
    }

    /// The tags after `last` in the order of their bytes; `last` need not be a tag.
    pub(super) fn tags_after<'a>(&'a self, last: Option<&str>) -> impl Iterator<Item = &'a str> {
        let from = match last.map(Tag::parse) {
            Some(Ok(tag)) => Bound::Excluded(tag),
            _ => Bound::Unbounded,
        };
        // What is not a tag has a place in the order, too.
        let last = last.unwrap_or_default().to_owned();
        self.tags.range((from, Bound::Unbounded)).map(|(tag, _)| tag.as_str()).filter(move |tag| *tag > last.as_str())
    }

    /// The manifests whose subject is `digest`, in the order of their digests.
    pub(super) fn referrers<'a>(&'a self, digest: &Digest, artifact_type: Option<&str>) -> Vec<Referrer<'a>> {
        self.manifests
            .iter()
            .filter(|(_, entry)| entry.subject.as_ref() == Some(digest))
            .filter(|(_, entry)| artifact_type.is_none() || entry.artifact_type.as_deref() == artifact_type)
            .map(|(digest, entry)| Referrer {
                media_type: &entry.media_type,
                digest,
                size: entry.size,
                artifact_type: entry.artifact_type.as_deref(),
                annotations: &entry.annotations,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: u64) -> IndexEntry {
        let manifest = Manifest::parse(br#"{"schemaVersion":2}"#).unwrap();
        IndexEntry::new(MediaType::Manifest, size, manifest)
    }

    fn tag(text: &str) -> Tag {
        Tag::parse(text).unwrap()
    }

    #[test]
    fn an_index_survives_the_disk() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let mut index = Index::default();
        index.put(a, entry(1), Some(tag("one")));
        index.put(a, entry(1), Some(tag("two")));
        index.put(b, entry(2), None);
        let again = Index::parse(&index.to_json(), |descriptor| Some(entry(descriptor.size))).unwrap();
        assert_eq!(again, index);
    }

    #[test]
    fn a_manifest_takes_its_tags_along() {
        let digest = Digest::of("a");
        let mut index = Index::default();
        index.put(digest, entry(1), Some(tag("one")));
        index.put(digest, entry(1), Some(tag("two")));
        assert!(index.remove_tag(&tag("one")));
        assert!(!index.remove_tag(&tag("one")));
        assert!(index.manifest(&digest).is_some());
        assert!(index.remove_manifest(&digest));
        assert_eq!(index, Index::default());
    }

    #[test]
    fn tags_are_listed_after_any_text() {
        let mut index = Index::default();
        for name in ["b", "A", "a", "c"] {
            index.put(Digest::of("x"), entry(1), Some(tag(name)));
        }
        let after = |last| index.tags_after(last).collect::<Vec<_>>();
        assert_eq!(after(None), ["A", "a", "b", "c"]);
        assert_eq!(after(Some("a")), ["b", "c"]);
        assert_eq!(after(Some("b.")), ["c"]);
        assert_eq!(after(Some("...")), ["A", "a", "b", "c"]);
        assert_eq!(after(Some("zz")), [""; 0]);
    }
}
