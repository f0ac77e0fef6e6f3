//! Whether the files of a work tree are as they were committed.
//!
//! What git has noted of each file (gitformat-index(5)) tells it without a look at the content, as
//! long as nothing has touched the file; of the others the content is hashed.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha1::Digest as _;

use super::file::{corrupt, open, read_text};
use super::object;
use super::pack::read_offset;
use super::refs::Repository;
use crate::context::{BuildContext, Patterns};
use crate::layer::Kind;
use crate::oci::hex;

/// The largest index that is read, in bytes: that of a repository with millions of files.
const MAX_INDEX_SIZE: u64 = 1 << 30;
/// How deep repositories in repositories are followed.
const MAX_SUBMODULES: usize = 8;

const TYPE: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const SUBMODULE: u32 = 0o160_000;

/// A file as the index has it.
struct IndexEntry {
    path: Vec<u8>,
    mode: u32,
    id: Vec<u8>,
    /// Seconds and nanoseconds of the last change of state and of content, device, inode, owner,
    /// group and size, each cut to 32 bits.
    stat: [u32; 9],
    /// A side of a conflict, or only announced.
    unmerged: bool,
    /// It is not meant to be in the folder.
    skipped: bool,
}

/// Whether a file that was committed is changed or missing in the work tree that `folder` is in;
/// `None` where that cannot be told.
pub(super) fn is_modified(folder: &Path) -> io::Result<Option<bool>> {
    modified(folder, MAX_SUBMODULES)
}

fn modified(folder: &Path, depth: usize) -> io::Result<Option<bool>> {
    let Some(repository) = Repository::find(folder) else { return Ok(None) };
    let Some(head) = repository.head()? else { return Ok(None) };
    let commit = object::read_commit(&repository.objects(), &head)?;
    let path = repository.git_dir().join("index");
    let file = open(&path)?;
    let written = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_INDEX_SIZE).read_to_end(&mut bytes)?;
    let Some(entries) = entries(&bytes, head.len() / 2)? else { return Ok(None) };
    if entries.iter().any(|entry| entry.unmerged) {
        return Ok(Some(true));
    }
    let tree = hex(&tree(&entries, 0));
    if !commit.starts_with(format!("tree {tree}\n").as_bytes()) {
        return Ok(Some(true));
    }
    let config = read_text(&repository.common_dir().join("config"))?.unwrap_or_default().to_lowercase();
    let converts = ["autocrlf", "eol", "attributesfile", "[filter"].iter().any(|word| config.contains(word))
        || repository.common_dir().join("info/attributes").exists()
        || entries.iter().any(|entry| entry.path.ends_with(b".gitattributes"));
    let rules = Rules { converts, has_modes: !config.contains("filemode = false"), written: &written, depth };
    let mut is_unknown = false;
    for entry in &entries {
        // Left out on purpose; where it is there all the same, it counts as any other.
        if entry.skipped && repository.worktree.join(OsStr::from_bytes(&entry.path)).symlink_metadata().is_err() {
            continue;
        }
        match rules.differs(entry, &repository.worktree)? {
            Some(true) => return Ok(Some(true)),
            Some(false) => {}
            None => is_unknown = true,
        }
    }
    Ok((!is_unknown).then_some(false))
}

/// What a repository's index has.
struct Tracked {
    /// In the order of the paths' bytes.
    entries: Vec<IndexEntry>,
    /// The repositories in it, by path; one that is not checked out has nothing.
    submodules: Vec<(Vec<u8>, Option<Tracked>)>,
}

impl Tracked {
    /// `None`: it cannot be told.
    fn read(repository: &Repository, depth: usize) -> io::Result<Option<Self>> {
        let Some(head) = repository.head()? else { return Ok(None) };
        let mut bytes = Vec::new();
        open(&repository.git_dir().join("index"))?.take(MAX_INDEX_SIZE).read_to_end(&mut bytes)?;
        let Some(entries) = entries(&bytes, head.len() / 2)? else { return Ok(None) };
        let mut submodules = Vec::new();
        for entry in entries.iter().filter(|entry| entry.mode & TYPE == SUBMODULE) {
            let folder = repository.worktree.join(OsStr::from_bytes(&entry.path));
            let tracked = match Repository::find(&folder).filter(|found| found.worktree == folder) {
                Some(inner) if depth > 0 => match Self::read(&inner, depth - 1)? {
                    Some(tracked) => Some(tracked),
                    None => return Ok(None),
                },
                _ => None,
            };
            submodules.push((entry.path.clone(), tracked));
        }
        Ok(Some(Self { entries, submodules }))
    }

