//! Does one RUN: the command in the stage's file system, and what it changed as a layer.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::last_words::{Lack, LastWords};
use super::package_cache::PackageCacheLint;
use super::{command, failed_step, foreign, mounts, settings};
use crate::build::cache::{BoundFiles, RunAttempt};
use crate::build::inputs::StepInputs;
use crate::build::outcome::StepOutcome;
use crate::build::session::Session;
use crate::build::stage::StageState;
use crate::dockerfile::{Network, RunStep, Security};
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::Layer;
use crate::layer::diff::Original;
use crate::layer::{Entry, Kind, LayerPath, Node, Tree};
use crate::sandbox::{IsolationKind, RootSpec};

/// Does one RUN.
pub(in crate::build) fn run(step: &RunStep, stage: &mut StageState, inputs: &StepInputs<'_>) -> Result<StepOutcome> {
    let session = inputs.session;
    if step.security == Security::Insecure && !session.request.allow_insecure {
        return Err(Error::new(ErrorKind::Usage, "`--security=insecure` is not allowed").with_hint(format!(
            "allow it with {}, if you trust the Dockerfile as you trust mpimg",
            Setting::Allow.with("security.insecure")
        )));
    }
    let attempt = RunAttempt::new(session, stage, step, inputs.sources)?;
    if attempt.recall(inputs.cache, stage)? {
        return Ok(StepOutcome::Cached);
    }
    let isolation = session.isolation()?;
    let scratch = session.store.scratch()?;
    let made = run_in(step, stage, inputs, scratch.path());
    // Also of a step that failed: its files may belong to users that only the sandbox can act for.
    let removed = isolation.remove_tree(scratch.path());
    let Made { layer, bound, pretended } = made?;
    removed?;
    // A result is kept, here and for others, only where it is what root would have made.
    if !pretended {
        attempt.remember(inputs.cache, stage, bound, layer.as_ref())?;
    }
    Ok(StepOutcome::Done)
}

/// What came of a command.
struct Made {
    /// Its changes, where there are any.
    layer: Option<Layer>,
    /// What it saw of the build context.
    bound: Vec<BoundFiles>,
    /// See [`RunOutcome::pretended`](crate::sandbox::RunOutcome::pretended).
    pretended: bool,
}

