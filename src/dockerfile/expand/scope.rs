//! The variables of a stage while it is built, and the expansion of its instructions one after the
//! other.
//!
//! A variable that is not set is empty, with a warning. An environment too large for any program is
//! an error.

use std::sync::Arc;

use crate::error::Result;

use super::super::suggest::{did_you_mean, suggest};
use super::super::warning::{Rule, Warnings, stop_on_warning};
use super::super::{ArgDeclaration, Instruction, KeyValue, Located, Plan, Step, Warning};
use super::{Lexed, Lexer, Shared, Variables, WordError};

/// What BuildKit gives an image that has none (system.DefaultPathEnvUnix).
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// ARGs that BuildKit reads itself and keeps out of the environment.
const NOT_IN_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Linux gives a program 2 MiB for its arguments and environment by default (a quarter of the
/// stack).
const MAX_ENVIRONMENT_SIZE: usize = 2 * 1024 * 1024;

/// What a stage inherits from its base image's config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InheritedConfig {
    /// `Env`, in order, split at the first `=`.
    pub env: Vec<(String, String)>,
    /// `WorkingDir`; empty is `/`.
    pub working_dir: String,
    /// `Shell`; empty is `/bin/sh -c`.
    pub shell: Vec<String>,
}

/// The variables of a stage at one of its steps.
#[derive(Debug, Clone)]
pub struct StageScope {
    pub(super) shared: Arc<Shared>,
    /// What expansion and RUN see: ENV and ARG, the later wins.
    pub(super) environment: Variables,
    /// What the image config gets: only ENV.
    image_env: Variables,
    pub(super) args: Vec<(String, Option<String>)>,
    pub(super) working_dir: String,
    pub(super) shell: Vec<String>,
    pub(super) has_workdir: bool,
    seen: Vec<&'static str>,
    pub(super) warnings: Warnings,
}

impl StageScope {
    /// The scope of a stage whose base is an image or scratch.
    pub fn new(plan: &Plan, inherited: InheritedConfig) -> Self {
        let InheritedConfig { env, working_dir, shell } = inherited;
        let mut image_env = Variables::default();
        env.iter().for_each(|(name, value)| image_env.set_in_place(name, value));
        if image_env.value("PATH").is_none() {
            image_env.set_in_place("PATH", DEFAULT_PATH);
        }
        Self {
            environment: image_env.clone(),
            image_env,
            args: Vec::new(),
            working_dir: if working_dir.is_empty() { "/".into() } else { working_dir },
            shell,
            has_workdir: false,
            seen: Vec::new(),
            warnings: Warnings::new(plan.shared.check.clone()),
            shared: Arc::clone(&plan.shared),
        }
    }

