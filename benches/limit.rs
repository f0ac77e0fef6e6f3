//! The limit for a layer: the compressor alone, on bytes that are in memory, on as many threads as the layer had.
//!
//! `cargo bench --bench limit -- FILE LEVEL THREADS` prints seconds and bytes. benches/run compares them with whole builds.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints its figures")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The block size of the layer pipeline.
const BLOCK: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [file, level, threads] = &arguments[..] else {
        println!("usage: cargo bench --bench limit -- FILE LEVEL THREADS");
        return;
    };
    let bytes = std::fs::read(file).unwrap();
    let blocks: Vec<&[u8]> = bytes.chunks(BLOCK).collect();
    let level = libdeflater::CompressionLvl::new(level.parse().unwrap()).unwrap();
    let (next, total) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads.parse().unwrap() {
            scope.spawn(|| {
                let mut compressor = libdeflater::Compressor::new(level);
                let mut out = vec![0; compressor.gzip_compress_bound(BLOCK)];
                while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    total.fetch_add(compressor.gzip_compress(block, &mut out).unwrap(), Ordering::Relaxed);
                }
            });
        }
    });
    println!("{:.3} {}", start.elapsed().as_secs_f64(), total.into_inner());
}
