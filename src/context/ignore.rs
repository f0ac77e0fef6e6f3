//! What is excluded from a build context: by the lines of the ignore file, and in SDK projects what
//! `mp-build` excludes.
//!
//! A bad pattern is an error that shows its line. No `!` line re-includes what the SDK excludes.

use std::path::Path;

use super::glob::clean;
use super::pattern::{FolderMatch, Patterns, trim};
use super::regular::read_regular;
use crate::error::{Error, ErrorKind, Result, Snippet};
use crate::project::excludes_folder;

/// The file that is read where a Dockerfile has none of its own.
const DOCKERIGNORE: &str = ".dockerignore";

/// An ignore file: its name for messages, and its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreFile {
    /// As the user would name it.
    pub name: String,
    /// What it holds.
    pub text: Vec<u8>,
}

impl IgnoreFile {
    /// Reads `<Dockerfile>.dockerignore` beside the Dockerfile, else `.dockerignore` in the
    /// context's root; `None` without either.
    pub fn read(root: &Path, dockerfile: &Path) -> Result<Option<Self>> {
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(DOCKERIGNORE);
        for file in [Path::new(&own), &root.join(DOCKERIGNORE)] {
            match read_regular(file) {
                Ok(text) => {
                    let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
                    return Ok(Some(Self { name, text }));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", file, error)),
            }
        }
        Ok(None)
    }

    /// Adds a line to the text.
    pub fn add_line(&mut self, line: &str) {
        self.text.extend_from_slice(b"\n");
        self.text.extend_from_slice(line.as_bytes());
    }
}

/// Which paths of a build context are excluded.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    name: String,
    lines: Vec<Line>,
    patterns: Patterns,
    sdk: bool,
}

#[derive(Debug, Clone)]
struct Line {
    number: usize,
    text: String,
}

/// Why a path is excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// A line of the ignore file.
    Line { file: String, number: usize, text: String },
    /// The SDK's rule, in words that end a sentence.
    Sdk(&'static str),
}

impl Ignore {
    /// Reads the lines of an ignore file (moby's `ignorefile.ReadAll`) and, with `sdk`, puts the
    /// SDK's exclusions on top.
    pub fn parse(file: Option<&IgnoreFile>, sdk: bool) -> Result<Self> {
        let Some(file) = file else { return Ok(Self { sdk, ..Self::default() }) };
        let text = file.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&file.text);
        let mut lines = Vec::new();
        let mut patterns = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if let Some(pattern) = pattern_of(line) {
                let text = String::from_utf8_lossy(line).trim_end().to_owned();
                lines.push(Line { number: index + 1, text });
                patterns.push(pattern);
            }
        }
        let patterns = Patterns::compile(patterns.iter().map(Vec::as_slice)).map_err(|error| {
            let Line { number, text } = lines[error.index].clone();
            let length = text.chars().count();
            Error::new(ErrorKind::Context, format!("`{}` has a bad pattern: {}", file.name, error.reason))
                .with_snippet(Snippet { file: file.name.clone(), line: number, column: 0, length, text })
                .with_hint("correct the line; to mean a character that patterns use, put a backslash before it")
        })?;
        Ok(Self { name: file.name.clone(), lines, patterns, sdk })
    }

    /// Whether nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && !self.sdk
    }

    /// Whether the SDK's exclusions apply.
    pub(super) fn sdk(&self) -> bool {
        self.sdk
    }

    pub(super) fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Whether the SDK leaves the folder `path` out for its name, and why. Virtual environments
    /// take a look into the folder.
    pub(super) fn sdk_excludes(&self, path: &[u8]) -> Option<Reason> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let top = name.len() == path.len();
        excludes_folder(name, top).filter(|_| self.sdk).map(Reason::Sdk)
    }

    /// The line that decides on `path`, given the match of the folder that holds it.
    pub(super) fn line_for(&self, path: &[u8], parent: &FolderMatch) -> Option<Reason> {
        let line = self.lines.get(self.patterns.decisive(path, parent)?)?;
        Some(Reason::Line { file: self.name.clone(), number: line.number, text: line.text.clone() })
    }
}

