//! Opens paths inside a folder whose links are not to be trusted: the layers of an image, the root
//! of a container, a build context.
//!
//! [`open_inside`] is openat2(2) where the kernel has it and lets it through (Linux 5.6; runtimes
//! before Docker 20.10 refuse it). Elsewhere it walks in user space, one component at a time: each
//! is opened from the folder before it without following it, the text of a link is put in its
//! place, and `..` goes back to the folder that was opened before, never to what the kernel takes
//! for the parent. So whatever is renamed or replaced meanwhile, a walk ends inside the folder or
//! fails.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::Errno;

/// As many links on the way as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// How often openat2 is asked again where something was renamed meanwhile (EAGAIN, openat2(2)).
const ATTEMPTS: usize = 64;

const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens `path`, which begins at `root` even if it is absolute. `flags` must not create anything;
/// `resolve` has `IN_ROOT` or `BENEATH`.
///
/// # Errors
/// Those of openat2(2); `ELOOP` also for a link that `NO_SYMLINKS` forbids, `EXDEV` for a way out
/// of `root` that `BENEATH` forbids, and for another mount that `NO_XDEV` forbids.
pub(crate) fn open_inside(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let (root, path) = (root.as_fd(), path.as_ref());
    if has_openat2() {
        for _ in 0..ATTEMPTS {
            match openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }
    walk(root, path, flags, resolve)
}

/// Whether openat2 can be called here. A runtime's filter may answer as if the kernel were older,
/// or that it is not permitted.
pub(crate) fn has_openat2() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let tried = openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty());
        !matches!(tried, Err(Errno::NOSYS | Errno::PERM))
    })
}

/// The folders on the way from the root to where a walk is now.
struct Way {
    folders: Vec<OwnedFd>,
    /// The mount that the walk may not leave, where it may not.
    mount: Option<String>,
}

impl Way {
    fn here(&self) -> Result<&OwnedFd, Errno> {
        self.folders.last().ok_or(Errno::NOENT)
    }
}

fn walk(root: impl AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    if flags.intersects(OFlags::CREATE | OFlags::TMPFILE.difference(OFlags::DIRECTORY)) {
        return Err(Errno::INVAL);
    }
    let start = openat(root, ".", PLACE | OFlags::DIRECTORY, Mode::empty())?;
    let mount = resolve.contains(ResolveFlags::NO_XDEV).then(|| mount_of(&start));
    let mut way = Way { folders: vec![start], mount };
    if path.as_os_str().is_empty() {
        return Err(Errno::NOENT);
    }
    let mut rest = VecDeque::new();
    // What a trailing slash asks for, too.
    let mut flags = flags;
    put_in_front(&mut way, &mut rest, path.as_os_str().as_bytes(), resolve, &mut flags)?;
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let last = rest.is_empty();
        if name == b".." {
            if way.folders.len() > 1 {
                way.folders.pop();
            } else if resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::XDEV);
            }
            continue;
        }
        let name = OsStr::from_bytes(&name);
        let place = openat(way.here()?, name, PLACE, Mode::empty())?;
        if way.mount.as_ref().is_some_and(|mount| *mount != mount_of(&place)) {
            return Err(Errno::XDEV);
        }
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
        if kind == FileType::Symlink && !(last && flags.contains(OFlags::NOFOLLOW)) {
            links += 1;
            if links > MAX_LINKS || resolve.contains(ResolveFlags::NO_SYMLINKS) {
                return Err(Errno::LOOP);
            }
            let text = readlinkat(&place, "", Vec::new())?;
            put_in_front(&mut way, &mut rest, text.as_bytes(), resolve, &mut flags)?;
            continue;
        }
        if last {
            return finish(&way, name, place, kind, flags);
        }
        if kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        way.folders.push(place);
    }
    // The path ends with a folder on the way: the root itself, `.` or `..`.
    openat(way.here()?, ".", flags - OFlags::NOFOLLOW, Mode::empty())
}

/// Has the walk go on with `text` before what is left of the path.
fn put_in_front(
    way: &mut Way,
    rest: &mut VecDeque<Vec<u8>>,
    text: &[u8],
    resolve: ResolveFlags,
    flags: &mut OFlags,
) -> Result<(), Errno> {
    if text.is_empty() {
        return Err(Errno::NOENT);
    }
    if text[0] == b'/' {
        if resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::XDEV);
        }
        way.folders.truncate(1);
    }
    let names: Vec<&[u8]> = text.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if rest.is_empty() && (text.ends_with(b"/") || text.ends_with(b"/.")) && !names.is_empty() {
        // A link before the slash is followed, and a folder must be there.
        *flags = (*flags | OFlags::DIRECTORY) - OFlags::NOFOLLOW;
    }
    for name in names.into_iter().rev() {
        rest.push_front(name.to_vec());
    }
    Ok(())
}

/// Opens what the walk has arrived at.
fn finish(way: &Way, name: &OsStr, place: OwnedFd, kind: FileType, flags: OFlags) -> Result<OwnedFd, Errno> {
    if flags.contains(OFlags::DIRECTORY) && kind != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    if flags.contains(OFlags::PATH) {
        return Ok(place);
    }
    if kind == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    // By name, for a place cannot be read. If something else has this name by now, it must at least
    // not be a link.
    openat(way.here()?, name, flags | OFlags::NOFOLLOW, Mode::empty())
}

