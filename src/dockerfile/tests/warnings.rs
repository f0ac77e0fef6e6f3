use std::collections::BTreeMap;

use super::*;

/// Rule, line and marked text of all warnings of parsing, planning and expanding.
fn all(text: &str) -> Vec<(&'static str, usize, String)> {
    let dockerfile = parse(text);
    let plan = dockerfile.plan(&PlanOptions::default()).unwrap();
    let expanded = expand(&plan).unwrap().1;
    let warnings = dockerfile.warnings.iter().chain(&plan.warnings).chain(&expanded);
    warnings
        .map(|warning| {
            let snippet = warning.snippet.as_ref().unwrap();
            let marked = snippet.text.chars().skip(snippet.column).take(snippet.length).collect();
            (warning.rule.name(), snippet.line, marked)
        })
        .collect()
}

fn assert_warns(text: &str, rule: &str, line: usize, marked: &str) {
    assert_eq!(all(text), [(rule, line, marked.to_owned())], "{text}");
}

#[test]
fn each_check_finds_what_it_is_for() {
    assert_warns("FROM a\nUSER x\nRun y", "ConsistentInstructionCasing", 3, "Run");
    assert_warns("from a\nrun x\nUSER y", "ConsistentInstructionCasing", 3, "USER");
    assert_warns("FROM a AS x\nFROM b AS X2\nFROM c AS y", "StageNameCasing", 2, "X2");
}

#[test]
fn stages_are_checked() {
    assert_warns("FROM a AS x\nFROM b AS x", "DuplicateStageName", 2, "x");
    assert_warns("FROM a as x", "FromAsCasing", 1, "as");
    assert_warns("FROM a AS context", "ReservedStageName", 1, "context");
    assert_warns("FROM --platform=linux/amd64 a", "FromPlatformFlagConstDisallowed", 1, "linux/amd64");
    assert_eq!(all("FROM --platform=linux/amd64 a AS tool-amd64"), []);
    assert_warns("FROM --platform=$TARGETPLATFORM a", "RedundantTargetPlatform", 1, "$TARGETPLATFORM");
    assert_eq!(all("ARG T\nFROM a:${T:-1}"), []);
    assert_warns("ARG T\nFROM a:$T", "InvalidDefaultArgInFrom", 2, "a:$T");
    assert_warns("ARG TAG=1\nFROM a${TGA}", "UndefinedArgInFrom", 2, "TGA");
}

#[test]
fn instructions_are_checked() {
    assert_warns("FROM a\nENV b c", "LegacyKeyValueFormat", 2, "ENV b c");
    assert_warns("FROM a\nMAINTAINER c", "MaintainerDeprecated", 2, "MAINTAINER c");
    assert_warns("FROM a\nRUN b \\\n\n  c", "NoEmptyContinuation", 3, "");
    assert_warns("FROM a\nCMD b", "JSONArgsRecommended", 2, "CMD b");
    assert_eq!(all("FROM a\nSHELL [\"sh\"]\nCMD b"), []);
    assert_warns("FROM a\nCMD [\"b\"]\nCMD [\"c\"]", "MultipleInstructionsDisallowed", 3, "CMD [\"c\"]");
    assert_eq!(all("FROM a AS a\nCMD [\"b\"]\nFROM a\nCMD [\"c\"]"), []);
    assert_warns("FROM a\nWORKDIR b", "WorkdirRelativePath", 2, "b");
    assert_eq!(all("FROM a\nWORKDIR /b\nWORKDIR c"), []);
    assert_warns("FROM a\nARG API_KEY", "SecretsUsedInArgOrEnv", 2, "API_KEY");
    assert_eq!(all("FROM a\nENV PUBLIC_KEY=1 KEYBOARD=2"), []);
    assert_warns("FROM a\nEXPOSE 1:80", "ExposeInvalidFormat", 2, "1:80");
    assert_warns("FROM a\nEXPOSE 80/TCP", "ExposeProtoCasing", 2, "TCP");
    assert_warns("FROM a\nRUN ['b', 'c']", "BrokenExecForm", 2, "['b', 'c']");
    assert_warns("FROM a\nRUN", "EmptyCommand", 2, "RUN");
    assert_warns("# syntax=docker.io/else/where:1 x\nFROM a", "UnknownSyntax", 1, "# syntax=docker.io/else/where:1 x");
    assert_eq!(all("# syntax=docker.io/docker/dockerfile:1.7-labs\nFROM a"), []);
}

#[test]
fn variables_that_are_not_set_are_named_with_what_was_meant() {
    let text = "FROM a\nENV VERSION=1\nWORKDIR /$VERSOIN";
    assert_warns(text, "UndefinedVar", 3, "VERSOIN");
    let warnings = expand(&plan(text)).unwrap().1;
    assert_eq!(warnings[0].message, "the variable `VERSOIN` is not set; did you mean `VERSION`?");
    assert_eq!(all("FROM a\nARG x\nWORKDIR /$x${y:-z}"), []);
}

#[test]
fn build_arguments_that_nothing_takes_are_named() {
    let names = ["VERSOIN", "VERSION", "http_proxy", "TARGETARCH", "SOURCE_DATE_EPOCH", "BUILDKIT_INLINE_CACHE"];
    let build_args: BTreeMap<String, String> = names.iter().map(|name| (name.to_string(), "1".into())).collect();
    let options = PlanOptions { build_args, ..PlanOptions::default() };
    let plan = parse("FROM a\nARG VERSION").plan(&options).unwrap();
    let messages: Vec<&str> = plan.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(messages, ["no ARG declares the build argument `VERSOIN`; did you mean `VERSION`?"]);
}

#[test]
fn checks_are_skipped_or_made_errors_by_the_directive() {
    let text = "FROM a as b\nCMD c";
    assert_eq!(all(text).len(), 2);
    assert_warns(&format!("# check=skip=FromAsCasing\n{text}"), "JSONArgsRecommended", 3, "CMD c");
    assert_eq!(all(&format!("# check=skip=all\n{text}")), []);
    assert_eq!(
        error(&format!("# check=error=true\n{text}")),
        "error: FromAsCasing: `as` and `FROM` are in different cases\nDockerfile:2\n  FROM a as b\n         ^^\n\
         hint: correct it, or take `error=true` out of the `check` directive at the top of the file\n"
    );
    assert!(error(&format!("# check=skip=FromAsCasing;error=true\n{text}")).starts_with("error: JSONArgsRecommended: "));
}
