//! Digests: of stored bytes (digest), of an uncompressed tar (diff ID), of a stack of layers (chain
//! ID).
//!
//! Only the two algorithms that the image specification registers are valid (descriptor.md,
//! "Registered algorithms").

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::SerializableState as _;
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{Error, ErrorKind, Result};

/// The digest of stored bytes, such as `sha256:6c3c…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Value);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Value::Sha256(Sha256::digest(bytes.as_ref()).into()))
    }

    /// Parses `algorithm:hex`; hex in lower case, as the image specification demands.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::new(ErrorKind::Usage, format!("`{text}` is not a digest: {why}"));
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| wrong("no `:` after the algorithm"))?;
        let value = match algorithm {
            "sha256" => parse_hex(hex).map(Value::Sha256),
            "sha512" => parse_hex(hex).map(Value::Sha512),
            _ => return Err(wrong("the algorithm is neither sha256 nor sha512")),
        };
        value.map(Self).ok_or_else(|| wrong("the part after `:` is not the right number of lower-case hex digits"))
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self.0 {
            Value::Sha256(_) => "sha256",
            Value::Sha512(_) => "sha512",
        }
    }

    /// The digits after the colon.
    pub fn hex(&self) -> String {
        hex(self.bytes())
    }

    /// The first twelve digits, as docker shows them.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// A hasher of this digest's algorithm, to check bytes against it.
    pub fn hasher(&self) -> Hasher {
        match self.0 {
            Value::Sha256(_) => Hasher::new(),
            Value::Sha512(_) => Hasher { state: State::Sha512(Sha512::new()), length: 0 },
        }
    }

    /// Checks that `bytes` have this digest.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        self.expect(hasher.finish())
    }

    /// Checks that `actual` is this digest.
    pub fn expect(&self, actual: Digest) -> Result<()> {
        if actual == *self {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("digest mismatch: expected `{self}`, the bytes have `{actual}`")))
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Value::Sha256(bytes) => bytes,
            Value::Sha512(bytes) => bytes,
        }
    }
}

fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digits = hex.as_bytes();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The digest of a layer's uncompressed tar (image specification, config.md, "Layer DiffID").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The digest of a stack of layers (image specification, config.md, "Layer ChainID").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain ID of `layers`, lowest first; `None` of no layers.
    pub fn of(layers: impl IntoIterator<Item = DiffId>) -> Option<Self> {
        layers.into_iter().fold(None, |below, layer| Some(Self::over(below, layer)))
    }

    /// The chain ID of the stack `below`, if there is one, with `layer` on top.
    #[must_use]
    pub fn over(below: Option<Self>, layer: DiffId) -> Self {
        below.map_or(Self(layer.0), |below| below.child(layer))
    }

    /// The chain ID of this stack with `layer` on top.
    #[must_use]
    pub fn child(self, layer: DiffId) -> Self {
        Self(Digest::of(format!("{self} {layer}")))
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A digest in the making; counts the bytes, too.
#[derive(Debug, Clone)]
pub struct Hasher {
    state: State,
    length: u64,
}

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// A SHA-256 hasher.
    pub fn new() -> Self {
        Self { state: State::Sha256(Sha256::new()), length: 0 }
    }

    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Takes in a field of a record with its length before it: two different lists of fields never
    /// hash the same bytes.
    pub fn update_field(&mut self, field: &[u8]) {
        self.update(&(field.len() as u64).to_le_bytes());
        self.update(field);
    }

    /// How many bytes were taken in.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(match self.state {
            State::Sha256(state) => Value::Sha256(state.finalize().into()),
            State::Sha512(state) => Value::Sha512(state.finalize().into()),
        })
    }

    /// The state of the hash, for [`restore`](Self::restore); of SHA-256 alone.
    pub(crate) fn save(&self) -> Option<Vec<u8>> {
        match &self.state {
            State::Sha256(state) => Some(state.serialize().to_vec()),
            State::Sha512(_) => None,
        }
    }

    /// The hasher of a saved state, which has taken in `length` bytes.
    pub(crate) fn restore(state: &[u8], length: u64) -> Option<Self> {
        let state = Sha256::deserialize(state.try_into().ok()?).ok()?;
        Some(Self { state: State::Sha256(state), length })
    }

    /// The first bytes of the digest, for keys that are kept in great number.
    pub(crate) fn finish_prefix<const N: usize>(self) -> [u8; N] {
        let digest = self.finish();
        std::array::from_fn(|at| digest.bytes().get(at).copied().unwrap_or_default())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_prints_as_it_was_parsed() {
        assert_eq!(Digest::parse(EMPTY).unwrap().to_string(), EMPTY);
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let long = format!("sha512:{}", "0f".repeat(64));
        assert_eq!(Digest::parse(&long).unwrap().to_string(), long);
    }

    #[test]
    fn wrong_digests_are_refused() {
        for text in ["", "sha256", "sha256:", "md5:00", &EMPTY.to_uppercase(), &EMPTY[..70], "sha512:00", "sha256:zz"] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_chain_id_of_one_layer_is_its_diff_id() {
        let a = DiffId(Digest::of("a"));
        let b = DiffId(Digest::of("b"));
        assert_eq!(ChainId::of([a]), Some(ChainId(a.0)));
        assert_eq!(ChainId::of([a, b]), Some(ChainId(Digest::of(format!("{a} {b}")))));
        assert_eq!(ChainId::of([]), None);
    }

    #[test]
    fn a_hasher_follows_the_algorithm_of_its_digest() {
        let digest = Digest::parse(&format!("sha512:{}", "00".repeat(64))).unwrap();
        let mut hasher = digest.hasher();
        hasher.update(b"x");
        let actual = hasher.finish();
        assert_eq!(actual.algorithm(), "sha512");
        assert_eq!(digest.expect(actual).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
