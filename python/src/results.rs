//! What Python gets: dictionaries that the Python sources make objects of.

use std::collections::BTreeMap;

use mpimg::image::{Image, Layer, ManifestTree, attested_digest};
use mpimg::layer::{Entry, LayerIndex};
use mpimg::oci::Digest;
use mpimg::operation::{Built, CheckSubject, ImageSbom, image_size};
use mpimg::project::ProjectConfig;
use mpimg::registry::{AnonymousReport, BlobOutcome, CheckItem, CheckState, PushedBlob};
use mpimg::sbom::{Inventory, Package, PackagePlace};
use pyo3::prelude::*;

/// `mpimg.Project`
#[derive(IntoPyObject)]
pub(crate) struct Project {
    name: String,
    version: String,
    kind: String,
    image_name: String,
    container_repository: Option<String>,
    container_push_repository: Option<String>,
    use_default_registry: bool,
    default_memory_limit: u64,
}

impl Project {
    pub(crate) fn new(project: &mpimg::project::Project, config: &ProjectConfig) -> mpimg::Result<Self> {
        Ok(Self {
            name: project.name().into(),
            version: project.version().into(),
            kind: project.kind()?.into(),
            image_name: project.image_name()?.familiar(),
            container_repository: config.container_repository().map(str::to_owned),
            container_push_repository: config.container_push_repository().map(str::to_owned),
            use_default_registry: config.use_default_registry(),
            default_memory_limit: config.default_memory_limit(),
        })
    }
}

/// `mpimg.Layer`
#[derive(IntoPyObject)]
pub(crate) struct LayerResult {
    digest: String,
    diff_id: String,
    size: u64,
    created_by: Option<String>,
}

/// The layers of an image, lowest first.
pub(crate) fn layers(image: &Image) -> Vec<LayerResult> {
    let steps = image.config().layer_steps();
    let layer = |(layer, step): (&Layer, &Option<&mpimg::image::History>)| LayerResult {
        digest: layer.descriptor.digest.to_string(),
        diff_id: layer.diff_id.0.to_string(),
        size: layer.descriptor.size,
        created_by: step.and_then(|step| step.created_by.clone()),
    };
    image.layers().iter().zip(&steps).map(layer).collect()
}

/// `mpimg.BuiltImage`
#[derive(IntoPyObject)]
pub(crate) struct BuiltImage {
    digest: String,
    image_id: String,
    size: u64,
    layers: Vec<LayerResult>,
    seconds: f64,
    /// Of an index: its images by platform.
    manifests: Vec<(String, String)>,
}

impl BuiltImage {
    pub(crate) fn new(built: &Built) -> Self {
        let image = &built.image;
        let is_image = |child: &&ManifestTree| attested_digest(&child.descriptor).is_none();
        let of_index = built.index.iter().flat_map(|index| &index.children).filter(is_image);
        let manifest = |child: &ManifestTree| {
            let platform = child.descriptor.platform.as_ref().map(ToString::to_string).unwrap_or_default();
            (platform, child.descriptor.digest.to_string())
        };
        Self {
            manifests: of_index.map(manifest).collect(),
            digest: built.descriptor().digest.to_string(),
            image_id: image.manifest().config.digest.to_string(),
            size: image_size(image),
            layers: layers(image),
            seconds: built.time.as_secs_f64(),
        }
    }
}

/// `mpimg.PushedImage`
#[derive(IntoPyObject)]
pub(crate) struct PushedImage {
    repository: String,
    tags: Vec<String>,
    digest: String,
    image_id: String,
    size: u64,
    layers: Vec<LayerResult>,
    seconds: f64,
    conf_registry: Option<String>,
    conf_repository: String,
    anonymous_pull: bool,
    anonymous_pull_checks: Vec<CheckResult>,
    sbom: Option<String>,
    provenance: Option<String>,
}

