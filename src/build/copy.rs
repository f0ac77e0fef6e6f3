//! COPY: from the build context, from a stage, from an image.
//!
//! Refuses to fetch a base image for `--link`: its layer does not depend on what is below.

use std::sync::Arc;

use super::cache;
use super::place::{Placement, Stream};
use super::reuse::{self, Attempt, Look};
use super::session::Session;
use super::sources::{self, Collected, Rules};
use super::stage::Stage;
use super::stages::Stages;
use crate::context::{Patterns, Source};
use crate::dockerfile::{Base, CopyStep};
use crate::error::Result;
use crate::layer::{LayerPath, Tree};
use crate::store::CacheKey;

/// Does one COPY; `instruction` is its text, for messages. Whether the build cache had it.
pub(super) fn copy(
    session: &Session<'_>,
    stages: &Stages<'_>,
    stage: &mut Stage,
    step: &CopyStep,
    instruction: &str,
) -> Result<bool> {
    let key = cache::copy_key(session, stage, step);
    match &step.from {
        None => from_context(session, stage, step, instruction, key),
        Some(from) => from_stage(session, stages, stage, step, from, key),
    }
}

fn from_context(session: &Session<'_>, stage: &mut Stage, step: &CopyStep, instruction: &str, key: CacheKey) -> Result<bool> {
    let attempt = Attempt::new(key);
    let found = context_sources(session, step)?;
    let exclude = Patterns::parse(step.exclude.iter().map(String::as_str))?;
    let look = Look { session, instruction, exclude: &exclude };
    let sources: Vec<&Source> = found.iter().collect();
    attempt.take_or_make(stage, &look, &sources, |stage, writer, listings| {
        let tree = below(session, stage, step)?;
        let rules = rules(session, stage, step, found.len() + step.inline_files.len() > 1)?;
        let mut placement = Placement::new(&tree, writer, rules.owner.as_ref(), session.times.context);
        let mut streams: Vec<Stream<'_>> = std::iter::zip(&found, listings)
            .map(|(source, listing)| sources::from_context(&tree, source, &rules, &look, listing))
            .collect::<Result<_>>()?;
        for file in &step.inline_files {
            streams.push(sources::from_heredoc(&tree, file, &rules)?);
        }
        placement.put_all(streams)?;
        Ok(placement.finish())
    })
}

fn from_stage(
    session: &Session<'_>,
    stages: &Stages<'_>,
    stage: &mut Stage,
    step: &CopyStep,
    from: &Base,
    key: CacheKey,
) -> Result<bool> {
    let source = stages.source(session, from)?;
    let mut source = source.lock();
    let chain = source.chain_id().map(|chain| chain.to_string()).unwrap_or_default();
    let key = cache::with(key, &chain);
    if reuse::recall_shared(session, stage, &key, None)? {
        return Ok(true);
    }
    let tree = below(session, stage, step)?;
    let source_tree = source.tree(session)?.clone();
    let mut found = Vec::new();
    let mut all = true;
    for pattern in &step.sources {
        let Some(matched) = sources::matches(&source_tree, pattern)? else {
            return Err(stages.not_in(from, pattern));
        };
        all &= !matched.is_empty();
        found.extend(sources::found(session, pattern, matched));
    }
    let rules = rules(session, stage, step, found.len() > 1)?;
    let mut collected = Collected::default();
    for (path, node) in &found {
        let target = sources::stage_target(&tree, path, node, &rules)?;
        sources::from_stage(node, &target, &rules, &mut collected)?;
    }
    let scratch = session.store.scratch()?;
    let items = collected.into_items(session, &source, scratch.path())?;
    let mut placement = Placement::new(&tree, session.layer_writer(stage.target)?, rules.owner.as_ref(), session.times.context);
    placement.put_all(vec![Stream { target: LayerPath::root(), items: Box::new(items.into_iter().map(Ok)) }])?;
    let layer = stage.push_written(session, placement.finish())?;
    // A pattern that matches nothing is worth a warning each time.
    if all {
        reuse::remember_shared(session, stage, &key, reuse::cached(layer.as_ref()), session.times.context)?;
    }
    Ok(false)
}

/// What the destination is looked up in.
fn below(session: &Session<'_>, stage: &mut Stage, step: &CopyStep) -> Result<Arc<Tree>> {
    if step.link { Ok(Arc::default()) } else { stage.filesystem.tree(session).cloned() }
}

fn rules<'a>(session: &Session<'_>, stage: &mut Stage, step: &'a CopyStep, several: bool) -> Result<Rules<'a>> {
    Ok(Rules {
        owner: step.chown.as_deref().map(|spec| stage.owner(session, spec)).transpose()?,
        chmod: step.chmod.as_ref(),
        context_mtime: session.times.context,
        exclude: Patterns::parse(step.exclude.iter().map(String::as_str))?,
        destination: &step.destination.path,
        several,
    })
}

fn context_sources(session: &Session<'_>, step: &CopyStep) -> Result<Vec<Source>> {
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
