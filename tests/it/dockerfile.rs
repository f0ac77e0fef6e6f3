//! The image config that buildah makes of a Dockerfile is the one that the expanded steps say.
//!
//! Debian's buildah is older than the language: only forms that it knows are here, the newer ones are in the room's own tests.

use std::collections::BTreeMap;

use mpimg::dockerfile::{Dockerfile, Expanded, InheritedConfig, PlanOptions, StageScope};
use serde_json::{Value, json};

const DOCKERFILE: &str = r#"# escape=\
ARG G=glob
FROM scratch
ARG G
ARG D=def-${G}
ARG given=default
ENV A=b C="d e" F='g $A' H=i\ j
ENV K l  m
ENV L "n o" \
    p
ENV P=${A:-x} Q=${N:-x} R=${A:+y} S=${N:+y} T=$A$C U="\$A" V='"' W="it's" X=a\\b Y="a\b" Z=$1x
ENV A=z AA=$A BB=${D}/$given CC=${A}_$A_ DD="${E:-"q"}" EE=$ FF='a'"b"c
LABEL one=$A "two three"="four $C" five=six\ seven \
      # a comment between lines
      eight="x=y"
EXPOSE 8080 53/udp 443
VOLUME /v $A/w
VOLUME ["/x y", "$A"]
WORKDIR /a
WORKDIR b/./c
WORKDIR ../$A
USER ${A}:g
STOPSIGNAL SIGINT
CMD exec "$A"  x
ENTRYPOINT ["e", "f g", "$A"]
HEALTHCHECK --interval=5m --timeout=1.5s --retries=2 CMD curl x || exit 1
ONBUILD RUN x  $y
MAINTAINER me
"#;

fn options() -> PlanOptions {
    PlanOptions { build_args: BTreeMap::from([("given".to_owned(), "by the user".to_owned())]), ..PlanOptions::default() }
}

/// The image config as the steps say it, in the fields of docker's format.
fn config(text: &str) -> Value {
    let plan = Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap().plan(&options()).unwrap();
    let stage = plan.stages.last().unwrap();
    let mut scope = StageScope::new(&plan, InheritedConfig::default());
    let mut config = json!({ "Labels": {}, "ExposedPorts": {}, "Volumes": {}, "OnBuild": [] });
    for step in &stage.steps {
        match scope.expand(step).unwrap() {
            Expanded::Label(pairs) => pairs.into_iter().for_each(|(key, value)| config["Labels"][key] = json!(value)),
            Expanded::Expose(ports) => ports.iter().for_each(|port| config["ExposedPorts"][port.to_string()] = json!({})),
            Expanded::Volume(paths) => paths.into_iter().for_each(|path| config["Volumes"][path] = json!({})),
            Expanded::Workdir(path) => config["WorkingDir"] = json!(path),
            Expanded::User(user) => config["User"] = json!(user),
            Expanded::StopSignal(signal) => config["StopSignal"] = json!(signal),
            Expanded::Cmd(argv) => config["Cmd"] = json!(argv),
            Expanded::Entrypoint(argv) => config["Entrypoint"] = json!(argv),
            Expanded::Onbuild(trigger) => config["OnBuild"] = json!([trigger]),
            Expanded::Maintainer(name) => config["author"] = json!(name),
            Expanded::Healthcheck(check) => {
                config["Healthcheck"] =
                    json!({ "Test": check.test, "Interval": check.interval, "Timeout": check.timeout, "Retries": check.retries });
            }
            Expanded::Env(_) | Expanded::Arg(_) => {}
            other => panic!("{other:?}"),
        }
    }
    config["Env"] = scope.image_env().iter().map(|(name, value)| format!("{name}={value}")).collect();
    config
}

#[test]
fn buildah_makes_the_same_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).into_os_string();
    std::fs::create_dir(folder.path().join("context")).unwrap();
    std::fs::write(folder.path().join("context/Dockerfile"), DOCKERFILE).unwrap();
    let buildah = |arguments: &[&str], last: &std::ffi::OsStr| {
        let mut command = crate::judge("buildah");
        command.arg("--root").arg(path("root")).arg("--runroot").arg(path("run")).args(["--storage-driver", "vfs"]);
        let output = command.args(arguments).arg(last).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let build =
        ["build", "--quiet", "--format", "docker", "--isolation", "chroot", "--build-arg", "given=by the user", "--tag", "x"];
    buildah(&build, &path("context"));
    let inspected: Value = serde_json::from_slice(&buildah(&["inspect", "--type", "image"], "x".as_ref())).unwrap();
    let theirs = &inspected["Docker"];
    let ours = config(DOCKERFILE);
    assert_eq!(ours["author"], theirs["author"]);
    let mut labels = theirs["config"]["Labels"].clone();
    labels.as_object_mut().unwrap().remove("io.buildah.version");
    assert_eq!(ours["Labels"], labels);
    for field in
        ["Env", "ExposedPorts", "Volumes", "WorkingDir", "User", "StopSignal", "Cmd", "Entrypoint", "OnBuild", "Healthcheck"]
    {
        assert_eq!(ours[field], theirs["config"][field], "{field}");
    }
}
