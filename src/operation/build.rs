//! Building an image, and giving it names and places.

use std::time::{Duration, Instant};

use super::{Mpimg, PushRequest, PushSource, blocking, engine};
use crate::build::{BuildRequest, Builder};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{Image, Transport};
use crate::oci::{Platform, Reference};
use crate::sbom::SbomFile;

/// Where a built image goes. With neither, only its layers are kept, in the build cache.
#[derive(Debug, Clone, Default)]
pub struct BuildOutputs {
    /// Names in the local store: `NAME[:TAG]`.
    pub names: Vec<Reference>,
    /// Layouts and archives. A docker archive without a name of its own has the first of `names`, for `docker load`.
    pub outputs: Vec<Transport>,
    /// Push the image under each of `names`, to the repository in that name.
    pub push: bool,
    /// Give the image to the docker or podman of this machine, under `names`.
    pub load: bool,
    /// A file for the image's bill of materials, which calls it by the repository of the first of `names`, else by its digest.
    pub sbom_file: Option<SbomFile>,
}

/// An image that was built.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Built {
    /// The image.
    pub image: Image,
    /// How long it took.
    pub time: Duration,
}

/// A push of the image under each of these names; an error before the build if a name has no repository to push to.
fn pushes(names: &[Reference]) -> Result<Vec<PushRequest>> {
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "an image without a name cannot be pushed")
            .with_hint(format!("name it with {}", Setting::Name.with("HOST/PATH:TAG"))));
    }
    let request = |name: &Reference| {
        let platform = Platform::default();
        let request = PushRequest::new(PushSource::Image { name: Transport::Store(name.clone()), platform });
        match request.destination()? {
            Some(_) => Ok(request),
            None => Err(request.no_destination()),
        }
    };
    names.iter().map(request).collect()
}

impl Mpimg {
    /// Builds an image; then gives it names, writes it to its outputs, loads and pushes it, and writes its bill of materials, in this
    /// order.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`], [`ErrorKind::Context`] and [`ErrorKind::RunFailed`] carry the place in the Dockerfile;
    /// [`ErrorKind::Usage`]: a name with a digest; [`ErrorKind::Interrupted`]: stopped; and those of [`Mpimg::packages`] where
    /// a bill of materials is wanted.
    pub async fn build(&self, mut request: BuildRequest, outputs: &BuildOutputs) -> Result<Built> {
        let started = Instant::now();
        if let Some(name) = outputs.names.iter().find(|name| name.digest().is_some()) {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` has a digest", name.familiar()))
                .with_hint("name the image by NAME:TAG; the digest is what the build finds out"));
        }
        let pushes = if outputs.push { pushes(&outputs.names)? } else { Vec::new() };
        request.cancel = self.cancellation().clone();
        let store = self.store()?;
        let builder = Builder::new(store.clone(), self.client().clone(), self.progress().clone());
        let image = blocking(move || builder.build(&request, None)).await?;
        if !outputs.names.is_empty() {
            let record = image.write_to_store(store).await?;
            outputs.names.iter().try_for_each(|name| store.tag(name, &record))?;
        }
        for output in &outputs.outputs {
            output.clone().named(outputs.names.first().cloned()).write(store, &image).await?;
        }
        if outputs.load {
            engine::load(store, &image, &outputs.names).await?;
        }
        for request in pushes {
            self.push(request).await?;
        }
        if let Some(file) = &outputs.sbom_file {
            let name = match outputs.names.first() {
                Some(name) => name.repository().to_string(),
                None => image.descriptor().digest.to_string(),
            };
            self.write_sbom(&name, &image, file).await?;
        }
        Ok(Built { image, time: started.elapsed() })
    }
}
