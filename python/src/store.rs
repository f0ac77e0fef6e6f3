//! The local store and this machine for a Python caller: importing, loading, saving, pruning, and
//! what `doctor` finds.

use std::path::PathBuf;

use mpimg::build::{RunMount, RunSettings};
use mpimg::image::Transport;
use mpimg::oci::Reference;
use mpimg::operation::{
    BaseChange, ConfigurationFile, DoctorReport, ImportRequest, LoadRequest, LoadedImage, MigrateRequest, SaveRequest,
    StoredCredential,
};
use mpimg::sandbox::Attempt;
use mpimg::store::PruneOptions;
use pyo3::prelude::*;

use crate::call::call;
use crate::options::Options;

/// Makes a base image of a root file system; its digest.
#[pyfunction]
pub(crate) fn import_image(
    py: Python<'_>,
    options: Options,
    tar: PathBuf,
    name: String,
    platform: String,
    codec: String,
    source_date_epoch: Option<u64>,
) -> PyResult<String> {
    call(py, options, None, move |mpimg| async move {
        let mut request = ImportRequest::new(tar, name.parse()?).with_environment();
        request.platform = platform.parse()?;
        request.codec = codec.parse()?;
        if let Some(epoch) = source_date_epoch {
            request.source_date_epoch = Some(epoch.to_string());
        }
        Ok(mpimg.import(request).await?.descriptor().digest.to_string())
    })
}

/// `mpimg.LoadedImage`
#[derive(IntoPyObject)]
pub(crate) struct LoadedResult {
    names: Vec<String>,
    digest: String,
}

/// Loads the images of an archive.
#[pyfunction]
pub(crate) fn load(
    py: Python<'_>,
    options: Options,
    archive: PathBuf,
    name: Option<String>,
    platform: String,
) -> PyResult<Vec<LoadedResult>> {
    call(py, options, None, move |mpimg| async move {
        let mut request = LoadRequest::new(archive);
        request.name = name.map(|name| name.parse()).transpose()?;
        request.platform = platform.parse()?;
        let result = |LoadedImage { image, names, .. }: LoadedImage| LoadedResult {
            names: names.iter().map(Reference::familiar).collect(),
            digest: image.descriptor().digest.to_string(),
        };
        Ok(mpimg.load(request).await?.into_iter().map(result).collect())
    })
}

/// Writes an image to archives and layouts; its digest.
#[pyfunction]
pub(crate) fn save(
    py: Python<'_>,
    options: Options,
    image: String,
    outputs: Vec<String>,
    platform: String,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    call(py, options, progress, move |mpimg| async move {
        let mut request = SaveRequest::new(Transport::parse(&image)?);
        request.platform = platform.parse()?;
        outputs.iter().try_for_each(|output| request.add_output(output))?;
        Ok(mpimg.save(request).await?.descriptor().digest.to_string())
    })
}

/// `mpimg.BaseChange`
#[derive(IntoPyObject)]
pub(crate) struct BaseChangeResult {
    line: usize,
    before: String,
    after: String,
}

/// `mpimg.Migration`
#[derive(IntoPyObject)]
pub(crate) struct MigrationResult {
    dockerfile: PathBuf,
    changes: Vec<BaseChangeResult>,
    left: Vec<String>,
    diff: String,
}

/// What is to be changed in the Dockerfile of an old project; `write`: changes it.
#[pyfunction]
pub(crate) fn migrate(
    py: Python<'_>,
    options: Options,
    path: PathBuf,
    dockerfile: Option<PathBuf>,
    write: bool,
) -> PyResult<MigrationResult> {
    call(py, options, None, move |mpimg| async move {
        let migration = mpimg.migration(MigrateRequest { context: path, dockerfile }).await?;
        if write && !migration.changes.is_empty() {
            migration.write()?;
        }
        let diff = migration.diff();
        let change = |BaseChange { line, from, to, .. }: BaseChange| BaseChangeResult { line, before: from, after: to };
        Ok(MigrationResult {
            dockerfile: migration.dockerfile,
            changes: migration.changes.into_iter().map(change).collect(),
            left: migration.left,
            diff,
        })
    })
}

