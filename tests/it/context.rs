//! The build context against buildah, and against trees that are hostile or change under it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use mpimg::ErrorKind;
use mpimg::context::{BuildContext, ContextOptions, IgnoreFile, Patterns, Source};
use mpimg::layer::{Kind, LayerPath};

use super::judge;

/// A tree of empty files; a name that ends with `/` is a folder.
fn tree(names: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in names {
        let path = root.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
    }
    root
}

fn open(root: &Path, ignore: &str) -> BuildContext {
    let ignore = Some(IgnoreFile { name: ".dockerignore".into(), text: ignore.into() });
    BuildContext::open(root, ContextOptions { ignore, sdk: false }).unwrap()
}

fn sdk(root: &Path) -> BuildContext {
    BuildContext::open(root, ContextOptions { ignore: None, sdk: true }).unwrap()
}

fn only(mut sources: Vec<Source>) -> Source {
    assert_eq!(sources.len(), 1, "{sources:?}");
    sources.remove(0)
}

/// What the walk of a source gives, in its order.
fn walk(source: &Source) -> Vec<String> {
    walk_without(source, &[])
}

fn walk_without(source: &Source, exclude: &[&str]) -> Vec<String> {
    let exclude = Patterns::parse(exclude.iter().copied()).unwrap();
    let entries = source.walk(&exclude).unwrap().map(|entry| entry.unwrap().entry.path);
    entries.map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned()).collect()
}

fn walk_all(root: &Path, ignore: &str) -> Vec<String> {
    walk(&only(open(root, ignore).sources(".").unwrap()))
}

fn matched(context: &BuildContext, pattern: &str) -> Vec<String> {
    let sources = context.sources(pattern).unwrap();
    sources.iter().map(|source| source.path().to_string()).collect()
}

fn error(context: &BuildContext, pattern: &str) -> (String, String) {
    let error = context.sources(pattern).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Context, "{error}");
    (error.to_string(), error.hint().unwrap_or_default().to_owned())
}

/// What a file is, in one line: type and mode, and the link's text or the content.
///
/// Without set-id bits: buildah takes them from what comes from a build context, docker leaves
/// them.
fn describe(kind: &Kind, mode: u32, content: impl FnOnce() -> Vec<u8>) -> String {
    let mode = mode & 0o777;
    match kind {
        Kind::Symlink { target } => format!("link to {}", String::from_utf8_lossy(target)),
        Kind::File { size } => format!("file {mode:o} of {size}: {}", String::from_utf8_lossy(&content())),
        other => format!("{other:?} {mode:o}"),
    }
}

type Tree = BTreeMap<String, String>;

