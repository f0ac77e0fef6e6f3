//! Keys of the build cache: everything that the result of a step may depend on, but for files of
//! the build context (see `context_step` and `run_step`). What a key left out would give one step
//! the result of another.

use std::fmt::Write as _;

use crate::build::filesystem::Filesystem;
use crate::build::session::Session;
use crate::build::sources::Sources;
use crate::build::stage::StageState;
use crate::dockerfile::{AddStep, CopyStep, MountRequest, RunStep};
use crate::error::Result;
use crate::oci::{ChainId, DiffId, Digest, Hasher};
use crate::store::CacheKey;

/// Of RUN. Raise the number when old results must not be taken; a new input changes the key by
/// itself.
const RUN: &str = "mpimg-run-4";
/// Of steps whose layer this program writes from known bytes: another release may write them in
/// another way.
const COPY: &str = concat!("mpimg-copy-4 ", env!("CARGO_PKG_VERSION"));

struct Fields {
    hasher: Hasher,
    /// For the log: what each input is, and the beginning of its digest. Two logs of one step side
    /// by side show the input that differs, and no value of a build argument.
    inputs: String,
}

impl Fields {
    fn new(version: &str) -> Self {
        let mut fields = Self { hasher: Hasher::new(), inputs: String::new() };
        fields.add("version", version);
        fields
    }

    fn add(&mut self, label: &str, field: &str) {
        self.hasher.update_field(field.as_bytes());
        if tracing::enabled!(tracing::Level::DEBUG) {
            let separator = if self.inputs.is_empty() { "" } else { ", " };
            let _ = write!(self.inputs, "{separator}{label} {}", &Digest::of(field).hex()[..12]);
        }
    }

    fn add_chain(&mut self, chain: Option<ChainId>) {
        self.add("layers below", &chain_text(chain));
    }

    fn finish(self) -> CacheKey {
        let key = CacheKey(self.hasher.finish());
        tracing::debug!(%key, inputs = self.inputs, "key of the build cache");
        key
    }
}

/// What a COPY depends on besides the files that it copies. With `--link` that is not what lies
/// below, unless users are named.
pub(in crate::build) fn copy(session: &Session<'_>, stage: &StageState, step: &CopyStep) -> CacheKey {
    let below = !step.link || step.chown.as_deref().is_some_and(StageState::needs_accounts);
    copy_key(session, stage, below, "COPY", &format!("{step:?}"))
}

/// What an ADD depends on besides the files that it adds and downloads.
pub(in crate::build) fn add(session: &Session<'_>, stage: &StageState, step: &AddStep) -> CacheKey {
    let below = !step.link || step.chown.as_deref().is_some_and(StageState::needs_accounts);
    copy_key(session, stage, below, "ADD", &format!("{step:?}"))
}

/// What a file system holds, as part of a key.
pub(in crate::build) fn chain(filesystem: &Filesystem) -> String {
    chain_text(filesystem.chain_id())
}

fn chain_text(chain: Option<ChainId>) -> String {
    chain.map(|chain| chain.to_string()).unwrap_or_default()
}

/// All that a WORKDIR depends on.
pub(in crate::build) fn workdir(session: &Session<'_>, stage: &StageState, folder: &str) -> CacheKey {
    copy_key(session, stage, true, "WORKDIR", &format!("{folder:?} {:?}", stage.config.config.user))
}

/// `step` is all that the instruction says, users by name: who they are is a matter of the layers
/// below.
fn copy_key(session: &Session<'_>, stage: &StageState, below: bool, name: &str, step: &str) -> CacheKey {
    let mut key = Fields::new(COPY);
    key.add("instruction", name);
    key.add("arguments", step);
    key.add_chain(if below { stage.filesystem.chain_id() } else { None });
    key.add("time of files", &session.times.context.to_string());
    key.add("compression", &session.request.codec.to_string());
    key.finish()
}

/// A key for `key` together with what else its result depends on.
pub(in crate::build) fn with(key: CacheKey, what: &str, more: &str) -> CacheKey {
    joined(COPY, key, what, more)
}

