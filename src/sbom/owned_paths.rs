//! Lists of paths in what the store keeps of a layer's packages: the bytes of each at once. An
//! image has tens of thousands.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::layer::path_bytes;

#[derive(Serialize)]
struct Written<'a>(#[serde(serialize_with = "path_bytes::serialize")] &'a [u8]);

#[derive(Deserialize)]
struct Read(#[serde(deserialize_with = "path_bytes::deserialize")] Vec<u8>);

pub(super) fn serialize<S: Serializer>(paths: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| Written(path)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
    let paths = Vec::<Read>::deserialize(deserializer)?;
    Ok(paths.into_iter().map(|Read(path)| path).collect())
}
