//! COPY: from the build context, from a stage, from an image.
//!
//! A base image is not fetched for `--link`: such a layer does not depend on what is below it.

use std::sync::Arc;

use super::context_source::{from_context, from_heredoc};
use super::copier::{Copier, SourceItems};
use super::destination::ResolvedDestination;
use super::rules::{Rules, warn_no_match};
use super::stage_source::StageSources;
use crate::build::cache::{ContextAttempt, Listing, keys};
use crate::build::guarded_walk::GuardedWalk;
use crate::build::inputs::StepInputs;
use crate::build::outcome::StepOutcome;
use crate::build::selection::Selection;
use crate::build::stage::StageState;
use crate::context::{Patterns, Source, has_wildcards};
use crate::dockerfile::{Base, CopyStep};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{LayerPath, Tree};
use crate::store::CacheKey;

/// Does one COPY.
pub(in crate::build) fn copy(step: &CopyStep, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<StepOutcome> {
    let key = keys::copy(inputs.session, stage, step);
    if step.parents {
        expect_named_sources(step)?;
    }
    match &step.from {
        None => copy_from_context(step, key, stage, inputs),
        Some(from) => copy_from_stage(step, from, key, stage, inputs),
    }
}

fn copy_from_context(step: &CopyStep, key: CacheKey, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<StepOutcome> {
    let attempt = ContextAttempt::new(key);
    let found = context_sources(step, inputs)?;
    let exclude = Patterns::parse(step.exclude.iter().map(String::as_str))?;
    let walk = GuardedWalk { session: inputs.session, instruction: inputs.text, exclude: &exclude };
    let sources: Vec<&Source> = found.iter().collect();
    attempt.take_or_make(inputs.cache, stage, &walk, &sources, &mut |stage, writer, listings| {
        let tree = tree_below(step, stage, inputs)?;
        let rules = Rules::of_copy(step, stage, inputs)?;
        let mut destination = ResolvedDestination::find(&tree, &step.destination.path);
        let mut all: Vec<SourceItems<'_>> = std::iter::zip(&found, listings)
            .map(|(source, listing)| {
                from_context(&mut destination, source, &rules, |walked| Listing::note(listing, &walk, walked))
            })
            .collect::<Result<_>>()?;
        for file in &step.inline_files {
            all.push(from_heredoc(&mut destination, file, &rules)?);
        }
        destination.warn(inputs);
        let mut copier = Copier::new(&tree, writer, rules.new_folders());
        copier.copy_all(all)?;
        Ok(copier.finish())
    })
}

fn copy_from_stage(
    step: &CopyStep,
    from: &Base,
    key: CacheKey,
    stage: &mut StageState,
    inputs: &StepInputs<'_>,
) -> Result<StepOutcome> {
    let StepInputs { session, cache, .. } = inputs;
    let source = inputs.sources.find(from)?;
    let mut filesystem = source.lock();
    let key = keys::with(key, "layers of --from", &keys::chain(&filesystem));
    if cache.recall_shared(stage, &key, None)? {
        return Ok(StepOutcome::Cached);
    }
    let tree = tree_below(step, stage, inputs)?;
    let rules = Rules::of_copy(step, stage, inputs)?;
    let mut destination = ResolvedDestination::find(&tree, &step.destination.path);
    let source_tree = filesystem.tree(session)?.clone();
    let mut selection = Selection::default();
    let mut all_match = true;
    for pattern in &step.sources {
        let mut picked =
            StageSources { tree: &source_tree, rules: &rules, destination: &mut destination, selection: &mut selection };
        let matched = if step.parents { picked.add_with_parents(pattern)? } else { picked.add(pattern)? };
        let Some(matched) = matched else { return Err(source.not_found(pattern)) };
        all_match &= matched;
        if !matched {
            warn_no_match(inputs, pattern);
        }
    }
    let scratch = session.store.scratch()?;
    let items = selection.into_items(session, &filesystem, scratch.path())?;
    let mut all: Vec<SourceItems<'_>> = items.into_iter().map(SourceItems::selected).collect();
    for file in &step.inline_files {
        all.push(from_heredoc(&mut destination, file, &rules)?);
    }
    destination.warn(inputs);
    let mut copier = Copier::new(&tree, session.layer_writer(stage.target)?, rules.new_folders());
    copier.copy_all(all)?;
    let layer = stage.push_written(session, copier.finish())?;
    // A pattern that matches nothing is worth a warning each time.
    if all_match {
        cache.remember_shared(stage, &key, layer.as_ref(), session.times.context)?;
    }
    Ok(StepOutcome::Done)
}

/// A source of `--parents` that is named in full must be copied (BuildKit's `RequiredPaths`): it is
/// not a whole folder, of which no pattern takes anything, and `--exclude` does not leave it out.
fn expect_named_sources(step: &CopyStep) -> Result<()> {
    let exclude = Patterns::parse(step.exclude.iter().map(String::as_str))?;
    for source in step.sources.iter().filter(|source| !has_wildcards(source.as_bytes())) {
        let below = source.split_once("/./").map_or(source.as_str(), |(_, below)| below);
        let below = LayerPath::clean(below)?;
        if below.is_root() {
            let message = format!("`{source}` names a whole folder, of which `--parents` copies nothing");
            return Err(Error::new(ErrorKind::Dockerfile, message)
                .with_hint("leave out `--parents`, or name what is in the folder, as in `folder/./*`"));
        }
        if exclude.matches(&below) {
            let message = format!("`--exclude` leaves out `{source}`, which `--parents` must copy");
            return Err(Error::new(ErrorKind::Dockerfile, message).with_hint("leave out one of the two"));
        }
    }
    Ok(())
}

/// The tree that the destination is looked up in.
fn tree_below(step: &CopyStep, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<Arc<Tree>> {
    if step.link { Ok(Arc::default()) } else { stage.tree(inputs.session).cloned() }
}

fn context_sources(step: &CopyStep, inputs: &StepInputs<'_>) -> Result<Vec<Source>> {
    let context = &inputs.session.context;
    let mut found = Vec::new();
    for pattern in &step.sources {
        let sources = match step.parents {
            true => context.sources_with_parents(pattern)?,
            false => context.sources(pattern)?,
        };
        if sources.is_empty() {
            warn_no_match(inputs, pattern);
        }
        found.extend(sources);
    }
    Ok(found)
}
