//! Paths in what the store keeps: as bytes at once, not one by one, which takes most of the time of
//! reading a layer's index otherwise. postcard writes the same for both.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

/// Writes the bytes of a path.
pub(crate) fn serialize<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(path)
}

/// Reads the bytes of a path.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_byte_buf(Bytes)
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    // Formats without bytes have a list.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Path(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn what_was_kept_byte_by_byte_is_read_and_the_other_way_round() {
        let path = b"usr/lib/\xff\0".to_vec();
        let old = postcard::to_stdvec(&path).unwrap();
        assert_eq!(postcard::to_stdvec(&Path(path.clone())).unwrap(), old);
        assert_eq!(postcard::from_bytes::<Path>(&old).unwrap(), Path(path.clone()));
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<Path>(&json).unwrap(), Path(path.clone()));
        assert_eq!(serde_json::to_string(&Path(path)).unwrap(), json);
        assert!(postcard::from_bytes::<Path>(&old[..4]).is_err());
    }
}
