//! The sources of COPY and ADD: from a pattern to what it names in the build context.
//!
//! No source is outside the root: `..` and absolute paths are cleaned, and links are resolved as if
//! the root were `/`.
//!
//! Source: BuildKit, `dispatchCopy` and `docopy` (wildcards allowed and allowed to match nothing,
//! links followed), fsutil `copy.go` (`ResolveWildcards`). One thing differs: a class such as
//! `[^a]` never takes a `/` here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::filter::Filter;
use super::glob::{Glob, has_wildcards};
use super::ignore::Reason;
use super::pattern::FolderMatch;
use super::resolve::{ContextFolder, Found, Missing, Resolver};
use super::tree::{EntryType, Folder, Identity, Status};
use super::{Ignore, IgnoreFile, Patterns, Walk, changed, missing, shown, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Kind, LayerPath, Metadata};

/// How a folder is seen as a build context.
#[derive(Debug, Clone, Default)]
pub struct ContextOptions {
    /// The ignore file, where there is one: see [`IgnoreFile::read`].
    pub ignore: Option<IgnoreFile>,
    /// Whether the SDK's own exclusions apply on top.
    pub sdk: bool,
}

/// A folder that COPY and ADD take from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BuildContext {
    path: Arc<PathBuf>,
    root: Arc<Folder>,
    ignore: Arc<Ignore>,
}

/// One thing that a source names: a folder, or a file, device or pipe. Links on the way to it, and
/// it itself if it was one, have been resolved inside the root.
#[derive(Debug, Clone)]
pub struct Source {
    root: Arc<Folder>,
    ignore: Arc<Ignore>,
    /// As matched: the last component is its name in a destination folder.
    path: LayerPath,
    /// Without links.
    resolved: LayerPath,
    kind: Kind,
    metadata: Metadata,
    at: At,
    include: Option<Arc<Patterns>>,
}

#[derive(Debug, Clone)]
enum At {
    Folder { identity: Identity, folder_match: FolderMatch },
    Leaf { folder: Arc<Folder>, status: Status },
}

/// What a pattern names.
#[derive(Debug, Default)]
struct Matches {
    sources: Vec<Source>,
    /// The first that the pattern names but the ignore rules leave out.
    excluded: Option<(LayerPath, Reason)>,
}

