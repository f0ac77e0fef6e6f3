//! Compression of one block of a layer, each block on its own, so that all cores can work on one
//! layer.
//!
//! There is no state between blocks: the bytes of a block depend on its input and the settings
//! alone, never on which thread had which block before. That is what makes a digest the same for
//! any number of threads.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use libdeflater::{CompressionLvl, Compressor, Decompressor};

use super::block::BlockKey;
use super::cut::BlockBounds;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Compression;

/// How a layer is to be compressed: `gzip[:LEVEL]`, `zstd[:LEVEL]` or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec {
    compression: Compression,
    level: i32,
}

impl Default for Codec {
    /// gzip at [`Codec::GZIP_LEVEL`]: what every registry, Docker and the product accept.
    fn default() -> Self {
        Self { compression: Compression::Gzip, level: Self::GZIP_LEVEL }
    }
}

impl Codec {
    /// Part of the promise that a digest makes: changing it changes every layer's digest.
    pub const GZIP_LEVEL: i32 = 3;
    /// zstd's own default.
    pub const ZSTD_LEVEL: i32 = 3;

    /// Parses `gzip[:0-12]`, `zstd[:1-19]` or `none`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Usage, format!("`{text}` is not a compression"))
                .with_hint("write gzip, gzip:0 to gzip:12, zstd, zstd:1 to zstd:19, or none")
        };
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let level = level.map(|level| level.parse::<i32>().map_err(|_| wrong())).transpose()?;
        match (name, level) {
            ("none", None) => Ok(Self { compression: Compression::None, level: 0 }),
            ("gzip", level @ (None | Some(0..=12))) => {
                Ok(Self { compression: Compression::Gzip, level: level.unwrap_or(Self::GZIP_LEVEL) })
            }
            ("zstd", level @ (None | Some(1..=19))) => {
                Ok(Self { compression: Compression::Zstd, level: level.unwrap_or(Self::ZSTD_LEVEL) })
            }
            _ => Err(wrong()),
        }
    }

    /// The format, without the level.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// How long the blocks of a tar are.
    ///
    /// gzip's window is 32 KiB, so 1 MiB loses 0.2 % to a single stream; zstd's window at level 3
    /// is 2 MiB.
    pub(super) fn block_bounds(&self) -> BlockBounds {
        let half = match self.compression {
            Compression::Zstd => 1 << 20,
            Compression::Gzip | Compression::None => 1 << 19,
        };
        BlockBounds { min: half, mean_extra: half, max: 4 * half }
    }

    /// Names all that the bytes of a block depend on besides the block: the settings, this program,
    /// and how the library compresses a sample.
    pub(crate) fn maker(&self) -> String {
        // Each layer asks, and the sample takes longer than a small layer.
        static MAKERS: LazyLock<Mutex<HashMap<Codec, String>>> = LazyLock::new(Mutex::default);
        let mut makers = MAKERS.lock().unwrap_or_else(PoisonError::into_inner);
        makers.entry(*self).or_insert_with(|| self.find_maker()).clone()
    }

    fn find_maker(&self) -> String {
        let mut sample = Vec::new();
        let text = (0..SAMPLE_WORDS).fold(String::new(), |text, number| text + &(number * number % 9973).to_string());
        let sum = Encoder::new(*self).and_then(|mut encoder| encoder.encode(text.as_bytes(), &mut sample));
        let sum = sum.map_or(0, |()| libdeflater::crc32(&sample));
        format!("{self} {} {RULES} {} {sum:08x}", env!("CARGO_PKG_VERSION"), zstd::zstd_safe::version_string())
    }
}

/// Raise it when blocks become other bytes by this file: which of them are stored, and at what
/// level.
const RULES: u32 = 3;

/// Numbers in the sample: together some blocks of deflate.
const SAMPLE_WORDS: u32 = 20_000;

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compression {
            Compression::None => f.write_str("none"),
            Compression::Gzip => write!(f, "gzip:{}", self.level),
            Compression::Zstd => write!(f, "zstd:{}", self.level),
        }
    }
}

