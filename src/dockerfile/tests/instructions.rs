use super::*;

fn strings(strings: &[&str]) -> Vec<String> {
    strings.iter().map(|string| string.to_string()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn copy(lines: &str) -> CopyStep {
    match step(lines) {
        Step::Copy(copy) => copy,
        other => panic!("{other:?}"),
    }
}

fn add(lines: &str) -> AddStep {
    match step(lines) {
        Step::Add(add) => add,
        other => panic!("{other:?}"),
    }
}

fn run(lines: &str) -> RunStep {
    match step(lines) {
        Step::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn env_takes_pairs_and_the_old_form() {
    for (line, expected) in [
        ("ENV A=b", &[("A", "b")][..]),
        ("env A=b C=d\\ e F=\"g h\" I='$A'", &[("A", "b"), ("C", "d e"), ("F", "g h"), ("I", "$A")]),
        ("ENV A b  c", &[("A", "b  c")]),
        ("ENV A \"b c\"", &[("A", "b c")]),
        ("ENV A=", &[("A", "")]),
        ("ENV A=b=c", &[("A", "b=c")]),
        ("ENV A=b \\\n    B=c \\\n# comment\n\n    C=d", &[("A", "b"), ("B", "c"), ("C", "d")]),
        ("ENV \"A B\"=c", &[("A B", "c")]),
    ] {
        assert_eq!(step(line), Step::Env(pairs(expected)), "{line}");
    }
}

#[test]
fn env_uses_the_values_from_before_the_line() {
    assert_eq!(step("ENV abc=hello\nENV abc=bye def=$abc"), Step::Env(pairs(&[("abc", "bye"), ("def", "hello")])));
}

#[test]
fn label_takes_what_env_takes() {
    assert_eq!(
        step("ARG v=1\nLABEL \"com.example\"=\"a b\" version=\"$v\" multi=\"x \\\n y\""),
        Step::Label(pairs(&[("com.example", "a b"), ("version", "1"), ("multi", "x  y")]))
    );
}

#[test]
fn commands_have_two_forms() {
    let shell = |text: &str| strings(&["/bin/sh", "-c", text]);
    for (line, argv) in [
        ("CMD python3 -m  x", shell("python3 -m  x")),
        ("CMD [\"python3\", \"-m\", \"x\"]", strings(&["python3", "-m", "x"])),
        ("CMD []", strings(&[])),
        ("CMD $HOME \"quoted\"", shell("$HOME \"quoted\"")),
        ("CMD ['a']", shell("['a']")),
        ("CMD [\"a\"] && b", shell("[\"a\"] && b")),
        ("CMD", shell("")),
        ("SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nCMD x", strings(&["/bin/bash", "-o", "pipefail", "-c", "x"])),
    ] {
        assert_eq!(step(line), Step::Cmd(argv.clone()), "{line}");
        assert_eq!(step(&line.replace("CMD", "ENTRYPOINT")), Step::Entrypoint(argv), "{line}");
    }
}

#[test]
fn expose_normalises_ports() {
    let Step::Expose(ports) = step("ARG p=9000-9001/UDP\nEXPOSE 8080 443/tcp $p") else { panic!() };
    assert_eq!(ports.iter().map(Port::to_string).collect::<Vec<_>>(), ["9000/udp", "9001/udp", "443/tcp", "8080/tcp"]);
}

#[test]
fn expose_sorts_the_words_before_it_expands_them_as_buildkit_does() {
    assert_eq!(history("EXPOSE 5000 2375 1234/udp"), ["EXPOSE [1234/udp 2375/tcp 5000/tcp]"]);
}

#[test]
fn volume_takes_words_or_json() {
    for (line, expected) in [
        ("VOLUME /a /b", &["/a", "/b"][..]),
        ("VOLUME [\"/a b\", \"/c\"]", &["/a b", "/c"]),
        ("ARG d=/x\nVOLUME $d/y", &["/x/y"]),
    ] {
        assert_eq!(step(line), Step::Volume(strings(expected)), "{line}");
    }
}

#[test]
fn user_and_stopsignal_take_the_rest_of_the_line() {
    assert_eq!(step("ARG u=aria\nUSER $u:${u}-group"), Step::User("aria:aria-group".into()));
    assert_eq!(step("USER a b"), Step::User("a b".into()));
    assert_eq!(step("STOPSIGNAL SIGINT"), Step::StopSignal("SIGINT".into()));
    assert_eq!(step("ARG s=9\nSTOPSIGNAL $s"), Step::StopSignal("9".into()));
}

#[test]
fn workdir_is_absolute_and_relative_ones_add_up() {
    for (lines, path) in [
        ("WORKDIR /a", "/a"),
        ("WORKDIR a", "/a"),
        ("WORKDIR /a\nWORKDIR b/../c", "/a/c"),
        ("WORKDIR /a\nWORKDIR ..", "/"),
        ("WORKDIR \"/a b\"", "/a b"),
        ("ENV d=/x\nWORKDIR $d/y", "/x/y"),
        ("WORKDIR /a/", "/a/"),
        ("WORKDIR /a\nWORKDIR $nothing", "/a"),
    ] {
        assert_eq!(step(lines), Step::Workdir(path.into()), "{lines}");
    }
    assert!(step("WORKDIR /a").makes_layer());
    assert!(!step("WORKDIR /").makes_layer());
}

#[test]
fn healthcheck_has_durations_in_nanoseconds() {
    let Step::Healthcheck(check) = step(
        "HEALTHCHECK --interval=5m --timeout=1.5s --start-period=0s --start-interval=10ms --retries=3 CMD curl -f http://x || exit 1",
    ) else {
        panic!()
    };
    assert_eq!(check.test, ["CMD-SHELL", "curl -f http://x || exit 1"]);
    assert_eq!((check.interval, check.timeout), (300_000_000_000, 1_500_000_000));
    assert_eq!((check.start_period, check.start_interval, check.retries), (0, 10_000_000, 3));
    let test = |line| match step(line) {
        Step::Healthcheck(check) => check.test,
        other => panic!("{other:?}"),
    };
    assert_eq!(test("HEALTHCHECK cmd [\"curl\", \"-f\"]"), ["CMD", "curl", "-f"]);
    assert_eq!(test("HEALTHCHECK NONE"), ["NONE"]);
}

#[test]
fn arg_takes_several_names() {
    assert_eq!(
        step("ARG a=1 b c=\"$a 2\""),
        Step::Arg(vec![("a".into(), Some("1".into())), ("b".into(), None), ("c".into(), Some("1 2".into()))])
    );
}

#[test]
fn onbuild_keeps_the_text_of_its_trigger() {
    for (line, text) in [
        ("ONBUILD RUN  echo  $x", "RUN  echo  $x"),
        ("onbuild copy --chown=1 a \\\n  b", "copy --chown=1 a   b"),
        ("ONBUILD COPY <<EOF /x\nhello\nEOF", "COPY <<EOF /x\nhello\nEOF"),
    ] {
        assert_eq!(step(line), Step::Onbuild(text.into()), "{line}");
        assert_eq!(step(line).history_text(), None);
    }
}

#[test]
fn a_trigger_is_parsed_as_one_instruction() {
    let trigger = parse_trigger("COPY <<EOF /x\nhello\nEOF").unwrap();
    assert_eq!(trigger.name(), "COPY");
    for wrong in ["", "# nothing", "FROM a", "MAINTAINER a", "ONBUILD RUN a", "RUN a\nRUN b", "COP a b"] {
        assert!(parse_trigger(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn maintainer_and_shell() {
    assert_eq!(step("MAINTAINER A <a@b>"), Step::Maintainer("A <a@b>".into()));
    assert_eq!(step("SHELL [\"/bin/bash\", \"-c\"]"), Step::Shell(strings(&["/bin/bash", "-c"])));
}

#[test]
fn copy_with_all_its_flags() {
    let step = copy(
        "ARG u=7\nARG m=640\nWORKDIR /w\nCOPY --chown=$u:1 --chmod=$m --link --parents --exclude=*.md --exclude=$x a* \"b\" dir/",
    );
    assert_eq!(step.sources, ["a*", "b"]);
    assert_eq!(step.destination, Destination { written: "dir/".into(), path: "/w/dir/".into() });
    assert!(step.destination.is_folder());
    assert_eq!(step.chown.as_deref(), Some("7:1"));
    assert_eq!(step.chmod.unwrap().apply(0o777, false), 0o640);
    // With a mode `--link` has no effect.
    assert_eq!((step.link, step.parents, step.from), (false, true, None));
    assert!(copy("COPY --link a b").link && !copy("COPY --link --chmod=a+x a b").link);
    assert_eq!(step.exclude, ["*.md", "$x"]);
}

#[test]
fn names_of_chown_are_no_use_with_link() {
    for (owner, works) in [("7", true), ("7:8", true), ("root", true), ("root:0", true), ("app", false), ("7:app", false)] {
        for instruction in ["COPY", "ADD"] {
            let expanded = expand(&plan(&format!("FROM scratch\n{instruction} --link --chown={owner} a b")));
            assert_eq!(expanded.is_ok(), works, "{instruction} {owner}");
        }
    }
}

#[test]
fn copy_in_json_form_takes_blanks() {
    let step = copy("COPY [\"a b\", \"$nothing/c\", \"/d e/\"]");
    assert_eq!(step.sources, ["a b", "/c"]);
    assert_eq!(step.destination.path, "/d e/");
}

#[test]
fn copy_flags_may_be_switched_off() {
    let step = copy("COPY --link=false --parents=FALSE a b");
    assert_eq!((step.link, step.parents), (false, false));
    assert!(copy("COPY --link= a b").link);
}

#[test]
fn add_knows_urls_repositories_and_files() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let step = add(&format!("ARG c={digest}\nADD --checksum=$c --unpack=true --chmod=+x https://h/a.tgz /x/"));
    assert_eq!(step.sources, [AddSource::Url { url: "https://h/a.tgz".into(), file_name: "a.tgz".into() }]);
    assert_eq!((step.checksum.as_deref(), step.unpack), (Some(digest), Some(true)));
    let step = add("ADD --keep-git-dir git@h:a/b.git#v1 local.tar /x");
    assert_eq!(step.sources, [AddSource::Git("git@h:a/b.git#v1".into()), AddSource::Path("local.tar".into())]);
    assert_eq!((step.keep_git_dir, step.unpack), (true, None));
}

#[test]
fn run_has_two_forms_and_is_not_expanded() {
    assert_eq!(run("ENV A=b\nRUN echo $A  \"$A\"").argv, ["/bin/sh", "-c", "echo $A  \"$A\""]);
    assert_eq!(run("RUN [\"echo\", \"$A\"]").argv, ["echo", "$A"]);
    assert_eq!(run("RUN [ -f x ] || y").argv, ["/bin/sh", "-c", "[ -f x ] || y"]);
    assert_eq!(run("SHELL [\"/bin/bash\", \"-c\"]\nRUN x").argv, ["/bin/bash", "-c", "x"]);
    assert_eq!(run("RUN a \\\n && b \\\n# comment\n && c").argv[2], "a  && b  && c");
}

#[test]
fn run_has_flags() {
    let step = run("RUN --network=none --security=insecure --device=vendor.com/gpu=all,required x");
    assert_eq!((step.network, step.security), (Network::None, Security::Insecure));
    assert_eq!(step.devices, [Device { name: "vendor.com/gpu=all".into(), required: true }]);
    assert_eq!(run("RUN --network=host x").network, Network::Host);
    assert_eq!(run("RUN --device=name=a,required=false x").devices, [Device { name: "a".into(), required: false }]);
}

#[test]
fn mounts_have_buildkits_defaults() {
    let mount = |options: &str| run(&format!("ARG t=/t i=x\nWORKDIR /w\nRUN --mount={options} x")).mounts.pop().unwrap();
    let bind = |target: &str, source: &str, from, read_write| MountRequest::Bind {
        target: target.into(),
        source: source.into(),
        from,
        read_write,
    };
    assert_eq!(mount("target=/a"), bind("/a", "/", None, false));
    assert_eq!(mount("type=bind,source=s/../r,dst=a,rw"), bind("/w/a", "/r", None, true));
    assert_eq!(
        mount("from=img:1,src=/s,destination=$t,readwrite=false"),
        bind("/t", "/s", Some(Base::Image("img:1".into())), false)
    );
    assert_eq!(mount("from=scratch,target=/a"), bind("/a", "/", Some(Base::Scratch), false));
    assert_eq!(
        mount("type=cache,target=/root/.cache/"),
        MountRequest::Cache {
            target: "/root/.cache".into(),
            id: "/root/.cache".into(),
            source: "/".into(),
            from: None,
            read_only: false,
            sharing: Sharing::Shared,
            owned: false,
            mode: 0o755,
            uid: 0,
            gid: 0
        }
    );
    assert_eq!(
        mount("type=cache,target=c,id=$i,sharing=LOCKED,mode=0700,uid=5,gid=6,ro,from=a,source=s"),
        MountRequest::Cache {
            target: "/w/c".into(),
            id: "x".into(),
            source: "/s".into(),
            from: Some(Base::Image("a".into())),
            read_only: true,
            sharing: Sharing::Locked,
            owned: true,
            mode: 0o700,
            uid: 5,
            gid: 6
        }
    );
    // With a mode and without a source BuildKit mounts a folder of its own.
    let MountRequest::Cache { from, mode: 0o700, .. } = mount("type=cache,target=c,mode=0700,from=a") else { panic!() };
    assert_eq!(from, None);
    assert_eq!(mount("type=tmpfs,target=/a,size=64m"), MountRequest::Tmpfs { target: "/a".into(), size: Some(64 << 20) });
    assert_eq!(mount("type=tmpfs,target=/a"), MountRequest::Tmpfs { target: "/a".into(), size: None });
}

#[test]
fn secrets_and_agents_have_buildkits_defaults() {
    let secret = |id: &str, target: Option<&str>, env: Option<&str>, required, mode| MountRequest::Secret {
        id: id.into(),
        target: target.map(Into::into),
        env: env.map(Into::into),
        required,
        mode,
        uid: 0,
        gid: 0,
    };
    let ssh = |id: &str, target: &str, required| MountRequest::Ssh {
        id: id.into(),
        target: target.into(),
        required,
        mode: 0o600,
        uid: 0,
        gid: 0,
    };
    let mounts = |options: &str| run(&format!("RUN {options} x")).mounts;
    assert_eq!(
        mounts(
            "--mount=type=secret,id=aws --mount=type=secret,id=t,env=TOKEN,required --mount=type=secret,id=a/b,mode=0440,dst=/x"
        ),
        [
            secret("aws", Some("/run/secrets/aws"), None, false, 0o400),
            secret("t", None, Some("TOKEN"), true, 0o400),
            secret("a/b", Some("/x"), None, false, 0o440),
        ]
    );
    assert_eq!(
        mounts("--mount=type=secret,target=/etc/pip.conf"),
        [secret("pip.conf", Some("/etc/pip.conf"), None, false, 0o400)]
    );
    assert_eq!(
        mounts("--mount=type=ssh --mount=type=ssh,id=git,required=true --mount=type=ssh,target=/s"),
        [
            ssh("default", "/run/buildkit/ssh_agent.0", false),
            ssh("git", "/run/buildkit/ssh_agent.1", true),
            ssh("default", "/s", false)
        ]
    );
}

#[test]
fn history_has_buildkits_form() {
    assert_eq!(
        history(
            "ENV A=b C=\"d e\"\nRUN pip3 install -r x.txt\nARG V=1 W\nARG V=2\nRUN [\"a\", \"b c\"]\nCOPY app app\n\
             COPY --from=img --link --parents --chown=1:2 --chmod=755 a b /c/\nADD --checksum=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 https://h/a /b\n\
             COPY a <<EOF <<-X /c/\nhello\nEOF\n\tX\n\
             LABEL l=\"m n\"\nWORKDIR /w\nWORKDIR x\nUSER u:g\nEXPOSE 80 81/udp\nVOLUME /a /b\nCMD [\"python3\", \"a\\\"b\"]\n\
             ENTRYPOINT exec x\nENTRYPOINT []\nSHELL [\"/bin/bash\", \"-c\"]\nSTOPSIGNAL SIGTERM\nMAINTAINER me\n\
             HEALTHCHECK --interval=5m --retries=2 CMD curl x\nONBUILD RUN x"
        ),
        [
            "ENV A=b C=d e",
            "RUN /bin/sh -c pip3 install -r x.txt # buildkit",
            "ARG V=1 W",
            "ARG V=2",
            "RUN |2 V=2 W= a b c # buildkit",
            "COPY app app # buildkit",
            "COPY --parents --chown=1:2 --chmod=755 a b /c/ # buildkit",
            "ADD https://h/a /b # buildkit",
            "COPY a <<EOF <<X /c/ # buildkit",
            "LABEL l=m n",
            "WORKDIR /w",
            "WORKDIR /w/x",
            "USER u:g",
            "EXPOSE [80/tcp 81/udp]",
            "VOLUME [/a /b]",
            "CMD [\"python3\" \"a\\\"b\"]",
            "ENTRYPOINT [\"/bin/sh\" \"-c\" \"exec x\"]",
            "ENTRYPOINT []",
            "SHELL [/bin/bash -c]",
            "STOPSIGNAL SIGTERM",
            "MAINTAINER me",
            "HEALTHCHECK {Test:[CMD-SHELL curl x] Interval:5m0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}",
        ]
    );
}

#[test]
fn the_byte_order_mark_and_windows_line_ends_are_nothing() {
    let text = "\u{feff}# escape=`\r\nFROM scratch\r\nRUN a `\r\n  b\r\nCOPY <<E /x\r\none\r\nE\r\n";
    let steps = expand(&plan(text)).unwrap().0;
    let Step::Run(run) = &steps[0] else { panic!() };
    assert_eq!(run.argv[2], "a   b");
    let Step::Copy(copy) = &steps[1] else { panic!() };
    assert_eq!(copy.inline_files[0].content, b"one\r\n");
}

#[test]
fn continuations_follow_buildkit() {
    for (text, argv) in [
        ("RUN echo a \\\n    b", "echo a     b"),
        ("RUN echo c\\\n# c\nd", "echo cd"),
        ("RUN echo a\\  \t\nb", "echo ab"),
        ("RUN echo a \\\\\nUSER x", "echo a \\\\"),
        ("RUN a \\", "a"),
        ("  RUN a # b", "a # b"),
        ("RUN a \\\n\n\nb", "a b"),
        ("\\\nRUN a", "a"),
    ] {
        let Step::Run(run) = &steps(text)[0] else { panic!("{text}") };
        assert_eq!(run.argv[2], argv, "{text}");
    }
}

#[test]
fn instructions_know_their_lines() {
    let dockerfile = parse("# comment\nFROM scratch\n\nRUN a \\\n  b\nCOPY <<E /x\ntext\nE\n");
    let lines: Vec<_> = dockerfile.stages[0].instructions.iter().map(|step| (step.lines(), step.text().to_owned())).collect();
    assert_eq!(lines, [(4..=5, "RUN a   b".to_owned()), (6..=8, "COPY <<E /x".to_owned())]);
    let snippet = dockerfile.stages[0].instructions[0].snippet_of("b");
    assert_eq!((snippet.line, snippet.column, snippet.length, snippet.text.as_str()), (5, 2, 1, "  b"));
}
