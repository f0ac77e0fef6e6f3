//! A bill of materials for an image that was pushed, kept beside it in the registry.
//!
//! Refuses to change the image: what refers to it has a digest of its own.

use std::fs::File;
use std::io::BufReader;

use super::{Mpimg, PushedImage, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, artifact};
use crate::layer::decompress;
use crate::oci::{Descriptor, Digest};
use crate::sbom::{Package, SbomFormat, Scan};

const BUFFER: usize = 256 * 1024;

impl Mpimg {
    /// The Python and Debian packages of an image. Layers that are elsewhere are fetched.
    ///
    /// # Errors
    /// Those of the registry that has a layer; [`ErrorKind::Corrupt`]: a layer is damaged.
    pub async fn packages(&self, image: &Image) -> Result<Vec<Package>> {
        let store = self.store()?;
        let mut files = Vec::new();
        for layer in image.layers() {
            let Some(compression) = layer.descriptor.media_type.layer_compression() else {
                let message = format!("layer `{}` is of type `{}`", layer.descriptor.digest, layer.descriptor.media_type);
                return Err(Error::new(ErrorKind::Unsupported, message));
            };
            files.push((store.fetch(&layer.source, &layer.descriptor).await?, compression));
        }
        blocking(move || {
            let mut scan = Scan::default();
            for (path, compression) in files {
                let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
                scan.add(decompress(BufReader::with_capacity(BUFFER, file), compression)?)?;
            }
            Ok(scan.packages())
        })
        .await
    }

    /// Attaches a bill of materials to a pushed image; the digest of the manifest that carries it.
    ///
    /// # Errors
    /// Those of [`Mpimg::packages`] and of the registry.
    pub async fn attach_sbom(&self, pushed: &PushedImage, format: SbomFormat) -> Result<Digest> {
        let attach = async {
            let packages = self.packages(&pushed.image).await?;
            let repository = pushed.destination.push.repository();
            let document = format.document(&repository.to_string(), &pushed.image, &packages);
            let there = &pushed.pushed;
            let subject = Descriptor::new(there.media_type.clone(), there.digest, there.size());
            let artifact = artifact(format.media_type(), document.into(), &subject);
            self.client().attach(repository, &artifact).await?;
            Ok(artifact.descriptor.digest)
        };
        attach.await.map_err(|error: Error| error.wrap("the image is pushed, but its SBOM is not"))
    }
}