/// Names the mount that an open file is on: its number in /proc (Linux 3.15), or else its device.
fn mount_of(file: &OwnedFd) -> String {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap_or_default();
    let number = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let device = || rustix::fs::statat(file, "", AtFlags::EMPTY_PATH).map(|stat| format!("device {}", stat.st_dev));
    number.map(|number| number.trim().to_owned()).or_else(|| device().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
    const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

    /// The tree of a hostile layer: links of every kind, beside a secret that none of them may
    /// reach.
    fn hostile() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::create_dir_all(root.join("etc")).unwrap();
        for file in ["file", "a/file", "a/b/c/file", "etc/passwd", "secret"] {
            std::fs::write(root.join(file), file).unwrap();
        }
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        for (link, text) in [
            ("up", ".."),
            ("far-up", "../../../../.."),
            ("absolute", "/etc"),
            ("root", "/"),
            ("outside", "../secret"),
            ("a/outside", "/../../secret"),
            ("a/b/back", "../../a"),
            ("a/b/c/through", "../../../up/etc/passwd"),
            ("loop", "loop"),
            ("loop-a", "loop-b"),
            ("loop-b", "loop-a"),
            ("dangling", "nowhere"),
            ("to-file", "a/file"),
            ("slash", "a/"),
            ("file-slash", "file/"),
            ("chain", "a/b/back/b/back/outside"),
            ("dot", "."),
        ] {
            symlink(text, root.join(link)).unwrap();
        }
        for number in 0..45 {
            symlink(
                if number == 0 { "file".into() } else { format!("many-{}", number - 1) },
                root.join(format!("many-{number}")),
            )
            .unwrap();
        }
        folder
    }

    fn paths() -> Vec<String> {
        let names = [
            ".",
            "..",
            "/",
            "a",
            "file",
            "secret",
            "up",
            "far-up",
            "absolute",
            "root",
            "outside",
            "a/outside",
            "a/b/back",
            "loop",
            "loop-a",
            "dangling",
            "to-file",
            "slash",
            "file-slash",
            "chain",
            "dot",
            "a/b/c/through",
            "many-38",
            "many-39",
            "many-40",
            "nowhere",
        ];
        let tails = [
            "",
            "/",
            "/.",
            "/..",
            "/file",
            "/secret",
            "/../secret",
            "/../../secret",
            "/etc/passwd",
            "//b/./c/file",
            "/root/root/a",
        ];
        names
            .iter()
            .flat_map(|name| tails.iter().flat_map(move |tail| [format!("{name}{tail}"), format!("/{name}{tail}")]))
            .collect()
    }

    fn identity(opened: Result<OwnedFd, Errno>) -> Result<(u64, u64), Errno> {
        let stat = rustix::fs::fstat(opened?)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The kernel answers EAGAIN to a path with `..` while anything on the machine is renamed or
    /// mounted, which other tests do.
    fn asked_until_sure(root: &OwnedFd, path: &str, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        loop {
            match openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => std::thread::yield_now(),
                answer => return answer,
            }
        }
    }

    /// The judge is the kernel's openat2.
    #[test]
    fn the_walk_ends_where_openat2_does_for_every_path_of_a_hostile_tree() {
        assert!(has_openat2());
        let folder = hostile();
        let root = rustix::fs::open(folder.path().join("root"), PLACE | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let outside =
            std::fs::metadata(folder.path().join("secret")).map(|found| std::os::unix::fs::MetadataExt::ino(&found)).unwrap();
        let mut found = 0;
        for path in paths() {
            for scope in [IN_ROOT, BENEATH] {
                for further in [ResolveFlags::empty(), ResolveFlags::NO_SYMLINKS, ResolveFlags::NO_XDEV] {
                    for flags in [
                        OFlags::PATH,
                        OFlags::PATH | OFlags::NOFOLLOW,
                        OFlags::RDONLY,
                        OFlags::RDONLY | OFlags::NOFOLLOW,
                        OFlags::RDONLY | OFlags::DIRECTORY,
                        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW,
                    ] {
                        let (flags, resolve) = (flags | OFlags::CLOEXEC, scope | further);
                        let expected = identity(asked_until_sure(&root, &path, flags, resolve));
                        let walked = identity(walk(&root, path.as_ref(), flags, resolve));
                        assert_eq!(walked, expected, "{path} {flags:?} {resolve:?}");
                        assert!(walked.is_err() || walked.is_ok_and(|(_, inode)| inode != outside), "{path}");
                        found += usize::from(walked.is_ok());
                    }
                }
            }
        }
        assert!(found > 1000, "{found}");
    }

    #[test]
    fn the_walk_stays_inside_while_folders_are_swapped_for_links_out() {
        let folder = hostile();
        let root = rustix::fs::open(folder.path().join("root"), PLACE | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let (real, link) = (folder.path().join("root/a"), folder.path().join("root/a-link"));
        symlink("../", &link).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &real, CWD, &link, rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            let mut inside = 0;
            for _ in 0..20_000 {
                for path in ["a/secret", "a/../secret", "a/b/../../secret"] {
                    if let Ok(opened) = walk(&root, path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, IN_ROOT) {
                        let text = std::io::read_to_string(std::fs::File::from(opened)).unwrap();
                        assert_eq!(text, "secret", "{path}");
                        inside += 1;
                    }
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(inside > 0);
        });
    }

    #[test]
    fn another_mount_is_refused_where_it_must_be() {
        let root = rustix::fs::open("/", PLACE | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let resolve = IN_ROOT | ResolveFlags::NO_XDEV;
        assert_eq!(walk(&root, "proc/version".as_ref(), OFlags::RDONLY, resolve).unwrap_err(), Errno::XDEV);
        assert_eq!(walk(&root, "etc/new".as_ref(), OFlags::RDWR | OFlags::CREATE, resolve).unwrap_err(), Errno::INVAL);
    }
}
