//! Compression of one block of a layer, each block on its own, so that all cores can work on one
//! layer.
//!
//! Refuses state between blocks: the bytes of a block depend on its input and the settings alone,
//! never on which thread had which block before. That is what makes a digest the same for any
//! number of threads.

use std::fmt;
use std::str::FromStr;

use libdeflater::{CompressionLvl, Compressor};

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

    /// Bytes of tar in one block. Part of a digest's promise, as the level is.
    ///
    /// gzip's window is 32 KiB, so 1 MiB loses 0.2 % to a single stream; zstd's window at level 3
    /// is 2 MiB.
    pub(super) fn block_size(&self) -> usize {
        match self.compression {
            Compression::Zstd => 2 << 20,
            Compression::Gzip | Compression::None => 1 << 20,
        }
    }
}

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
        Ok(Self { codec, engine })
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
}

fn gzip_compressor(level: i32) -> Result<Compressor> {
    let level = CompressionLvl::new(level)
        .map_err(|_| Error::new(ErrorKind::Usage, format!("gzip has no level {level}")).with_hint("levels are 0 to 12"))?;
    Ok(Compressor::new(level))
}

/// Whether labour on `block` pays: jars, wheels, images and archives are stored as they are.
///
/// Judged by samples, at 4 % of the cost of compressing the block.
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
            let start = sample * (block.len() - SAMPLE) / (SAMPLES - 1);
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