/// `mpimg.PruneReport`
#[derive(IntoPyObject)]
pub(crate) struct PruneResult {
    blobs: usize,
    cache_records: usize,
    cache_mounts: usize,
    unpacked_layers: usize,
    freed: u64,
    left: u64,
}

/// Frees space in the local store.
#[pyfunction]
pub(crate) fn prune(
    py: Python<'_>,
    options: Options,
    all: bool,
    keep_storage: Option<u64>,
    keep_cache: Option<u64>,
) -> PyResult<PruneResult> {
    call(py, options, None, move |mpimg| async move {
        let pruned = mpimg.prune(PruneOptions { keep_storage, keep_cache, all }).await?;
        let report = pruned.report;
        Ok(PruneResult {
            blobs: report.blobs,
            cache_records: report.cache_records,
            cache_mounts: report.mounts,
            unpacked_layers: report.unpacked,
            freed: report.freed,
            left: pruned.left,
        })
    })
}

/// `mpimg.DoctorReport`
#[derive(IntoPyObject)]
pub(crate) struct DoctorResult {
    isolation: Option<String>,
    isolations: Vec<IsolationResult>,
    /// The local store's folder.
    store: Option<PathBuf>,
    /// What it takes on disk, in bytes.
    store_size: Option<u64>,
    /// The bytes that the build cache may take.
    cache_limit: Option<u64>,
    /// Why it cannot be opened.
    store_error: Option<String>,
    /// Path, purpose, and whether it exists.
    files: Vec<(PathBuf, &'static str, bool)>,
    /// Of mpimg's configuration file; of variables the names alone.
    run_ca_files: Vec<PathBuf>,
    run_env: Vec<String>,
    run_mounts: Vec<(PathBuf, String)>,
    /// Why that file cannot be read.
    settings_error: Option<String>,
    variables: Vec<&'static str>,
    /// Registry, and the place of the login.
    credentials: Vec<(String, String)>,
}

/// `mpimg.IsolationCheck`
#[derive(IntoPyObject)]
pub(crate) struct IsolationResult {
    name: String,
    works: bool,
    step: Option<String>,
    remedy: Option<String>,
}

impl IsolationResult {
    fn new(Attempt { isolation, failure }: Attempt) -> Self {
        let (step, remedy) = failure.map(|failure| (failure.step, failure.remedy)).unzip();
        Self { name: isolation.to_string(), works: step.is_none(), step, remedy }
    }
}

/// What this machine provides.
#[pyfunction]
pub(crate) fn doctor(py: Python<'_>, options: Options) -> PyResult<DoctorResult> {
    call(py, options, None, move |mpimg| async move {
        let DoctorReport { isolation, store, cache_limit, files, settings, variables, credentials, .. } = mpimg.doctor().await?;
        let (run, settings_error) = match settings {
            Ok(settings) => (settings.run, None),
            Err(error) => (RunSettings::default(), Some(error.to_string())),
        };
        let (store, store_size, store_error) = match store {
            Ok((path, usage)) => (Some(path), Some(usage.total()), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        Ok(DoctorResult {
            isolation: isolation.selected.map(|isolation| isolation.to_string()),
            isolations: isolation.attempts.into_iter().map(IsolationResult::new).collect(),
            store,
            store_size,
            cache_limit,
            store_error,
            files: files.into_iter().map(|ConfigurationFile { path, purpose, exists, .. }| (path, purpose, exists)).collect(),
            run_ca_files: run.ca_files,
            run_env: run.env.into_keys().collect(),
            run_mounts: run.mounts.into_iter().map(|RunMount { source, target }| (source, target)).collect(),
            settings_error,
            variables,
            credentials: credentials.into_iter().map(|StoredCredential { registry, place, .. }| (registry, place)).collect(),
        })
    })
}