impl BuildContext {
    /// Opens the folder at `root`, which may be a link.
    pub fn open(root: &Path, options: ContextOptions) -> Result<Self> {
        let ignore = Ignore::parse(options.ignore.as_ref(), options.sdk)?;
        let folder = Folder::open(root).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Error::new(ErrorKind::NotFound, format!("`{}` is not a folder", root.display()))
                    .with_source(error)
                    .with_hint("name the folder that holds what the Dockerfile copies")
            }
            _ => Error::io("open", root, error),
        })?;
        Ok(Self { path: Arc::new(root.to_owned()), root: Arc::new(folder), ignore: Arc::new(ignore) })
    }

    /// The folder, as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device of files whose [`Stamp`](crate::layer::Stamp) shows reliably whether they have
    /// changed; `None` if that is not certain.
    pub fn device_with_reliable_times(&self) -> Option<u64> {
        self.root.device_with_reliable_times().ok().flatten()
    }

    /// What a source of COPY or ADD names, in sorted order. A link that a pattern names is
    /// followed, as docker does.
    ///
    /// A path without wildcards that does not exist or is excluded is an error of kind
    /// [`Context`](ErrorKind::Context). Wildcards that match nothing give an empty list, as in
    /// BuildKit (`AllowEmptyWildcard`); [`no_match`](Self::no_match) makes an error of it.
    pub fn sources(&self, pattern: &str) -> Result<Vec<Source>> {
        Ok(self.matches(pattern)?.sources)
    }

    /// What a source of COPY or ADD with `--parents` names. A folder's walk then gives only what
    /// the pattern after the pivot `/./` matches (by the rules of ignore files, `**` included),
    /// with the folders above it, relative to the pivot.
    pub fn sources_with_parents(&self, pattern: &str) -> Result<Vec<Source>> {
        let (pivot, below) = pattern.split_once("/./").unwrap_or(("/", pattern));
        let below = LayerPath::clean(below)?;
        if !has_wildcards(pattern.as_bytes()) {
            let whole = LayerPath::clean(pivot)?.join(&below);
            self.expect_entry(&whole).map_err(|why| self.missing(pattern, why))?;
        }
        let text = String::from_utf8_lossy(below.as_bytes()).into_owned();
        let include = Arc::new(Patterns::parse([text.as_str()])?);
        let mut sources = self.sources(pivot)?;
        sources.iter_mut().for_each(|source| source.include = Some(include.clone()));
        Ok(sources)
    }

    /// Whether `path` is there. A link is copied itself, so it may lead to nothing; at the top,
    /// BuildKit wants it to lead somewhere.
    fn expect_entry(&self, path: &LayerPath) -> std::result::Result<(), Missing> {
        let resolver = self.resolver();
        let (folder, name) = (path.parent().filter(|parent| !parent.is_root()), path.name());
        if let (Some(folder), Some(name)) = (folder, name)
            && let Found::Folder(here) = resolver.resolve(&folder)?
        {
            return resolver.look(&here, name).map(drop);
        }
        resolver.resolve(path).map(drop)
    }

    /// The error that says why `pattern` matches nothing: it does not exist, or a rule excludes it;
    /// with similar names as a hint.
    pub fn no_match(&self, pattern: &str) -> Error {
        match self.matches(pattern) {
            Err(error) => error,
            Ok(Matches { excluded: Some((path, reason)), .. }) => self.missing(pattern, Missing::Excluded { path, reason }),
            Ok(_) => {
                Error::new(ErrorKind::Context, format!("`{}` matches nothing in the build context", shown(pattern.as_bytes())))
                    .with_hint(format!("sources are relative to `{}`; `*` stays within one folder", self.path.display()))
            }
        }
    }

    fn matches(&self, pattern: &str) -> Result<Matches> {
        let path =
            LayerPath::clean(pattern).map_err(|error| error.wrap(format!("`{}` is not a source", shown(pattern.as_bytes()))))?;
        let resolver = self.resolver();
        let wild = path.components().position(has_wildcards);
        let literal = path.components().take(wild.unwrap_or(usize::MAX)).collect::<Vec<_>>().join(&b'/');
        let literal = LayerPath::parse(literal)?;
        let found = resolver.resolve(&literal).map_err(|why| self.missing(pattern, why))?;
        let Some(wild) = wild else {
            let mut matches = Matches::default();
            self.take(&mut matches, literal, found)?;
            return match matches {
                Matches { excluded: Some((path, reason)), .. } => Err(self.missing(pattern, Missing::Excluded { path, reason })),
                matches => Ok(matches),
            };
        };
        let globs = path.components().skip(wild).map(Glob::parse).collect::<std::result::Result<Vec<_>, _>>().map_err(|_| {
            Error::new(ErrorKind::Context, format!("`{}` is not a pattern", shown(pattern.as_bytes())))
                .with_hint("a `[` needs its `]`; to mean the character itself, write `[[]`")
        })?;
        let mut matches = Matches::default();
        match found {
            Found::Folder(here) => self.expand(&resolver, pattern, &here, &globs, &mut matches)?,
            // A file holds nothing that a pattern could match.
            Found::Leaf { .. } => {}
        }
        Ok(matches)
    }

    /// Adds what `globs` match in the folder `here`, one level a glob. Links are not followed on
    /// the way, only at the end.
    fn expand(
        &self,
        resolver: &Resolver<'_>,
        pattern: &str,
        here: &ContextFolder,
        globs: &[Glob],
        matches: &mut Matches,
    ) -> Result<()> {
        let Some((glob, below)) = globs.split_first() else { return Ok(()) };
        let names = here.folder.names().map_err(|error| unreadable(here.path.as_bytes(), error))?;
        for name in names.iter().filter(|name| glob.matches(&name.bytes)) {
            if !below.is_empty() && name.entry_type == EntryType::Other {
                continue;
            }
            let path = here.path.child(&name.bytes)?;
            let found = match resolver.look(here, &name.bytes) {
                Ok(Some(found)) => found,
                Ok(None) if below.is_empty() => match resolver.resolve(&path) {
                    Ok(found) => found,
                    Err(why) => return Err(self.missing(&shown(path.as_bytes()), why)),
                },
                Ok(None) => continue,
                Err(Missing::Excluded { path, reason }) => {
                    matches.excluded.get_or_insert((path, reason));
                    continue;
                }
                Err(Missing::NotThere { .. }) => continue,
                Err(why) => return Err(self.missing(pattern, why)),
            };
            match found {
                Found::Folder(here) if !below.is_empty() => self.expand(resolver, pattern, &here, below, matches)?,
                found if below.is_empty() => self.take(matches, path, found)?,
                Found::Folder(_) | Found::Leaf { .. } => {}
            }
        }
        Ok(())
    }

    /// Adds what was found, unless it is an excluded folder in which nothing is re-included.
    fn take(&self, matches: &mut Matches, path: LayerPath, found: Found) -> Result<()> {
        let (root, ignore) = (self.root.clone(), self.ignore.clone());
        let source = match found {
            Found::Folder(here) => {
                let status = here.folder.own_status().map_err(|error| unreadable(here.path.as_bytes(), error))?;
                let at = At::Folder { identity: status.identity, folder_match: here.folder_match };
                Source {
                    root,
                    ignore,
                    path,
                    resolved: here.path,
                    kind: Kind::Directory,
                    metadata: metadata(&status),
                    at,
                    include: None,
                }
            }
            Found::Leaf { folder, path: resolved, status } => {
                let Some(kind) = status.kind() else { return Ok(()) };
                let metadata = metadata(&status);
                Source { root, ignore, path, resolved, kind, metadata, at: At::Leaf { folder, status }, include: None }
            }
        };
        match source.excluded()? {
            Some(reason) => _ = matches.excluded.get_or_insert((source.resolved, reason)),
            None => matches.sources.push(source),
        }
        Ok(())
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver::new(&self.root, &self.ignore)
    }

    fn missing(&self, pattern: &str, why: Missing) -> Error {
        missing::explain(&self.path, pattern, why)
    }
}

