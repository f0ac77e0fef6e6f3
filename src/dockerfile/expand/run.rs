//! The expansion of RUN, CMD and ENTRYPOINT: the shell, the environment, mounts.
//!
//! The commands themselves are not expanded: the shell in the image does that.

use std::sync::Arc;

use crate::error::Result;

use super::super::parse::{MountScope, parse_mount};
use super::super::warning::Rule;
use super::super::{CommandLine, InlineFile, Instruction, Located, MountRequest, RunForm, RunInstruction, RunStep};
use super::{Lexer, StageScope};

/// The build argument with the machine's name inside RUN.
const HOSTNAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";

impl StageScope {
    fn with_shell(&self, text: &str) -> Vec<String> {
        let shell = match self.shell.as_slice() {
            [] => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            shell => shell.to_vec(),
        };
        shell.into_iter().chain([text.to_owned()]).collect()
    }

    pub(super) fn expand_command(&mut self, step: &Located<Instruction>, command: &CommandLine) -> Vec<String> {
        self.check_once(step);
        match command {
            CommandLine::Exec(strings) => strings.clone(),
            CommandLine::Shell(text) => {
                if self.shell.is_empty() {
                    let message = format!("{} in shell form does not pass signals on; write it as a JSON array", step.name());
                    self.warnings.push(Rule::JsonArgsRecommended, message, Some(step.snippet()));
                }
                self.with_shell(text)
            }
        }
    }

    pub(super) fn expand_run(&mut self, step: &Located<Instruction>, run: &RunInstruction) -> Result<RunStep> {
        let mounts = self.expand_mounts(step, &run.mounts)?;
        let mut script = None;
        let argv = match &run.form {
            RunForm::Exec(strings) if strings.is_empty() => {
                return Err(step
                    .error("RUN has nothing to run")
                    .with_hint("write the program and its arguments into the brackets"));
            }
            RunForm::Exec(strings) => strings.clone(),
            RunForm::Shell(text) => self.with_shell(text),
            RunForm::Script { name, content } => {
                script = Some(InlineFile { name: name.clone(), content: content.clone(), expand: false });
                self.with_shell(&format!("/dev/pipes/{name}"))
            }
        };
        let history_args = self.args.iter().map(|(name, value)| {
            let value = self.environment.value(name).or(value.as_deref()).unwrap_or_default();
            (name.clone(), value.to_owned())
        });
        Ok(RunStep {
            argv,
            script,
            env: self.environment.list().to_vec(),
            proxies: self.shared.proxies.clone(),
            history_args: history_args.collect(),
            mounts,
            hostname: self.shared.build_args.get(HOSTNAME_ARGUMENT).filter(|name| !name.is_empty()).cloned(),
            network: run.network,
            security: run.security,
            devices: run.devices.clone(),
        })
    }

    fn expand_mounts(&mut self, step: &Located<Instruction>, texts: &[String]) -> Result<Vec<MountRequest>> {
        let shared = Arc::clone(&self.shared);
        let working_dir = self.working_dir.clone();
        let lexer = Lexer::new(step.location().escape);
        let mut mounts: Vec<MountRequest> = Vec::new();
        for text in texts {
            let agents = mounts.iter().filter(|mount| matches!(mount, MountRequest::Ssh { .. })).count();
            let mut expand = |value: &str| self.lex(step, value, lexer).map(|lexed| lexed.text).map_err(|error| error.message);
            let scope =
                MountScope { expand: &mut expand, resolve: &|from| shared.resolve_name(from), working_dir: &working_dir, agents };
            mounts.push(parse_mount(step.location(), text, scope)?);
        }
        Ok(mounts)
    }
}
