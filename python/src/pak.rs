//! Management packs for a Python caller.

use std::path::PathBuf;

use mpimg::operation::{ExportedPak, ImportedPak, InspectedPak, PakImportRequest};
use mpimg::project::{ContainerRepository, Pak};
use mpimg::registry::AnonymousReport;
use pyo3::prelude::*;

use crate::call::call;
use crate::options::{Options, credential};

/// `mpimg.Pak`
#[derive(IntoPyObject)]
pub(crate) struct PakResult {
    path: PathBuf,
    name: String,
    version: String,
    kind: String,
    registry: Option<String>,
    repository: String,
    digest: String,
    signatures: Vec<String>,
    image: Option<String>,
    present: Option<bool>,
    anonymous_pull: Option<bool>,
    tag: Option<String>,
    referrers: usize,
}

impl PakResult {
    fn new(pak: Pak) -> Self {
        Self {
            path: pak.path,
            name: pak.name,
            version: pak.version,
            kind: pak.kind,
            registry: pak.registry,
            repository: pak.repository,
            digest: pak.digest.to_string(),
            signatures: pak.signatures,
            image: None,
            present: None,
            anonymous_pull: None,
            tag: None,
            referrers: 0,
        }
    }
}

/// Reads a pack and asks its registry.
#[pyfunction]
pub(crate) fn pak_inspect(
    py: Python<'_>,
    options: Options,
    file: PathBuf,
    registry: Option<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PakResult> {
    call(py, options, progress, move |mpimg| async move {
        let InspectedPak { pak, image, present, anonymous, .. } = mpimg.pak_inspect(&file, registry.as_deref()).await?;
        Ok(PakResult {
            image: image.map(|image| image.to_string()),
            present: present.and_then(Result::ok),
            anonymous_pull: anonymous.as_ref().map(AnonymousReport::pullable),
            ..PakResult::new(pak)
        })
    })
}

/// Writes a pack with its image to one file.
#[pyfunction]
pub(crate) fn pak_export(
    py: Python<'_>,
    options: Options,
    file: PathBuf,
    registry: Option<String>,
    output: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<PakResult> {
    call(py, options, progress, move |mpimg| async move {
        let ExportedPak { pak, image, referrers, .. } = mpimg.pak_export(&file, registry.as_deref(), &output).await?;
        Ok(PakResult { path: output, image: Some(image.to_string()), present: Some(true), referrers, ..PakResult::new(pak) })
    })
}

/// Pushes a pack's image and writes the pack that names it.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "those of the Python method")]
pub(crate) fn pak_import(
    py: Python<'_>,
    options: Options,
    file: PathBuf,
    repository: String,
    tag: Option<String>,
    output: PathBuf,
    use_default_registry: bool,
    username: Option<String>,
    password: Option<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PakResult> {
    call(py, options, progress, move |mut mpimg| async move {
        let repository = ContainerRepository::parse(&repository)?;
        if let Some(credential) = credential(username, password)? {
            mpimg = mpimg.with_credential(repository.repository().registry(), credential);
        }
        let tag = tag.map(|tag| tag.parse()).transpose()?;
        let request = PakImportRequest { file, repository, tag, output, use_default_registry };
        let ImportedPak { pak, image, tag, referrers, anonymous, .. } = mpimg.pak_import(request).await?;
        Ok(PakResult {
            image: Some(image.to_string()),
            present: Some(true),
            anonymous_pull: Some(anonymous.pullable()),
            tag: Some(tag.to_string()),
            referrers,
            ..PakResult::new(pak)
        })
    })
}
