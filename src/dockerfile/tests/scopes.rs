use std::collections::BTreeMap;

use super::*;

fn args(args: &[(&str, &str)]) -> BTreeMap<String, String> {
    args.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// What the last RUN sees of these names, and the history of it.
fn run_with(text: &str, build_args: &[(&str, &str)], inherited: &[(&str, &str)]) -> RunStep {
    let options = PlanOptions { build_args: args(build_args), ..PlanOptions::default() };
    let plan = parse(text).plan(&options).unwrap();
    let mut done: Vec<(StageIndex, StageScope)> = Vec::new();
    let mut last = None;
    for stage in &plan.stages {
        let mut scope = match stage.base {
            Base::Stage(_) => scope_of(&plan, stage, &done),
            _ => {
                let env = inherited.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
                StageScope::new(&plan, InheritedConfig { env, ..InheritedConfig::default() })
            }
        };
        for step in &stage.steps {
            if let Step::Run(run) = scope.expand(step).unwrap() {
                last = Some(run);
            }
        }
        done.push((stage.index, scope));
    }
    last.unwrap()
}

fn env<'a>(run: &'a RunStep, name: &str) -> Option<&'a str> {
    run.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn an_arg_takes_the_build_argument_then_its_default_then_the_global_value() {
    let text = "ARG g=global\nFROM scratch\nARG g\nARG d=default\nARG n\nRUN x";
    let run = run_with(text, &[], &[]);
    assert_eq!((env(&run, "g"), env(&run, "d"), env(&run, "n")), (Some("global"), Some("default"), None));
    assert_eq!(run.history_args, [("g".into(), "global".into()), ("d".into(), "default".into()), ("n".into(), String::new())]);
    let run = run_with(text, &[("g", "1"), ("d", "2"), ("n", "3")], &[]);
    assert_eq!((env(&run, "g"), env(&run, "d"), env(&run, "n")), (Some("1"), Some("2"), Some("3")));
}

#[test]
fn a_default_that_is_not_used_is_not_expanded() {
    let text = "FROM scratch\nARG must=\"${other:?give one}\"\nRUN x";
    assert_eq!(env(&run_with(text, &[("must", "1")], &[]), "must"), Some("1"));
    assert!(error(text).contains("other: give one"));
}

#[test]
fn global_args_are_not_seen_without_an_arg_in_the_stage() {
    assert_eq!(env(&run_with("ARG g=1\nFROM scratch\nRUN x", &[("g", "2")], &[]), "g"), None);
    assert_eq!(env(&run_with("FROM scratch\nRUN x", &[("undeclared", "2")], &[]), "undeclared"), None);
}

#[test]
fn global_args_may_use_those_before_them() {
    let plan = plan("ARG a=1\nARG b=${a}2 c=$b\nFROM img:$c");
    assert_eq!(plan.stages[0].base, Base::Image("img:12".into()));
}

#[test]
fn of_env_and_arg_the_later_one_wins_and_only_env_is_in_the_image() {
    let run = run_with("FROM scratch\nARG a=arg\nENV a=env\nENV b=env\nARG b=arg\nRUN x", &[], &[]);
    assert_eq!((env(&run, "a"), env(&run, "b")), (Some("env"), Some("arg")));
    let plan = plan("FROM scratch\nENV b=env\nARG b=arg");
    let mut scope = StageScope::new(&plan, InheritedConfig::default());
    plan.stages[0].steps.iter().for_each(|step| drop(scope.expand(step).unwrap()));
    assert_eq!(scope.image_env().last(), Some(&("b".to_owned(), "env".to_owned())));
}

#[test]
fn a_build_argument_shows_in_the_history_with_the_value_that_run_sees() {
    let run = run_with("FROM scratch\nARG a=1\nENV a=2\nRUN x", &[], &[]);
    assert_eq!(Step::Run(run).history_text().unwrap(), "RUN |1 a=2 /bin/sh -c x # buildkit");
}

#[test]
fn a_stage_inherits_the_args_of_the_stage_it_stands_on() {
    let text = "FROM scratch AS a\nARG x=1\nENV y=2\nARG y=3\nWORKDIR /w\nFROM a\nRUN z";
    let run = run_with(text, &[], &[]);
    assert_eq!((env(&run, "x"), env(&run, "y")), (Some("1"), Some("2")));
    assert_eq!(run.history_args, [("x".into(), "1".into()), ("y".into(), "2".into())]);
}

