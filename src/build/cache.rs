//! Keys of the build cache: everything that the result of a RUN may depend on.
//!
//! Refuses to name a result that may depend on more: such a step has no key and is always run.

use super::session::Session;
use super::stage::Stage;
use crate::dockerfile::{Mount, RunStep};
use crate::error::Result;
use crate::oci::Hasher;
use crate::store::CacheKey;

/// A new number when the meaning of a key changes.
const VERSION: &str = "mpimg-run-1";

/// The key of a RUN: file system, command, environment, user, folder, mounts. Proxies are left out, as in BuildKit; so is
/// `SOURCE_DATE_EPOCH` unless it was set by hand, else every commit would run everything again. `None` where files from
/// outside the stage are seen.
pub(super) fn run_key(session: &Session<'_>, stage: &Stage, step: &RunStep) -> Result<Option<CacheKey>> {
    let mut key = Hasher::new();
    // Every field with its length: no two lists of fields read alike.
    let mut add = |field: &str| {
        key.update(&(field.len() as u64).to_le_bytes());
        key.update(field.as_bytes());
    };
    add(VERSION);
    add(&stage.filesystem.chain_id().map(|chain| chain.to_string()).unwrap_or_default());
    add(&stage.config.platform().to_string());
    add(&stage.config.config.user);
    add(&stage.config.config.working_dir);
    add(&format!("{:?} {:?}", step.network, step.security));
    if session.times.explicit {
        add(&session.times.epoch().to_string());
    }
    add(&session.request.codec.to_string());
    add(&step.argv.len().to_string());
    step.argv.iter().for_each(|argument| add(argument));
    add(&format!("{:?}", step.script));
    let mut env = step.env.clone();
    env.sort();
    for (name, value) in &env {
        add(name);
        add(value);
    }
    for mount in &step.mounts {
        match mount {
            // What they hold may differ from build to build, and a build must not depend on it (BuildKit's rule).
            Mount::Cache { .. } | Mount::Tmpfs { .. } | Mount::Secret { .. } | Mount::Ssh { .. } => add(&format!("{mount:?}")),
            Mount::Bind { .. } => return Ok(None),
        }
    }
    Ok(Some(CacheKey(key.finish())))
}
