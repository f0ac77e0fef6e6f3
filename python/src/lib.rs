//! The native part of the Python package: what `mpimg.Mpimg` calls, with dictionaries in and out.
//!
//! It is not an interface: names, defaults and documentation are those of the Python sources beside
//! it.

mod call;
mod containers;
mod errors;
mod events;
mod options;
mod pak;
mod results;
mod serve;
mod signing;
mod store;

use pyo3::prelude::*;

#[pymodule]
mod _mpimg {
    use std::path::PathBuf;

    use mpimg::image::Transport;
    use mpimg::oci::Reference;
    use mpimg::operation::{
        AttestationForm, BuildOutputs, CheckSubject, HtmlFile, IndexAttestations, ProvenanceOptions, PushRequest,
    };
    use mpimg::project::{Project, ProjectConfig};
    use mpimg::registry::CredentialStore;
    use mpimg::sbom::SbomFile;
    use pyo3::prelude::*;

    use crate::call::call;
    use crate::errors::raise;
    use crate::options::{BuildOptions, CopyOptions, Options, PushOptions, attestations, credential, parse_all};
    use crate::results::{
        BuiltImage, CheckReport, CopiedImage, InspectedImage, PackageResult, Project as ProjectResult, PushedImage, SbomResult,
        StoredImage,
    };

    #[pymodule_export]
    use crate::containers::{
        Logs, container_info, container_logs, container_remove, container_signal, container_stats, container_stop,
        container_wait, containers, run,
    };
    #[pymodule_export]
    use crate::options::Cancellation;
    #[pymodule_export]
    use crate::pak::{pak_export, pak_import, pak_inspect};
    #[pymodule_export]
    use crate::serve::{RegistryServer, serve};
    #[pymodule_export]
    use crate::signing::{generate_key, sign, sign_file, verify, verify_file};
    #[pymodule_export]
    use crate::store::{doctor, import_image, load, migrate, prune, save};

    /// The version of mpimg.
    #[pymodule_export]
    const __VERSION__: &str = env!("CARGO_PKG_VERSION");

    /// Names the mpimg command: the sandbox starts it as its helper, which an interpreter cannot
    /// be.
    #[pyfunction]
    fn set_helper(program: PathBuf) {
        mpimg::sandbox::set_helper(program);
    }

    /// Reads an SDK project.
    #[pyfunction]
    fn open_project(py: Python<'_>, path: PathBuf) -> PyResult<ProjectResult> {
        let read = || ProjectResult::new(&Project::open(&path)?, &ProjectConfig::read(&path)?);
        read().map_err(|error| raise(py, &error))
    }

    /// Builds an image.
    #[pyfunction]
    fn build(py: Python<'_>, options: Options, request: BuildOptions, progress: Option<Py<PyAny>>) -> PyResult<BuiltImage> {
        let built = call(py, options, progress, move |mpimg| async move {
            let outputs = BuildOutputs {
                check_reproducible: request.check_reproducible,
                names: parse_all(&request.names)?,
                outputs: parse_all(&request.outputs)?,
                push: request.push,
                load: request.load,
                sbom: request.sbom.as_deref().map(str::parse).transpose()?,
                provenance: None,
                attestations: attestations(request.attest.as_deref())?,
                key: None,
                platforms: parse_all(&request.platforms)?,
                sbom_file: request.sbom_file.clone().map(SbomFile::new).transpose()?,
            };
            mpimg.build(request.request()?, &outputs).await
        })?;
        Ok(BuiltImage::new(&built))
    }

    /// Builds and pushes, or pushes what exists.
    #[pyfunction]
    fn push(py: Python<'_>, options: Options, mut request: PushOptions, progress: Option<Py<PyAny>>) -> PyResult<PushedImage> {
        call(py, options, progress, move |mut mpimg| async move {
            let (credential, sbom, provenance) = (request.credential()?, request.sbom()?, request.provenance);
            let in_index = match attestations(request.attest.as_deref())? {
                AttestationForm::Buildkit => {
                    let provenance = provenance.then(ProvenanceOptions::default);
                    Some(IndexAttestations { sbom: sbom.clone(), provenance })
                }
                _ => None,
            };
            let request = PushRequest { sbom: sbom.is_wanted(), in_index, ..request.request()? };
            if let (Some(credential), Some(destination)) = (credential, request.destination()?) {
                mpimg = mpimg.with_credential(destination.push.repository().registry(), credential);
            }
            let pushed = mpimg.push(request).await?;
            let (sbom, provenance) = match pushed.attestation() {
                Some(manifest) => (sbom.attach.map(|_| manifest), provenance.then_some(manifest)),
                None => {
                    let sbom = mpimg.add_sbom(&pushed, &sbom).await?;
                    let provenance = match provenance {
                        true => Some(mpimg.add_provenance(&pushed, ProvenanceOptions::default(), None).await?),
                        false => None,
                    };
                    (sbom, provenance)
                }
            };
            let report = mpimg.check_anonymous(&pushed).await;
            report.expect_stored()?;
            Ok(PushedImage::new(&pushed, &report, sbom, provenance))
        })
    }

    /// Copies an image from anywhere to anywhere.
    #[pyfunction]
    fn copy(py: Python<'_>, options: Options, request: CopyOptions, progress: Option<Py<PyAny>>) -> PyResult<CopiedImage> {
        call(py, options, progress, move |mut mpimg| async move {
            let (request, credential) = request.request()?;
            if let (Some(credential), Transport::Registry(name)) = (credential, &request.destination) {
                mpimg = mpimg.with_credential(name.repository().registry(), credential);
            }
            Ok(CopiedImage::new(&mpimg.copy(request).await?))
        })
    }

