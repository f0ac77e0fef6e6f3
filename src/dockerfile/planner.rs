//! The making of a plan, stage by stage: bases, platforms, triggers, and which stage uses which.
//!
//! A stage that uses a later one, or itself, is an error, and so is a target that does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Platform, Reference};

use super::context_name::context_name;
use super::expand::{Lexed, Lexer, SOURCE_DATE_EPOCH, Shared, Variables, is_predefined, platform_variables, proxy_variables};
use super::graph::{Use, cycle, needed};
use super::parse::{mount_from, parse_trigger_of};
use super::suggest::{did_you_mean, suggest};
use super::warning::{Rule, Warnings, stop_on_warning};
use super::{ArgDeclaration, Base, Dockerfile, Instruction, Located, Plan, PlanOptions, PlannedStage, Stage, StageIndex};

impl Dockerfile {
    /// Plans a build.
    pub fn plan(&self, options: &PlanOptions) -> Result<Plan> {
        if self.stages.is_empty() {
            return Err(Error::new(ErrorKind::Dockerfile, "the Dockerfile has no stage to build"));
        }
        let mut planner = Planner::new(self, options)?;
        let stages: Vec<PlannedStage> =
            (0..self.stages.len()).map(|index| planner.stage(StageIndex(index))).collect::<Result<_>>()?;
        planner.check_order(&stages)?;
        let target = planner.target()?;
        let needed = needed(&planner.uses, target);
        planner.check_build_args(&stages);
        stop_on_warning(&self.check, &self.warnings)?;
        stop_on_warning(&self.check, planner.warnings.list())?;
        Ok(Plan {
            stages: stages.into_iter().filter(|stage| needed.contains(&stage.index)).collect(),
            target,
            platform: options.platform.clone(),
            warnings: planner.warnings.take(),
            shared: Arc::new(planner.shared),
        })
    }
}

/// A plan that is being made.
pub(super) struct Planner<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a PlanOptions,
    pub(super) shared: Shared,
    /// Names of the stages so far.
    earlier: BTreeMap<String, StageIndex>,
    /// Platforms of the stages so far.
    platforms: Vec<Platform>,
    /// Which stage uses which, in order.
    pub(super) uses: Vec<Vec<Use>>,
    pub(super) warnings: Warnings,
}

impl<'a> Planner<'a> {
    pub(super) fn new(dockerfile: &'a Dockerfile, options: &'a PlanOptions) -> Result<Self> {
        let last = dockerfile.stages.last().and_then(|stage| stage.name.as_deref());
        let target = options.target.as_deref().or(last).unwrap_or("default");
        let mut warnings = Warnings::new(dockerfile.check.clone());
        let predefined = platform_variables(options, target);
        check_defaults(dockerfile, &predefined, &mut warnings);
        let names = dockerfile.stages.iter().enumerate();
        let shared = Shared {
            globals: with_epoch(global_variables(dockerfile, predefined, &options.build_args)?, options),
            build_args: options.build_args.clone(),
            proxies: proxy_variables(options),
            names: names.filter_map(|(index, stage)| Some((stage.name.clone()?, StageIndex(index)))).collect(),
            contexts: options.contexts.clone(),
            stages: dockerfile.stages.len(),
            check: dockerfile.check.clone(),
        };
        Ok(Self { dockerfile, options, shared, earlier: BTreeMap::new(), platforms: Vec::new(), uses: Vec::new(), warnings })
    }

    pub(super) fn target(&self) -> Result<StageIndex> {
        let Some(target) = &self.options.target else {
            return Ok(StageIndex(self.dockerfile.stages.len() - 1));
        };
        let number = || target.parse().ok().filter(|number| *number < self.dockerfile.stages.len()).map(StageIndex);
        let found = self.shared.names.get(&target.to_lowercase()).copied();
        found.or_else(number).ok_or_else(|| {
            let names: Vec<&str> = self.shared.names.keys().map(String::as_str).collect();
            let hint = match suggest(target, names.iter().copied()) {
                Some(meant) => did_you_mean(meant),
                None if names.is_empty() => "no stage has a name; give one with FROM IMAGE AS NAME".to_owned(),
                None => format!("the stages are {}", names.join(", ")),
            };
            Error::new(ErrorKind::Dockerfile, format!("there is no stage `{target}` to build")).with_hint(hint)
        })
    }

