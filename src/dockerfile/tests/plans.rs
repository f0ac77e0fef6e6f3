use std::collections::BTreeMap;

use super::*;

fn plan_of(text: &str, target: &str) -> Plan {
    let options = PlanOptions { target: Some(target.to_owned()), ..PlanOptions::default() };
    parse(text).plan(&options).unwrap()
}

fn order(plan: &Plan) -> Vec<usize> {
    plan.stages.iter().map(|stage| stage.index.0).collect()
}

fn dependencies(plan: &Plan) -> Vec<(usize, Vec<usize>)> {
    plan.stages.iter().map(|stage| (stage.index.0, stage.dependencies.iter().map(|index| index.0).collect())).collect()
}

fn image(name: &str) -> Base {
    Base::Image(name.to_owned())
}

const FIVE: &str = "FROM img AS base\n\
    FROM base AS left\n\
    FROM other AS right\n\
    FROM unused AS unused\n\
    RUN --mount=from=nowhere,target=/x true\n\
    FROM base\n\
    COPY --from=left /a /a\n\
    COPY --from=Right /b /b\n\
    COPY --from=busybox /c /c\n\
    RUN --mount=type=bind,from=left,target=/x --mount=type=cache,from=alpine,target=/y true\n";

#[test]
fn only_the_stages_that_the_target_needs_are_planned() {
    let plan = plan(FIVE);
    assert_eq!(dependencies(&plan), [(0, vec![]), (1, vec![0]), (2, vec![]), (4, vec![0, 1, 2])]);
    assert_eq!(plan.target, StageIndex(4));
    assert_eq!(plan.stages[3].base, Base::Stage(StageIndex(0)));
    assert_eq!(plan.stages[3].images, ["busybox", "alpine"]);
    assert_eq!(plan.stages[3].name, None);
    assert_eq!(plan.stages[2].base, image("other"));
}

#[test]
fn the_target_is_a_name_in_any_case_or_a_number() {
    assert_eq!(order(&plan_of(FIVE, "LEFT")), [0, 1]);
    assert_eq!(order(&plan_of(FIVE, "2")), [2]);
    let options = PlanOptions { target: Some("rihgt".into()), ..PlanOptions::default() };
    let error = parse(FIVE).plan(&options).unwrap_err();
    assert_eq!(draw(&error), "error: there is no stage `rihgt` to build\nhint: did you mean `right`?\n");
}