    /// The scope of a stage whose base is another stage; `self` is that one's scope after its last
    /// step. ARGs are inherited, too.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut child = Self { seen: Vec::new(), warnings: Warnings::new(self.shared.check.clone()), ..self.clone() };
        // The new stage starts from the image's ENV: an ARG that came after an ENV of its name
        // loses here.
        self.image_env.list().iter().for_each(|(name, value)| child.environment.set_last(name, value));
        child
    }

    /// Expands the next step and takes in what it changes: ENV, ARG, WORKDIR and SHELL hold for the
    /// steps after it.
    ///
    /// Steps must come in order, each once.
    pub fn expand(&mut self, step: &Located<Instruction>) -> Result<Step> {
        let expanded = match step.value() {
            Instruction::Add(add) => self.expand_add(step, add).map(Step::Add)?,
            Instruction::Arg(args) => Step::Arg(self.expand_args(step, args)?),
            Instruction::Cmd(command) => Step::Cmd(self.expand_command(step, command)),
            Instruction::Copy(copy) => self.expand_copy(step, copy).map(Step::Copy)?,
            Instruction::Entrypoint(command) => Step::Entrypoint(self.expand_command(step, command)),
            Instruction::Env(pairs) => Step::Env(self.expand_env(step, pairs)?),
            Instruction::Expose(words) => Step::Expose(self.expand_ports(step, words)?),
            Instruction::Healthcheck(healthcheck) => {
                self.check_once(step);
                Step::Healthcheck(healthcheck.clone())
            }
            Instruction::Label(pairs) => Step::Label(self.pairs(step, pairs)?),
            Instruction::Maintainer(name) => Step::Maintainer(name.clone()),
            Instruction::Onbuild(trigger) => Step::Onbuild(trigger.clone()),
            Instruction::Run(run) => Step::Run(self.expand_run(step, run)?),
            Instruction::Shell(shell) => {
                self.shell.clone_from(shell);
                Step::Shell(shell.clone())
            }
            Instruction::StopSignal(word) => Step::StopSignal(self.expand_signal(step, word)?),
            Instruction::User(word) => Step::User(self.word(step, word)?),
            Instruction::Volume(words) => Step::Volume(self.expand_volumes(step, words)?),
            Instruction::Workdir(word) => Step::Workdir(self.expand_workdir(step, word)?),
        };
        stop_on_warning(&self.shared.check, self.warnings.list())?;
        Ok(expanded)
    }

    /// The image config's `Env` as it is now: ENV without ARG, `PATH` always among it.
    pub fn image_env(&self) -> &[(String, String)] {
        self.image_env.list()
    }

    /// The working directory as it is now: absolute, as the image config has it.
    pub fn working_dir(&self) -> &str {
        &self.working_dir
    }

    /// The warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.warnings.take()
    }

    /// Expands one word.
    pub(super) fn word(&mut self, step: &Located<Instruction>, text: &str) -> Result<String> {
        let lexer = Lexer::new(step.location().escape);
        self.lex(step, text, lexer).map(|lexed| lexed.text).map_err(|error| step.word_error(text, error))
    }

    /// Reads `text` with the variables of this scope and warns of those that are not set.
    pub(super) fn lex(&mut self, step: &Located<Instruction>, text: &str, lexer: Lexer) -> Result<Lexed, WordError> {
        let lexed = lexer.read(text, &|name| self.environment.value(name))?;
        for name in &lexed.unset {
            let declared = self.args.iter().any(|(arg, _)| arg == name) || NOT_IN_ENVIRONMENT.contains(&name.as_str());
            if declared {
                continue;
            }
            let message = match suggest(name, self.environment.names()) {
                Some(meant) => format!("the variable `{name}` is not set; {}", did_you_mean(meant)),
                None => format!("the variable `{name}` is not set"),
            };
            self.warnings.push(Rule::UndefinedVar, message, Some(step.snippet_of(name)));
        }
        Ok(lexed)
    }

    pub(super) fn words(&mut self, step: &Located<Instruction>, words: &[String]) -> Result<Vec<String>> {
        words.iter().map(|word| self.word(step, word)).collect()
    }

    /// Keys and values, all with the variables from before the instruction.
    fn pairs(&mut self, step: &Located<Instruction>, pairs: &[KeyValue]) -> Result<Vec<(String, String)>> {
        let mut expanded = Vec::new();
        for pair in pairs {
            let key = self.word(step, &pair.key)?;
            if key.is_empty() {
                return Err(
                    step.error_at(&pair.key, format!("a name of {} is empty after its variables are expanded", step.name()))
                );
            }
            expanded.push((key, self.word(step, &pair.value)?));
        }
        Ok(expanded)
    }

    fn expand_env(&mut self, step: &Located<Instruction>, pairs: &[KeyValue]) -> Result<Vec<(String, String)>> {
        let pairs = self.pairs(step, pairs)?;
        for (name, value) in &pairs {
            self.check_secret(step, name);
            self.environment.set_last(name, value);
            self.image_env.set_in_place(name, value);
        }
        self.check_size(step)?;
        Ok(pairs)
    }

    fn expand_args(&mut self, step: &Located<Instruction>, args: &[ArgDeclaration]) -> Result<Vec<(String, Option<String>)>> {
        let mut values = Vec::new();
        for ArgDeclaration { name, default } in args {
            self.check_secret(step, name);
            let value = match (self.shared.build_args.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.word(step, default)?),
                (None, None) => self.shared.globals.value(name).map(str::to_owned),
            };
            if let Some(value) = value.as_deref().filter(|_| !NOT_IN_ENVIRONMENT.contains(&name.as_str())) {
                self.environment.set_last(name, value);
            }
            match self.args.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => old.clone_from(&value),
                None => self.args.push((name.clone(), value.clone())),
            }
            values.push((name.clone(), value));
        }
        self.check_size(step)?;
        Ok(values)
    }

    fn check_size(&self, step: &Located<Instruction>) -> Result<()> {
        match self.environment.size() > MAX_ENVIRONMENT_SIZE {
            true => Err(step.error("the environment is larger than 2 MiB: no program can be started with it")),
            false => Ok(()),
        }
    }

    fn check_secret(&mut self, step: &Located<Instruction>, name: &str) {
        const SECRETS: [&str; 10] =
            ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
        let lower = name.to_ascii_lowercase();
        if lower.split('_').any(|word| SECRETS.contains(&word)) && !lower.split('_').any(|word| word == "public") {
            let message =
                format!("`{name}` looks like a secret, and {} stores it in the image for everyone to read", step.name());
            self.warnings.push(Rule::SecretsUsedInArgOrEnv, message, Some(step.snippet_of(name)));
        }
    }

    /// Warns of the second instruction of a kind of which only the last has an effect.
    pub(super) fn check_once(&mut self, step: &Located<Instruction>) {
        if self.seen.contains(&step.name()) {
            let message = format!("{} is repeated in this stage; only the last one has an effect", step.name());
            self.warnings.push(Rule::MultipleInstructionsDisallowed, message, Some(step.snippet()));
        }
        self.seen.push(step.name());
    }
}
