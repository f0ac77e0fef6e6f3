//! The limit for a layer: the compressor alone, on bytes in memory, with as many threads as the
//! layer has.
//!
//! `cargo bench --bench limit -- FILE THREADS DESIGN…` prints for each design its name, seconds
//! (the shortest of three rounds in which the designs take turns) and bytes. benches/run compares
//! them with whole builds. Designs:
//!
//! - `gzip:LEVEL`, `zstd:LEVEL`: blocks of 1 MiB, as in the layer pipeline; `gzip:LEVEL/KIB`: of
//!   another size
//! - `mix:LOW:HIGH:PERCENT`: each block at level LOW, unless samples say that HIGH saves that
//!   percentage
//! - `best:LOW:HIGH:PERCENT`: the same with both levels tried on the whole block, counting only the
//!   time of the chosen one: no way of choosing can do better
//! - `sha256`: no compression, the digest of each block
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints its figures")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};

const MIB: usize = 1 << 20;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [file, threads, designs @ ..] = &arguments[..] else {
        println!("usage: cargo bench --bench limit -- FILE THREADS DESIGN…");
        return;
    };
    let bytes = std::fs::read(file).unwrap();
    let mut least = vec![(f64::INFINITY, 0); designs.len()];
    for _ in 0..ROUNDS {
        for (design, least) in designs.iter().zip(&mut least) {
            let (seconds, size) = measure(design, &bytes, threads.parse().unwrap());
            *least = (least.0.min(seconds), size);
        }
    }
    for (design, (seconds, size)) in designs.iter().zip(least) {
        println!("{design} {seconds:.3} {size}");
    }
}

/// Seconds on this number of threads, and bytes.
fn measure(design: &str, bytes: &[u8], threads: usize) -> (f64, usize) {
    let (design, block) =
        design.split_once('/').map_or((design, MIB), |(design, kib)| (design, kib.parse::<usize>().unwrap() << 10));
    let parts: Vec<&str> = design.split(':').collect();
    let number = |at: usize| parts[at].parse::<i32>().unwrap();
    let blocks: Vec<&[u8]> = bytes.chunks(block).collect();
    let (next, total, spent) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Duration::ZERO));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut coder = match parts[0] {
                    "gzip" => Coder::Gzip(deflate(number(1))),
                    "zstd" => Coder::Zstd(zstd::bulk::Compressor::new(number(1)).unwrap()),
                    "mix" => Coder::Mix(deflate(number(1)), deflate(number(2)), number(3) as f64),
                    "best" => Coder::Best(deflate(number(1)), deflate(number(2)), number(3) as f64),
                    _ => Coder::Sha256,
                };
                let mut out = vec![0; deflate(1).gzip_compress_bound(block).max(zstd::zstd_safe::compress_bound(block))];
                while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (size, time) = coder.encode(block, &mut out);
                    total.fetch_add(size, Ordering::Relaxed);
                    *spent.lock().unwrap() += time;
                }
            });
        }
    });
    let wall = start.elapsed().as_secs_f64();
    let seconds = if parts[0] == "best" { spent.into_inner().unwrap().as_secs_f64() / threads as f64 } else { wall };
    (seconds, total.into_inner())
}

fn deflate(level: i32) -> Compressor {
    Compressor::new(CompressionLvl::new(level).unwrap())
}

enum Coder {
    Gzip(Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
    Mix(Compressor, Compressor, f64),
    Best(Compressor, Compressor, f64),
    Sha256,
}

impl Coder {
    /// The size of the block's output, and the time that counts.
    fn encode(&mut self, block: &[u8], out: &mut [u8]) -> (usize, Duration) {
        let start = Instant::now();
        let size = match self {
            Self::Gzip(coder) => coder.gzip_compress(block, out).unwrap(),
            Self::Zstd(coder) => coder.compress_to_buffer(block, out).unwrap(),
            Self::Mix(low, high, percent) => {
                let coder = if gain(low, high, block, out) > *percent { high } else { low };
                coder.gzip_compress(block, out).unwrap()
            }
            Self::Best(low, high, percent) => {
                let small = high.gzip_compress(block, out).unwrap();
                let slow = start.elapsed();
                let large = low.gzip_compress(block, out).unwrap();
                let fast = start.elapsed() - slow;
                let worth = (large - small.min(large)) as f64 > large as f64 * *percent / 100.0;
                return if worth { (small, slow) } else { (large, fast) };
            }
            Self::Sha256 => Sha256::digest(block).len(),
        };
        (size, start.elapsed())
    }
}

/// The percentage that `high` saves over `low` on four samples of 8 KiB.
fn gain(low: &mut Compressor, high: &mut Compressor, block: &[u8], out: &mut [u8]) -> f64 {
    const SAMPLES: usize = 4;
    const SAMPLE: usize = 8192;
    if block.len() < SAMPLES * SAMPLE {
        return 100.0;
    }
    let starts = (0..SAMPLES).map(|sample| sample * (block.len() - SAMPLE) / (SAMPLES - 1));
    let (mut large, mut small) = (0, 0);
    for start in starts {
        large += low.deflate_compress(&block[start..start + SAMPLE], out).unwrap();
        small += high.deflate_compress(&block[start..start + SAMPLE], out).unwrap();
    }
    (large as f64 - small as f64) / large as f64 * 100.0
}