impl PushedImage {
    pub(crate) fn new(
        pushed: &mpimg::operation::PushedImage,
        report: &AnonymousReport,
        sbom: Option<Digest>,
        provenance: Option<Digest>,
    ) -> Self {
        let conf = pushed.conf_entries();
        Self {
            repository: pushed.destination.push.to_string(),
            tags: pushed.tags.iter().map(ToString::to_string).collect(),
            digest: pushed.digest.to_string(),
            image_id: pushed.image.manifest().config.digest.to_string(),
            size: pushed.size(),
            layers: layers(&pushed.image),
            seconds: pushed.time.as_secs_f64(),
            conf_registry: conf.registry,
            conf_repository: conf.repository,
            anonymous_pull: report.pullable(),
            anonymous_pull_checks: report.items.iter().map(CheckResult::new).collect(),
            sbom: sbom.map(|digest| digest.to_string()),
            provenance: provenance.map(|digest| digest.to_string()),
        }
    }
}

/// `mpimg.Package`
#[derive(IntoPyObject)]
pub(crate) struct PackageResult {
    kind: &'static str,
    name: String,
    version: String,
    purl: String,
    licenses: Vec<String>,
    checksum: Option<(&'static str, String)>,
    places: Vec<(String, usize)>,
}

impl PackageResult {
    pub(crate) fn new(package: Package) -> Self {
        let Package { kind, name, version, purl, licenses, checksum, places } = package;
        let checksum = checksum.map(|checksum| (checksum.algorithm(), checksum.hex().to_owned()));
        let places = places.into_iter().map(|PackagePlace { path, layer }| (path, layer)).collect();
        Self { kind: kind.name(), name, version, purl, licenses, checksum, places }
    }
}

/// What `Mpimg.sbom` returns.
#[derive(IntoPyObject)]
pub(crate) struct SbomResult {
    document: String,
    digest: String,
    packages: Vec<PackageResult>,
    files: u64,
    files_without_package: u64,
    notices: Vec<String>,
}

impl SbomResult {
    pub(crate) fn new(sbom: ImageSbom) -> Self {
        let ImageSbom { image, inventory, document } = sbom;
        let Inventory { packages, files, files_without_package, notices } = inventory;
        let packages = packages.into_iter().map(PackageResult::new).collect();
        Self { document, digest: image.descriptor().digest.to_string(), packages, files, files_without_package, notices }
    }
}

/// `mpimg.CopiedImage`
#[derive(IntoPyObject)]
pub(crate) struct CopiedImage {
    digest: String,
    media_type: String,
    size: u64,
    manifests: Vec<ManifestResult>,
    referrers: Vec<ManifestResult>,
    left_behind: usize,
    blobs: Vec<BlobResult>,
}

/// `mpimg.Manifest`
#[derive(IntoPyObject)]
pub(crate) struct ManifestResult {
    digest: String,
    media_type: String,
    platform: Option<String>,
}

/// `mpimg.Blob`
#[derive(IntoPyObject)]
pub(crate) struct BlobResult {
    digest: String,
    size: u64,
    outcome: &'static str,
    sent: u64,
}

impl CopiedImage {
    pub(crate) fn new(copied: &mpimg::operation::CopiedImage) -> Self {
        let manifest = |tree: &ManifestTree| ManifestResult {
            digest: tree.descriptor.digest.to_string(),
            media_type: tree.descriptor.media_type.to_string(),
            platform: tree.descriptor.platform.as_ref().map(ToString::to_string),
        };
        let blob = |blob: &PushedBlob| {
            let (outcome, sent) = match blob.outcome {
                BlobOutcome::Mounted => ("mounted", 0),
                BlobOutcome::Uploaded { sent } => ("uploaded", sent),
                _ => ("exists", 0),
            };
            BlobResult { digest: blob.descriptor.digest.to_string(), size: blob.descriptor.size, outcome, sent }
        };
        Self {
            digest: copied.tree.descriptor.digest.to_string(),
            media_type: copied.tree.descriptor.media_type.to_string(),
            size: copied.size(),
            manifests: copied.tree.manifests().into_iter().map(manifest).collect(),
            referrers: copied.referrers.iter().map(manifest).collect(),
            left_behind: copied.left_behind,
            blobs: copied.blobs.iter().map(blob).collect(),
        }
    }
}

/// `mpimg.CheckItem`
#[derive(IntoPyObject)]
pub(crate) struct CheckResult {
    name: String,
    state: &'static str,
    detail: String,
    hint: Option<String>,
}

impl CheckResult {
    pub(crate) fn new(item: &CheckItem) -> Self {
        let state = match item.state {
            CheckState::Passed => "passed",
            CheckState::Failed => "failed",
            CheckState::Later => "later",
            _ => "unknown",
        };
        Self { name: item.name.clone(), state, detail: item.detail.clone(), hint: item.hint.clone() }
    }
}

/// `mpimg.CheckReport`
#[derive(IntoPyObject)]
pub(crate) struct CheckReport {
    repository: String,
    passed: bool,
    items: Vec<CheckResult>,
    pulls: Option<(u64, u64)>,
}

impl CheckReport {
    pub(crate) fn new(subject: &CheckSubject, report: &mpimg::operation::CheckReport) -> Self {
        Self {
            repository: subject.push.to_string(),
            passed: report.passed(),
            items: report.items.iter().map(CheckResult::new).collect(),
            pulls: report.pulls,
        }
    }
}

/// `mpimg.StoredImage`
#[derive(IntoPyObject)]
pub(crate) struct StoredImage {
    name: Option<String>,
    digest: String,
    image_id: String,
    platform: String,
    created: Option<String>,
    made: Option<String>,
    size: u64,
}

impl StoredImage {
    pub(crate) fn new(image: &mpimg::operation::StoredImage) -> Self {
        Self {
            name: (!image.is_unnamed()).then(|| image.name.familiar()),
            digest: image.record.manifest.digest.to_string(),
            image_id: image.record.config.digest.to_string(),
            platform: image.record.platform.to_string(),
            created: image.created.clone(),
            made: image.made(),
            size: image.size(),
        }
    }
}

/// `mpimg.InspectedImage`
#[derive(IntoPyObject)]
pub(crate) struct InspectedImage {
    digest: String,
    image_id: String,
    media_type: String,
    platform: String,
    size: u64,
    /// JSON.
    config: String,
    annotations: BTreeMap<String, String>,
    layers: Vec<LayerResult>,
    /// Of each layer, where they were asked for.
    files: Option<Vec<Vec<FileResult>>>,
    attestations: Vec<ImageAttestation>,
}

/// `mpimg.ImageAttestation`
#[derive(IntoPyObject)]
struct ImageAttestation {
    manifest: String,
    predicate_type: String,
    digest: String,
    size: u64,
}

impl ImageAttestation {
    fn new(attested: &mpimg::operation::ImageAttestation) -> Self {
        Self {
            manifest: attested.manifest.to_string(),
            predicate_type: attested.predicate_type.clone(),
            digest: attested.statement.digest.to_string(),
            size: attested.statement.size,
        }
    }
}

impl InspectedImage {
    pub(crate) fn new(inspected: &mpimg::operation::InspectedImage, files: bool) -> Self {
        let image = &inspected.image;
        let of_layer = |index: &Option<LayerIndex>| index.iter().flat_map(LayerIndex::entries).map(FileResult::new).collect();
        Self {
            digest: image.descriptor().digest.to_string(),
            image_id: image.manifest().config.digest.to_string(),
            media_type: image.descriptor().media_type.to_string(),
            platform: image.config().platform().to_string(),
            size: image_size(image),
            config: String::from_utf8_lossy(image.config_bytes()).into_owned(),
            annotations: image.manifest().annotations.clone(),
            layers: layers(image),
            files: files.then(|| inspected.indexes.iter().map(of_layer).collect()),
            attestations: inspected.attestations.iter().map(ImageAttestation::new).collect(),
        }
    }
}

/// `mpimg.File`
#[derive(IntoPyObject)]
pub(crate) struct FileResult {
    path: String,
    kind: &'static str,
    link: Option<String>,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: i64,
    size: u64,
}

impl FileResult {
    fn new(entry: Entry) -> Self {
        let (kind, link) = entry.kind.describe();
        let metadata = &entry.metadata;
        Self {
            path: entry.path.to_string(),
            kind,
            link,
            mode: metadata.mode,
            uid: metadata.uid.into(),
            gid: metadata.gid.into(),
            mtime: metadata.mtime,
            size: entry.kind.size(),
        }
    }
}
