//! Tests of the front end as a whole: text in, plans, expanded steps, history and messages out.

mod errors;
mod heredocs;
mod instructions;
mod plans;
mod samples;
mod scopes;
mod total;
mod warnings;

use super::*;
use crate::error::Error;

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap_or_else(|error| panic!("{}", draw(&error)))
}

fn plan(text: &str) -> Plan {
    parse(text).plan(&PlanOptions::default()).unwrap_or_else(|error| panic!("{}", draw(&error)))
}

/// The scope of a stage as its base leaves it: an image without any config, or the stage before.
fn scope_of(plan: &Plan, stage: &PlannedStage, done: &[(StageIndex, StageScope)]) -> StageScope {
    match &stage.base {
        Base::Stage(base) => done.iter().find(|(index, _)| index == base).unwrap().1.child(),
        Base::Scratch | Base::Image(_) => StageScope::new(plan, InheritedConfig::default()),
    }
}

/// All steps of all stages of a plan.
fn expand(plan: &Plan) -> crate::error::Result<(Vec<Step>, Vec<Warning>)> {
    let mut done: Vec<(StageIndex, StageScope)> = Vec::new();
    let mut steps = Vec::new();
    let mut warnings = Vec::new();
    for stage in &plan.stages {
        let mut scope = scope_of(plan, stage, &done);
        for step in &stage.steps {
            steps.push(scope.expand(step)?);
            warnings.extend(scope.take_warnings());
        }
        done.push((stage.index, scope));
    }
    Ok((steps, warnings))
}

/// Steps of the stage `FROM scratch` with these lines.
fn steps(lines: &str) -> Vec<Step> {
    expand(&plan(&format!("FROM scratch\n{lines}"))).unwrap_or_else(|error| panic!("{}", draw(&error))).0
}

/// The last of [`steps`].
fn step(lines: &str) -> Step {
    steps(lines).pop().unwrap()
}

/// History texts of [`steps`].
fn history(lines: &str) -> Vec<String> {
    steps(lines).iter().filter_map(Step::history_text).collect()
}

/// What goes wrong in parsing, planning or expanding.
fn error(text: &str) -> String {
    let result = Dockerfile::parse("Dockerfile", text.as_bytes())
        .and_then(|dockerfile| dockerfile.plan(&PlanOptions::default()))
        .and_then(|plan| expand(&plan).map(|_| ()));
    draw(&result.expect_err("this should be refused"))
}

/// An error as the command draws it.
fn draw(error: &Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.causes() {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(snippet) = error.snippet() {
        let marks = " ".repeat(snippet.column) + &"^".repeat(snippet.length);
        text.push_str(&format!("{}:{}\n  {}\n  {marks}\n", snippet.file, snippet.line, snippet.text));
    }
    text + &error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default()
}
