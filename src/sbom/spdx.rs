//! SPDX 2.3 in JSON: packages, licences, and which layer brought what. Only what tells of packages;
//! so it is written here field by field, without the large crates that know the rest.
//!
//! Times and identifiers are the image's own, so the same image gives the same document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::inventory::Inventory;
use super::license;
use super::origin::{TOOL, created};
use super::package::Package;
use crate::image::{Image, Layer};
use crate::oci::Digest;

/// SPDX specification 2.3, clauses 6 (document), 7 (packages), 10 (other licences) and 11
/// (relationships).
pub(super) fn document(name: &str, digest: Digest, image: &Image, inventory: &Inventory) -> Value {
    let layers = || image.layers().iter().enumerate();
    let mut all = vec![json!({
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "versionInfo": digest,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "comment": format!(
            "{} regular files, of which {} belong to no package listed here", inventory.files, inventory.files_without_package
        ),
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    relationships.extend(layers().map(|(number, _)| relationship("SPDXRef-Image", "CONTAINS", &layer_id(number))));
    let mut others = BTreeMap::new();
    for package in &inventory.packages {
        let id = format!("SPDXRef-Package-{}", &Digest::of(&package.purl).hex()[..16]);
        relationships.push(relationship("SPDXRef-Image", "CONTAINS", &id));
        let brought: BTreeSet<usize> = package.places.iter().map(|place| place.layer).collect();
        relationships.extend(brought.into_iter().map(|layer| relationship(&layer_id(layer), "CONTAINS", &id)));
        all.push(described(package, &id, &mut others));
    }
    all.extend(layers().map(|(number, layer)| described_layer(number, layer)));
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        // Unique for each document: the image and what it is called decide it.
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}", TOOL.0, Digest::of(format!("{name}@{digest}")).hex()),
        "creationInfo": { "created": created(image), "creators": [format!("Tool: {}-{}", TOOL.0, TOOL.1)] },
        "packages": all,
        "relationships": relationships,
    });
    if !others.is_empty() {
        let other = |(id, text): (String, String)| json!({ "licenseId": id, "name": text, "extractedText": text });
        document["hasExtractedLicensingInfos"] = others.into_iter().map(other).collect();
    }
    document
}

fn layer_id(number: usize) -> String {
    format!("SPDXRef-Layer-{}", number + 1)
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn described_layer(number: usize, layer: &Layer) -> Value {
    let digest = layer.descriptor.digest;
    let algorithm = digest.algorithm().to_string().to_uppercase();
    json!({
        "SPDXID": layer_id(number),
        "name": digest,
        "primaryPackagePurpose": "ARCHIVE",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "checksums": [{ "algorithm": algorithm, "checksumValue": digest.hex() }],
        "comment": format!("layer {} of the image; its uncompressed tar is {}", number + 1, layer.diff_id),
    })
}

fn described(package: &Package, id: &str, others: &mut BTreeMap<String, String>) -> Value {
    let places: BTreeSet<&str> = package.places.iter().map(|place| &*place.path).collect();
    let places: Vec<&str> = places.into_iter().collect();
    let mut fields = Map::new();
    fields.insert("SPDXID".into(), json!(id));
    fields.insert("name".into(), json!(package.name));
    if !package.version.is_empty() {
        fields.insert("versionInfo".into(), json!(package.version));
    }
    fields.insert("downloadLocation".into(), json!("NOASSERTION"));
    fields.insert("filesAnalyzed".into(), json!(false));
    if let Some(checksum) = &package.checksum {
        fields.insert(
            "checksums".into(),
            json!([{ "algorithm": checksum.algorithm().to_uppercase(), "checksumValue": checksum.hex() }]),
        );
    }
    fields.insert("licenseDeclared".into(), json!(declared(&package.licenses, others)));
    fields.insert("sourceInfo".into(), json!(format!("found in {}", places.join(", "))));
    let purl = json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": package.purl,
    });
    fields.insert("externalRefs".into(), json!([purl]));
    Value::Object(fields)
}

/// All licences in one expression; those that SPDX does not know are added to `others`.
fn declared(licenses: &[String], others: &mut BTreeMap<String, String>) -> String {
    let one = |text: &String| {
        if license::is_expression(text) {
            return if licenses.len() > 1 && text.contains(' ') { format!("({text})") } else { text.clone() };
        }
        let id = format!("LicenseRef-{}", &Digest::of(text).hex()[..16]);
        others.insert(id.clone(), text.clone());
        id
    };
    match licenses {
        [] => "NOASSERTION".to_owned(),
        licenses => licenses.iter().map(one).collect::<Vec<_>>().join(" AND "),
    }
}