fn metadata(status: &Status) -> Metadata {
    Metadata::new(status.mode, status.uid, status.gid, status.mtime.0)
}

impl Source {
    /// Where it is in the build context, as matched: its last component is its name in a
    /// destination folder.
    pub fn path(&self) -> &LayerPath {
        &self.path
    }

    /// Where it is in the build context once links are resolved.
    pub fn resolved(&self) -> &LayerPath {
        &self.resolved
    }

    /// What it is: a folder, file, device or pipe.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its mode, owner and time, as the file system has them.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Of a folder, all that it holds but not the folder itself; of anything else, one entry with
    /// the empty path. What `exclude` matches is left out (`--exclude`).
    pub fn walk(&self, exclude: &Patterns) -> Result<Walk> {
        let filter = Filter { ignore: self.ignore.clone(), include: self.include.clone(), exclude: Arc::new(exclude.clone()) };
        match &self.at {
            At::Folder { identity, folder_match } => {
                let folder_matches = filter.source(folder_match.clone());
                Walk::of_folder((&self.root, &self.resolved), self.reopen(*identity)?, folder_matches, filter)
            }
            At::Leaf { folder, status } => {
                let name = self.resolved.name().unwrap_or_default();
                Walk::of_leaf((&self.root, &self.resolved), folder.clone(), name, status.clone(), filter)
            }
        }
    }

    /// Opens the folder again, component by component: holding all folders that a pattern names
    /// could be too many.
    fn reopen(&self, identity: Identity) -> Result<Folder> {
        let failed = |error: std::io::Error| unreadable(self.resolved.as_bytes(), error);
        let folder = self.root.open_below(&self.resolved).map_err(failed)?;
        if folder.own_status().map_err(failed)?.identity != identity {
            return Err(changed(self.resolved.as_bytes()));
        }
        Ok(folder)
    }

    /// Why it is not in the build context although it exists: an excluded folder is there only for
    /// what is re-included in it.
    fn excluded(&self) -> Result<Option<Reason>> {
        let At::Folder { folder_match, .. } = &self.at else { return Ok(None) };
        if !folder_match.is_match() || self.walk(&Patterns::default())?.next().transpose()?.is_some() {
            return Ok(None);
        }
        let parent = self.resolved.ancestors().fold(self.ignore.patterns().root(), |folder_match, folder| {
            self.ignore.patterns().folder(folder.as_bytes(), &folder_match)
        });
        Ok(self.ignore.line_for(self.resolved.as_bytes(), &parent))
    }
}
