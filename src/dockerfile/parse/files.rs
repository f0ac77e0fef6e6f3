//! COPY and ADD.
//!
//! `--from` takes no variables: the stages must be known before anything is expanded.

use crate::error::Result;

use super::super::text::{FlagKind, Flags, Marker, blank_split};
use super::super::{AddInstruction, CopyInstruction, InlineFile};
use super::raw::RawInstruction;

const COPY_FLAGS: &[(&str, FlagKind)] = &[
    ("from", FlagKind::Text),
    ("chown", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("link", FlagKind::Bool),
    ("parents", FlagKind::Bool),
    ("exclude", FlagKind::List),
];

const ADD_FLAGS: &[(&str, FlagKind)] = &[
    ("chown", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("link", FlagKind::Bool),
    ("exclude", FlagKind::List),
    ("checksum", FlagKind::Text),
    ("keep-git-dir", FlagKind::Bool),
    ("unpack", FlagKind::Bool),
];

struct Paths {
    sources: Vec<String>,
    inline_files: Vec<InlineFile>,
    destination: String,
}

pub(super) fn parse_copy(mut raw: RawInstruction<'_>) -> Result<CopyInstruction> {
    let flags = raw.flags(COPY_FLAGS)?;
    let Paths { sources, inline_files, destination } = paths(&mut raw)?;
    let from = flags.text("from");
    if let Some(from) = from.as_deref().filter(|from| from.contains(['$', '\'', '"']) || from.contains(raw.location.escape)) {
        return Err(raw.location.error_at(from, "the `--from` of COPY cannot have variables").with_hint(format!(
            "name the image as a stage of its own, `FROM {from} AS NAME` with its ARG before the first FROM, and write --from=NAME"
        )));
    }
    Ok(CopyInstruction {
        sources,
        inline_files,
        destination,
        from,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: is_set(&flags, "link"),
        parents: is_set(&flags, "parents"),
        exclude: flags.list("exclude"),
    })
}

pub(super) fn parse_add(mut raw: RawInstruction<'_>) -> Result<AddInstruction> {
    let flags = raw.flags(ADD_FLAGS)?;
    let Paths { sources, inline_files, destination } = paths(&mut raw)?;
    Ok(AddInstruction {
        sources,
        inline_files,
        destination,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: is_set(&flags, "link"),
        exclude: flags.list("exclude"),
        checksum: flags.text("checksum"),
        keep_git_dir: is_set(&flags, "keep-git-dir"),
        unpack: flags.bool("unpack"),
    })
}

fn is_set(flags: &Flags, name: &str) -> bool {
    flags.bool(name).unwrap_or(false)
}

fn paths(raw: &mut RawInstruction<'_>) -> Result<Paths> {
    let mut words = match raw.json()? {
        Some(strings) => strings,
        None => blank_split(raw.arguments),
    };
    let name = raw.name;
    let destination = match words.pop() {
        Some(destination) if !words.is_empty() => destination,
        Some(only) => {
            return Err(raw.usage(format!("{name} has only one argument, `{only}`: sources or the destination are missing")));
        }
        None => return Err(raw.usage(format!("{name} has no arguments"))),
    };
    if heredoc_word(&destination).is_some() {
        return Err(raw.usage(format!("a heredoc cannot be the destination of {name}")));
    }
    let mut sources = Vec::new();
    let mut inline_files = Vec::new();
    for word in words {
        let Some(marker) = heredoc_word(&word) else {
            sources.push(word);
            continue;
        };
        // Of several heredocs with one name, BuildKit takes the last one's content for all of them.
        let found = raw.heredocs.iter().rfind(|heredoc| heredoc.marker.name == marker.name);
        let content = found.map(|heredoc| heredoc.chomped(&marker));
        let name = raw.file_name(&marker)?;
        inline_files.push(InlineFile { name, content: content.unwrap_or_default(), expand: marker.expand });
    }
    if inline_files.is_empty()
        && let Some(heredoc) = raw.heredocs.first()
    {
        let error = raw.location.error(format!("the heredoc `{}` is not a source of {name}", heredoc.marker.name));
        return Err(error.with_hint(format!("write `<<{}` as a word of its own, without blanks in it", heredoc.marker.name)));
    }
    Ok(Paths { sources, inline_files, destination })
}

/// The heredoc that a word announces.
fn heredoc_word(word: &str) -> Option<Marker> {
    Marker::parse(word).ok().flatten()
}
