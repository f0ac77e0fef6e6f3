//! Fuzzes what reads foreign text and bytes, with mutations of the fixtures, until the time is up.
//!
//! `benches/fuzz` builds and runs it. The fuzzer only mutates, so it needs nothing but stable Rust.
//! It does not measure coverage, so it finds less than libFuzzer in the same time. In return it
//! runs with the overflow checks and debug assertions of a test build, and a seed repeats a run.
//!
//! `fuzz TARGET SECONDS SEED` prints how many inputs it tried. If an input makes a target panic,
//! exceed its time, or break an invariant, the fuzzer writes it to the temporary folder, prints its
//! name, and exits with status 1.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first surprise and prints its figures")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mpimg::context::{Patterns, matches_name};
use mpimg::dockerfile::{Dockerfile, PlanOptions};
use mpimg::layer::{Codec, Entry, Kind, LayerPath, LayerWriter, Metadata, Tree, decompress_tar, index_layer, read_entries};
use mpimg::oci::{Digest, Platform, Reference, Repository};

/// The longest time that an input of this size may take in a test build.
const LONGEST: Duration = Duration::from_secs(2);
/// Inputs are cut to this many bytes.
const LARGEST: usize = 8192;

type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

const TARGETS: [Target; 4] = [
    ("dockerfile", dockerfile, dockerfiles),
    ("pattern", pattern, patterns),
    ("reference", reference, references),
    ("tar", tar, tars),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, seconds, seed] = &arguments[..] else {
        println!("usage: fuzz TARGET SECONDS SEED; targets: {}", TARGETS.map(|(name, ..)| name).join(", "));
        return ExitCode::from(2);
    };
    let Some((name, check, corpus)) = TARGETS.iter().find(|(target, ..)| target == name) else {
        println!("`{name}` is no target");
        return ExitCode::from(2);
    };
    let end = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed.parse().unwrap());
    let corpus = corpus();
    let (mut tried, mut slowest) = (0_u64, Duration::ZERO);
    // The message of a panic is printed once, with the input.
    std::panic::set_hook(Box::new(|_| {}));
    while Instant::now() < end {
        let input = mutated(&corpus, &mut random);
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        let time = start.elapsed();
        slowest = slowest.max(time);
        tried += 1;
        let failure = match outcome {
            Err(panic) => panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())),
            Ok(()) if time > LONGEST => Some(format!("took {:.1} s", time.as_secs_f64())),
            Ok(()) => continue,
        };
        let file = std::env::temp_dir().join(format!("mpimg-fuzz-{name}-{}", &Digest::of(&input).hex()[..12]));
        std::fs::write(&file, &input).unwrap();
        println!("{name}: {} ({} inputs, seed {seed})", failure.unwrap_or_else(|| "panicked".into()), tried);
        println!("the input is in {}: {:?}", file.display(), String::from_utf8_lossy(&input[..input.len().min(400)]));
        return ExitCode::FAILURE;
    }
    println!("{name}: {tried} inputs, the slowest took {:.0} ms", slowest.as_secs_f64() * 1000.0);
    ExitCode::SUCCESS
}

/// An input from the corpus, changed in one to eight places.
fn mutated(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(..=input.len());
        let other = &corpus[random.usize(..corpus.len())];
        let from = random.usize(..=other.len());
        let part = &other[from..(from + random.usize(..64)).min(other.len())];
        match random.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 if at < input.len() => input[at] = *random.choice(SPECIAL).unwrap_or(&0),
            2 => input.insert(at, *random.choice(SPECIAL).unwrap_or(&0)),
            3 => drop(input.drain(at..(at + random.usize(..32)).min(input.len()))),
            4 => drop(input.splice(at..at, part.iter().copied())),
            5 => {
                // A part of itself repeated, perhaps many times: nesting and repetition.
                let stretch = input[at..(at + random.usize(..16)).min(input.len())].repeat(random.usize(1..40));
                input.splice(at..at, stretch);
            }
            6 => input.truncate(at),
            _ => {
                let word = *random.choice(WORDS).unwrap_or(&"");
                input.splice(at..at, word.bytes());
            }
        }
    }
    input.truncate(LARGEST);
    input
}

/// Bytes that mean something to one of the grammars, and some that should not.
const SPECIAL: &[u8] = b"\0\n\r\t \\`\"'$${}[]()<>*?!^-:@/.,#=%~|&;0179aZ\x7f\x80\xc3\xff";
const WORDS: &[&str] = &[
    "FROM ",
    "COPY ",
    "ADD ",
    "RUN ",
    "<<EOF\n",
    "\nEOF\n",
    "--from=",
    "--mount=type=",
    "${a:-",
    "${a##",
    "${a//x/",
    "\\\n",
    "# escape=`\n",
    "**",
    "**/",
    "[^",
    "!",
    "../",
    "@sha256:",
    ":5000/",
    "[::1]",
    "docker.io/",
    "\nFROM scratch AS a\n",
    "ONBUILD ",
    "99999999999999999999",
    " path=",
    "GNU.sparse.",
    "00000000000\0",
    "ustar\x0000",
    "../../",
    "-1",
    "4294967296",
];

fn fixtures(ends: fn(&str) -> bool) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, ends: fn(&str) -> bool, found: &mut Vec<Vec<u8>>) {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                walk(&path, ends, found);
            } else if ends(&path.file_name().unwrap_or_default().to_string_lossy()) {
                found.push(std::fs::read(path).unwrap());
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), ends, &mut found);
    found.push(Vec::new());
    found
}