    pub(super) fn stage(&mut self, index: StageIndex) -> Result<PlannedStage> {
        let stage = &self.dockerfile.stages[index.0];
        let base = self.base(stage)?;
        let platform = self.platform(stage, &base)?;
        self.platforms.push(platform.clone());
        let mut steps = self.triggers(index, &base)?;
        // A build context of the stage's name takes its place.
        if !self.is_replaced(stage) {
            steps.extend(stage.instructions.iter().cloned());
        }
        let mut uses = Vec::new();
        let mut images: Vec<String> = Vec::new();
        if let Base::Stage(base) = base {
            uses.push(Use { stage: base, location: Arc::clone(stage.base.location()), word: stage.base.value().clone() });
        }
        for step in &steps {
            for (word, source) in self.sources(index, step)? {
                match source {
                    Base::Stage(stage) => uses.push(Use { stage, location: Arc::clone(step.location()), word }),
                    Base::Image(image) if !images.contains(&image) => images.push(image),
                    Base::Image(_) | Base::Scratch => {}
                }
            }
        }
        let dependencies: BTreeSet<StageIndex> = uses.iter().map(|used| used.stage).collect();
        self.uses.push(uses);
        if let Some(name) = &stage.name {
            self.earlier.insert(name.clone(), index);
        }
        Ok(PlannedStage {
            index,
            name: stage.name.clone(),
            base,
            from: stage.base.clone(),
            platform,
            steps,
            dependencies: dependencies.into_iter().collect(),
            images,
        })
    }

    fn is_replaced(&self, stage: &Stage) -> bool {
        stage.name.as_deref().is_some_and(|name| self.shared.is_context(name))
    }

    fn base(&mut self, stage: &Stage) -> Result<Base> {
        if let Some(name) = stage.name.as_deref().filter(|name| self.shared.is_context(name)) {
            return Ok(Base::Image(context_name(name)));
        }
        let name = self.expand_from(stage, stage.base.value())?.text;
        if name.is_empty() {
            return Err(stage
                .base
                .error_at(stage.base.value(), "the base image is empty after its variables are expanded")
                .with_hint("give the ARG before the first FROM a default, or pass a build argument"));
        }
        // Only earlier stages can be a base; of several of one name, the nearest.
        Ok(match self.earlier.get(&name.to_lowercase()) {
            _ if self.shared.is_context(&name) => Base::Image(context_name(&name)),
            Some(stage) => Base::Stage(*stage),
            None if name == "scratch" => Base::Scratch,
            None => Base::Image(name),
        })
    }

    /// A stage on a stage has that one's platform, and scratch is for the target, whatever
    /// `--platform` says.
    fn platform(&mut self, stage: &Stage, base: &Base) -> Result<Platform> {
        let written = stage.platform.as_deref().map(|word| self.platform_word(stage, word)).transpose()?;
        Ok(match (base, written) {
            (Base::Stage(base), _) => self.platforms[base.0].clone(),
            (Base::Image(_), Some(platform)) => platform,
            (Base::Image(_), None) | (Base::Scratch, _) => self.options.platform.clone(),
        })
    }