/// The pattern of a line: without comment, white space and leading `/`, cleaned.
fn pattern_of(line: &[u8]) -> Option<Vec<u8>> {
    if line.starts_with(b"#") {
        return None;
    }
    let line = trim(line);
    let (mark, pattern) = match line.strip_prefix(b"!") {
        Some(pattern) => (b"!".as_slice(), trim(pattern)),
        None => (b"".as_slice(), line),
    };
    if pattern.is_empty() {
        return (!mark.is_empty()).then(|| mark.to_vec());
    }
    let cleaned = clean(pattern);
    let relative = cleaned.strip_prefix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    Some([mark, relative].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Ignore> {
        Ignore::parse(Some(&IgnoreFile { name: DOCKERIGNORE.into(), text: text.into() }), false)
    }

    #[test]
    fn lines_are_read_as_moby_does() {
        for (line, pattern) in [
            ("# comment", None),
            ("  # not a comment", Some("# not a comment")),
            ("", None),
            ("   \t", None),
            ("/a/b/", Some("a/b")),
            ("//a", Some("a")),
            ("! /a", Some("!a")),
            ("!", Some("!")),
            ("./a/../b", Some("b")),
            ("/", Some("/")),
            ("a\r", Some("a")),
            ("\\#a", Some("\\#a")),
        ] {
            assert_eq!(pattern_of(line.as_bytes()).as_deref(), pattern.map(str::as_bytes), "{line:?}");
        }
    }

    #[test]
    fn the_deciding_line_is_named() {
        let ignore = parse("\u{feff}# all logs\n*.log\n\n!keep.log\n").unwrap();
        let root = ignore.patterns.root();
        let line = |number, text: &str| Some(Reason::Line { file: ".dockerignore".into(), number, text: text.into() });
        assert_eq!(ignore.line_for(b"a.log", &root), line(2, "*.log"));
        assert_eq!(ignore.line_for(b"keep.log", &root), line(4, "!keep.log"));
        assert_eq!(ignore.line_for(b"a", &root), None);
    }

    #[test]
    fn a_bad_pattern_is_shown_with_its_line() {
        let error = parse("a\n\n  b[\n").unwrap_err();
        assert_eq!(error.to_string(), "`.dockerignore` has a bad pattern: a `[` or a backslash in it does not end");
        let snippet = error.snippet().unwrap();
        assert_eq!((snippet.line, snippet.text.as_str()), (3, "  b["));
        assert_eq!(parse("a\n!\n").unwrap_err().snippet().unwrap().line, 2);
    }

    #[test]
    fn a_dockerfiles_own_ignore_file_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let dockerfile = root.path().join("docker/Dockerfile");
        assert_eq!(IgnoreFile::read(root.path(), &dockerfile).unwrap(), None);
        std::fs::write(root.path().join(".dockerignore"), "a").unwrap();
        assert_eq!(IgnoreFile::read(root.path(), &dockerfile).unwrap().unwrap().name, ".dockerignore");
        std::fs::create_dir(root.path().join("docker")).unwrap();
        std::fs::write(root.path().join("docker/Dockerfile.dockerignore"), "b").unwrap();
        let own = IgnoreFile::read(root.path(), &dockerfile).unwrap().unwrap();
        assert_eq!((own.name.as_str(), own.text.as_slice()), ("docker/Dockerfile.dockerignore", b"b".as_slice()));
    }

    #[test]
    fn the_sdks_folders_are_excluded_only_with_the_sdk() {
        let sdk = Ignore::parse(None, true).unwrap();
        for (path, excluded) in [("build", true), ("app/build", false), (".git", true), ("app/.cache", true), ("app", false)] {
            assert_eq!(sdk.sdk_excludes(path.as_bytes()).is_some(), excluded, "{path}");
            assert_eq!(Ignore::default().sdk_excludes(path.as_bytes()), None, "{path}");
        }
    }
}