fn dockerfiles() -> Vec<Vec<u8>> {
    fixtures(|name| name.ends_with("Dockerfile"))
}

/// Parses and plans. An error is fine, too, if it has a message.
fn dockerfile(input: &[u8]) {
    let told = |error: mpimg::Error| assert!(!error.to_string().is_empty());
    let dockerfile = match Dockerfile::parse("Dockerfile", input) {
        Ok(dockerfile) => dockerfile,
        Err(error) => return told(error),
    };
    let build_args = BTreeMap::from([("a".to_owned(), "$b \"".to_owned())]);
    let options = PlanOptions { build_args, ..PlanOptions::default() };
    match dockerfile.plan(&options) {
        Ok(plan) => plan.stages.iter().for_each(|stage| stage.steps.iter().for_each(|step| assert!(!step.text().is_empty()))),
        Err(error) => told(error),
    }
}

fn patterns() -> Vec<Vec<u8>> {
    let mut corpus = fixtures(|name| name.ends_with("dockerignore"));
    let more = ["**/*.py\n!a/b\n", "a[^b-d]?e\\*\n", "*\n!*.md\n!**/c/**\n", "/a/../b//c/.\n", "[a-\\]]\nsub/\n"];
    corpus.extend(more.iter().map(|text| text.as_bytes().to_vec()));
    corpus
}

/// Compiles lines as patterns and asks about paths; the answer must be the same each time.
fn pattern(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let paths = ["a", "a/b", "a/b/c.md", "x/y/z/a.py", "b]", ""].map(|path| LayerPath::parse(path).unwrap());
    for line in text.lines() {
        let _ = matches_name(line, b"a.py");
        let _ = matches_name(line, "é/\u{1F600}".as_bytes());
    }
    let Ok(patterns) = Patterns::parse(text.lines()) else { return };
    for path in paths.iter().chain(&LayerPath::clean(text.lines().next().unwrap_or_default()).ok()) {
        assert_eq!(patterns.matches(path), patterns.matches(path), "{path}");
    }
}

fn references() -> Vec<Vec<u8>> {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let texts =
        ["alpine", "localhost:5000/a/b-c__d.e:1.0_2", "[::1]:80/a@", "Harbor.example.com/mp/nsx", "linux/arm64/v8", "a:b@"];
    let with = |text: &str| [text.to_owned(), format!("{text}@{digest}"), format!("docker.io/library/{text}")];
    texts.iter().flat_map(|text| with(text)).map(String::into_bytes).chain([digest.into(), Vec::new()]).collect()
}

/// A parsed reference prints as text that parses to the same reference.
fn reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
    }
    if let Ok(repository) = Repository::parse(text) {
        assert_eq!(Repository::parse(&repository.to_string()).unwrap(), repository);
    }
    if let Ok(platform) = Platform::parse(text) {
        assert_eq!(Platform::parse(&platform.to_string()).unwrap(), platform);
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
    }
}

/// Small layers with every kind of entry, as mpimg writes them, plain and compressed.
fn tars() -> Vec<Vec<u8>> {
    let entry = |path: &str, kind| Entry {
        path: LayerPath::parse(path).unwrap(),
        kind,
        metadata: Metadata::new(0o644, 7, 8, 1_700_000_000),
    };
    let long = format!("{}/{}", "d".repeat(120), "é".repeat(90));
    let mut odd = entry("odd", Kind::File { size: 5 });
    odd.metadata = Metadata::new(0o6755, 3_000_000, 4_000_000, -5);
    odd.metadata.xattrs = [(b"security.capability".to_vec(), b"\x01\n\0".to_vec())].into_iter().collect();
    let entries = [
        entry("a", Kind::Directory),
        entry("a/f", Kind::File { size: 700 }),
        entry("a/h", Kind::Hardlink { target: LayerPath::parse("a/f").unwrap() }),
        entry("a/w", Kind::Whiteout),
        entry("b", Kind::OpaqueWhiteout),
        entry("c", Kind::CharDevice { major: 1, minor: 3 }),
        entry(&long, Kind::Symlink { target: vec![b't'; 150] }),
        odd,
        entry("p", Kind::Fifo),
    ];
    let write = |codec: &str, entries: &[Entry]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = LayerWriter::new(Codec::parse(codec).unwrap(), 1, file.reopen().unwrap());
        for entry in entries {
            writer
                .append_file(
                    entry,
                    &mut std::io::repeat(b'x').take(match entry.kind {
                        Kind::File { size } => size,
                        _ => 0,
                    }),
                )
                .unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(file.path()).unwrap()
    };
    let mut corpus = vec![write("none", &entries), write("gzip", &entries), write("zstd", &entries)];
    // GNU's long names and sparse files, and what other writers do.
    corpus.extend(entries.iter().map(|entry| write("none", std::slice::from_ref(entry))));
    corpus
}

/// Reads to the end or to an error: as entries with their content, as an index, as a tree.
fn tar(input: &[u8]) {
    let read = |bytes: &mut dyn std::io::Read| {
        let mut tree = Tree::default();
        let mut total = 0_u64;
        let _ = read_entries(bytes, |entry, content| {
            total += std::io::copy(&mut content.take(1 << 20), &mut std::io::sink()).unwrap_or(0);
            let _ = tree.put(entry, 0);
            Ok(())
        });
        total
    };
    read(&mut &input[..]);
    let _ = index_layer(input);
    if let Ok(Some((_, mut tar))) = decompress_tar(input) {
        read(&mut *tar);
    }
}