    fn platform_word(&mut self, stage: &Stage, word: &str) -> Result<Platform> {
        let lexed = self.expand_from(stage, word)?;
        let wrong = |error: Error| {
            let wrapped = stage.base.error_at(word, format!("`{}` is not a platform", lexed.text));
            wrapped.with_hint(error.hint().unwrap_or("write it as os/architecture, such as linux/amd64"))
        };
        if lexed.text.is_empty() {
            return Err(stage
                .base
                .error_at(word, "the platform is empty after its variables are expanded")
                .with_hint("give the ARG before the first FROM a default, or pass a build argument"));
        }
        let platform = Platform::parse(&lexed.text).map_err(wrong)?;
        let snippet = stage.base.snippet_of(word);
        if lexed.set.len() == 1 && lexed.set.contains("TARGETPLATFORM") && lexed.unset.is_empty() {
            let message = format!("--platform={word} is the default");
            self.warnings.push(Rule::RedundantTargetPlatform, message, Some(snippet));
        } else if lexed.set.is_empty() && lexed.unset.is_empty() {
            let name = stage.name.as_deref().unwrap_or_default();
            if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
                let message = format!("--platform={word} is a constant: the stage cannot be built for another platform");
                self.warnings.push(Rule::FromPlatformFlagConstDisallowed, message, Some(snippet));
            }
        }
        Ok(platform)
    }

    /// Expands a word of FROM, which sees only ARGs before the first FROM.
    fn expand_from(&mut self, stage: &Stage, word: &str) -> Result<Lexed> {
        let lexed = read(&stage.base, word, &self.shared.globals)?;
        for name in &lexed.unset {
            let declared = self.dockerfile.global_args.iter().flat_map(|args| args.value());
            if declared.map(|arg| &arg.name).any(|declared| declared == name) {
                continue;
            }
            let message = match suggest(name, self.shared.globals.names()) {
                Some(meant) => format!("no ARG before the first FROM declares `{name}`; {}", did_you_mean(meant)),
                None => format!("no ARG before the first FROM declares `{name}`"),
            };
            self.warnings.push(Rule::UndefinedArgInFrom, message, Some(stage.base.snippet_of(name)));
        }
        Ok(lexed)
    }

    /// The triggers of the base, of an image or of a stage of this file.
    fn triggers(&self, index: StageIndex, base: &Base) -> Result<Vec<Located<Instruction>>> {
        let own = match base {
            Base::Stage(base) => self.dockerfile.stages[base.0].instructions.as_slice(),
            Base::Image(_) | Base::Scratch => &[],
        };
        let own = own.iter().filter_map(|step| match step.value() {
            Instruction::Onbuild(text) => Some(text),
            _ => None,
        });
        let given = self.options.triggers.get(&index).into_iter().flatten();
        let from = &self.dockerfile.stages[index.0].base;
        let file = format!("ONBUILD of {}", from.value());
        let parse = |text: &String| {
            parse_trigger_of(&file, text).map_err(|error| error.wrap(format!("a trigger of `{}` is wrong", from.value())))
        };
        given.chain(own).map(parse).collect()
    }

    /// The sources that a step takes files from, each with the word that names it.
    fn sources(&self, index: StageIndex, step: &Located<Instruction>) -> Result<Vec<(String, Base)>> {
        let words = match step.value() {
            Instruction::Copy(copy) => copy.from.iter().cloned().collect(),
            Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount_from(mount)).collect(),
            _ => Vec::new(),
        };
        let by_number = matches!(step.value(), Instruction::Copy(_));
        let mut sources = Vec::new();
        for word in words {
            let source = if by_number { self.shared.resolve(&word) } else { Some(self.shared.resolve_name(&word)) };
            let source = source.ok_or_else(|| {
                let last = self.shared.stages - 1;
                let hint = format!("stages are counted from 0, and the last one is {last}");
                step.error_at(&word, format!("there is no stage {word}")).with_hint(hint)
            })?;
            if source == Base::Stage(index) {
                return Err(step
                    .error_at(&word, format!("the stage `{word}` takes files from itself"))
                    .with_hint("name an earlier stage or an image; within a stage, RUN cp copies"));
            }
            sources.push((word, source));
        }
        Ok(sources)
    }

    /// Checks that each stage uses only earlier ones.
    pub(super) fn check_order(&self, stages: &[PlannedStage]) -> Result<()> {
        let name = |index: StageIndex| stages[index.0].name.clone().unwrap_or_else(|| index.0.to_string());
        if let Some(cycle) = cycle(&self.uses) {
            let (user, used) = cycle[0];
            let names: Vec<String> = cycle.iter().take(5).map(|(user, _)| format!("`{}`", name(*user))).collect();
            let more = if cycle.len() > names.len() { " and more" } else { "" };
            let message = format!("the stages {}{more} depend on each other", names.join(" and "));
            return Err(used
                .location
                .error_at(&used.word, message)
                .with_hint(format!("take the files that others need out of `{}` into a stage before it", name(user))));
        }
        let later = self.uses.iter().enumerate().flat_map(|(user, uses)| uses.iter().map(move |used| (user, used)));
        match later.into_iter().find(|(user, used)| used.stage.0 > *user) {
            None => Ok(()),
            Some((_, used)) => Err(used
                .location
                .error_at(&used.word, format!("the stage `{}` is below this one, which uses it", used.word))
                .with_hint("move its FROM and its instructions above this stage")),
        }
    }

    pub(super) fn check_build_args(&mut self, stages: &[PlannedStage]) {
        let in_stages = stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| match step.value() {
            Instruction::Arg(args) => Some(args),
            _ => None,
        });
        let all = self.dockerfile.global_args.iter().map(|args| args.value()).chain(in_stages);
        let declared: BTreeSet<&str> = all.flatten().map(|arg| arg.name.as_str()).collect();
        for name in self.options.build_args.keys() {
            if declared.contains(name.as_str()) || is_predefined(name) {
                continue;
            }
            let message = match suggest(name, declared.iter().copied()) {
                Some(meant) => format!("no ARG declares the build argument `{name}`; {}", did_you_mean(meant)),
                None => format!("no ARG declares the build argument `{name}`"),
            };
            self.warnings.push(Rule::UnusedBuildArg, message, None);
        }
    }
}

