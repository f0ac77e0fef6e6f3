//! What a layer holds, listed as `tar tv` lists it.

use std::fmt::Write as _;

use crate::image::rfc3339;
use crate::layer::{Entry, Kind, LayerIndex};

/// The bytes of the files in a layer.
pub(super) fn unpacked_size(index: &LayerIndex) -> u64 {
    index.entries().map(|entry| entry.kind.size()).sum()
}

/// How many files a layer has, whatever their kind; folders and removals are none.
pub(super) fn files(index: &LayerIndex) -> usize {
    let is_file = |entry: &Entry| !(entry.kind == Kind::Directory || entry.kind.is_whiteout());
    index.entries().filter(is_file).count()
}

/// One entry: mode, owner, size or device, time, path, link.
pub(super) fn line(entry: &Entry) -> String {
    let metadata = &entry.metadata;
    let owner = format!("{}/{}", metadata.uid, metadata.gid);
    let size = match entry.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => format!("{major},{minor}"),
        _ => entry.kind.size().to_string(),
    };
    let width = 18_usize.saturating_sub(owner.len()).max(size.len());
    let time = rfc3339(metadata.mtime).replace('T', " ");
    let path = String::from_utf8_lossy(entry.path.as_bytes());
    let path = if path.is_empty() { "." } else { &path };
    let mut line = format!("{} {owner} {size:>width$} {} {path}", mode(entry), &time[..16.min(time.len())]);
    match &entry.kind {
        Kind::Directory => line.push('/'),
        Kind::Symlink { target } => {
            let _ = write!(line, " -> {}", String::from_utf8_lossy(target));
        }
        Kind::Hardlink { target } => {
            let _ = write!(line, " link to {target}");
        }
        Kind::Whiteout => line.push_str(" (removed)"),
        Kind::OpaqueWhiteout => line.push_str("/ (emptied)"),
        _ => {}
    }
    line.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// `drwxr-xr-x`
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::Directory => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::Hardlink { .. } => 'h',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
        Kind::Fifo => 'p',
        Kind::Whiteout | Kind::OpaqueWhiteout => 'w',
        Kind::File { .. } => '-',
    };
    let mode = entry.metadata.mode;
    let mut text = String::from(kind);
    // The bits over rwx: set-user-ID, set-group-ID and sticky share the place of the x.
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{LayerPath, Metadata};

    fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
        Entry { path: LayerPath::parse(path).unwrap(), kind, metadata: Metadata::new(mode, 1000, 0, 1_709_208_000) }
    }

    #[test]
    fn entries_are_listed_as_tar_lists_them() {
        let file = entry("app/main.py", Kind::File { size: 1234 }, 0o644);
        assert_eq!(line(&file), "-rw-r--r-- 1000/0         1234 2024-02-29 12:00 app/main.py");
        let link = entry("bin", Kind::Symlink { target: b"usr/bin".into() }, 0o777);
        assert_eq!(line(&link), "lrwxrwxrwx 1000/0            0 2024-02-29 12:00 bin -> usr/bin");
        let folder = entry("tmp", Kind::Directory, 0o1777);
        assert_eq!(line(&folder), "drwxrwxrwt 1000/0            0 2024-02-29 12:00 tmp/");
        let sudo = entry("usr/bin/sudo", Kind::File { size: 1 }, 0o4644);
        assert!(line(&sudo).starts_with("-rwSr--r-- "));
    }
}