    /// Whether an image could be pushed, and pulled by the product.
    #[pyfunction]
    fn check(
        py: Python<'_>,
        options: Options,
        subject: String,
        username: Option<String>,
        password: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<CheckReport> {
        call(py, options, progress, move |mut mpimg| async move {
            let subject = CheckSubject::parse(&subject)?;
            if let Some(credential) = credential(username, password)? {
                mpimg = mpimg.with_credential(subject.push.registry(), credential);
            }
            Ok(CheckReport::new(&subject, &mpimg.check(&subject).await?))
        })
    }

    /// Looks into an image.
    #[pyfunction]
    fn inspect(
        py: Python<'_>,
        options: Options,
        image: String,
        files: bool,
        html: Option<PathBuf>,
        platform: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<InspectedImage> {
        call(py, options, progress, move |mpimg| async move {
            let (image, platform) = (Transport::parse(&image)?, platform.parse()?);
            if let Some(file) = html.map(HtmlFile::new).transpose()? {
                file.write(&mpimg.report(image.clone(), &platform).await?.to_html())?;
            }
            let inspected = mpimg.inspect(image, &platform, files).await?;
            Ok(InspectedImage::new(&inspected, files))
        })
    }

    /// What differs between two images, as JSON.
    #[pyfunction]
    fn diff(
        py: Python<'_>,
        options: Options,
        old: String,
        new: String,
        html: Option<PathBuf>,
        platform: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        call(py, options, progress, move |mpimg| async move {
            let html = html.map(HtmlFile::new).transpose()?;
            let diff = mpimg.diff(Transport::parse(&old)?, Transport::parse(&new)?, &platform.parse()?).await?;
            if let Some(file) = &html {
                file.write(&diff.to_html())?;
            }
            Ok(diff.to_json().to_string())
        })
    }

    /// What is installed in an image.
    #[pyfunction]
    fn packages(
        py: Python<'_>,
        options: Options,
        image: String,
        platform: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<PackageResult>> {
        call(py, options, progress, move |mpimg| async move {
            let image = mpimg.find(Transport::parse(&image)?, &platform.parse()?).await?;
            Ok(mpimg.packages(&image).await?.into_iter().map(PackageResult::new).collect())
        })
    }

    /// The bill of materials of an image.
    #[pyfunction]
    fn sbom(
        py: Python<'_>,
        options: Options,
        image: String,
        format: String,
        platform: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<SbomResult> {
        call(py, options, progress, move |mpimg| async move {
            let sbom = mpimg.sbom(Transport::parse(&image)?, &platform.parse()?, format.parse()?).await?;
            Ok(SbomResult::new(sbom))
        })
    }

    /// Pulls an image into the local store; its name there, its digest, and whether nothing
    /// changed.
    #[pyfunction]
    fn pull(
        py: Python<'_>,
        options: Options,
        name: String,
        platform: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(String, String, bool)> {
        call(py, options, progress, move |mpimg| async move {
            let pulled = mpimg.pull(&name.parse()?, &platform.parse()?).await?;
            Ok((pulled.name.familiar(), pulled.digest.to_string(), pulled.up_to_date))
        })
    }

    /// The tags of a repository.
    #[pyfunction]
    fn tags(py: Python<'_>, options: Options, repository: String) -> PyResult<Vec<String>> {
        call(py, options, None, move |mpimg| async move {
            Ok(mpimg.tags(&repository.parse()?).await?.iter().map(ToString::to_string).collect())
        })
    }

    /// Deletes from registries.
    #[pyfunction]
    fn remove_remote(py: Python<'_>, options: Options, names: Vec<String>) -> PyResult<()> {
        call(py, options, None, move |mpimg| async move { mpimg.remove_remote(&parse_all(&names)?).await })
    }

    /// The images of the local store.
    #[pyfunction]
    fn images(py: Python<'_>, options: Options) -> PyResult<Vec<StoredImage>> {
        call(py, options, None, |mpimg| async move { Ok(mpimg.images()?.iter().map(StoredImage::new).collect()) })
    }

    /// Gives an image another name.
    #[pyfunction]
    fn tag(py: Python<'_>, options: Options, source: String, target: String) -> PyResult<String> {
        call(py, options, None, move |mpimg| async move { Ok(mpimg.tag(&source.parse()?, &target.parse()?)?.to_string()) })
    }

    /// Takes names away.
    #[pyfunction]
    fn remove(py: Python<'_>, options: Options, names: Vec<String>, force: bool) -> PyResult<Vec<String>> {
        call(py, options, None, move |mpimg| async move {
            Ok(mpimg.remove(&parse_all(&names)?, force)?.iter().map(Reference::familiar).collect())
        })
    }

    /// Tries a password and stores it.
    #[pyfunction]
    fn login(py: Python<'_>, options: Options, registry: String, username: String, password: String) -> PyResult<String> {
        call(py, options, None, move |mpimg| async move {
            Ok(match mpimg.login(&registry, &username, &password).await? {
                CredentialStore::File(path) => path.display().to_string(),
                CredentialStore::Helper(helper) => format!("docker-credential-{helper}"),
            })
        })
    }

    /// Forgets a login.
    #[pyfunction]
    fn logout(py: Python<'_>, options: Options, registry: String) -> PyResult<bool> {
        call(py, options, None, move |mpimg| async move { mpimg.logout(&registry).await })
    }
}
