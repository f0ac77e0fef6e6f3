//! Where the files of an archive are: read once over its headers, then any member is read in place.
//!
//! Never unpacks: names of members are keys to look up, never paths. Links are followed inside the
//! archive alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::path::{Path, PathBuf};

use super::layout::LayoutFiles;
use super::walk::{Member, TarWalk};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{ArchiveCompression, LayerPath, decompress_tar};
use crate::store::{ScratchDir, Store};

/// How many members an archive may have. Each layer takes three at most.
const MEMBERS: usize = 100_000;

/// How long a name or link may be, in bytes: what the system takes for a path.
const NAME: usize = 4096;

/// What a compressed archive may unpack to, in bytes.
const UNPACKED: u64 = 256 << 30;

/// Docker's old archives have links to links, not more.
const LINKS: usize = 8;

/// The members of an archive by name.
#[derive(Debug)]
pub(super) struct TarIndex {
    file: PathBuf,
    members: HashMap<LayerPath, MemberLocation>,
    // Holds the file, if the archive was compressed.
    _scratch: Option<ScratchDir>,
}

#[derive(Debug)]
enum MemberLocation {
    Bytes { offset: u64, size: u64 },
    Link(LayerPath),
}

impl TarIndex {
    /// Reads the headers of `file`, which may be compressed: then it is unwrapped into a scratch
    /// folder of the store first.
    pub(super) fn open(store: &Store, file: &Path) -> Result<Self> {
        let opened = open_archive(file)?;
        let Some((wrapping, tar)) = decompress_tar(opened)? else {
            return Err(Error::new(ErrorKind::Corrupt, "it is not a tar, plain or compressed with gzip, bzip2, xz or zstd"));
        };
        if wrapping == ArchiveCompression::Plain {
            return Ok(Self { file: file.to_owned(), members: read_members(file)?, _scratch: None });
        }
        let scratch = store.scratch()?;
        let path = scratch.path().join("archive.tar");
        let mut plain = File::create(&path).map_err(|error| Error::io("write", &path, error))?;
        let length = io::copy(&mut tar.take(UNPACKED + 1), &mut plain)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "it cannot be decompressed").with_source(error))?;
        if length > UNPACKED {
            return Err(Error::new(ErrorKind::Corrupt, format!("it unpacks to more than {UNPACKED} bytes")));
        }
        Ok(Self { members: read_members(&path)?, file: path, _scratch: Some(scratch) })
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut path = LayerPath::clean(name).ok()?;
        for _ in 0..LINKS {
            match self.members.get(&path)? {
                MemberLocation::Bytes { offset, size } => return Some((*offset, *size)),
                MemberLocation::Link(target) => path = target.clone(),
            }
        }
        None
    }
}

impl LayoutFiles for TarIndex {
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let Some((offset, size)) = self.find(name) else {
            return Err(Error::new(ErrorKind::NotFound, format!("`{name}` is missing in the archive")));
        };
        let cannot = |error| Error::io("read", &self.file, error);
        let mut file = File::open(&self.file).map_err(cannot)?;
        file.seek(io::SeekFrom::Start(offset)).map_err(cannot)?;
        Ok(Box::new(file.take(size)))
    }
}

fn open_archive(path: &Path) -> Result<File> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("`{}` is missing", path.display())),
        _ => Error::io("open", path, error),
    };
    let file = File::open(path).map_err(cannot)?;
    match file.metadata().map_err(cannot)?.is_file() {
        true => Ok(file),
        // It is read more than once.
        false => Err(Error::new(ErrorKind::Usage, format!("`{}` is not a regular file", path.display()))),
    }
}

fn read_members(path: &Path) -> Result<HashMap<LayerPath, MemberLocation>> {
    let file = open_archive(path)?;
    let length = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
    let mut walk = TarWalk::new(BufReader::new(file));
    let mut members = HashMap::new();
    while let Some(member) = walk.next_member()? {
        if member.offset.saturating_add(member.size) > length {
            return Err(Error::new(ErrorKind::Corrupt, "the archive ends in the middle of a file"));
        }
        if members.len() >= MEMBERS {
            return Err(Error::new(ErrorKind::Corrupt, format!("the archive has more than {MEMBERS} members")));
        }
        if member.path.len().max(member.link.len()) > NAME {
            return Err(Error::new(ErrorKind::Corrupt, format!("the archive has a name of more than {NAME} bytes")));
        }
        let name = LayerPath::parse(&member.path)?;
        if let Some(place) = place(&name, &member)? {
            members.insert(name, place);
        }
    }
    Ok(members)
}

fn place(name: &LayerPath, member: &Member) -> Result<Option<MemberLocation>> {
    Ok(match member.kind {
        kind if kind.is_file() || kind.is_contiguous() => {
            Some(MemberLocation::Bytes { offset: member.offset, size: member.size })
        }
        kind if kind.is_hard_link() => Some(MemberLocation::Link(LayerPath::parse(&member.link)?)),
        kind if kind.is_symlink() => {
            let folder = name.parent().unwrap_or_default();
            let target = [folder.as_bytes(), b"/", &member.link].concat();
            Some(MemberLocation::Link(LayerPath::clean(target)?))
        }
        // Folders and the like are not read.
        _ => None,
    })
}