#[test]
fn expanded_copies_know_where_from() {
    let (steps, _) = expand(&plan(FIVE)).unwrap();
    let from: Vec<Option<Base>> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Copy(copy) => Some(copy.from.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(from, [Some(Base::Stage(StageIndex(1))), Some(Base::Stage(StageIndex(2))), Some(image("busybox"))]);
    let Some(Step::Run(run)) = steps.last() else { panic!() };
    let from: Vec<Option<&Base>> = run
        .mounts
        .iter()
        .map(|mount| match mount {
            MountRequest::Bind { from, .. } | MountRequest::Cache { from, .. } => from.as_ref(),
            _ => None,
        })
        .collect();
    assert_eq!(from, [Some(&Base::Stage(StageIndex(1))), Some(&image("alpine"))]);
}

#[test]
fn stages_may_be_named_by_number_in_copy_alone() {
    let plan = plan("FROM a\nFROM b\nCOPY --from=0 x y\nRUN --mount=from=0,target=/z x");
    assert_eq!(dependencies(&plan), [(0, vec![]), (1, vec![0])]);
    assert_eq!(plan.stages[1].images, ["0"]);
}

#[test]
fn a_base_is_the_nearest_earlier_stage_of_its_name_and_files_come_from_the_last() {
    let text = "FROM one AS x\nFROM x AS y\nFROM two AS x\nFROM x AS z\nCOPY --from=x a b";
    assert_eq!(dependencies(&plan(text)), [(2, vec![]), (3, vec![2])]);
    assert_eq!(dependencies(&plan_of(text, "y")), [(0, vec![]), (1, vec![0])]);
}

#[test]
fn a_stage_named_like_its_base_stands_on_the_image() {
    let plan = plan("FROM python AS python\nRUN x");
    assert_eq!(plan.stages[0].base, image("python"));
}

#[test]
fn scratch_is_empty_for_copies_too() {
    let plan = plan("FROM scratch\nCOPY --from=scratch a b\nRUN --mount=from=scratch,target=/x y");
    assert_eq!(plan.stages[0].base, Base::Scratch);
    assert_eq!(plan.stages[0].images, [""; 0]);
}

#[test]
fn bases_are_expanded_with_global_arguments() {
    let text = "ARG TAG=3.11 REPO\nFROM ${REPO:+$REPO/}python:${TAG%.*}-slim AS b\nFROM b";
    assert_eq!(plan(text).stages[0].base, image("python:3-slim"));
    let build_args = BTreeMap::from([("REPO".to_owned(), "h:5000/p".to_owned()), ("TAG".to_owned(), "3.12".to_owned())]);
    let plan = parse(text).plan(&PlanOptions { build_args, ..PlanOptions::default() }).unwrap();
    assert_eq!(plan.stages[0].base, image("h:5000/p/python:3-slim"));
}

#[test]
fn a_stage_has_the_platform_of_its_from_or_its_base() {
    let options = PlanOptions { platform: "linux/arm64".parse().unwrap(), ..PlanOptions::default() };
    let text = "FROM --platform=$BUILDPLATFORM a AS a\nFROM --platform=windows/amd64 a AS b\nFROM c AS c\nFROM scratch\n\
                COPY --from=b x y\nCOPY --from=c x y";
    let plan = parse(text).plan(&options).unwrap();
    let platforms: Vec<String> = plan.stages.iter().map(|stage| stage.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/amd64", "linux/arm64", "linux/arm64"]);
}

#[test]
fn triggers_of_a_stage_run_first_in_those_that_stand_on_it() {
    let text = "FROM lib AS lib\nFROM img AS base\nONBUILD COPY --from=lib a b\nONBUILD RUN one\nFROM base AS child\nRUN two\nFROM child\nRUN three";
    let plan = plan(text);
    assert_eq!(order(&plan), [0, 1, 2, 3]);
    let names = |index: usize| plan.stages[index].steps.iter().map(|step| step.text()).collect::<Vec<_>>();
    assert_eq!(names(1), ["ONBUILD COPY --from=lib a b", "ONBUILD RUN one"]);
    assert_eq!(names(2), ["COPY --from=lib a b", "RUN one", "RUN two"]);
    assert_eq!(names(3), ["RUN three"]);
    assert_eq!(plan.stages[2].dependencies, [StageIndex(0), StageIndex(1)]);
}

#[test]
fn triggers_of_an_image_may_need_more_stages() {
    let text = "FROM lib AS lib\nFROM img\nRUN two";
    let dockerfile = parse(text);
    assert_eq!(order(&dockerfile.plan(&PlanOptions::default()).unwrap()), [1]);
    let triggers = BTreeMap::from([(StageIndex(1), vec!["COPY --from=lib a b".to_owned(), "COPY --from=x a b".to_owned()])]);
    let plan = dockerfile.plan(&PlanOptions { triggers, ..PlanOptions::default() }).unwrap();
    assert_eq!(order(&plan), [0, 1]);
    assert_eq!(plan.stages[1].images, ["x"]);
    assert_eq!(plan.stages[1].steps.len(), 3);
    let triggers = BTreeMap::from([(StageIndex(1), vec!["FROM x".to_owned()])]);
    let error = dockerfile.plan(&PlanOptions { triggers, ..PlanOptions::default() }).unwrap_err();
    assert_eq!(
        draw(&error),
        "error: a trigger of `img` is wrong\n  caused by: FROM cannot be an ONBUILD trigger\nONBUILD of img:1\n  FROM x\n  ^^^^\n\
         hint: put it into the child's Dockerfile\n"
    );
}

#[test]
fn a_missing_image_suggests_a_similar_stage() {
    let plan = plan("FROM a AS builder\nFROM b\nCOPY --from=bulider a b");
    assert_eq!(plan.stages[0].images, ["bulider"]);
    assert_eq!(plan.similar_stage("bulider"), Some("builder"));
    assert_eq!(plan.similar_stage("alpine"), None);
}

#[test]
fn what_an_unneeded_stage_names_is_not_needed_either() {
    let plan = plan("FROM a AS x\nCOPY --from=nowhere a b\nFROM b");
    assert_eq!(order(&plan), [1]);
}
