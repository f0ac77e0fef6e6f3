//! Building an image, and giving it names and places.

use std::time::{Duration, Instant};

use super::build_outputs::BuildOutputs;
use super::reproducible::build_twice;
use super::{Mpimg, PushRequest, PushSource, PushedImage, SbomOutputs, Settings, blocking, build_index, engine, name_image};
use crate::build::{BuildMaterials, BuildRequest, Builder};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::{Format, Image, ManifestTree, Transport};
use crate::oci::{Descriptor, Digest, Platform, Reference};

/// An image that was built.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Built {
    /// The image; of several platforms, that of the first.
    pub image: Image,
    /// The index of the images for several platforms.
    pub index: Option<ManifestTree>,
    /// How long it took.
    pub time: Duration,
}

impl Built {
    /// Type, digest and size of what was built: the image's manifest, or the index.
    pub fn descriptor(&self) -> &Descriptor {
        self.index.as_ref().map_or(self.image.descriptor(), |index| &index.descriptor)
    }
}

/// A push of the image under each of these names; an error before the build if a name has no
/// repository to push to.
fn pushes(outputs: &BuildOutputs) -> Result<Vec<PushRequest>> {
    let names = &outputs.names;
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "an image without a name cannot be pushed")
            .with_hint(format!("name it with {}", Setting::Name.with("HOST/PATH:TAG"))));
    }
    let request = |name: &Reference| {
        let platform = Platform::default();
        let mut request = PushRequest::new(PushSource::Image { name: Transport::Store(name.clone()), platform });
        request.sbom = outputs.sbom.is_some();
        #[cfg(feature = "sign")]
        {
            request.provenance = outputs.provenance.is_some();
            request.signed_by = outputs.key.as_ref().map(|key| key.public().clone());
        }
        match request.destination()? {
            Some(_) => Ok(request),
            None => Err(request.no_destination()),
        }
    };
    names.iter().map(request).collect()
}

/// An error if attestations belong into an index that nothing would hold.
fn expect_place_for_attestations(outputs: &BuildOutputs) -> Result<()> {
    let holds_index = |output: &Transport| matches!(output, Transport::OciLayout { .. } | Transport::OciArchive { .. });
    if !outputs.has_attested_index() || outputs.push || outputs.outputs.iter().any(holds_index) {
        return Ok(());
    }
    let message = "attestations in an image's index need a place that holds an index, and none was given";
    Err(Error::new(ErrorKind::Usage, message).with_hint("push the image, or write it to `oci:DIR` or `oci-archive:FILE`"))
}

