//! COPY and ADD.
//!
//! Refuses variables in `--from`: the stages must be known before anything is expanded.

use crate::error::Result;

use super::super::text::{FlagKind, Flags, Marker, blank_split};
use super::super::{AddInstruction, CopyInstruction, InlineFile};
use super::Request;

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

pub(super) fn parse_copy(mut request: Request<'_>) -> Result<CopyInstruction> {
    let flags = request.flags(COPY_FLAGS)?;
    let Paths { sources, inline_files, destination } = paths(&mut request)?;
    let from = flags.text("from");
    if let Some(from) = from.as_deref().filter(|from| from.contains(['$', '\'', '"']) || from.contains(request.place.escape)) {
        return Err(request.place.error_at(from, "the `--from` of COPY cannot have variables").with_hint(format!(
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

pub(super) fn parse_add(mut request: Request<'_>) -> Result<AddInstruction> {
    let flags = request.flags(ADD_FLAGS)?;
    let Paths { sources, inline_files, destination } = paths(&mut request)?;
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

fn paths(request: &mut Request<'_>) -> Result<Paths> {
    let mut words = match request.json()? {
        Some(strings) => strings,
        None => blank_split(request.arguments),
    };
    let name = request.name;
    let destination = match words.pop() {
        Some(destination) if !words.is_empty() => destination,
        Some(only) => {
            return Err(request.usage(format!("{name} has only one argument, `{only}`: sources or the destination are missing")));
        }
        None => return Err(request.usage(format!("{name} has no arguments"))),
    };
    let is_heredoc = |word: &str| request.heredocs.iter().rfind(|heredoc| names(word, &heredoc.marker));
    if is_heredoc(&destination).is_some() {
        return Err(request.usage(format!("a heredoc cannot be the destination of {name}")));
    }
    let mut sources = Vec::new();
    let mut inline_files = Vec::new();
    for word in words {
        match is_heredoc(&word) {
            None => sources.push(word),
            Some(heredoc) => {
                let name = request.file_name(&heredoc.marker)?;
                inline_files.push(InlineFile { name, content: heredoc.text(), expand: heredoc.marker.expand });
            }
        }
    }
    Ok(Paths { sources, inline_files, destination })
}

fn names(word: &str, marker: &Marker) -> bool {
    Marker::parse(word).is_ok_and(|found| found.as_ref() == Some(marker))
}