/// Runs the command, with `scratch` as room for it, and puts its changes on the stage as a layer.
fn run_in(step: &RunStep, stage: &mut StageState, inputs: &StepInputs<'_>, scratch: &Path) -> Result<Made> {
    let session = inputs.session;
    let isolation = session.isolation()?;
    let platform = stage.config.platform();
    foreign::check(&platform, isolation.kind())?;
    if session.request.network_of(step.network) == Network::None && isolation.kind().needs_tree() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("`--network=none` needs namespaces, which the isolation `{}` does not have", isolation.kind()),
        )
        .with_hint("see `mpimg doctor` for what a better isolation takes, or leave out `--network=none`"));
    }
    let user = stage.user(session)?;
    let root = if isolation.kind().needs_tree() {
        RootSpec::Tree { path: stage.fill_stage_tree(session)? }
    } else {
        RootSpec::Overlay {
            lower: stage.filesystem.unpacked(session, &user)?,
            upper: new_folder(scratch, "upper")?,
            work: new_folder(scratch, "work")?,
        }
    };
    let mut spec = command::spec(session, stage, step, user, root)?;
    settings::add(session, stage, &mut spec)?;
    let mounted = mounts::add(inputs, &mut spec, &step.mounts, scratch)?;
    let before = match stage.stage_tree() {
        Some(root) => root.snapshot()?,
        None => isolation.snapshot(&spec.root)?,
    };
    if isolation.kind() == IsolationKind::Emulated {
        // On chroot nobody can part them.
        spec.linked = before.baseline().map(|baseline| baseline.linked()).unwrap_or_default();
    }
    let mut words = LastWords::default();
    let mut hear = |bytes: &[u8]| {
        words.hear(bytes);
        inputs.task.output(bytes);
    };
    let outcome = isolation.run(&spec, &mut hear, session.cancel());
    if let Some(root) = stage.stage_tree() {
        root.step_ended(isolation, &before)?;
    }
    let outcome = outcome?;
    drop(mounted.locks);
    if !outcome.exit.success() {
        let (reason, lack) = words.end();
        let error = command::failure(outcome.exit, &platform);
        let lack = lack.or(command::lack(outcome.exit)).or(is_full(session.store.root()).then_some(Lack::Space));
        let error = match reason {
            Some(reason) => error.with_source(reason),
            None => error,
        };
        return Err(if let Some(lack) = lack {
            error.with_hint(command::remedy(lack, session.store.root()))
        } else if error.hint().is_some() {
            error
        } else {
            match failed_step::shell(session, stage, step) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        });
    }
    let mut writer = session.layer_writer(stage.target)?;
    let epoch = session.times.epoch();
    let mut lint = PackageCacheLint::default();
    let mut set_group_id = Vec::new();
    let emit = &mut |entry: &Entry, content: Option<&mut dyn Read>| {
        lint.count(entry);
        if entry.kind == Kind::Directory && entry.metadata.has_set_group_id() {
            set_group_id.push(entry.path.clone());
        }
        let mut entry = entry.clone();
        entry.metadata.mtime = entry.metadata.mtime.min(epoch);
        match content {
            Some(mut content) => writer.append_file(&entry, &mut content),
            None => writer.append(&entry),
        }
    };
    let changed = isolation.changes(&spec.root, &before, &mut |paths| originals(session, stage, paths, scratch), emit)?;
    if let Some(root) = stage.stage_tree() {
        root.note_scan(changed.after);
    }
    if stage.target {
        lint.warn(session.progress);
    }
    // With one ID groups are looked up when a file is looked at: what was in a folder before it got
    // its set-group-ID bit has that folder's group, which is not what root would have made.
    let mut pretended = outcome.pretended || changed.of_several_names.is_some();
    if let Some(path) = &changed.of_several_names {
        let line = format!(
            "mpimg: `{path}` has several names, and this step has changed the file for all of them (--isolation {}), not for one as root would: \
             no other build takes this step's result\n",
            isolation.kind()
        );
        inputs.task.output(line.as_bytes());
    }
    if isolation.kind().records_owners_in_xattrs() && !set_group_id.is_empty() {
        let below = stage.tree(session)?;
        pretended |= set_group_id.iter().any(|path| is_new_set_group_id(path, below));
    }
    if writer.entries() == 0 {
        return Ok(Made { layer: None, bound: mounted.bound, pretended });
    }
    let pushed = stage.filesystem.push_finished(session, writer.finish()?)?;
    match &spec.root {
        // The upper folder is what unpacking the layer would give: a later RUN stands on it at
        // once.
        RootSpec::Overlay { upper, .. } => {
            drop(session.store.unpacked_dir(&pushed.diff_id, &isolation.ownership(&spec.user), |folder| {
                std::fs::remove_dir(folder)
                    .and_then(|()| std::fs::rename(upper, folder))
                    .map_err(|error| Error::io("move", upper, error))
            })?)
        }
        RootSpec::Tree { .. } => stage.note_stage_tree_filled(),
    }
    Ok(Made { layer: Some(pushed), bound: mounted.bound, pretended })
}

/// Whether a disk has no room left: not every command says so.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < 1 << 20)
}

/// Whether a folder that has the set-group-ID bit got it in this step; one that is new in a folder
/// with the bit inherits it.
fn is_new_set_group_id(path: &LayerPath, below: &Tree) -> bool {
    let has = |node: &Node| node.is_dir() && node.metadata.has_set_group_id();
    let had = |path: &LayerPath| below.lookup(path).is_some_and(has);
    !had(path) && !path.parent().is_some_and(|parent| had(&parent))
}

/// What files of the stage were before the step, out of its layers: where nothing can be mounted,
/// the step ran on the only copy.
fn originals(
    session: &Session<'_>,
    stage: &mut StageState,
    paths: &[LayerPath],
    scratch: &Path,
) -> Result<HashMap<LayerPath, Original>> {
    let tree = stage.tree(session)?.clone();
    let nodes = paths.iter().filter_map(|path| Some((path, tree.lookup(path)?)));
    let wanted: Vec<_> = nodes.filter_map(|(path, node)| Some((path, node, node.origin.as_ref()?))).collect();
    let folder = new_folder(scratch, "originals")?;
    let filled = wanted.iter().filter(|(_, node, _)| node.kind.size() > 0);
    let files = stage.filesystem.files(session, filled.map(|(_, _, origin)| *origin), &folder)?;
    let mut originals = HashMap::new();
    for (path, node, origin) in wanted {
        // An empty file is in no layer's content.
        let file = files.get(&origin.file).map_or(Path::new("/dev/null"), PathBuf::as_path);
        let content = File::open(file).map_err(|error| Error::io("open", file, error))?;
        originals.insert(path.clone(), Original { xattrs: node.metadata.xattrs.clone(), content });
    }
    Ok(originals)
}

fn new_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    std::fs::create_dir(&path).map_err(|error| Error::io("create", &path, error)).map(|()| path)
}