/// A key for the key of a RUN together with what else its result depends on.
pub(super) fn run_with(key: CacheKey, what: &str, more: &str) -> CacheKey {
    joined(RUN, key, what, more)
}

/// The key of a layer of COPY or ADD that is known but for its compressed form.
pub(super) fn layer(session: &Session<'_>, diff_id: &DiffId) -> CacheKey {
    let mut key = Fields::new(COPY);
    key.add("kind", "layer");
    key.add("diff ID", &diff_id.0.to_string());
    key.add("compression", &session.request.codec.to_string());
    key.finish()
}

fn joined(version: &str, key: CacheKey, what: &str, more: &str) -> CacheKey {
    let mut both = Fields::new(version);
    both.add("key", &key.to_string());
    both.add(what, more);
    both.finish()
}

/// What the request says of the environment of all RUN steps. Of further hosts the names count and
/// not the addresses, as in BuildKit (solver/llbsolver/ops/exec.go, `CacheMap`): the address of a
/// mirror may differ between machines.
fn run_environment(session: &Session<'_>, add: &mut impl FnMut(&str, &str)) {
    let request = session.request;
    request.extra_hosts.iter().for_each(|(name, _)| add("further host", &format!("host {name}")));
    request.shm_size.iter().for_each(|bytes| add("/dev/shm", &format!("shm {bytes}")));
    request.ulimits.iter().for_each(|limit| add("limit", &format!("ulimit {limit}")));
}

/// The key of a RUN: file system, command, environment, user, folder, mounts. Proxies are left out,
/// as in BuildKit; so is `SOURCE_DATE_EPOCH` unless it was set by hand, else every commit would run
/// everything again. Of files of the build context that are mounted it says only which are; the
/// second value names them.
pub(super) fn run<'s>(
    session: &Session<'_>,
    stage: &StageState,
    step: &'s RunStep,
    others: &Sources,
) -> Result<(CacheKey, Vec<&'s str>)> {
    let mut key = Fields::new(RUN);
    let mut sources = Vec::new();
    key.add_chain(stage.filesystem.chain_id());
    let mut add = |label: &str, field: &str| key.add(label, field);
    add("platform", &stage.config.platform().to_string());
    add("user", &stage.config.config.user);
    add("working directory", &stage.config.config.working_dir);
    let network = session.request.network_of(step.network);
    add("network and security", &format!("{network:?} {:?}", step.security));
    run_environment(session, &mut add);
    if session.times.explicit {
        add("SOURCE_DATE_EPOCH", &session.times.epoch().to_string());
    }
    add("compression", &session.request.codec.to_string());
    add("number of arguments", &step.argv.len().to_string());
    step.argv.iter().for_each(|argument| add("argument", argument));
    add("script", &format!("{:?}", step.script));
    if let Some(hostname) = &step.hostname {
        add("hostname", &format!("hostname {hostname}"));
    }
    let mut env = step.env.clone();
    env.sort();
    for (name, value) in &env {
        add("variable", name);
        add(name, value);
    }
    for mount in &step.mounts {
        match mount {
            // What they hold may differ from build to build, and a build must not depend on it
            // (BuildKit's rule).
            MountRequest::Cache { .. } | MountRequest::Tmpfs { .. } | MountRequest::Secret { .. } | MountRequest::Ssh { .. } => {
                add("mount", &format!("{mount:?}"))
            }
            MountRequest::Bind { target, source, from, read_write } => {
                add("mount", "bind");
                [target, source].iter().for_each(|field| add("mount", field));
                add("writable", &read_write.to_string());
                match from {
                    Some(from) => {
                        let chain = others.find(from)?.lock().chain_id();
                        add("layers of the mount", &chain.map(|chain| chain.to_string()).unwrap_or_else(|| "scratch".into()));
                    }
                    None => {
                        add("mount from", "context");
                        sources.push(source.as_str());
                    }
                }
            }
        }
    }
    Ok((key.finish(), sources))
}