impl Mpimg {
    /// Builds an image; then gives it names, writes it to its outputs, loads and pushes it, and
    /// writes its bill of materials, in this order. A build context that is an address is fetched
    /// first.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`], [`ErrorKind::Context`] and [`ErrorKind::RunFailed`] carry the
    /// place in the Dockerfile; [`ErrorKind::Usage`]: a name with a digest;
    /// [`ErrorKind::Interrupted`]: stopped; [`ErrorKind::Policy`]: what the site demands of what is
    /// pushed would be left out; those of [`Mpimg::fetch_inputs`]; and those of
    /// [`Mpimg::packages`] where a bill of materials is wanted.
    pub async fn build(&self, mut request: BuildRequest, outputs: &BuildOutputs) -> Result<Built> {
        let started = Instant::now();
        if let Some(name) = outputs.names.iter().find(|name| name.digest().is_some()) {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` has a digest", name.familiar()))
                .with_hint("name the image by NAME:TAG; the build computes the digest"));
        }
        expect_place_for_attestations(outputs)?;
        if outputs.sbom.is_some() && !outputs.push && !outputs.has_attested_index() {
            return Err(Error::new(
                ErrorKind::Usage,
                "a bill of materials is attached to an image in a registry, and nothing is pushed",
            )
            .with_hint("push the image, too, or write the bill of materials to a file"));
        }
        #[cfg(feature = "sign")]
        if outputs.key.is_some() && !outputs.push {
            return Err(Error::new(ErrorKind::Usage, "an image is signed in its registry, and nothing is pushed")
                .with_hint("push the image, too"));
        }
        let pushes = if outputs.push { pushes(outputs)? } else { Vec::new() };
        if outputs.push {
            let policy = Settings::read()?.policy;
            pushes.iter().try_for_each(|push| policy.check_push(push))?;
            request.allowed_bases.extend(policy.bases);
        }
        let platforms = match outputs.platforms.as_slice() {
            [] => vec![request.platform.clone()],
            platforms => platforms.to_vec(),
        };
        if platforms.len() > 1 {
            build_index::check(outputs)?;
        }
        let _fetched = self.fetch_inputs(&mut request).await?;
        #[cfg(feature = "sign")]
        {
            request.provenance |= outputs.provenance.is_some();
        }
        request.list_packages |= outputs.sbom.is_some() || outputs.sbom_file.is_some();
        let mut images = Vec::new();
        for platform in platforms {
            images.push(self.build_one(BuildRequest { platform, ..request.clone() }, outputs.check_reproducible).await?);
        }
        let index = self.index(&images, request.format, outputs).await?;
        let delivered = match (&index, images.as_slice()) {
            (Some(tree), [_, _, ..]) => self.deliver_index(tree, images.iter().map(|(image, _)| image), pushes, outputs).await,
            _ => self.deliver(&images[0].0, &images[0].1, index.as_ref(), pushes, outputs).await,
        };
        self.keep_to_limit().await;
        delivered?;
        Ok(Built { image: images.swap_remove(0).0, index, time: started.elapsed() })
    }

    /// The index of several images, or of what is recorded of them.
    async fn index(
        &self,
        images: &[(Image, BuildMaterials)],
        format: Format,
        outputs: &BuildOutputs,
    ) -> Result<Option<ManifestTree>> {
        if outputs.has_attested_index() {
            #[cfg(feature = "sign")]
            return self.attested_index(images, outputs).await.map(Some);
        }
        match images {
            [_, _, ..] => {
                let children = images.iter().map(|(image, _)| ManifestTree::of_image(image)).collect();
                build_index::index_of(children, format).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn build_one(&self, request: BuildRequest, check_reproducible: bool) -> Result<(Image, BuildMaterials)> {
        let store = self.open_store().await?;
        let builder = Builder::new(store.clone(), self.client().clone(), self.progress().clone());
        match check_reproducible {
            true => build_twice(builder, &store, request).await,
            false => blocking(move || builder.build(&request, None)).await,
        }
    }

    /// Attaches the provenance, then signs.
    #[cfg(feature = "sign")]
    async fn attest(&self, pushed: &PushedImage, sbom: Option<Digest>, outputs: &BuildOutputs) -> Result<()> {
        if let Some(options) = outputs.provenance {
            self.add_provenance(pushed, options, outputs.key.as_ref()).await?;
        }
        if let Some(key) = &outputs.key {
            self.sign_pushed(pushed, sbom, key).await?;
        }
        Ok(())
    }

    #[cfg(not(feature = "sign"))]
    #[expect(clippy::unused_async, reason = "the same signature as with the feature")]
    async fn attest(&self, _: &PushedImage, _: Option<Digest>, _: &BuildOutputs) -> Result<()> {
        Ok(())
    }

    async fn deliver(
        &self,
        image: &Image,
        materials: &BuildMaterials,
        index: Option<&ManifestTree>,
        pushes: Vec<PushRequest>,
        outputs: &BuildOutputs,
    ) -> Result<()> {
        let store = &self.open_store().await?;
        if !outputs.names.is_empty() {
            let record = image.write_to_store(store).await?;
            name_image(store, &outputs.names, record).await?;
        }
        for output in &outputs.outputs {
            match (index, output) {
                (Some(tree), Transport::OciLayout { .. } | Transport::OciArchive { .. }) => {
                    output.write_tree(store, tree, &[]).await?;
                }
                _ => output.clone().named(outputs.names.first().cloned()).write(store, image).await?,
            }
        }
        if outputs.load {
            engine::load(store, image, &outputs.names).await?;
        }
        let pushes = match index {
            Some(tree) => {
                self.push_built_index(tree, std::iter::once(image), pushes, outputs).await?;
                Vec::new()
            }
            None => pushes,
        };
        for request in pushes {
            let platform = image.config().platform();
            let PushSource::Image { name, .. } = request.source else { continue };
            let request = PushRequest { source: PushSource::Image { name, platform }, ..request };
            let pushed = self.push(request).await?;
            let pushed = PushedImage { materials: Some(materials.clone()), ..pushed };
            let sbom = self.add_sbom(&pushed, &SbomOutputs { attach: outputs.sbom, file: None }).await?;
            self.attest(&pushed, sbom, outputs).await?;
        }
        if let Some(file) = &outputs.sbom_file {
            let name = match outputs.names.first() {
                Some(name) => name.repository().to_string(),
                None => image.descriptor().digest.to_string(),
            };
            self.write_sbom(&name, image, file).await?;
        }
        Ok(())
    }
}
