//! The checks behind warnings, under the names that BuildKit's `check` directive uses where it has
//! them.
//!
//! A warning stops a build only with `# check=error=true`.

use crate::error::{Error, ErrorKind, Result, Snippet};

use super::text::Check;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal,)*) => {
        /// Which check a warning comes from; [`Rule::name`] is what `# check=skip=NAME` takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// The name, such as `StageNameCasing`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    /// Instructions in mixed case, or in another case than most.
    ConsistentInstructionCasing = "ConsistentInstructionCasing",
    /// Two stages of one name.
    DuplicateStageName = "DuplicateStageName",
    /// A port of EXPOSE with an address or a host's port, which have no effect.
    ExposeInvalidFormat = "ExposeInvalidFormat",
    /// A protocol of EXPOSE in upper case.
    ExposeProtoCasing = "ExposeProtoCasing",
    /// FROM and AS in different cases.
    FromAsCasing = "FromAsCasing",
    /// A constant in `FROM --platform`.
    FromPlatformFlagConstDisallowed = "FromPlatformFlagConstDisallowed",
    /// FROM names no image unless a build argument is given.
    InvalidDefaultArgInFrom = "InvalidDefaultArgInFrom",
    /// CMD or ENTRYPOINT in shell form, where signals reach the shell only.
    JsonArgsRecommended = "JSONArgsRecommended",
    /// `ENV key value` and `LABEL key value`.
    LegacyKeyValueFormat = "LegacyKeyValueFormat",
    /// MAINTAINER.
    MaintainerDeprecated = "MaintainerDeprecated",
    /// A second CMD, ENTRYPOINT or HEALTHCHECK in a stage.
    MultipleInstructionsDisallowed = "MultipleInstructionsDisallowed",
    /// An empty line between the lines of one instruction.
    NoEmptyContinuation = "NoEmptyContinuation",
    /// `FROM --platform=$TARGETPLATFORM`, which is the default.
    RedundantTargetPlatform = "RedundantTargetPlatform",
    /// A stage called `scratch` or `context`.
    ReservedStageName = "ReservedStageName",
    /// A name that looks like a secret's in ARG or ENV.
    SecretsUsedInArgOrEnv = "SecretsUsedInArgOrEnv",
    /// A stage's name with capitals.
    StageNameCasing = "StageNameCasing",
    /// A variable in FROM that no ARG before the first FROM declares.
    UndefinedArgInFrom = "UndefinedArgInFrom",
    /// A variable that is not set.
    UndefinedVar = "UndefinedVar",
    /// A relative WORKDIR before any absolute one.
    WorkdirRelativePath = "WorkdirRelativePath",
    /// Arguments that look like JSON and are not, read as shell form. Not a check of BuildKit's.
    BrokenExecForm = "BrokenExecForm",
    /// A RUN, CMD or ENTRYPOINT with nothing to run. Not a check of BuildKit's.
    EmptyCommand = "EmptyCommand",
    /// A `syntax` directive that asks for another language. Not a check of BuildKit's.
    UnknownSyntax = "UnknownSyntax",
    /// A build argument that no ARG takes. Not a check of BuildKit's.
    UnusedBuildArg = "UnusedBuildArg",
}

/// Something that works, but probably not as intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which check found it.
    pub rule: Rule,
    /// What is probably not intended.
    pub message: String,
    /// Where, unless it is about a flag of the command line.
    pub snippet: Option<Snippet>,
}

/// The number of warnings that are kept.
const MAX_WARNINGS: usize = 200;

/// Collects warnings; those that the `check` directive skips are dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings {
    check: Check,
    list: Vec<Warning>,
}

impl Warnings {
    pub(super) fn new(check: Check) -> Self {
        Self { check, list: Vec::new() }
    }

    /// Adds a warning, unless it is there already.
    pub(super) fn push(&mut self, rule: Rule, message: impl Into<String>, snippet: Option<Snippet>) {
        if self.check.skip.iter().any(|skipped| skipped == "all" || skipped == rule.name()) {
            return;
        }
        let warning = Warning { rule, message: message.into(), snippet };
        if self.list.len() < MAX_WARNINGS && !self.list.contains(&warning) {
            self.list.push(warning);
        }
    }

    /// All warnings so far.
    pub(super) fn list(&self) -> &[Warning] {
        &self.list
    }

    /// The warnings since the last call.
    pub(super) fn take(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.list)
    }
}

/// The first warning as an error, where `# check=error=true` makes it one.
pub(super) fn stop_on_warning(check: &Check, warnings: &[Warning]) -> Result<()> {
    let Some(warning) = warnings.first().filter(|_| check.error) else {
        return Ok(());
    };
    let error = Error::new(ErrorKind::Dockerfile, format!("{}: {}", warning.rule.name(), warning.message))
        .with_hint("correct it, or take `error=true` out of the `check` directive at the top of the file");
    Err(match &warning.snippet {
        Some(snippet) => error.with_snippet(snippet.clone()),
        None => error,
    })
}