    fn has(&self, path: &[u8]) -> bool {
        if path == b".git" || path.starts_with(b".git/") {
            return true;
        }
        for (at, inner) in &self.submodules {
            if let Some(below) = path.strip_prefix(&at[..]).and_then(|rest| rest.strip_prefix(b"/")) {
                return inner.as_ref().is_some_and(|inner| inner.has(below));
            }
        }
        self.entries.binary_search_by(|entry| entry.path[..].cmp(path)).is_ok()
    }
}

/// Whether the build context has a file that the repository's index does not; `None` where that
/// cannot be told.
pub(super) fn has_untracked(context: &BuildContext) -> io::Result<Option<bool>> {
    let Some(repository) = Repository::find(context.path()) else { return Ok(None) };
    let Some(tracked) = Tracked::read(&repository, MAX_SUBMODULES)? else { return Ok(None) };
    let folder = std::fs::canonicalize(context.path())?;
    let worktree = std::fs::canonicalize(&repository.worktree)?;
    let Ok(at) = folder.strip_prefix(&worktree) else { return Ok(None) };
    for source in context.sources("/").map_err(io::Error::other)? {
        for entry in source.walk(&Patterns::default()).map_err(io::Error::other)? {
            let entry = entry.map_err(io::Error::other)?.entry;
            let path = at.join(OsStr::from_bytes(entry.path.as_bytes()));
            if entry.kind != Kind::Directory && !tracked.has(path.as_os_str().as_bytes()) {
                return Ok(Some(true));
            }
        }
    }
    Ok(Some(false))
}

/// How the files of a repository are compared.
struct Rules<'a> {
    /// Whether what is committed of a file may be other bytes than those in the folder.
    converts: bool,
    has_modes: bool,
    /// Of the index itself.
    written: &'a Metadata,
    depth: usize,
}

impl Rules<'_> {
    fn differs(&self, entry: &IndexEntry, worktree: &Path) -> io::Result<Option<bool>> {
        let path = worktree.join(PathBuf::from(std::ffi::OsString::from_vec(entry.path.clone())));
        let now = match path.symlink_metadata() {
            Ok(now) => now,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Some(true));
            }
            Err(error) => return Err(error),
        };
        if entry.mode & TYPE == SUBMODULE {
            return self.submodule_differs(entry, &path, &now);
        }
        let executable = |mode: u32| mode & 0o100 != 0;
        if now.mode() & TYPE != entry.mode & TYPE {
            return Ok(Some(true));
        }
        if entry.mode & TYPE == FILE && self.has_modes && executable(now.mode()) != executable(entry.mode) {
            return Ok(Some(true));
        }
        // Changed after the index was written, or in the same moment: git calls this racy.
        let is_racy = (now.mtime(), now.mtime_nsec()) >= (self.written.mtime(), self.written.mtime_nsec());
        if stat(&now) == entry.stat && !is_racy {
            return Ok(Some(false));
        }
        let long = entry.id.len() == 32;
        let id = match entry.mode & TYPE {
            LINK => {
                let target = std::fs::read_link(&path)?;
                let target = target.as_os_str().as_bytes();
                object_id("blob", target.len() as u64, &mut &target[..], long)?
            }
            _ => object_id("blob", now.len(), &mut open(&path)?, long)?,
        };
        match id == entry.id {
            true => Ok(Some(false)),
            false if self.converts => Ok(None),
            false => Ok(Some(true)),
        }
    }

    /// A repository in the repository: the commit that is checked out, and its own files.
    fn submodule_differs(&self, entry: &IndexEntry, path: &Path, now: &Metadata) -> io::Result<Option<bool>> {
        if !now.is_dir() {
            return Ok(Some(true));
        }
        // Not checked out, as in a clone without submodules.
        if !path.join(".git").exists() {
            return Ok(Some(false));
        }
        let expected = hex(&entry.id);
        match Repository::find(path).map(|repository| repository.head()).transpose()?.flatten() {
            Some(head) if head == expected && self.depth > 0 => modified(path, self.depth - 1),
            Some(head) if head == expected => Ok(None),
            _ => Ok(Some(true)),
        }
    }
}

/// The numbers of a file in the index's order.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the format has the lower 32 bits")]
fn stat(now: &Metadata) -> [u32; 9] {
    [
        now.ctime() as u32,
        now.ctime_nsec() as u32,
        now.mtime() as u32,
        now.mtime_nsec() as u32,
        now.dev() as u32,
        now.ino() as u32,
        now.uid(),
        now.gid(),
        now.len() as u32,
    ]
}

/// The id of an object: the hash of its type, its length and its bytes.
fn object_id(kind: &str, length: u64, content: &mut dyn Read, long: bool) -> io::Result<Vec<u8>> {
    let header = format!("{kind} {length}\0");
    hash(&mut header.as_bytes().chain(content), long)
}

