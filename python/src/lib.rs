//! The native part of the Python package: what `mpimg.Mpimg` calls, with dictionaries in and out.
//!
//! Refuses to be an interface of its own: names, defaults and documentation are those of the Python sources beside it.

mod call;
mod errors;
mod events;
mod options;
mod results;

use pyo3::prelude::*;

#[pymodule]
mod _mpimg {
    use std::path::PathBuf;

    use mpimg::operation::BuildOutputs;
    use mpimg::project::{Project, ProjectConfig};
    use pyo3::prelude::*;

    use crate::call::call;
    use crate::errors::raise;
    use crate::options::{BuildOptions, Options, PushOptions, parse_all};
    use crate::results::{BuiltImage, Project as ProjectResult, PushedImage};

    /// The version of mpimg.
    #[pymodule_export]
    const __VERSION__: &str = env!("CARGO_PKG_VERSION");

    /// Names the mpimg command: the sandbox starts it as its helper, which an interpreter cannot be.
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
            let outputs = BuildOutputs { names: parse_all(&request.names)?, outputs: parse_all(&request.outputs)? };
            mpimg.build(request.request()?, &outputs).await
        })?;
        Ok(BuiltImage::new(&built.image, built.time))
    }

    /// Builds and pushes, or pushes what exists.
    #[pyfunction]
    fn push(py: Python<'_>, options: Options, mut request: PushOptions, progress: Option<Py<PyAny>>) -> PyResult<PushedImage> {
        call(py, options, progress, move |mut mpimg| async move {
            let credential = request.credential()?;
            let request = request.request()?;
            if let (Some(credential), Some(destination)) = (credential, request.destination()?) {
                mpimg = mpimg.with_credential(destination.push.repository().registry(), credential);
            }
            let pushed = mpimg.push(request).await?;
            let report = mpimg.check_anonymous(&pushed).await;
            Ok(PushedImage::new(&pushed, &report))
        })
    }
}
