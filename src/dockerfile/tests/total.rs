//! Whatever the bytes: parsing, planning and expanding end, and end with a result or an error.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Parses, plans and expands; an error anywhere is a good end, too.
fn run_all(bytes: &[u8]) {
    let Ok(dockerfile) = Dockerfile::parse("Dockerfile", bytes) else { return };
    let build_args = BTreeMap::from([("a".to_owned(), "$b \"".to_owned())]);
    let options = PlanOptions { build_args, ..PlanOptions::default() };
    if let Ok(plan) = dockerfile.plan(&options)
        && let Ok((steps, _)) = expand(&plan)
    {
        steps.iter().for_each(|step| drop(step.history_text()));
    }
}

/// A line that is nearly an instruction.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "ONBUILD COPY",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
        "# escape=`",
        "EOF",
        "",
    ]);
    let word = prop::sample::select(vec![
        "a",
        "b",
        "$a",
        "${a:-b}",
        "${a%%*}",
        "${a//?/$a}",
        "a=$a",
        "b=\"$a",
        "'",
        "\\",
        "<<EOF",
        "<<-'EOF'",
        "[\"a\"]",
        "[\"a\", 1]",
        "AS",
        "scratch",
        "--from=a",
        "--from=0",
        "--mount=type=$a,target=x,from=b",
        "--mount=type=secret,id=a",
        "--chmod=u+x",
        "--platform=$a",
        "--interval=1s",
        "80-90/udp",
        "SIGTERM",
        "NONE",
        "--",
        "\t",
        "한",
    ]);
    let free = prop_oneof![
        r"\PC{0,6}",
        "--chmod=[ugoa+=,rwxXst0-7]{0,6}",
        r"--mount=type=tmpfs,target=/x,size=[0-9.]{0,3}\PC{0,3}",
        r"--mount=\PC{0,10}",
        r"--device=\PC{0,6}",
        r"--interval=[0-9.]{0,3}\PC{0,3}",
        r"[0-9:./\[\]-]{0,8}",
        r"https?://\PC{0,6}",
        r"<<-?\PC{0,4}",
    ];
    let word = prop_oneof![3 => word.prop_map(str::to_owned), 1 => free];
    (name, prop::collection::vec(word, 0..5)).prop_map(|(name, words)| format!("{name} {}\n", words.join(" ")))
}

/// Stages that use earlier stages, some of them by name.
fn stages() -> impl Strategy<Value = Vec<(Option<usize>, Vec<usize>)>> {
    let stage = (prop::option::of(any::<usize>()), prop::collection::vec(any::<usize>(), 0..4));
    prop::collection::vec(stage, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        run_all(&bytes);
    }

    #[test]
    fn any_text_after_from_comes_to_an_end(text in "\\PC{0,80}") {
        run_all(format!("FROM scratch\nRUN {text}\nENV a={text}\nCOPY {text}").as_bytes());
    }

    #[test]
    fn lines_that_are_nearly_instructions_come_to_an_end(lines in prop::collection::vec(line(), 0..8)) {
        run_all(lines.concat().as_bytes());
        run_all(format!("FROM scratch AS b\nARG a=1\n{}", lines.concat()).as_bytes());
    }

    #[test]
    fn triggers_come_to_an_end(text in "(ONBUILD |COPY |RUN )?[<E\\\\\n $a]{0,20}") {
        let _ = parse_trigger(&text);
    }

    #[test]
    fn stages_are_planned_after_those_they_depend_on(stages in stages()) {
        let mut text = String::new();
        for (index, (base, sources)) in stages.iter().enumerate() {
            match base {
                Some(base) if index > 0 => text.push_str(&format!("FROM s{} AS s{index}\n", base % index)),
                _ => text.push_str(&format!("FROM image AS s{index}\n")),
            }
            for source in sources.iter().filter(|_| index > 0) {
                let source = source % index;
                text.push_str(&if source % 2 == 0 { format!("COPY --from={source} a b\n") } else { format!("COPY --from=s{source} a b\n") });
            }
        }
        let plan = plan(&text);
        let mut done = Vec::new();
        for stage in &plan.stages {
            prop_assert!(stage.dependencies.iter().all(|index| done.contains(index)));
            done.push(stage.index);
        }
        prop_assert_eq!(done.last(), Some(&plan.target));
        let used = |index: &StageIndex| plan.stages.iter().any(|stage| stage.dependencies.contains(index));
        prop_assert!(done.iter().all(|index| *index == plan.target || used(index)));
    }
}

#[test]
fn a_file_of_many_stages_is_planned_without_recursion() {
    let count = 20_000;
    let chain: String = (1..count).map(|index| format!("FROM s{} AS s{index}\n", index - 1)).collect();
    assert_eq!(plan(&format!("FROM a AS s0\n{chain}")).stages.len(), count);
    let cycle: String =
        (0..count).map(|index| format!("FROM a AS s{index}\nCOPY --from=s{} a b\n", (index + 1) % count)).collect();
    assert!(parse(&cycle).plan(&PlanOptions::default()).is_err());
}
