//! The message for a source that matches nothing: what is missing, or which rule excludes it, and
//! which names are similar.
//!
//! Only names that are nearly the same are suggested.

use std::path::Path;

use super::ignore::Reason;
use super::resolve::{ContextFolder, Missing};
use super::shown;
use crate::error::{Error, ErrorKind};

/// How similar two names must be, from 0 to 1, for one to be suggested for the other.
const MIN_SIMILARITY: f64 = 0.6;

/// The largest number of suggested names.
const MAX_SUGGESTIONS: usize = 3;

/// The error for the source `pattern` of the build context at `root`.
pub(super) fn explain(root: &Path, pattern: &str, why: Missing) -> Error {
    let error = |message: String| Error::new(ErrorKind::Context, message);
    let pattern = shown(pattern.as_bytes());
    match why {
        Missing::NotThere { here, name, link } => {
            let names = close_names(&here, &name);
            let root = root.display();
            let error = match link {
                Some(link) => error(format!(
                    "`{pattern}` is not in the build context: the symbolic link `{}` points to nothing in it",
                    shown(link.as_bytes())
                )),
                None => error(format!("`{pattern}` is not in the build context")),
            };
            match names.as_slice() {
                [] => error.with_hint(format!(
                    "sources are relative to `{root}`; check the name, and whether it is written in that case"
                )),
                names => error.with_hint(format!("did you mean `{}`?", names.join("` or `"))),
            }
        }
        Missing::Excluded { path, reason: Reason::Line { file, number, text } } => {
            let path = shown(path.as_bytes());
            error(format!(
                "`{path}` is left out of the build context by line {number} of `{file}`: `{}`",
                shown(text.trim().as_bytes())
            ))
            .with_hint(format!("remove that line, or add the line `!{path}` at the end of `{file}`"))
        }
        Missing::Excluded { path, reason: Reason::Sdk(reason) } => {
            error(format!("`{}` is left out of the build context: {reason}", shown(path.as_bytes())))
                .with_hint("move what the image needs to another folder, such as `app`")
        }
        Missing::NotAFolder(path) => {
            error(format!("`{pattern}` is not in the build context: `{}` is not a folder", shown(path.as_bytes())))
                .with_hint("check the path")
        }
        Missing::TooManyLinks => error(format!("`{pattern}` leads through too many symbolic links"))
            .with_hint("look for links that point to each other"),
        Missing::Failed(failed) => failed,
    }
}

/// Names in the folder that look like `name`, best first.
fn close_names(here: &ContextFolder, name: &[u8]) -> Vec<String> {
    let wanted = shown(name);
    let lower = wanted.to_lowercase();
    let mut close: Vec<(f64, String)> = here
        .folder
        .names()
        .unwrap_or_default()
        .iter()
        .map(|name| shown(&name.bytes))
        .map(|name| (strsim::normalized_damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(alike, _)| *alike >= MIN_SIMILARITY)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let folder = shown(here.path.as_bytes());
    let slash = if folder.is_empty() { "" } else { "/" };
    close.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| format!("{folder}{slash}{name}")).collect()
}
