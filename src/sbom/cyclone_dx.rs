//! CycloneDX 1.6 in JSON: packages, licences, and which layer brought what. Only what tells of
//! packages; so it is written here field by field.
//!
//! Times and identifiers are the image's own, so the same image gives the same document.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::inventory::Inventory;
use super::license;
use super::origin::{TOOL, created};
use super::package::{Checksum, Package};
use crate::image::Image;
use crate::oci::Digest;

pub(super) fn document(name: &str, digest: Digest, image: &Image, inventory: &Inventory) -> Value {
    let layers: Vec<String> = image.layers().iter().map(|layer| layer.descriptor.digest.to_string()).collect();
    let counted = [("files", inventory.files), ("files-without-package", inventory.files_without_package)];
    let mut properties: Vec<Value> = counted.map(|(key, count)| property(key, &count.to_string())).into();
    properties.extend(layers.iter().map(|layer| property("layer", layer)));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": created(image),
            "tools": { "components": [{ "type": "application", "name": TOOL.0, "version": TOOL.1 }] },
            "component": {
                "type": "container",
                "bom-ref": digest,
                "name": name,
                "version": digest,
                "properties": properties,
            },
        },
        "components": inventory.packages.iter().map(|package| component(package, &layers)).collect::<Vec<_>>(),
        "dependencies": [{
            "ref": digest,
            "dependsOn": inventory.packages.iter().map(|package| &package.purl).collect::<Vec<_>>(),
        }],
    })
}

/// What CycloneDX has no field for goes into properties, whose names begin with who defines them.
fn property(key: &str, value: &str) -> Value {
    json!({ "name": format!("{}:{key}", TOOL.0), "value": value })
}

fn component(package: &Package, layers: &[String]) -> Value {
    let mut fields = Map::new();
    fields.insert("type".into(), json!("library"));
    fields.insert("bom-ref".into(), json!(package.purl));
    fields.insert("name".into(), json!(package.name));
    if !package.version.is_empty() {
        fields.insert("version".into(), json!(package.version));
    }
    if let Some(checksum) = &package.checksum {
        let algorithm = match checksum {
            Checksum::Sha1(_) => "SHA-1",
            Checksum::Sha256(_) => "SHA-256",
        };
        fields.insert("hashes".into(), json!([{ "alg": algorithm, "content": checksum.hex() }]));
    }
    if !package.licenses.is_empty() {
        fields.insert("licenses".into(), licenses(&package.licenses));
    }
    fields.insert("purl".into(), json!(package.purl));
    let brought: BTreeSet<usize> = package.places.iter().map(|place| place.layer).collect();
    let brought: Vec<Value> = brought.into_iter().filter_map(|layer| Some(property("layer", layers.get(layer)?))).collect();
    let paths: BTreeSet<&str> = package.places.iter().map(|place| &*place.path).collect();
    let occurrences: Vec<Value> = paths.into_iter().map(|path| json!({ "location": path })).collect();
    fields.insert("evidence".into(), json!({ "occurrences": occurrences }));
    fields.insert("properties".into(), json!(brought));
    Value::Object(fields)
}

/// Either one expression, or single licences.
fn licenses(licenses: &[String]) -> Value {
    match licenses {
        [one] if license::is_expression(one) && !license::is_id(one) => json!([{ "expression": one }]),
        licenses => {
            let one = |text: &String| match license::is_id(text) {
                true => json!({ "license": { "id": text } }),
                false => json!({ "license": { "name": text } }),
            };
            licenses.iter().map(one).collect()
        }
    }
}
