//! What all stages of a plan share, and what the names in `--from` mean.
//!
//! It is made once, with the plan, and does not change.

use std::collections::{BTreeMap, BTreeSet};

use super::super::context_name::context_name;
use super::super::text::Check;
use super::super::{Base, StageIndex};
use super::Variables;

/// What all stages of a plan share.
#[derive(Debug)]
pub(in crate::dockerfile) struct Shared {
    /// Predefined platform arguments and ARGs before the first FROM.
    pub(in crate::dockerfile) globals: Variables,
    /// `--build-arg`
    pub(in crate::dockerfile) build_args: BTreeMap<String, String>,
    /// Only for RUN.
    pub(in crate::dockerfile) proxies: Vec<(String, String)>,
    /// Names of stages in lower case.
    pub(in crate::dockerfile) names: BTreeMap<String, StageIndex>,
    /// Names of build contexts, which win over stages and images.
    pub(in crate::dockerfile) contexts: BTreeSet<String>,
    /// How many stages there are.
    pub(in crate::dockerfile) stages: usize,
    /// What the `check` directive says.
    pub(in crate::dockerfile) check: Check,
}

impl Shared {
    /// What a name means where files are taken from: a stage, nothing, or an image.
    pub(in crate::dockerfile) fn resolve_name(&self, name: &str) -> Base {
        match self.names.get(&name.to_lowercase()) {
            _ if self.is_context(name) => Base::Image(context_name(name)),
            Some(stage) => Base::Stage(*stage),
            None if name == "scratch" => Base::Scratch,
            None => Base::Image(name.to_owned()),
        }
    }

    /// Whether a build context was given under this name.
    pub(in crate::dockerfile) fn is_context(&self, name: &str) -> bool {
        !self.contexts.is_empty() && self.contexts.contains(&context_name(name))
    }

    /// What `COPY --from` means, which knows stages by number, too; `None` if there is no stage of
    /// that number.
    pub(in crate::dockerfile) fn resolve(&self, from: &str) -> Option<Base> {
        match from.parse::<usize>() {
            Ok(number) => (number < self.stages).then_some(Base::Stage(StageIndex(number))),
            Err(_) => Some(self.resolve_name(from)),
        }
    }
}
