//! What a container has of its image: labels, and ports that are exposed.

use std::collections::{BTreeMap, BTreeSet};

use crate::container::ContainerInfo;
use crate::image::RunConfig;
use crate::operation::LocalImage;

/// The configuration of its image, where that is still here.
fn config<'i>(images: &'i [LocalImage], info: &ContainerInfo) -> Option<&'i RunConfig> {
    let image = images.iter().find(|image| image.record.manifest.digest == info.digest)?;
    Some(&image.config.as_ref()?.config)
}

/// The image's labels, and its own over them.
pub(super) fn labels(images: &[LocalImage], info: &ContainerInfo) -> BTreeMap<String, String> {
    let mut labels = config(images, info).map(|config| config.labels.clone()).unwrap_or_default();
    labels.extend(info.spec.labels.clone());
    labels
}

/// Ports as lists show them: those that are published with where, and the others that the image
/// exposes.
pub(super) fn ports(images: &[LocalImage], info: &ContainerInfo) -> String {
    let exposed = config(images, info).map(|config| config.exposed_ports.clone()).unwrap_or_default();
    let published = info.ports.iter().map(|port| ((port.container, "tcp".to_owned()), port.to_string()));
    let taken: BTreeSet<u16> = info.ports.iter().map(|port| port.container).collect();
    let others = exposed.iter().filter_map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let number = number.parse::<u16>().ok().filter(|number| protocol != "tcp" || !taken.contains(number))?;
        Some(((number, protocol.to_owned()), format!("{number}/{protocol}")))
    });
    let mut all: Vec<_> = published.chain(others).collect();
    all.sort();
    all.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join(", ")
}
