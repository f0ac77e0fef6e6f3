//! A zip read from its beginning to its end, as it comes out of a layer: an archive in an archive
//! is read without being kept.
//!
//! The crate `zip` reads from the central directory at the end, or only archives whose entries tell
//! their size beforehand, which those of `jar` do not.

use std::io::{self, BufRead as _, Read};

use flate2::bufread::DeflateDecoder;
use memchr::memmem;

use super::window::Window;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
/// What follows the entries: extra data, the directory, its end; each as zip64, too.
const AFTER: [u32; 5] = [0x0806_4b50, 0x0201_4b50, 0x0605_4b50, 0x0606_4b50, 0x0706_4b50];
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
const SIZES_FOLLOW: u16 = 8;
/// A script may stand before the archive, which makes it a program. Spring Boot's has 10 KB.
const LONGEST_START: usize = 64 * 1024;

/// Signature, check sum, two lengths of 8 bytes, and the signature of what follows.
const LONGEST_DESCRIPTOR: usize = 28;

/// How many bytes may still be unpacked: of an archive and all archives in it together.
#[derive(Debug)]
pub(super) struct Budget(pub(super) u64);

/// Why an archive was not read to its end. What was found before counts.
#[derive(Debug)]
pub(super) enum Stopped {
    /// More would be unpacked than allowed.
    Budget,
    /// It is not an archive, or one that cannot be read.
    Unreadable(&'static str),
    /// It cannot be read from its file.
    Io(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Unreadable("it breaks off"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Unreadable("it is damaged"),
            io::ErrorKind::QuotaExceeded => Self::Budget,
            _ => Self::Io(error),
        }
    }
}

/// What an entry is read through: it counts against the budget.
struct Counted<'a, R> {
    inner: R,
    budget: &'a mut Budget,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.0 = self.budget.0.checked_sub(read as u64).ok_or(io::ErrorKind::QuotaExceeded)?;
        Ok(read)
    }
}

/// What is done with each entry: its name, its bytes, and the budget that is left for what is in
/// it.
pub(super) type EachEntry<'a> = dyn FnMut(&str, &mut dyn Read) -> Result<(), Stopped> + 'a;

/// Calls `each` with the name of every file in the archive and a reader of its content.
pub(super) fn read(archive: &mut Window<'_>, budget: &mut Budget, each: &mut EachEntry<'_>) -> Result<(), Stopped> {
    let mut signature = first(archive)?;
    loop {
        if AFTER.contains(&signature) {
            return Ok(());
        }
        if signature != LOCAL {
            return Err(Stopped::Unreadable("something other than a file is in it"));
        }
        signature = entry(archive, budget, each)?;
    }
}

/// Looks for the first entry; its signature.
fn first(archive: &mut Window<'_>) -> Result<u32, Stopped> {
    let mut signature = number(archive)?;
    for _ in 0..LONGEST_START {
        if signature == LOCAL || signature == AFTER[2] {
            return Ok(signature);
        }
        let mut next = [0];
        archive.read_exact(&mut next)?;
        signature = signature >> 8 | u32::from(next[0]) << 24;
    }
    Err(Stopped::Unreadable("it is not an archive"))
}

/// Reads one entry after its signature; the next signature.
fn entry(archive: &mut Window<'_>, budget: &mut Budget, each: &mut EachEntry<'_>) -> Result<u32, Stopped> {
    // APPNOTE.TXT 4.3.7
    let mut header = [0; 26];
    archive.read_exact(&mut header)?;
    let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let long = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (flags, method, packed) = (short(2), short(4), long(14));
    let mut name = vec![0; short(22).into()];
    archive.read_exact(&mut name)?;
    let mut extra = vec![0; short(24).into()];
    archive.read_exact(&mut extra)?;
    let sizes_follow = flags & SIZES_FOLLOW != 0;
    let packed = if packed == u32::MAX { long_size(&extra).unwrap_or(packed.into()) } else { packed.into() };
    let name = String::from_utf8_lossy(&name);
    if sizes_follow && method == DEFLATED && flags & ENCRYPTED == 0 {
        let mut content = Counted { inner: DeflateDecoder::new(&mut *archive), budget };
        each(&name, &mut content)?;
        if content.inner.total_in() == 0 {
            return pass_deflated(archive);
        }
        io::copy(&mut content, &mut io::sink())?;
        return after_descriptor(archive);
    }
    if sizes_follow && packed == 0 && !name.ends_with('/') {
        return Err(Stopped::Unreadable("an entry does not tell how long it is"));
    }
    let mut stored = archive.take(packed);
    match method {
        _ if flags & ENCRYPTED != 0 => {}
        STORED => each(&name, &mut Counted { inner: &mut stored, budget })?,
        DEFLATED => {
            let mut content = Counted { inner: DeflateDecoder::new(&mut stored), budget };
            // Nothing need be unpacked that nobody reads: where it ends is known.
            each(&name, &mut content)?;
        }
        _ => {}
    }
    io::copy(&mut stored, &mut io::sink())?;
    if stored.limit() != 0 {
        return Err(Stopped::Unreadable("it breaks off"));
    }
    if sizes_follow { after_descriptor(archive) } else { number(archive).map_err(Stopped::from) }
}

