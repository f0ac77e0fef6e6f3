//! Tars made by hand, so that they can be wrong, and a look at what became of them.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use mpimg::layer::unpack::{UnpackOptions, UnpackStats, unpack};
use tar::{EntryType, Header};

/// A tar in the making. Entries belong to the user that runs the tests.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        self.raw(&header(kind, name, link, content.len() as u64), content)
    }

    /// An entry with a mode, owned by user and group `id`.
    pub(crate) fn owned(self, kind: EntryType, name: &str, link: &str, mode: u32, id: u64, content: &[u8]) -> Self {
        let mut header = header(kind, name, link, content.len() as u64);
        header.set_mode(mode);
        header.set_uid(id);
        header.set_gid(id);
        header.set_cksum();
        self.raw(&header, content)
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes())
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, text: &str) -> Self {
        self.entry(EntryType::Symlink, name, text, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = 3 + key.len() + value.len();
            let length = (1..9).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length).unwrap();
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", &body)
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    pub(crate) fn unpack(self, into: &Path) -> mpimg::Result<UnpackStats> {
        self.unpack_with(into, &UnpackOptions::default())
    }

    pub(crate) fn unpack_with(self, into: &Path, options: &UnpackOptions) -> mpimg::Result<UnpackStats> {
        unpack(self.bytes().as_slice(), into, options)
    }
}

/// A header that says anything; names longer than a field are cut off.
pub(crate) fn header(kind: EntryType, name: &str, link: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    let me = fs::metadata("/proc/self").unwrap();
    let put = |field: &mut [u8], text: &str| {
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
    };
    put(&mut header.as_old_mut().name, name);
    put(&mut header.as_old_mut().linkname, link);
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(u64::from(me.uid()));
    header.set_gid(u64::from(me.gid()));
    header.set_mtime(1_600_000_000);
    header.set_size(size);
    header.set_cksum();
    header
}

/// What is in a folder, as sorted lines: `a/`, `a/b 644 content`, `l -> text`, `w whiteout`.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, lines: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata().unwrap();
            let kind = metadata.file_type();
            if kind.is_dir() {
                lines.push(format!("{name}/"));
                walk(&entry.path(), &format!("{name}/"), lines);
            } else if kind.is_symlink() {
                lines.push(format!("{name} -> {}", fs::read_link(entry.path()).unwrap().display()));
            } else if kind.is_char_device() && metadata.rdev() == 0 {
                lines.push(format!("{name} whiteout"));
            } else if kind.is_file() {
                let content = fs::read(entry.path()).unwrap();
                lines.push(format!("{name} {:o} {}", metadata.mode() & 0o7777, String::from_utf8_lossy(&content)));
            } else {
                lines.push(format!("{name} {kind:?}"));
            }
        }
    }
    let mut lines = Vec::new();
    walk(root, "", &mut lines);
    lines
}
