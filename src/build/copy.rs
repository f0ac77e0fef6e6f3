//! COPY: from the build context, from a stage, from an image.
//!
//! Refuses to fetch a base image for `--link`: its layer does not depend on what is below.

use std::sync::Arc;

use super::place::{Placement, Stream};
use super::session::Session;
use super::sources::{self, Collected, Rules};
use super::stage::Stage;
use super::stages::Stages;
use crate::context::Patterns;
use crate::dockerfile::CopyStep;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{LayerPath, Tree};

/// Does one COPY; `instruction` is its text, for messages.
pub(super) fn copy(
    session: &Session<'_>,
    stages: &Stages<'_>,
    stage: &mut Stage,
    step: &CopyStep,
    instruction: &str,
) -> Result<()> {
    let owner = step.chown.as_deref().map(|spec| stage.owner(session, spec)).transpose()?;
    let tree = if step.link { Arc::new(Tree::default()) } else { stage.filesystem.tree(session)?.clone() };
    let mut rules = Rules {
        owner,
        chmod: step.chmod.as_ref(),
        context_mtime: session.times.context,
        exclude: Patterns::parse(step.exclude.iter().map(String::as_str))?,
        destination: &step.destination.path,
        several: false,
    };
    let scratch = session.store.scratch()?;
    let writer = session.layer_writer(stage.target)?;
    let mut placement = Placement::new(&tree, writer, rules.owner.as_ref(), session.times.context);
    match &step.from {
        None => {
            let found = context_sources(session, step)?;
            rules.several = found.len() + step.inline_files.len() > 1;
            let rules = &rules;
            let mut streams: Vec<Stream<'_>> = found
                .iter()
                .map(|source| sources::from_context(&tree, source, rules, &session.guard, instruction, session.progress))
                .collect::<Result<_>>()?;
            for file in &step.inline_files {
                streams.push(sources::from_heredoc(&tree, file, rules)?);
            }
            placement.put_all(streams)?;
        }
        Some(from) => {
            let source = stages.source(session, from)?;
            let mut source = source.lock();
            let source_tree = source.tree(session)?.clone();
            let mut found = Vec::new();
            for pattern in &step.sources {
                let matched = sources::matches(&source_tree, pattern)?;
                if matched.is_empty() && !pattern.contains(['*', '?', '[']) {
                    let message = format!("`{pattern}` is not in `{}`", stages.describe(from));
                    return Err(Error::new(ErrorKind::Context, message)
                        .with_hint("check the path; it is relative to the root of that stage or image"));
                }
                found.extend(sources::found(session, pattern, matched));
            }
            rules.several = found.len() > 1;
            let mut collected = Collected::default();
            for (path, node) in &found {
                let target = sources::stage_target(&tree, path, node, &rules)?;
                sources::from_stage(node, &target, &rules, &mut collected)?;
            }
            let items = collected.into_items(session, &source, scratch.path())?;
            let stream = Stream { target: LayerPath::root(), items: Box::new(items.into_iter().map(Ok)) };
            placement.put_all(vec![stream])?;
        }
    }
    stage.push_placement(session, placement)
}

fn context_sources(session: &Session<'_>, step: &CopyStep) -> Result<Vec<crate::context::Source>> {
    let mut found = Vec::new();
    for pattern in &step.sources {
        let sources = match step.parents {
            true => session.context.sources_with_parents(pattern)?,
            false => session.context.sources(pattern)?,
        };
        found.extend(sources::found(session, pattern, sources));
    }
    Ok(found)
}