impl FromStr for Codec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// One thread's compressor.
pub(super) struct Encoder {
    codec: Codec,
    engine: Engine,
    /// What stored bytes become.
    unpacked: Vec<u8>,
}

enum Engine {
    None,
    Gzip { fast: Compressor, chosen: Compressor, store: Compressor, probe: Vec<u8> },
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    pub(super) fn new(codec: Codec) -> Result<Self> {
        let engine = match codec.compression {
            Compression::None => Engine::None,
            Compression::Gzip => Engine::Gzip {
                fast: gzip_compressor(1)?,
                chosen: gzip_compressor(codec.level)?,
                store: gzip_compressor(0)?,
                probe: Vec::new(),
            },
            Compression::Zstd => Engine::Zstd(
                zstd::bulk::Compressor::new(codec.level)
                    .map_err(|error| Error::new(ErrorKind::Usage, format!("cannot use `{codec}`")).with_source(error))?,
            ),
        };
        Ok(Self { codec, engine, unpacked: Vec::new() })
    }

    /// Compresses `block` into `out`, which it replaces: one gzip member or one zstd frame.
    pub(super) fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let failed =
            |why: String| Error::new(ErrorKind::Io, format!("cannot compress a block as {}", self.codec)).with_source(why);
        out.clear();
        match &mut self.engine {
            Engine::None => out.extend_from_slice(block),
            Engine::Gzip { fast, chosen, store, probe } => {
                let engine = if compressible(fast, block, probe) { chosen } else { store };
                out.resize(engine.gzip_compress_bound(block.len()), 0);
                let length = engine.gzip_compress(block, out).map_err(|error| failed(error.to_string()))?;
                out.truncate(length);
            }
            Engine::Zstd(engine) => {
                out.resize(zstd::zstd_safe::compress_bound(block.len()), 0);
                let length = engine.compress_to_buffer(block, out.as_mut_slice()).map_err(|error| failed(error.to_string()))?;
                out.truncate(length);
            }
        }
        Ok(())
    }

    /// Whether `stored` is a member or frame that becomes exactly `block`.
    pub(super) fn is_of(&mut self, stored: &[u8], block: &[u8]) -> bool {
        if let Engine::None = self.engine {
            return stored == block;
        }
        // Room for one byte more: what is longer shows itself.
        self.unpacked.resize(block.len() + 1, 0);
        unpack(&self.engine, stored, &mut self.unpacked).is_some_and(|length| self.unpacked[..length] == *block)
    }

    /// Unpacks a member or frame into `block`, which it replaces. `false`: it is not of this block.
    pub(super) fn decode(&mut self, stored: &[u8], key: &BlockKey, block: &mut Vec<u8>) -> bool {
        let expected = key.length() as usize;
        block.resize(expected + 1, 0);
        let length = unpack(&self.engine, stored, block);
        block.truncate(expected);
        length == Some(expected) && BlockKey::of(block) == *key
    }
}

/// Unpacks all of `stored`; how many bytes of `out` that took. `None`: it is damaged or does not
/// fit.
fn unpack(engine: &Engine, stored: &[u8], out: &mut [u8]) -> Option<usize> {
    match engine {
        Engine::None => out.get_mut(..stored.len()).map(|out| out.copy_from_slice(stored)).map(|()| stored.len()),
        Engine::Gzip { .. } => Decompressor::new().gzip_decompress(stored, out).ok(),
        Engine::Zstd(_) => zstd::bulk::decompress_to_buffer(stored, out).ok(),
    }
}

fn gzip_compressor(level: i32) -> Result<Compressor> {
    let level = CompressionLvl::new(level)
        .map_err(|_| Error::new(ErrorKind::Usage, format!("gzip has no level {level}")).with_hint("levels are 0 to 12"))?;
    Ok(Compressor::new(level))
}

