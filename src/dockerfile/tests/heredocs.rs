use super::*;

fn run(lines: &str) -> RunStep {
    match step(lines) {
        Step::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn files(lines: &str) -> Vec<(String, String)> {
    let files = match step(lines) {
        Step::Copy(copy) => copy.inline_files,
        Step::Add(add) => add.inline_files,
        other => panic!("{other:?}"),
    };
    files.into_iter().map(|file| (file.name, String::from_utf8(file.content).unwrap())).collect()
}

fn content(lines: &str) -> String {
    files(lines).pop().unwrap().1
}

#[test]
fn a_lone_heredoc_is_the_script_of_the_shell() {
    let step = run("ENV X=1\nRUN <<EOF\necho $X\n# no comment\n  indented \\\nEOF");
    assert_eq!(step.argv, ["/bin/sh", "-c", "echo $X\n# no comment\n  indented \\\n"]);
    assert_eq!(step.script, None);
    assert_eq!(run("RUN <<-EOF\n\t\techo\n\ta\tb\n\tEOF").argv[2], "echo\na\tb\n");
    assert_eq!(run("RUN --network=none <<'EOF'\nx\nEOF").argv[2], "x\n");
}

#[test]
fn a_lone_heredoc_with_a_shebang_is_a_file() {
    let step = run("RUN <<SCRIPT\n#!/usr/bin/env python3\nprint(1)\nSCRIPT");
    assert_eq!(step.argv, ["/bin/sh", "-c", "/dev/pipes/SCRIPT"]);
    let script = step.script.unwrap();
    assert_eq!((script.name.as_str(), script.content.as_slice()), ("SCRIPT", b"#!/usr/bin/env python3\nprint(1)\n".as_slice()));
}

#[test]
fn tabs_before_a_shebang_are_chomped_first() {
    let script = run("RUN <<-S\n\t#!/bin/cat\n\t\tx\n\tS").script.unwrap();
    assert_eq!(script.content, b"#!/bin/cat\nx\n");
}

#[test]
fn blanks_may_follow_the_operator() {
    assert_eq!(run("RUN cat << EOF > /h\n1\nEOF").argv[2], "cat << EOF > /h\n1\nEOF");
    assert_eq!(run("RUN << EOF\necho\nEOF").argv[2], "echo\n");
    assert_eq!(run("RUN cat 0<<\tA 3<< 'B C'\n1\nA\n2\nB C").argv[2], "cat 0<<\tA 3<< 'B C'\n1\nA\n2\nB C");
    // As in BuildKit, `<<-` takes no blank, and a source of COPY is one word.
    assert!(error("FROM a\nRUN cat <<- EOF\n1\nEOF").contains("unknown instruction `1`"));
    assert!(error("FROM a\nCOPY << EOF /h\n1\nEOF").contains("the heredoc `EOF` is not a source of COPY"));
}

#[test]
fn bytes_that_are_not_utf8_are_kept_where_nothing_reads_them() {
    let instructions = |lines: &[u8]| {
        let dockerfile = Dockerfile::parse("Dockerfile", &[b"FROM scratch\n", lines].concat())?;
        Ok::<_, Error>(expand(&dockerfile.plan(&PlanOptions::default())?)?.0)
    };
    let content = |lines: &[u8]| match instructions(lines).unwrap().remove(0) {
        Step::Copy(copy) => copy.inline_files[0].content.clone(),
        Step::Run(run) => run.script.unwrap().content,
        other => panic!("{other:?}"),
    };
    assert_eq!(content(b"COPY <<'E' /x\n\xe9$X\nE"), b"\xe9$X\n");
    assert_eq!(content(b"COPY <<E /x\n\xe9\nE"), "\u{fffd}\n".as_bytes());
    assert_eq!(content(b"# \xe9\nRUN <<E\n#!/bin/sh\n\xe9\nE"), b"#!/bin/sh\n\xe9\n");
    assert_eq!(
        instructions(b"LABEL a=\xe9\xe2\x82").unwrap(),
        [Step::Label(vec![("a".into(), "\u{fffd}\u{fffd}\u{fffd}".into())])]
    );
    for refused in [&b"RUN echo \xe9"[..], b"RUN a \\\n\xe9", b"RUN <<E\n\xe9\nE", b"RUN cat <<E\n\xe9\nE"] {
        assert_eq!(instructions(refused).unwrap_err().to_string(), "the command of RUN is not UTF-8", "{refused:?}");
    }
    assert!(instructions(b"RUN [\"echo\", \"\xe9\"]").is_ok());
    assert!(instructions(b"RUN a \\\n# \xe9\n b").is_ok());
}

#[test]
fn heredocs_with_more_on_the_line_are_left_to_the_shell() {
    assert_eq!(run("RUN <<EOF python3\nprint(1)\nEOF").argv[2], "<<EOF python3\nprint(1)\nEOF");
    assert_eq!(run("RUN cat <<a <<-b > x\n1\na\n\t2\n\tb").argv[2], "cat <<a <<-b > x\n1\na\n\t2\nb");
    assert_eq!(run("RUN cat <<EOF | sh && \\\n  x\n1\nEOF").argv[2], "cat <<EOF | sh &&   x\n1\nEOF");
}

#[test]
fn shell_text_that_only_looks_like_a_heredoc_is_none() {
    assert_eq!(run("RUN cat <<<EOF").argv[2], "cat <<<EOF");
    assert_eq!(run("RUN echo '<<EOF'").argv[2], "echo '<<EOF'");
    assert_eq!(run("RUN echo $((1<<2))").argv[2], "echo $((1<<2))");
    assert_eq!(run("RUN [\"echo\", \"<<EOF\"]").argv, ["echo", "<<EOF"]);
    assert_eq!(step("CMD cat <<EOF"), Step::Cmd(vec!["/bin/sh".into(), "-c".into(), "cat <<EOF".into()]));
}

#[test]
fn copy_and_add_make_files_of_heredocs() {
    let pair = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    assert_eq!(files("COPY <<a.txt <<b.txt /x/\n1\na.txt\n2\nb.txt"), [pair("a.txt", "1\n"), pair("b.txt", "2\n")]);
    assert_eq!(files("ADD --chmod=644 <<EOF /x\nEOF"), [pair("EOF", "")]);
    let Step::Copy(copy) = step("COPY a <<EOF b /x/\n1\nEOF") else { panic!() };
    assert_eq!(copy.sources, ["a", "b"]);
    assert_eq!(copy.inline_files.len(), 1);
}

#[test]
fn contents_are_expanded_unless_the_word_is_quoted() {
    assert_eq!(content("ENV N=w\nCOPY <<EOF /x\nhello $N ${M:-m}\nEOF"), "hello w m\n");
    for word in ["'EOF'", "\"EOF\"", "E'O'F"] {
        assert_eq!(content(&format!("ENV N=w\nCOPY <<{word} /x\nhello $N \\$\nEOF")), "hello $N \\$\n", "{word}");
    }
    assert_eq!(content("ENV N=w\nCOPY <<-EOF /x\n\thello\n\t\t$N\n\tEOF"), "hello\nw\n");
}

#[test]
fn quotes_in_contents_are_characters_and_backslashes_escape_all() {
    assert_eq!(content("COPY <<EOF /x\n'a' \"b\"\nEOF"), "'a' \"b\"\n");
    assert_eq!(content("COPY <<EOF /x\n\\\nEOF"), "\n");
    assert_eq!(content("COPY <<EOF /x\n\\\\\nEOF"), "\\\n");
    assert_eq!(content("COPY <<EOF /x\n\\$\nEOF"), "$\n");
    assert_eq!(content("COPY <<EOF /x\na\\nb\nEOF"), "anb\n");
}

#[test]
fn the_escape_of_contents_is_a_backslash_whatever_the_directive_says() {
    let steps = expand(&plan("# escape=`\nFROM scratch\nCOPY <<EOF /x\n`a \\$\nEOF")).unwrap().0;
    let Step::Copy(copy) = &steps[0] else { panic!() };
    assert_eq!(copy.inline_files[0].content, b"`a $\n");
}

#[test]
fn instructions_go_on_after_a_heredoc() {
    let steps = steps("RUN <<EOF\nFROM a\nEOF\nUSER x");
    assert_eq!(steps[1], Step::User("x".into()));
}
