use insta::assert_snapshot;

use super::*;

#[test]
fn files_without_a_stage() {
    assert_snapshot!(error(""), @r#"
    error: `Dockerfile` has no instructions
    hint: a Dockerfile starts with FROM and the name of a base image
    "#);
    assert_snapshot!(error("# only a comment\n\n"), @r#"
    error: `Dockerfile` has no instructions
    hint: a Dockerfile starts with FROM and the name of a base image
    "#);
    assert_snapshot!(error("ARG A=1\n"), @r#"
    error: `Dockerfile` has no FROM
    hint: a Dockerfile starts with FROM and the name of a base image
    "#);
    assert_snapshot!(error("RUN a\nFROM b"), @r#"
    error: RUN is before the first FROM
    Dockerfile:1
      RUN a
      ^^^^^
    hint: only ARG may; move it below FROM
    "#);
    assert_snapshot!(error("# escape=x\nFROM a"), @r#"
    error: `x` cannot be the escape character: only `\` and `` ` `` can
    Dockerfile:1
      # escape=x
      ^^^^^^^^^^
    "#);
    assert_snapshot!(error("# escape=`\n# escape=`\nFROM a"), @r#"
    error: the `escape` directive is repeated
    Dockerfile:2
      # escape=`
      ^^^^^^^^^^
    "#);
}

#[test]
fn unknown_instructions() {
    assert_snapshot!(error("FROM a\nCOP a b"), @r#"
    error: unknown instruction `COP`
    Dockerfile:2
      COP a b
      ^^^
    hint: did you mean `COPY`?
    "#);
    assert_snapshot!(error("FROM a\nFOOBAR a b"), @r#"
    error: unknown instruction `FOOBAR`
    Dockerfile:2
      FOOBAR a b
      ^^^^^^
    hint: to continue an instruction, end the line before with `\`
    "#);
    assert_snapshot!(error("FROM a\nRUN apt-get update &&\n    apt-get install x"), @r#"
    error: unknown instruction `apt-get`
    Dockerfile:3
          apt-get install x
          ^^^^^^^
    hint: to continue an instruction, end the line before with `\`
    "#);
    assert_snapshot!(error("FORM a"), @r#"
    error: unknown instruction `FORM`
    Dockerfile:1
      FORM a
      ^^^^
    hint: did you mean `FROM`?
    "#);
}

#[test]
fn flags() {
    assert_snapshot!(error("FROM a\nCOPY --form=b c d"), @r#"
    error: COPY has no flag `--form`
    Dockerfile:2
      COPY --form=b c d
           ^^^^^^
    hint: did you mean `--from`?
    "#);
    assert_snapshot!(error("FROM a\nCOPY --xyzzy=b c d"), @r#"
    error: COPY has no flag `--xyzzy`
    Dockerfile:2
      COPY --xyzzy=b c d
           ^^^^^^^
    hint: its flags are --from, --chown, --chmod, --link, --parents, --exclude
    "#);
    assert_snapshot!(error("FROM a\nCOPY --from c d"), @r#"
    error: `--from` has no value
    Dockerfile:2
      COPY --from c d
           ^^^^^^
    hint: write it as --from=VALUE
    "#);
    assert_snapshot!(error("FROM a\nCOPY --link=perhaps c d"), @r#"
    error: `--link` is true or false, not `perhaps`
    Dockerfile:2
      COPY --link=perhaps c d
           ^^^^^^
    hint: write --link for true, --link=false for false
    "#);
    assert_snapshot!(error("FROM a\nCOPY --chown=a --chown=b c d"), @r#"
    error: `--chown` is given twice
    Dockerfile:2
      COPY --chown=a --chown=b c d
           ^^^^^^^
    hint: keep one of them
    "#);
    assert_snapshot!(error("FROM a\nENV --x a=b"), @r#"
    error: ENV has no flag `--x`
    Dockerfile:2
      ENV --x a=b
          ^^^
    hint: ENV has no flags; put `--` in front if `--x` is meant as an argument
    "#);
    assert_snapshot!(error("FROM --platfrom=x a"), @r#"
    error: FROM has no flag `--platfrom`
    Dockerfile:1
      FROM --platfrom=x a
           ^^^^^^^^^^
    hint: did you mean `--platform`?
    "#);
}

#[test]
fn from_lines() {
    assert_snapshot!(error("FROM"), @r#"
    error: FROM has no image
    Dockerfile:1
      FROM
      ^^^^
    hint: write it as FROM IMAGE [AS NAME]
    "#);
    assert_snapshot!(error("FROM a b"), @r#"
    error: FROM takes an image and a name; `b` is one word too many
    Dockerfile:1
      FROM a b
             ^
    hint: write it as FROM IMAGE [AS NAME]
    "#);
    assert_snapshot!(error("FROM a AS"), @r#"
    error: FROM has no name after AS
    Dockerfile:1
      FROM a AS
      ^^^^^^^^^
    hint: write it as FROM IMAGE [AS NAME]
    "#);
    assert_snapshot!(error("FROM a AS 1b"), @r#"
    error: `1b` cannot be the name of a stage
    Dockerfile:1
      FROM a AS 1b
                ^^
    hint: a name starts with a letter and goes on with letters, digits, `-`, `_` and `.`
    "#);
    assert_snapshot!(error("FROM a b c d"), @r#"
    error: FROM takes an image and a name; `b` is one word too many
    Dockerfile:1
      FROM a b c d
             ^
    hint: write it as FROM IMAGE [AS NAME]
    "#);
    assert_snapshot!(error("FROM $NOTHING"), @r#"
    error: the base image is empty after its variables are expanded
    Dockerfile:1
      FROM $NOTHING
           ^^^^^^^^
    hint: give the ARG before the first FROM a default, or pass a build argument
    "#);
    assert_snapshot!(error("FROM --platform=a/b/c/d x"), @r#"
    error: `a/b/c/d` is not a platform
    Dockerfile:1
      FROM --platform=a/b/c/d x
                      ^^^^^^^
    hint: write it as os/architecture, such as linux/amd64
    "#);
    assert_snapshot!(error("FROM ${a"), @r#"
    error: `}` is missing at the end of a substitution
    Dockerfile:1
      FROM ${a
           ^^^
    hint: put the escape character before `$` where a dollar sign is meant
    "#);
    assert_snapshot!(error("FROM --platform=$NOTHING x"), @r#"
    error: the platform is empty after its variables are expanded
    Dockerfile:1
      FROM --platform=$NOTHING x
                      ^^^^^^^^
    hint: give the ARG before the first FROM a default, or pass a build argument
    "#);
}

#[test]
fn files() {
    assert_snapshot!(error("FROM a\nCOPY"), @r#"
    error: COPY has no arguments
    Dockerfile:2
      COPY
      ^^^^
    hint: write it as COPY SOURCE… DESTINATION
    "#);
    assert_snapshot!(error("FROM a\nCOPY b"), @r#"
    error: COPY has only one argument, `b`: sources or the destination are missing
    Dockerfile:2
      COPY b
      ^^^^^^
    hint: write it as COPY SOURCE… DESTINATION
    "#);
    assert_snapshot!(error("FROM a\nADD [\"b\"]"), @r#"
    error: ADD has only one argument, `b`: sources or the destination are missing
    Dockerfile:2
      ADD ["b"]
      ^^^^^^^^^
    hint: write it as ADD SOURCE… DESTINATION
    "#);
    assert_snapshot!(error("FROM a\nCOPY --from=$B c d"), @r#"
    error: the `--from` of COPY cannot have variables
    Dockerfile:2
      COPY --from=$B c d
                  ^^
    hint: name the image as a stage of its own, `FROM $B AS NAME` with its ARG before the first FROM, and write --from=NAME
    "#);
    assert_snapshot!(error("FROM a\nCOPY <<A <<B\nA\nB"), @r#"
    error: a heredoc cannot be the destination of COPY
    Dockerfile:2
      COPY <<A <<B
      ^^^^^^^^^^^^
    hint: write it as COPY SOURCE… DESTINATION
    "#);
    assert_snapshot!(error("FROM a\nCOPY https://h/x y"), @r#"
    error: COPY cannot take a URL
    Dockerfile:2
      COPY https://h/x y
           ^^^^^^^^^^^
    hint: write ADD instead of COPY
    "#);
    assert_snapshot!(error("FROM a\nCOPY --chmod=u+q b c"), @r#"
    error: `u+q` is not a mode for `--chmod`
    Dockerfile:2
      COPY --chmod=u+q b c
                   ^^^
    hint: write it in octal, such as 755, or as chmod takes it, such as u=rwX,go=rX
    "#);
    assert_snapshot!(error("FROM a\nADD --checksum=sha256:00 https://h/x y"), @r#"
    error: `sha256:00` is not a digest: the part after `:` is not the right number of lower-case hex digits
    Dockerfile:2
      ADD --checksum=sha256:00 https://h/x y
                     ^^^^^^^^^
    hint: write it as sha256: and 64 digits with one URL, or leave it out
    "#);
    assert_snapshot!(error("FROM a\nADD --checksum=sha256:00 x y"), @r#"
    error: `--checksum` is for URLs and git repositories, not for files
    Dockerfile:2
      ADD --checksum=sha256:00 x y
                     ^^^^^^^^^
    hint: write it as sha256: and 64 digits with one URL, or leave it out
    "#);
    assert_snapshot!(error("FROM a\nCOPY \"b c\" d"), @r#"
    error: a double quote is not closed
    Dockerfile:2
      COPY "b c" d
           ^^
    hint: close it, or put the escape character before it where the quote itself is meant
    "#);
    assert_snapshot!(error("FROM a\nCOPY <<../x /y\n../x"), @r#"
    error: `../x` cannot be the name of a file
    Dockerfile:2
      COPY <<../x /y
             ^^^^
    hint: name the heredoc like the file, and write its folder as the destination
    "#);
}

#[test]
fn heredocs_that_do_not_end() {
    assert_snapshot!(error("FROM a\nRUN <<EOF\necho\n"), @r#"
    error: the heredoc `EOF` is not terminated
    Dockerfile:2
      RUN <<EOF
            ^^^
    hint: end it with a line that is only EOF
    "#);
    assert_snapshot!(error("FROM a\nRUN echo && \\\n  cat <<-END\n\tx\n"), @r#"
    error: the heredoc `END` is not terminated
    Dockerfile:3
        cat <<-END
               ^^^
    hint: end it with a line that is only END
    "#);
    assert_snapshot!(error("FROM a\nCOPY <<A <<B /x/\nA\ntext"), @r#"
    error: the heredoc `B` is not terminated
    Dockerfile:2
      COPY <<A <<B /x/
                 ^
    hint: end it with a line that is only B
    "#);
}

#[test]
fn variables() {
    assert_snapshot!(error("FROM a\nENV b=\"c"), @r#"
    error: a double quote is not closed
    Dockerfile:2
      ENV b="c
            ^^
    hint: close it, or put the escape character before it where the quote itself is meant
    "#);
    assert_snapshot!(error("FROM a\nENV b=${c"), @r#"
    error: `}` is missing at the end of a substitution
    Dockerfile:2
      ENV b=${c
            ^^^
    hint: put the escape character before `$` where a dollar sign is meant
    "#);
    assert_snapshot!(error("FROM a\nWORKDIR ${c:=d}"), @r#"
    error: `${c:=` is not a substitution: only `-`, `+`, `?`, `#`, `%` and `/` may follow a name
    Dockerfile:2
      WORKDIR ${c:=d}
              ^^^^^^^
    hint: put the escape character before `$` where a dollar sign is meant
    "#);
    assert_snapshot!(error("FROM a\nENV b=${c:?set_it}"), @r#"
    error: c: set_it
    Dockerfile:2
      ENV b=${c:?set_it}
            ^^^^^^^^^^^^
    hint: set it with ENV, or declare it with ARG and pass a build argument
    "#);
    assert_snapshot!(error("FROM a\nENV $x=1"), @r#"
    error: a name of ENV is empty after its variables are expanded
    Dockerfile:2
      ENV $x=1
          ^^
    "#);
    assert_snapshot!(error("FROM a\nVOLUME $x"), @r#"
    error: a path of VOLUME is empty after its variables are expanded
    Dockerfile:2
      VOLUME $x
             ^^
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=cache,target=${x c"), @r#"
    error: `}` is missing at the end of a substitution
    Dockerfile:2
      RUN --mount=type=cache,target=${x c
                                    ^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
}

#[test]
fn pairs() {
    assert_snapshot!(error("FROM a\nENV b"), @r#"
    error: ENV has no value for `b`
    Dockerfile:2
      ENV b
      ^^^^^
    hint: write it as ENV NAME=VALUE…
    "#);
    assert_snapshot!(error("FROM a\nENV"), @r#"
    error: ENV has no arguments
    Dockerfile:2
      ENV
      ^^^
    hint: write it as ENV NAME=VALUE…
    "#);
    assert_snapshot!(error("FROM a\nENV b=c d"), @r#"
    error: `d` has no `=`
    Dockerfile:2
      ENV b=c d
              ^
    hint: write it as ENV NAME=VALUE, and put a value with blanks in double quotes
    "#);
    assert_snapshot!(error("FROM a\nLABEL b"), @r#"
    error: LABEL has no value for `b`
    Dockerfile:2
      LABEL b
      ^^^^^^^
    hint: write it as LABEL NAME=VALUE…
    "#);
    assert_snapshot!(error("FROM a\nENV =b"), @r#"
    error: a name of ENV is missing before `=`
    Dockerfile:2
      ENV =b
          ^^
    "#);
    assert_snapshot!(error("FROM a\nARG"), @r#"
    error: ARG has no name
    Dockerfile:2
      ARG
      ^^^
    hint: write it as ARG NAME[=DEFAULT]
    "#);
    assert_snapshot!(error("FROM a\nARG =b"), @r#"
    error: a name is missing before `=`
    Dockerfile:2
      ARG =b
          ^^
    hint: write it as ARG NAME=DEFAULT
    "#);
}

#[test]
fn settings() {
    assert_snapshot!(error("FROM a\nEXPOSE"), @r#"
    error: EXPOSE has no port
    Dockerfile:2
      EXPOSE
      ^^^^^^
    hint: write it as EXPOSE PORT[/tcp|/udp|/sctp]…
    "#);
    assert_snapshot!(error("FROM a\nEXPOSE http"), @r#"
    error: `http` is not a port: use a number up to 65535 or a range such as 8000-8010
    Dockerfile:2
      EXPOSE http
             ^^^^
    hint: write it as EXPOSE PORT[/tcp|/udp|/sctp], such as EXPOSE 8080
    "#);
    assert_snapshot!(error("FROM a\nEXPOSE 80/icmp"), @r#"
    error: `icmp` is not a protocol: use tcp, udp or sctp
    Dockerfile:2
      EXPOSE 80/icmp
             ^^^^^^^
    hint: write it as EXPOSE PORT[/tcp|/udp|/sctp], such as EXPOSE 8080
    "#);
    assert_snapshot!(error("FROM a\nEXPOSE 90-80"), @r#"
    error: the range `90-80` ends before it starts
    Dockerfile:2
      EXPOSE 90-80
             ^^^^^
    hint: write it as EXPOSE PORT[/tcp|/udp|/sctp], such as EXPOSE 8080
    "#);
    assert_snapshot!(error("FROM a\nSTOPSIGNAL SIGTREM"), @r#"
    error: `SIGTREM` is not a signal
    Dockerfile:2
      STOPSIGNAL SIGTREM
                 ^^^^^^^
    hint: did you mean `SIGTERM`?
    "#);
    assert_snapshot!(error("FROM a\nSTOPSIGNAL 0"), @r#"
    error: `0` is not a signal
    Dockerfile:2
      STOPSIGNAL 0
                 ^
    hint: write a name such as SIGTERM, or a number
    "#);
    assert_snapshot!(error("FROM a\nUSER"), @r#"
    error: USER has no argument
    Dockerfile:2
      USER
      ^^^^
    hint: write it as USER NAME[:GROUP]
    "#);
    assert_snapshot!(error("FROM a\nWORKDIR"), @r#"
    error: WORKDIR has no argument
    Dockerfile:2
      WORKDIR
      ^^^^^^^
    hint: write it as WORKDIR PATH
    "#);
    assert_snapshot!(error("FROM a\nVOLUME []"), @r#"
    error: VOLUME has no path
    Dockerfile:2
      VOLUME []
      ^^^^^^^^^
    hint: write it as VOLUME PATH…
    "#);
    assert_snapshot!(error("FROM a\nSHELL bash -c"), @r#"
    error: SHELL is not a JSON array
    Dockerfile:2
      SHELL bash -c
      ^^^^^^^^^^^^^
    hint: write it as SHELL ["/bin/bash", "-c"]
    "#);
    assert_snapshot!(error("FROM a\nSHELL []"), @r#"
    error: SHELL has no program
    Dockerfile:2
      SHELL []
      ^^^^^^^^
    hint: write it as SHELL ["/bin/bash", "-c"]
    "#);
}

#[test]
fn commands() {
    assert_snapshot!(error("FROM a\nCMD [\"b\", 1]"), @r#"
    error: the JSON array of CMD holds something other than strings
    Dockerfile:2
      CMD ["b", 1]
          ^^^^^^^^
    hint: put double quotes around each element
    "#);
    assert_snapshot!(error("FROM a\nRUN []"), @r#"
    error: RUN has nothing to run
    Dockerfile:2
      RUN []
      ^^^^^^
    hint: write the program and its arguments into the brackets
    "#);
    assert_snapshot!(error("FROM a\nRUN --network=hots b"), @r#"
    error: `hots` is not a value of `--network`
    Dockerfile:2
      RUN --network=hots b
                    ^^^^
    hint: did you mean `host`?
    "#);
    assert_snapshot!(error("FROM a\nRUN --security=loose b"), @r#"
    error: `loose` is not a value of `--security`
    Dockerfile:2
      RUN --security=loose b
                     ^^^^^
    hint: it is one of sandbox, insecure
    "#);
    assert_snapshot!(error("FROM a\nRUN --device=required b"), @r#"
    error: a device has no name
    Dockerfile:2
      RUN --device=required b
                   ^^^^^^^^
    hint: write it as --device=NAME[,required]
    "#);
}

#[test]
fn mounts() {
    assert_snapshot!(error("FROM a\nRUN --mount=type=bnd,target=/x b"), @r#"
    error: `bnd` is not a mount type: use bind, cache, tmpfs, secret or ssh
    Dockerfile:2
      RUN --mount=type=bnd,target=/x b
                  ^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=cache,traget=/x b"), @r#"
    error: a mount has no option `traget`
    Dockerfile:2
      RUN --mount=type=cache,traget=/x b
                             ^^^^^^
    hint: did you mean `target`?
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=bind b"), @r#"
    error: a mount cannot cover `/`: give it a `target`
    Dockerfile:2
      RUN --mount=type=bind b
                  ^^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=secret b"), @r#"
    error: a secret has neither `id` nor `target`
    Dockerfile:2
      RUN --mount=type=secret b
                  ^^^^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=tmpfs,target=/x,size=big b"), @r#"
    error: `big` is not a size: write it as 64m or 1g
    Dockerfile:2
      RUN --mount=type=tmpfs,target=/x,size=big b
                                       ^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=bind,target=/x,mode=0755 b"), @r#"
    error: a mount of type bind has no `mode`
    Dockerfile:2
      RUN --mount=type=bind,target=/x,mode=0755 b
                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=cache,target=/x,sharing=all b"), @r#"
    error: `all` is not a sharing mode of a cache: use shared, private or locked
    Dockerfile:2
      RUN --mount=type=cache,target=/x,sharing=all b
                                       ^^^^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=cache,target b"), @r#"
    error: `target` of a mount has no value
    Dockerfile:2
      RUN --mount=type=cache,target b
                             ^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=from=$x,target=/y b"), @r#"
    error: `from` of a mount cannot have variables
    Dockerfile:2
      RUN --mount=from=$x,target=/y b
                       ^^
    hint: name the image as a stage of its own with its ARG before the first FROM, and write from=NAME
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=cache,target=/x,uid=me b"), @r#"
    error: `me` is not a number for `uid` of a mount
    Dockerfile:2
      RUN --mount=type=cache,target=/x,uid=me b
                                       ^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
    assert_snapshot!(error("FROM a\nRUN --mount=type=bind,target=/x,ro=perhaps b"), @r#"
    error: `ro` of a mount is true or false, not `perhaps`
    Dockerfile:2
      RUN --mount=type=bind,target=/x,ro=perhaps b
                                      ^^^^^^^^^^
    hint: write it as --mount=type=TYPE,target=PATH,…
    "#);
}

#[test]
fn healthchecks() {
    assert_snapshot!(error("FROM a\nHEALTHCHECK"), @r#"
    error: HEALTHCHECK has no argument
    Dockerfile:2
      HEALTHCHECK
      ^^^^^^^^^^^
    hint: write it as HEALTHCHECK [--interval=30s] CMD COMMAND, or HEALTHCHECK NONE
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK curl x"), @r#"
    error: HEALTHCHECK does not know `curl`
    Dockerfile:2
      HEALTHCHECK curl x
                  ^^^^
    hint: did you mean `HEALTHCHECK CMD`? Put CMD before the command
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK NONE x"), @r#"
    error: HEALTHCHECK NONE takes no arguments
    Dockerfile:2
      HEALTHCHECK NONE x
                       ^
    hint: leave out what comes after NONE
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK --interval=30 CMD x"), @r#"
    error: `30` is not a duration for `--interval`
    Dockerfile:2
      HEALTHCHECK --interval=30 CMD x
                             ^^
    hint: write it with a unit: 500ms, 30s, 1m30s or 2h
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK --timeout=10us CMD x"), @r#"
    error: `--timeout` is less than 1ms
    Dockerfile:2
      HEALTHCHECK --timeout=10us CMD x
                            ^^^^
    hint: write it with a unit: 500ms, 30s, 1m30s or 2h
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK --retries=-1 CMD x"), @r#"
    error: `-1` is not a number for `--retries`
    Dockerfile:2
      HEALTHCHECK --retries=-1 CMD x
                            ^^
    hint: write a number, such as 3
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK CMD"), @r#"
    error: HEALTHCHECK CMD has no command
    Dockerfile:2
      HEALTHCHECK CMD
      ^^^^^^^^^^^^^^^
    hint: write it as HEALTHCHECK [--interval=30s] CMD COMMAND, or HEALTHCHECK NONE
    "#);
    assert_snapshot!(error("FROM a\nHEALTHCHECK CMD []"), @r#"
    error: HEALTHCHECK CMD has no command
    Dockerfile:2
      HEALTHCHECK CMD []
      ^^^^^^^^^^^^^^^^^^
    hint: write it as HEALTHCHECK [--interval=30s] CMD COMMAND, or HEALTHCHECK NONE
    "#);
}

#[test]
fn triggers() {
    assert_snapshot!(error("FROM a\nONBUILD"), @r#"
    error: ONBUILD has no instruction
    Dockerfile:2
      ONBUILD
      ^^^^^^^
    hint: write it as ONBUILD INSTRUCTION
    "#);
    assert_snapshot!(error("FROM a\nONBUILD ONBUILD RUN b"), @r#"
    error: ONBUILD cannot be the trigger of ONBUILD
    Dockerfile:2
      ONBUILD ONBUILD RUN b
      ^^^^^^^^^^^^^^^^^^^^^
    hint: leave out one of them
    "#);
    assert_snapshot!(error("FROM a\nONBUILD FROM b"), @r#"
    error: FROM cannot be an ONBUILD trigger
    Dockerfile:2
      ONBUILD FROM b
              ^^^^
    hint: put it into the child's Dockerfile
    "#);
    assert_snapshot!(error("FROM a\nONBUILD COP b c"), @r#"
    error: unknown instruction `COP`
    Dockerfile:2
      ONBUILD COP b c
              ^^^
    hint: did you mean `COPY`?
    "#);
    assert_snapshot!(error("FROM a\nONBUILD COPY b"), @r#"
    error: COPY has only one argument, `b`: sources or the destination are missing
    Dockerfile:2
      ONBUILD COPY b
      ^^^^^^^^^^^^^^
    hint: write it as COPY SOURCE… DESTINATION
    "#);
}

#[test]
fn stages() {
    assert_snapshot!(error("FROM a AS b\nCOPY --from=b c d"), @r#"
    error: the stage `b` takes files from itself
    Dockerfile:2
      COPY --from=b c d
                  ^
    hint: name an earlier stage or an image; within a stage, RUN cp copies
    "#);
    assert_snapshot!(error("FROM a\nCOPY --from=0 c d"), @r#"
    error: the stage `0` takes files from itself
    Dockerfile:2
      COPY --from=0 c d
                  ^
    hint: name an earlier stage or an image; within a stage, RUN cp copies
    "#);
    assert_snapshot!(error("FROM a\nCOPY --from=7 c d"), @r#"
    error: there is no stage 7
    Dockerfile:2
      COPY --from=7 c d
                  ^
    hint: stages are counted from 0, and the last one is 0
    "#);
    assert_snapshot!(error("FROM a AS b\nCOPY --from=c d e\nFROM a AS c\nCOPY --from=b d e"), @r#"
    error: the stages `b` and `c` depend on each other
    Dockerfile:2
      COPY --from=c d e
                  ^
    hint: take the files that others need out of `b` into a stage before it
    "#);
    assert_snapshot!(error("FROM a AS b\nCOPY --from=c d e\nFROM f AS c\nFROM b"), @r#"
    error: the stage `c` is below this one, which uses it
    Dockerfile:2
      COPY --from=c d e
                  ^
    hint: move its FROM and its instructions above this stage
    "#);
    assert_snapshot!(error("FROM a AS b\nRUN --mount=from=b,target=/x c"), @r#"
    error: the stage `b` takes files from itself
    Dockerfile:2
      RUN --mount=from=b,target=/x c
                       ^
    hint: name an earlier stage or an image; within a stage, RUN cp copies
    "#);
}