/// Whether labour on `block` pays: jars, wheels, images and archives are stored as they are.
///
/// Judged by samples, at 4 % of the cost of compressing the block. None is at its beginning or end,
/// where headers and the end of the tar are: by them, each first and last part of a large jar
/// looked as if it could be compressed.
fn compressible(fast: &mut Compressor, block: &[u8], probe: &mut Vec<u8>) -> bool {
    const SAMPLES: usize = 8;
    const SAMPLE: usize = 4096;
    /// Below this, what is stored costs more than what is saved.
    const WORTH: f64 = 0.97;
    if block.len() < SAMPLES * SAMPLE {
        return true;
    }
    probe.resize(fast.deflate_compress_bound(SAMPLE), 0);
    let compressed: usize = (0..SAMPLES)
        .map(|sample| {
            let start = (2 * sample + 1) * (block.len() - SAMPLE) / (2 * SAMPLES);
            // A sample that does not fit its bound cannot happen; it would count as incompressible.
            fast.deflate_compress(&block[start..start + SAMPLE], probe).unwrap_or(SAMPLE)
        })
        .sum();
    (compressed as f64) < WORTH * (SAMPLES * SAMPLE) as f64
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Bytes that no compressor can shorten, the same in every run.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    }

    fn encode(codec: &str, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new(Codec::parse(codec).unwrap()).unwrap().encode(block, &mut out).unwrap();
        out
    }

    #[test]
    fn a_codec_prints_as_it_is_parsed() {
        for (text, printed) in
            [("gzip", "gzip:3"), ("gzip:12", "gzip:12"), ("zstd", "zstd:3"), ("zstd:19", "zstd:19"), ("none", "none")]
        {
            assert_eq!(Codec::parse(text).unwrap().to_string(), printed);
        }
        for text in ["", "gzip:", "gzip:13", "zstd:0", "zstd:20", "none:1", "lz4", "gzip:-1"] {
            assert!(Codec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_codec_gives_the_block_back() {
        let mut block = noise(100_000);
        block.extend(std::iter::repeat_n(b"adapter ", 50_000).flatten());
        let gzip = encode("gzip", &block);
        let mut back = Vec::new();
        flate2::read::MultiGzDecoder::new(&gzip[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, block);
        assert_eq!(zstd::decode_all(&encode("zstd", &block)[..]).unwrap(), block);
        assert_eq!(encode("none", &block), block);
    }

    #[test]
    fn only_its_own_bytes_are_a_block_s() {
        let block = b"adapter ".repeat(10_000);
        for codec in ["gzip", "zstd", "none"] {
            let mut encoder = Encoder::new(Codec::parse(codec).unwrap()).unwrap();
            let stored = encode(codec, &block);
            assert!(encoder.is_of(&stored, &block), "{codec}");
            assert!(!encoder.is_of(&stored, &block[1..]), "{codec}: another block");
            assert!(!encoder.is_of(&stored, &block[8..]), "{codec}: a longer one");
            assert!(!encoder.is_of(&stored, &[&block[..], b"x"].concat()), "{codec}: a shorter one");
            assert!(!encoder.is_of(&stored[..stored.len() - 1], &block), "{codec}: cut off");
        }
    }

    #[test]
    fn who_made_a_block_is_told_with_the_level_and_the_program() {
        let maker = |codec| Codec::parse(codec).unwrap().maker();
        assert_eq!(maker("gzip"), maker("gzip:3"));
        assert_ne!(maker("gzip:3")[6..], maker("gzip:4")[6..], "a library that compresses in another way");
        assert!(maker("gzip").contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn noise_is_stored_and_text_is_not() {
        let noise = noise(1 << 20);
        assert_eq!(encode("gzip:1", &noise), encode("gzip:9", &noise));
        let text = b"adapter ".repeat(1 << 17);
        assert!(encode("gzip", &text).len() < text.len() / 100);
    }

    #[test]
    fn an_encoder_has_no_memory() {
        let (a, b) = (b"one ".repeat(1000), b"two ".repeat(1000));
        for codec in ["gzip", "zstd"] {
            let mut encoder = Encoder::new(Codec::parse(codec).unwrap()).unwrap();
            let mut out = Vec::new();
            encoder.encode(&a, &mut out).unwrap();
            encoder.encode(&b, &mut out).unwrap();
            assert_eq!(out, encode(codec, &b), "{codec}");
        }
    }
}