fn text(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

fn taken(context: &BuildContext) -> Tree {
    let mut tree = Tree::new();
    for entry in only(context.sources(".").unwrap()).walk(&Patterns::default()).unwrap() {
        let entry = entry.unwrap();
        let content = || {
            let (mut file, mut content) = (entry.open().unwrap(), Vec::new());
            file.read_to_end(&mut content).unwrap();
            entry.check_unchanged(&file).unwrap();
            content
        };
        let description = describe(&entry.entry.kind, entry.entry.metadata.mode, content);
        tree.insert(text(entry.entry.path.as_bytes()), description);
    }
    tree
}

/// A container of buildah's from `scratch`, with a store of its own.
struct Buildah {
    work: tempfile::TempDir,
    container: String,
    mounted: PathBuf,
}

impl Buildah {
    fn from_scratch() -> Self {
        let mut buildah = Self { work: tempfile::tempdir().unwrap(), container: String::new(), mounted: PathBuf::new() };
        buildah.container = buildah.run(&["from".as_ref(), "scratch".as_ref()]);
        buildah.mounted = buildah.run(&["mount".as_ref(), buildah.container.as_ref()]).into();
        buildah
    }

    fn run(&self, arguments: &[&OsStr]) -> String {
        let mut command = judge("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.work.path().join("root"));
        command.arg("--runroot").arg(self.work.path().join("run")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What `COPY . /` takes from the build context `root` with this ignore file.
    fn copies(&self, root: &Path, ignore: &str) -> Tree {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, ignore).unwrap();
        let into = tempfile::TempDir::new().unwrap().path().file_name().unwrap().to_owned();
        let mut target = std::ffi::OsString::from("/");
        target.push(&into);
        let arguments = ["add", "--quiet", "--ignorefile"].map(OsStr::new);
        let context = [file.path().as_os_str(), "--contextdir".as_ref(), root.as_os_str()];
        let copy = [self.container.as_ref(), root.as_os_str(), target.as_os_str()];
        self.run(&[arguments, context, copy].concat());
        let mounted = self.mounted.join(into);
        let mut tree = Tree::new();
        read_tree(&mounted, &mounted, &mut tree);
        tree
    }
}

fn read_tree(top: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let status = fs::symlink_metadata(&path).unwrap();
        let kind = if status.is_dir() {
            Kind::Directory
        } else if status.is_symlink() {
            Kind::Symlink { target: fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec() }
        } else {
            Kind::File { size: status.len() }
        };
        let description = describe(&kind, status.mode(), || fs::read(&path).unwrap());
        tree.insert(text(path.strip_prefix(top).unwrap().as_os_str().as_bytes()), description);
        if status.is_dir() {
            read_tree(top, &path, tree);
        }
    }
}

const NASTY: [&str; 22] = [
    "Dockerfile",
    "README.md",
    "README-secret.md",
    "a/b/c/d.txt",
    "a/b/c/keep.log",
    "a/b/e.log",
    "a/f.md",
    "a.b",
    "docs/x.md",
    "docs/deep/y.md",
    ".hidden/z",
    ".env.example",
    "empty/",
    "only/logs/1.log",
    "foo(1)/+x{2}$.txt",
    "with space/file one",
    "[b]/x",
    "build/out.bin",
    "node_modules/m/index.js",
    "node_modules/m/README.md",
    "src/node_modules/n/index.js",
    "\u{e9}t\u{e9}/\u{1f600}",
];

#[test]
fn the_files_that_enter_are_those_of_buildah_whatever_dockerignore_says() {
    let root = tree(&NASTY);
    symlink("../a/f.md", root.path().join("docs/link")).unwrap();
    symlink("/etc", root.path().join("outside")).unwrap();
    fs::write(root.path().join(OsStr::from_bytes(b"new\nline")), "n").unwrap();
    fs::set_permissions(root.path().join("a/f.md"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs::set_permissions(root.path().join("docs"), PermissionsExt::from_mode(0o2770)).unwrap();
    // Where Debian's buildah 1.28 differs, its matcher is older than moby's of today: there `**`
    // takes no line break, what `**` left out is not searched for what a `!` line with a wildcard
    // takes back, and `(` or `{` are not plain characters.
    let markdown = &[
        "a",
        "a/f.md",
        "docs",
        "docs/deep",
        "docs/deep/y.md",
        "docs/x.md",
        "node_modules",
        "node_modules/m",
        "node_modules/m/README.md",
    ];
    let buildah = Buildah::from_scratch();
    for (ignore, only_here, only_there) in [
        ("", &[][..], &[][..]),
        ("a", &[], &[]),
        ("a/", &[], &[]),
        ("/a/b", &[], &[]),
        ("*", &[], &[]),
        ("**", &[], &["new\\nline"]),
        ("*.md\n!README.md", &[], &[]),
        ("*.md\n!README*.md\nREADME-secret.md", &[], &[]),
        ("**/*.md", &[], &[]),
        ("**/*.log\n!**/keep.log", &[], &[]),
        ("a/b\n!a/b/c/keep.log", &[], &[]),
        ("*\n!a/b/c", &[], &[]),
        ("*\n!docs\ndocs/deep", &[], &[]),
        ("**\n!**/*.md", markdown, &["new\\nline"]),
        ("**/node_modules", &[], &[]),
        ("node_modules/**\n!node_modules/m/README.md", &[], &[]),
        ("# a\n\n   \n  docs  \r\n", &[], &[]),
        ("\u{feff}docs", &[], &[]),
        ("a/../docs\n./only//logs/", &[], &[]),
        ("foo(1)/+x{2}$.txt\n.h?dden", &[], &["foo(1)/+x{2}$.txt"]),
        ("\\[b\\]\nwith*", &[], &[]),
        ("[[]b\\]", &[], &[]),
        ("[a-c]*\n![a]", &[], &[]),
        ("!a\na/b", &[], &[]),
        ("\u{e9}*\n*/\u{1f600}", &[], &[]),
        ("new?line", &[], &[]),
        ("only/logs/*", &[], &[]),
        ("out*\n! docs/link\n*/link", &[], &[]),
        ("docs/**/y.md\n**/c/**", &[], &[]),
    ] {
        let mut here = taken(&open(root.path(), ignore));
        let mut there = buildah.copies(root.path(), ignore);
        for path in only_here {
            assert!(here.remove(*path).is_some() && !there.contains_key(*path), "{ignore:?} {path}");
        }
        for path in only_there {
            assert!(there.remove(*path).is_some() && !here.contains_key(*path), "{ignore:?} {path}");
        }
        assert_eq!(here, there, "{ignore:?}");
    }
}

#[test]
fn entries_come_with_folders_first_and_siblings_in_byte_order() {
    let root = tree(&["b/x", "a.c", "a/z", "a-b", "a/b/c", "B"]);
    let all = walk_all(root.path(), "");
    assert_eq!(all, ["B", "a", "a/b", "a/b/c", "a/z", "a-b", "a.c", "b", "b/x"]);
    let mut sorted: Vec<LayerPath> = all.iter().map(|path| LayerPath::parse(path).unwrap()).collect();
    sorted.sort();
    assert_eq!(all, sorted.iter().map(|path| path.to_string()[1..].to_owned()).collect::<Vec<_>>());
}

#[test]
fn a_folder_that_is_left_out_comes_only_for_what_is_taken_back_in_it() {
    let root = tree(&["a/b/c/keep", "a/b/c/drop", "a/x", "z/q"]);
    assert_eq!(walk_all(root.path(), "a\n!a/b/c/keep\nz\n!z/other"), ["a", "a/b", "a/b/c", "a/b/c/keep"]);
    let context = open(root.path(), "a\n!a/b/c/keep\nz\n!z/other");
    assert_eq!(matched(&context, "*"), ["/a"]);
    assert_eq!(walk(&only(context.sources("a/b").unwrap())), ["c", "c/keep"]);
    assert_eq!(error(&context, "z").0, "`z` is left out of the build context by line 3 of `.dockerignore`: `z`");
}

#[test]
fn sources_are_matched_one_component_at_a_time_in_sorted_order() {
    let root = tree(&["b.jar", "a.jar", "libs/1/x.jar", "libs/2/y.jar", "libs/2/z.txt", "[x]", "deep/a/b/c.jar"]);
    let context = open(root.path(), "");
    for (pattern, sources) in [
        ("*.jar", &["/a.jar", "/b.jar"][..]),
        ("libs/*/*.jar", &["/libs/1/x.jar", "/libs/2/y.jar"]),
        ("/libs/../*.jar", &["/a.jar", "/b.jar"]),
        ("../../a.jar", &["/a.jar"]),
        ("./a.jar/", &["/a.jar"]),
        ("[a-b].jar", &["/a.jar", "/b.jar"]),
        ("[[]x]", &["/[x]"]),
        ("**/x.jar", &[]),
        ("deep/**", &["/deep/a"]),
        ("none*", &[]),
        (".", &["/"]),
        ("/", &["/"]),
    ] {
        assert_eq!(matched(&context, pattern), sources, "{pattern}");
    }
    assert_eq!(walk(&only(context.sources("a.jar").unwrap())), [""], "a file is one entry without a path");
    let none = context.no_match("none*");
    assert_eq!(none.to_string(), "`none*` matches nothing in the build context");
    assert_eq!(error(&context, "nowhere/*.jar").0, "`nowhere/*.jar` is not in the build context");
    assert_eq!(error(&context, "a[").0, "`a[` is not a pattern");
}

#[test]
fn a_missing_source_says_why_and_what_was_perhaps_meant() {
    let root =
        tree(&["app/main.py", "adapter_requirements.txt", "secret/key", "build/x", "venv-a/bin/activate", "venv-a/bin/python"]);
    let context = open(root.path(), "# none\nsecret\n*.py\n");
    assert_eq!(
        error(&context, "adapter-requirments.txt"),
        ("`adapter-requirments.txt` is not in the build context".into(), "did you mean `adapter_requirements.txt`?".into())
    );
    assert_eq!(error(&context, "APP"), ("`APP` is not in the build context".into(), "did you mean `app`?".into()));
    assert_eq!(error(&context, "app/main.ty").1, "did you mean `app/main.py`?");
    assert!(error(&context, "zzz").1.starts_with("sources are relative to `"));
    assert_eq!(
        error(&context, "secret/key"),
        (
            "`secret` is left out of the build context by line 2 of `.dockerignore`: `secret`".into(),
            "remove that line, or add the line `!secret` at the end of `.dockerignore`".into()
        )
    );
    let sdk = sdk(root.path());
    assert_eq!(
        error(&sdk, "build/x"),
        (
            "`build` is left out of the build context: the SDK keeps this folder for the pak, not for the image".into(),
            "move what the image needs to another folder, such as `app`".into()
        )
    );
    assert_eq!(
        error(&sdk, "venv-a").0,
        "`venv-a` is left out of the build context: the SDK leaves virtual environments out of the image"
    );
    let none = open(root.path(), "*.py").no_match("app/*.py");
    assert_eq!(none.to_string(), "`app/*.py` matches nothing in the build context");
    let left_out = open(root.path(), "**/*.py").no_match("app/*.py");
    assert_eq!(left_out.to_string(), "`app/main.py` is left out of the build context by line 1 of `.dockerignore`: `**/*.py`");
}

#[test]
fn an_sdk_project_is_seen_as_mp_build_sees_it() {
    let root = tree(&[
        "app/adapter.py",
        "app/build/kept",
        "app/.cache/x",
        ".gitignore",
        ".git/config",
        "build/a.pak",
        "content/d.json",
        "logs/x.log",
        "resources/r.properties",
        "venv-Hello/bin/activate",
        "venv-Hello/bin/python",
        "tools/win/Scripts/activate.bat",
        "tools/win/Scripts/python.exe",
        "tools/bin/activate",
        "manifest.txt",
    ]);
    let all = walk(&only(sdk(root.path()).sources(".").unwrap()));
    assert_eq!(
        all,
        [
            ".gitignore",
            "app",
            "app/adapter.py",
            "app/build",
            "app/build/kept",
            "manifest.txt",
            "tools",
            "tools/bin",
            "tools/bin/activate"
        ]
    );
    let ignore = Some(IgnoreFile { name: ".dockerignore".into(), text: b"app\n!build\n!.git".to_vec() });
    let both = BuildContext::open(root.path(), ContextOptions { ignore, sdk: true }).unwrap();
    assert_eq!(
        walk(&only(both.sources(".").unwrap())),
        [".gitignore", "manifest.txt", "tools", "tools/bin", "tools/bin/activate"]
    );
}

#[test]
fn exclude_and_parents_pick_as_buildkit_does() {
    let root = tree(&["x/y/a.txt", "x/y/b.md", "x/z/a.txt", "x/z/k/c.txt", "home.txt", "home.md"]);
    let context = open(root.path(), "");
    let all = only(context.sources("x").unwrap());
    assert_eq!(walk_without(&all, &["*.txt"]), ["y", "y/a.txt", "y/b.md", "z", "z/a.txt", "z/k", "z/k/c.txt"]);
    assert_eq!(walk_without(&all, &["**/*.txt"]), ["y", "y/b.md", "z", "z/k"]);
    assert_eq!(walk_without(&all, &["z", "!z/k/c.txt"]), ["y", "y/a.txt", "y/b.md", "z", "z/k", "z/k/c.txt"]);
    let taken: Vec<_> = context
        .sources("hom*")
        .unwrap()
        .iter()
        .flat_map(|source| walk_without(source, &["*.txt"]).into_iter().map(|_| source.path().to_string()))
        .collect();
    // The Dockerfile reference says otherwise; BuildKit does not match `--exclude` against a source
    // itself.
    assert_eq!(taken, ["/home.md", "/home.txt"]);

    let parents = |pattern: &str| walk(&only(context.sources_with_parents(pattern).unwrap()));
    assert_eq!(parents("x/y/a.txt"), ["x", "x/y", "x/y/a.txt"]);
    assert_eq!(parents("./x/./y/*.txt"), ["y", "y/a.txt"]);
    assert_eq!(parents("x/**/*.txt"), ["x", "x/y", "x/y/a.txt", "x/z", "x/z/a.txt", "x/z/k", "x/z/k/c.txt"]);
    assert_eq!(parents("x/z"), ["x", "x/z", "x/z/a.txt", "x/z/k", "x/z/k/c.txt"]);
    assert!(context.sources_with_parents("x/none").is_err());
    assert_eq!(parents("x/none*"), [""; 0]);
}

#[test]
fn links_are_followed_where_named_and_never_out_of_the_root() {
    let root = tree(&["real/file", "etc/passwd"]);
    let link = |target: &str, name: &str| symlink(target, root.path().join(name)).unwrap();
    link("real", "folder");
    link("real/file", "file");
    link("/etc/passwd", "absolute");
    link("../../../../etc", "above");
    link("/dev/shm", "proc");
    link("nothing", "dangling");
    link("loop", "loop");
    link("folder/../real/../folder/file", "winding");
    let context = open(root.path(), "");
    for (pattern, resolved) in [
        ("folder", "/real"),
        ("folder/file", "/real/file"),
        ("file", "/real/file"),
        ("absolute", "/etc/passwd"),
        ("above/passwd", "/etc/passwd"),
        ("winding", "/real/file"),
        ("fil*", "/real/file"),
    ] {
        let source = only(context.sources(pattern).unwrap());
        assert_eq!(source.resolved().to_string(), resolved, "{pattern}");
        assert!(source.walk(&Patterns::default()).unwrap().all(|entry| entry.is_ok()), "{pattern}");
    }
    let mut passwd = String::new();
    let source = only(context.sources("absolute").unwrap());
    let entry = source.walk(&Patterns::default()).unwrap().next().unwrap().unwrap();
    entry.open().unwrap().read_to_string(&mut passwd).unwrap();
    assert_eq!(passwd, "etc/passwd", "the context's own file, not the machine's");
    assert_eq!(error(&context, "proc").0, "`proc` is not in the build context: the symbolic link `proc` points to nothing in it");
    assert_eq!(
        error(&context, "dangl*").0,
        "`dangling` is not in the build context: the symbolic link `dangling` points to nothing in it"
    );
    assert_eq!(error(&context, "loop").0, "`loop` leads through too many symbolic links");
    assert_eq!(matched(&context, "fo*/file"), [""; 0], "a link is not followed in the middle of a pattern");
    let hidden = open(root.path(), "real");
    assert_eq!(error(&hidden, "file").0, "`real` is left out of the build context by line 1 of `.dockerignore`: `real`");
    let links = walk_all(root.path(), "");
    assert!(links.contains(&"proc".into()) && !links.iter().any(|path| path.starts_with("proc/")), "{links:?}");
}

#[test]
fn a_folder_swapped_for_a_link_in_the_middle_of_a_walk_leads_nowhere() {
    let root = tree(&["a/x", "b/y", "c/z/w"]);
    let context = open(root.path(), "");
    let mut entries = only(context.sources(".").unwrap()).walk(&Patterns::default()).unwrap();
    assert_eq!(entries.next().unwrap().unwrap().entry.path.to_string(), "/a");
    fs::rename(root.path().join("b"), root.path().join("b.old")).unwrap();
    symlink("/etc", root.path().join("b")).unwrap();
    assert_eq!(entries.next().unwrap().unwrap().entry.path.to_string(), "/a/x");
    let error = entries.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Context, "`b` changed while it was read"));
    assert!(entries.next().is_none(), "the walk ends after an error");

    // Inside of an open folder a swapped parent changes nothing: the walk holds the folder itself.
    let mut entries = only(context.sources("c").unwrap()).walk(&Patterns::default()).unwrap();
    assert_eq!(entries.next().unwrap().unwrap().entry.path.to_string(), "/z");
    fs::rename(root.path().join("c"), root.path().join("c.old")).unwrap();
    symlink("/etc", root.path().join("c")).unwrap();
    let entry = entries.next().unwrap().unwrap();
    assert_eq!(entry.entry.path.to_string(), "/z/w");
    assert!(entry.open().is_ok());
}

#[test]
fn a_file_that_changes_or_is_swapped_is_an_error() {
    let root = tree(&["swapped", "grown", "touched", "fine"]);
    let file = |name: &str| root.path().join(name);
    let context = open(root.path(), "");
    let entries: Vec<_> =
        only(context.sources(".").unwrap()).walk(&Patterns::default()).unwrap().map(|entry| entry.unwrap()).collect();
    let entry = |name: &str| entries.iter().find(|entry| entry.entry.path.to_string()[1..] == *name).unwrap();
    let message = |error: mpimg::Error| (error.kind(), error.to_string());
    let changed = |name: &str| (ErrorKind::Context, format!("`{name}` changed while it was read"));

    fs::remove_file(file("swapped")).unwrap();
    symlink("/etc/passwd", file("swapped")).unwrap();
    assert_eq!(message(entry("swapped").open().unwrap_err()), changed("swapped"));
    fs::remove_file(file("swapped")).unwrap();
    assert_eq!(message(entry("swapped").open().unwrap_err()), changed("swapped"));
    fs::write(file("swapped"), "swapped").unwrap();
    assert_eq!(message(entry("swapped").open().unwrap_err()), changed("swapped"), "another file of that name and size");

    let opened = entry("grown").open().unwrap();
    fs::write(file("grown"), "grown and more").unwrap();
    assert_eq!(message(entry("grown").check_unchanged(&opened).unwrap_err()), changed("grown"));
    assert_eq!(message(entry("grown").open().unwrap_err()), changed("grown"));

    let opened = entry("touched").open().unwrap();
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::options().write(true).open(file("touched")).unwrap().set_times(times).unwrap();
    assert_eq!(message(entry("touched").check_unchanged(&opened).unwrap_err()), changed("touched"));

    let opened = entry("fine").open().unwrap();
    entry("fine").check_unchanged(&opened).unwrap();
}

#[test]
fn names_of_any_bytes_pass_unchanged() {
    let root = tree(&[]);
    let names: [&[u8]; 4] = [b"\xff\xfe", b"a\nb", b"e\xcc\x81", b"\x1b[2J"];
    for name in names {
        fs::write(root.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let context = open(root.path(), "?\u{fffd}");
    let paths: Vec<Vec<u8>> = only(context.sources(".").unwrap())
        .walk(&Patterns::default())
        .unwrap()
        .map(|entry| entry.unwrap().entry.path.as_bytes().to_vec())
        .collect();
    assert_eq!(paths, [b"\x1b[2J".as_slice(), b"a\nb", b"e\xcc\x81"], "Go takes each byte that is no UTF-8 as U+FFFD");
    let error = context.sources("\u{1b}[2K").unwrap_err();
    assert!(!error.to_string().contains('\u{1b}') && !error.hint().unwrap().contains('\u{1b}'), "{error:?}");
    assert!(context.sources("a\0b").is_err());
}

#[test]
fn sockets_become_empty_files_and_pipes_stay() {
    let root = tree(&["file"]);
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let pipe = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, root.path().join("pipe"), rustix::fs::FileType::Fifo, pipe, 0).unwrap();
    let context = open(root.path(), "");
    let entries = only(context.sources(".").unwrap()).walk(&Patterns::default()).unwrap();
    let kinds: Vec<_> =
        entries.map(|entry| entry.unwrap()).map(|entry| (entry.entry.path.to_string(), entry.entry.kind)).collect();
    let empty = Kind::File { size: 0 };
    assert_eq!(
        kinds,
        [("/file".into(), Kind::File { size: 4 }), ("/pipe".into(), Kind::Fifo), ("/socket".into(), empty.clone())]
    );
    assert_eq!(only(context.sources("socket").unwrap()).kind(), &empty);
    assert_eq!(matched(&context, "sock*"), ["/socket"]);
    let pipe = only(context.sources("pipe").unwrap());
    assert_eq!(pipe.kind(), &Kind::Fifo);
    let entry = pipe.walk(&Patterns::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.open().unwrap_err().to_string(), "`pipe` is not a regular file");
}

#[test]
fn hard_links_inside_the_context_are_plain_files() {
    let root = tree(&["a"]);
    fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
    let kinds = taken(&open(root.path(), ""));
    assert_eq!(kinds["a"], "file 644 of 1: a");
    assert_eq!(kinds["b"], kinds["a"]);
}

/// Runs one ignored test of this file as a process of its own, under `wrapper`, with a folder in
/// its environment.
fn in_child(wrapper: &[&str], test: &str, folder: &Path) {
    let output = judge(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", &format!("context::{test}")])
        .env("MPIMG_TEST_FOLDER", folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn given_folder() -> PathBuf {
    std::env::var_os("MPIMG_TEST_FOLDER").expect("another test starts this one").into()
}

const DEPTH: usize = 1200;

#[test]
fn a_closed_entry_finds_its_file_again_and_no_other() {
    let root = tree(&["a/b/file"]);
    let context = open(root.path(), "");
    let entry = || {
        let mut entry = only(context.sources("a").unwrap()).walk(&Patterns::default()).unwrap().last().unwrap().unwrap();
        entry.close();
        entry
    };
    let content = |file: fs::File| std::io::read_to_string(file).unwrap();
    assert_eq!(content(entry().open().unwrap()), "a/b/file");
    let closed = entry();
    // The same file by a link on the way.
    fs::rename(root.path().join("a/b"), root.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", root.path().join("a/b")).unwrap();
    assert_eq!(closed.open().unwrap_err().kind(), ErrorKind::Context);
    fs::remove_file(root.path().join("a/b")).unwrap();
    fs::create_dir(root.path().join("a/b")).unwrap();
    fs::write(root.path().join("a/b/file"), "another!").unwrap();
    assert_eq!(closed.open().unwrap_err().kind(), ErrorKind::Context, "another file");
    fs::rename(root.path().join("elsewhere/file"), root.path().join("a/b/file")).unwrap();
    assert_eq!(content(closed.open().unwrap()), "a/b/file", "the same in another folder of that name");
}

#[test]
fn a_tree_deeper_than_the_table_of_open_files_is_walked() {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let root = tree(&[]);
    let mut folder = open(root.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        for name in ["d", "e"] {
            mkdirat(&folder, name, Mode::from_raw_mode(0o755)).unwrap();
        }
        folder = openat(&folder, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    openat(&folder, "leaf", OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o644)).unwrap();
    in_child(&["prlimit", "--nofile=100"], "child_walks_a_deep_tree", root.path());
    // The standard library's own removal holds a folder open a level.
    assert!(Command::new("rm").arg("-rf").arg(root.path().join("d")).status().unwrap().success());
}

#[test]
#[ignore = "started by a_tree_deeper_than_the_table_of_open_files_is_walked"]
fn child_walks_a_deep_tree() {
    let root = given_folder();
    let count = |ignore: &str| {
        only(open(&root, ignore).sources(".").unwrap())
            .walk(&Patterns::default())
            .unwrap()
            .inspect(|entry| assert!(entry.is_ok()))
            .count()
    };
    assert_eq!(count(""), 2 * DEPTH + 1);
    assert_eq!(count("**\n!**/leaf"), DEPTH + 1, "all folders above the leaf wait for it");
    let names: Vec<&str> = vec!["d"; 50];
    assert_eq!(
        only(open(&root, "").sources(&names.join("/")).unwrap()).walk(&Patterns::default()).unwrap().count(),
        2 * (DEPTH - 50) + 1
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_remedies() {
    let root = tree(&["open/file", "locked/file", "zero"]);
    fs::set_permissions(root.path().join("locked"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(root.path().join("zero"), PermissionsExt::from_mode(0o000)).unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if rustix::process::geteuid().is_root() {
        in_child(&nobody, "child_meets_what_it_cannot_read", root.path());
    } else {
        in_child(&["env"], "child_meets_what_it_cannot_read", root.path());
    }
    fs::set_permissions(root.path().join("locked"), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
#[ignore = "started by what_cannot_be_read_is_named_with_its_remedies"]
fn child_meets_what_it_cannot_read() {
    let root = given_folder();
    let walk = |ignore: &str| only(open(&root, ignore).sources(".").unwrap()).walk(&Patterns::default()).unwrap();
    let error = walk("").find_map(|entry| entry.err()).unwrap();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Context, "`locked` cannot be read"));
    assert_eq!(
        error.hint(),
        Some("make it readable with `chmod u+rX locked`, or leave it out with a line `locked` in .dockerignore")
    );
    let paths: Vec<_> = walk("locked\n!locked/file").map(|entry| entry.unwrap()).collect();
    assert_eq!(paths.len(), 3, "a folder that is left out need not be readable");
    let zero = paths.iter().find(|entry| entry.entry.path.to_string() == "/zero").unwrap();
    assert_eq!(zero.open().unwrap_err().to_string(), "`zero` cannot be read");
}