/// SHA-256 in repositories with `long` ids, else SHA-1.
fn hash(content: &mut dyn Read, long: bool) -> io::Result<Vec<u8>> {
    if long { hash_with(content, sha2::Sha256::new()) } else { hash_with(content, sha1::Sha1::new()) }
}

fn hash_with(content: &mut dyn Read, mut hasher: impl sha1::Digest) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_vec()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The id of the tree that these entries make, whose paths begin with the same `prefix` bytes. The
/// order of an index is that of trees.
fn tree(entries: &[IndexEntry], prefix: usize) -> Vec<u8> {
    let long = entries.first().is_some_and(|entry| entry.id.len() == 32);
    let mut bytes = Vec::new();
    let mut rest = entries;
    while let Some(entry) = rest.first() {
        let name = &entry.path[prefix..];
        let (mode, name, id, used) = match name.iter().position(|byte| *byte == b'/') {
            Some(end) => {
                let folder = &name[..=end];
                let used = rest.iter().take_while(|other| other.path[prefix..].starts_with(folder)).count();
                (0o40_000, &name[..end], tree(&rest[..used], prefix + end + 1), used)
            }
            None => (entry.mode, name, entry.id.clone(), 1),
        };
        bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(&id);
        rest = &rest[used..];
    }
    // Reading from memory does not fail.
    object_id("tree", bytes.len() as u64, &mut &bytes[..], long).unwrap_or_default()
}

/// The entries of an index; `None` where some of them are elsewhere (a split or sparse index).
fn entries(bytes: &[u8], id_size: usize) -> io::Result<Option<Vec<IndexEntry>>> {
    let short = || corrupt("the index breaks off");
    let (body, sum) = bytes.split_at_checked(bytes.len().saturating_sub(id_size)).ok_or_else(short)?;
    // Zeros stand for a sum that was not made (`index.skipHash`).
    if sum.iter().any(|byte| *byte != 0) && hash(&mut &body[..], id_size == 32)? != sum {
        return Err(corrupt("the index does not have its check sum"));
    }
    let mut rest = body;
    if take(&mut rest, 4) != Some(b"DIRC") {
        return Err(corrupt("the index is none"));
    }
    let version = number(&mut rest).ok_or_else(short)?;
    if !(2..=4).contains(&version) {
        return Ok(None);
    }
    let count = number(&mut rest).ok_or_else(short)?;
    let mut found: Vec<IndexEntry> = Vec::new();
    for _ in 0..count {
        let previous = found.last().map_or(&[][..], |entry| &entry.path);
        let entry = entry(&mut rest, version, id_size, previous).ok_or_else(short)?;
        if entry.mode & TYPE == 0o40_000 {
            return Ok(None);
        }
        found.push(entry);
    }
    // Extensions in small letters must be understood.
    while !rest.is_empty() {
        let (Some(name), Some(size)) = (take(&mut rest, 4), number(&mut rest)) else { return Err(short()) };
        if name[0].is_ascii_lowercase() {
            return Ok(None);
        }
        take(&mut rest, size as usize).ok_or_else(short)?;
    }
    Ok(Some(found))
}

fn entry(rest: &mut &[u8], version: u32, id_size: usize, previous: &[u8]) -> Option<IndexEntry> {
    const EXTENDED: u16 = 0x4000;
    let start = rest.len();
    let mut numbers = [0; 10];
    for value in &mut numbers {
        *value = number(rest)?;
    }
    let [ctime, ctime_part, mtime, mtime_part, device, inode, mode, uid, gid, size] = numbers;
    let id = take(rest, id_size)?.to_vec();
    let flags = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    let more = if flags & EXTENDED != 0 { u16::from_be_bytes(take(rest, 2)?.try_into().ok()?) } else { 0 };
    let mut path = Vec::new();
    if version == 4 {
        let dropped = usize::try_from(read_offset(rest).ok()?).ok()?;
        path.extend_from_slice(&previous[..previous.len().checked_sub(dropped)?]);
    }
    let end = memchr::memchr(0, rest)?;
    path.extend_from_slice(take(rest, end)?);
    // PATH_MAX: no file has a longer path, and folders are not nested deeper.
    if path.len() > 4096 {
        return None;
    }
    let padding = if version == 4 { 1 } else { 8 - (start - rest.len()) % 8 };
    take(rest, padding)?;
    let stat = [ctime, ctime_part, mtime, mtime_part, device, inode, uid, gid, size];
    let (skipped, announced) = (more & 0x4000 != 0, more & 0x2000 != 0);
    Some(IndexEntry { path, mode, id, stat, unmerged: flags & 0x3000 != 0 || announced, skipped })
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}
