//! Judges images in registries with oci-client, and names with oci-spec
//! (tests/it/registry/peer.rs).
//!
//! ```text
//! oci-client-judge pull REFERENCE FOLDER             prints the digest; writes `config`, and layers as `0`, `1`, …
//! oci-client-judge push REFERENCE CONFIG LAYER…      uncompressed layers, lowest first
//! oci-client-judge tags REFERENCE                    one a line
//! oci-client-judge referrers REFERENCE@DIGEST        one digest a line
//! oci-client-judge names <NAMES                      `HOST REPOSITORY` for each line, or `-` where it is not a name
//! ```

use std::error::Error;
use std::path::Path;

use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::IMAGE_LAYER_MEDIA_TYPE;
use oci_client::secrets::RegistryAuth::Anonymous;

fn main() -> Result<(), Box<dyn Error>> {
    // reqwest asks for one, even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(judge(&arguments))
}

async fn judge(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    let client = || Client::try_from(config);
    match arguments {
        ["pull", reference, folder] => {
            let image = client()?.pull(&reference.parse()?, &Anonymous, vec![IMAGE_LAYER_MEDIA_TYPE]).await?;
            for (at, layer) in image.layers.iter().enumerate() {
                std::fs::write(Path::new(folder).join(at.to_string()), &layer.data)?;
            }
            std::fs::write(Path::new(folder).join("config"), &image.config.data)?;
            println!("{}", image.digest.ok_or("no digest")?);
        }
        ["push", reference, config, layers @ ..] => {
            let read = |path: &&str| Ok(ImageLayer::oci_v1(std::fs::read(path)?, None));
            let layers = layers.iter().map(read).collect::<std::io::Result<Vec<_>>>()?;
            let config = Config::oci_v1(std::fs::read(config)?, None);
            client()?.push(&reference.parse()?, &layers, config, &Anonymous, None).await?;
        }
        ["tags", reference] => {
            let tags = client()?.list_tags(&reference.parse()?, &Anonymous, None, None).await?.tags;
            tags.iter().for_each(|tag| println!("{tag}"));
        }
        ["referrers", reference] => {
            let index = client()?.pull_referrers(&reference.parse()?, None).await?;
            index.manifests.iter().for_each(|entry| println!("{}", entry.digest));
        }
        ["names"] => {
            for name in std::io::read_to_string(std::io::stdin())?.lines() {
                match oci_spec::distribution::Reference::try_from(name) {
                    Ok(name) => println!("{} {}", name.registry(), name.repository()),
                    Err(_) => println!("-"),
                }
            }
        }
        _ => return Err("see the head of src/main.rs for what it understands".into()),
    }
    Ok(())
}