/// The globals with the epoch in place of what an ARG says it comes from, such as `context`.
fn with_epoch(mut globals: Variables, options: &PlanOptions) -> Variables {
    let from = globals.value(SOURCE_DATE_EPOCH).unwrap_or_default();
    match options.source_date_epoch {
        Some(epoch) if !from.is_empty() => globals.set_in_place(SOURCE_DATE_EPOCH, &epoch.to_string()),
        // What it comes from has no time.
        None if !from.is_empty() && from.parse::<i64>().is_err() => globals.set_in_place(SOURCE_DATE_EPOCH, ""),
        _ => {}
    }
    globals
}

/// Predefined variables, then ARGs before the first FROM, each of which sees those before it.
pub(super) fn global_variables(
    dockerfile: &Dockerfile,
    predefined: Variables,
    build_args: &BTreeMap<String, String>,
) -> Result<Variables> {
    let mut globals = predefined;
    for args in &dockerfile.global_args {
        for ArgDeclaration { name, default } in args.value() {
            let value = match (build_args.get(name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => read(args, default, &globals)?.text,
                (None, None) => continue,
            };
            globals.set_last(name, &value);
        }
    }
    Ok(globals)
}

/// Warns of bases that are not images unless build arguments are given.
fn check_defaults(dockerfile: &Dockerfile, predefined: &Variables, warnings: &mut Warnings) {
    // The same error is reported with the build arguments, where it counts.
    let Ok(globals) = global_variables(dockerfile, predefined.clone(), &BTreeMap::new()) else { return };
    let names: BTreeSet<&str> = dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    for stage in &dockerfile.stages {
        let word = stage.base.value();
        let Ok(lexed) = read(&stage.base, word, &globals) else { return };
        let is_stage = names.contains(lexed.text.to_lowercase().as_str());
        if (!lexed.set.is_empty() || !lexed.unset.is_empty()) && !is_stage && Reference::parse(&lexed.text).is_err() {
            let message = format!("without build arguments, `{word}` is not the name of an image");
            warnings.push(Rule::InvalidDefaultArgInFrom, message, Some(stage.base.snippet_of(word)));
        }
    }
}

pub(super) fn read<T>(at: &Located<T>, word: &str, variables: &Variables) -> Result<Lexed> {
    let lexer = Lexer::new(at.location().escape);
    let lexed = lexer.read(word, &|name| variables.value(name));
    lexed.map_err(|error| at.word_error(word, error))
}
