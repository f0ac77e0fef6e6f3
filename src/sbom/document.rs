//! The documents: SPDX 2.3 and CycloneDX 1.5 in JSON. Of both only what says which packages there
//! are; so they are written here field by field, without the large crates that know the rest.
//!
//! Refuses times and identifiers that are not the image's own.

use serde_json::{Value, json};

use super::Package;
use crate::image::Image;
use crate::oci::Digest;

const TOOL: (&str, &str) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

/// SPDX specification 2.3, clauses 6 (document), 7 (packages) and 11 (relationships).
pub(super) fn spdx(name: &str, digest: Digest, image: &Image, packages: &[Package]) -> Value {
    let mut all = vec![json!({
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "versionInfo": digest,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    for package in packages {
        let id = format!("SPDXRef-Package-{}", &Digest::of(&package.purl).hex()[..16]);
        relationships.push(relationship("SPDXRef-Image", "CONTAINS", &id));
        all.push(json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }],
        }));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        // Unique for each document: the image and what it is called decide it.
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", TOOL.0, Digest::of(format!("{name}@{digest}")).hex()),
        "creationInfo": { "created": created(image), "creators": [format!("Tool: {}-{}", TOOL.0, TOOL.1)] },
        "packages": all,
        "relationships": relationships,
    })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// CycloneDX 1.5.
pub(super) fn cyclone_dx(name: &str, digest: Digest, image: &Image, packages: &[Package]) -> Value {
    let component = |package: &Package| {
        json!({
            "type": "library",
            "bom-ref": package.purl,
            "name": package.name,
            "version": package.version,
            "purl": package.purl,
        })
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created(image),
            "tools": { "components": [{ "type": "application", "name": TOOL.0, "version": TOOL.1 }] },
            "component": {
                "type": "container",
                "bom-ref": digest,
                "name": name,
                "version": digest,
            },
        },
        "components": packages.iter().map(component).collect::<Vec<_>>(),
    })
}

/// The image's time in whole seconds, as both formats want it; one that tells none gets 1970.
fn created(image: &Image) -> String {
    let seconds = image.config().created.as_deref().and_then(|time| time.strip_suffix('Z')?.get(..19));
    format!("{}Z", seconds.unwrap_or("1970-01-01T00:00:00"))
}