/// Passes over deflated bytes that nobody reads, to the signature after their data descriptor: to
/// inflate them only to learn where they end would take most of the time. A descriptor is told by
/// the length in it, which is the distance from where the bytes begin.
fn pass_deflated(archive: &mut Window<'_>) -> Result<u32, Stopped> {
    let mut passed = 0;
    loop {
        let bytes = archive.ahead(4 * LONGEST_DESCRIPTOR)?;
        let mut marks = memmem::find_iter(bytes, b"PK");
        if let Some(next) = marks.find_map(|at| after_mark(bytes, at, passed)) {
            archive.consume(next);
            return number(archive).map_err(Stopped::from);
        }
        let length = bytes.len();
        if archive.has_ended() {
            return Err(Stopped::Unreadable("it breaks off"));
        }
        // What may be a part of a descriptor is looked at again with what follows.
        let done = length.saturating_sub(2 * LONGEST_DESCRIPTOR);
        archive.consume(done);
        passed += done as u64;
    }
}

/// Where the signature after a data descriptor is, if the mark at `at` is that of one or of what
/// follows one (APPNOTE.TXT 4.3.9): its own signature may be missing, and its lengths may have 4 or
/// 8 bytes. `passed` bytes of the entry came before.
fn after_mark(bytes: &[u8], at: usize, passed: u64) -> Option<usize> {
    let short = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let next = |at: usize| short(at).filter(|next| *next == LOCAL || AFTER.contains(next)).map(|_| at);
    // Whether the bytes end at `end`, where `skipped` bytes stand before lengths of 4 or 8 bytes.
    let is_short = |end: usize, skipped: usize| short(end + skipped).map(u64::from) == Some(passed + end as u64);
    let is_long = |end: usize, skipped: usize| long(end + skipped) == Some(passed + end as u64);
    if short(at) == Some(DESCRIPTOR) {
        let after = |fits: bool, length: usize| if fits { next(at + length) } else { None };
        return after(is_short(at, 8), 16).or_else(|| after(is_long(at, 8), 24));
    }
    let without_mark =
        at.checked_sub(12).is_some_and(|end| is_short(end, 4)) || at.checked_sub(20).is_some_and(|end| is_long(end, 4));
    if without_mark { next(at) } else { None }
}

/// Passes over a data descriptor; the signature after it. Its own signature may be missing, and its
/// sizes may have 4 or 8 bytes: what follows them decides.
fn after_descriptor(archive: &mut Window<'_>) -> Result<u32, Stopped> {
    if number(archive)? == DESCRIPTOR {
        number(archive)?;
    }
    number(archive)?;
    number(archive)?;
    let next = number(archive)?;
    if next == LOCAL || AFTER.contains(&next) {
        return Ok(next);
    }
    number(archive)?;
    number(archive).map_err(Stopped::from)
}

fn number(archive: &mut Window<'_>) -> io::Result<u32> {
    let mut bytes = [0; 4];
    archive.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// The packed size in a zip64 extra field (APPNOTE.TXT 4.5.3): the second of its numbers.
fn long_size(mut extra: &[u8]) -> Option<u64> {
    while let [kind, kind_high, length, length_high, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*length, *length_high]));
        let (field, after) = rest.split_at_checked(length)?;
        if u16::from_le_bytes([*kind, *kind_high]) == 1 {
            return Some(u64::from_le_bytes(field.get(8..16)?.try_into().ok()?));
        }
        extra = after;
    }
    None
}