#[test]
fn the_environment_of_the_base_comes_first_and_path_is_always_there() {
    let run = run_with("FROM img\nENV B=3 C=$A\nENV A=4\nRUN x", &[], &[("A", "1"), ("B", "2")]);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected = [("PATH", path), ("B", "3"), ("C", "1"), ("A", "4")];
    assert_eq!(run.env, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let run = run_with("FROM img\nENV PATH=/x:$PATH\nRUN x", &[], &[("PATH", "/bin")]);
    assert_eq!(env(&run, "PATH"), Some("/x:/bin"));
}

#[test]
fn the_image_keeps_the_order_of_its_variables() {
    let plan = plan("FROM img\nENV B=3 C=4\nENV A=5");
    let env = [("A", "1"), ("PATH", "/p"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut scope = StageScope::new(&plan, InheritedConfig { env: env.to_vec(), ..InheritedConfig::default() });
    plan.stages[0].steps.iter().for_each(|step| drop(scope.expand(step).unwrap()));
    let names: Vec<String> = scope.image_env().iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(names, ["A=5", "PATH=/p", "B=3", "C=4"]);
}

#[test]
fn platform_arguments_are_there_for_an_arg_without_a_value() {
    let options = PlanOptions {
        platform: "linux/arm/v7".parse().unwrap(),
        build_platform: "linux/amd64".parse().unwrap(),
        ..PlanOptions::default()
    };
    let text =
        "FROM --platform=$BUILDPLATFORM img AS tool\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDOS TARGETSTAGE\nRUN x";
    let plan = parse(text).plan(&options).unwrap();
    assert_eq!(plan.stages[0].platform.to_string(), "linux/amd64");
    let Step::Arg(values) = expand(&plan).unwrap().0.swap_remove(0) else { panic!() };
    let values: Vec<&str> = values.iter().map(|(_, value)| value.as_deref().unwrap()).collect();
    assert_eq!(values, ["linux/arm/v7", "arm", "v7", "linux", "tool"]);
}

#[test]
fn the_epoch_is_a_number_the_context_or_the_one_file_of_a_stage() {
    use crate::dockerfile::EpochSource::{Context, File, Git, Given};
    let epoch = |text: &str, build_args: &[(&str, &str)]| {
        let options = PlanOptions { build_args: args(build_args), ..PlanOptions::default() };
        parse(text).source_date_epoch(&options).map_err(|error| error.to_string())
    };
    let argument = "ARG SOURCE_DATE_EPOCH=5\nFROM scratch AS s";
    assert_eq!(epoch("FROM scratch", &[]), Ok(Context));
    assert_eq!(epoch(argument, &[]), Ok(Given("5".into())));
    assert_eq!(epoch(argument, &[("SOURCE_DATE_EPOCH", "7")]), Ok(Given("7".into())));
    assert_eq!(epoch("ARG SOURCE_DATE_EPOCH=context\nFROM scratch", &[]), Ok(Context));
    let stage = |instructions: &str| format!("ARG HOST=h\nARG SOURCE_DATE_EPOCH=S\nFROM scratch AS s\n{instructions}\nFROM img");
    let file = |url: &str| Ok(File(url.to_owned()));
    assert_eq!(epoch(&stage("ARG V=1\nARG FILE=f-$V\nADD http://$HOST/$FILE /"), &[("V", "2")]), file("http://h/f-2"));
    assert_eq!(epoch(&stage("ADD https://$HOST/a.git#v1 /"), &[]), Ok(Git("https://h/a.git#v1".into())));
    for (instructions, reason) in [
        ("", "adds no URL"),
        ("ADD f /", "adds no URL"),
        ("ADD http://h/a /\nADD http://h/b /", "more than one ADD"),
        ("COPY f /", "more than one ADD"),
    ] {
        let error = epoch(&stage(instructions), &[]).unwrap_err();
        assert!(error.contains(reason), "{instructions}: {error}");
    }
    assert!(epoch("ARG SOURCE_DATE_EPOCH=s\nFROM img AS s", &[]).unwrap_err().contains("not FROM scratch"));
    let options = PlanOptions { source_date_epoch: Some(9), ..PlanOptions::default() };
    let plan = parse("ARG SOURCE_DATE_EPOCH=context\nFROM img\nARG SOURCE_DATE_EPOCH").plan(&options).unwrap();
    assert_eq!(expand(&plan).unwrap().0, [Step::Arg(vec![("SOURCE_DATE_EPOCH".into(), Some("9".into()))])]);
    // A context without a commit has no time.
    let plan = parse("ARG SOURCE_DATE_EPOCH=context\nFROM img\nARG SOURCE_DATE_EPOCH").plan(&PlanOptions::default()).unwrap();
    assert_eq!(expand(&plan).unwrap().0, [Step::Arg(vec![("SOURCE_DATE_EPOCH".into(), Some(String::new()))])]);
}

#[test]
fn build_arguments_of_buildkit_set_checks_and_the_hostname() {
    let text = "FROM img as x\nRUN a";
    let check =
        |value: &str| Dockerfile::parse_with("Dockerfile", text.as_bytes(), &args(&[("BUILDKIT_DOCKERFILE_CHECK", value)]));
    assert_eq!(check("skip=FromAsCasing").unwrap().warnings, []);
    assert_eq!(check("").unwrap().warnings.len(), 1);
    assert_eq!(check("nothing").unwrap_err().kind(), crate::error::ErrorKind::Usage);
    let error = check("error=true").unwrap().plan(&PlanOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("FromAsCasing"), "{error}");
    assert_eq!(run_with(text, &[("BUILDKIT_SANDBOX_HOSTNAME", "name")], &[]).hostname.as_deref(), Some("name"));
}

#[test]
fn proxies_reach_run_in_both_cases_and_no_history() {
    let options = PlanOptions {
        build_args: args(&[("https_proxy", "http://arg"), ("NO_PROXY", "")]),
        proxies: args(&[("HTTP_PROXY", "http://env"), ("HTTPS_PROXY", "http://env"), ("no_proxy", "x"), ("OTHER", "y")]),
        ..PlanOptions::default()
    };
    let plan = parse("FROM scratch\nRUN echo $HTTP_PROXY").plan(&options).unwrap();
    assert_eq!(plan.warnings, []);
    let Step::Run(run) = expand(&plan).unwrap().0.swap_remove(0) else { panic!() };
    let proxies: Vec<(&str, &str)> = run.proxies.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        proxies,
        [
            ("HTTP_PROXY", "http://env"),
            ("http_proxy", "http://env"),
            ("HTTPS_PROXY", "http://arg"),
            ("https_proxy", "http://arg")
        ]
    );
    assert!(run.env.iter().all(|(name, _)| name == "PATH"));
    assert_eq!(Step::Run(run).history_text().unwrap(), "RUN /bin/sh -c echo $HTTP_PROXY # buildkit");
}

#[test]
fn a_declared_proxy_is_an_argument_like_others() {
    let run = run_with("FROM scratch\nARG HTTP_PROXY\nRUN x", &[("HTTP_PROXY", "http://a")], &[]);
    assert_eq!(env(&run, "HTTP_PROXY"), Some("http://a"));
    assert_eq!(run.history_args, [("HTTP_PROXY".into(), "http://a".into())]);
}

#[test]
fn workdir_and_shell_of_the_base_hold() {
    let plan = plan("FROM img\nWORKDIR b\nCOPY x .\nRUN y");
    let inherited = InheritedConfig { env: vec![], working_dir: "/a".into(), shell: vec!["/bin/bash".into(), "-c".into()] };
    let mut scope = StageScope::new(&plan, inherited);
    let steps: Vec<Step> = plan.stages[0].steps.iter().map(|step| scope.expand(step).unwrap()).collect();
    assert_eq!(steps[0], Step::Workdir("/a/b".into()));
    let Step::Copy(copy) = &steps[1] else { panic!() };
    assert_eq!(copy.destination.path, "/a/b/");
    let Step::Run(run) = &steps[2] else { panic!() };
    assert_eq!(run.argv, ["/bin/bash", "-c", "y"]);
    assert_eq!(scope.working_dir(), "/a/b");
}

#[test]
fn variables_of_mounts_are_expanded_and_those_of_the_command_are_not() {
    let run = run_with("FROM scratch\nARG id=x\nRUN --mount=type=cache,id=pip-$id,target=/c echo $id", &[], &[]);
    let MountRequest::Cache { id, .. } = &run.mounts[0] else { panic!() };
    assert_eq!((id.as_str(), run.argv[2].as_str()), ("pip-x", "echo $id"));
}

#[test]
fn an_environment_that_no_program_could_be_given_is_refused() {
    let double = "ENV A=0123456789abcdef\n".to_owned() + &"ENV A=$A$A\n".repeat(14);
    assert!(error(&format!("FROM scratch\n{double}")).contains("longer than 128 KiB"));
    let many: String = (0..40).map(|number| format!("ENV B{number}=$A\n")).collect();
    let text = format!("FROM scratch\nENV A=0123456789abcdef\n{}{many}", "ENV A=$A$A\n".repeat(12));
    assert!(error(&text).contains("larger than 2 MiB"));
}
