//! Dockerfiles of the kinds that the Integration SDK has: adapters in Python, Java and PowerShell,
//! and their base images.

use super::*;

const PYTHON: &str = "\
FROM base-adapter:python-1.2.0
COPY commands.cfg .
COPY adapter_requirements.txt .
RUN pip3 install -r adapter_requirements.txt --upgrade
COPY app app
";

const JAVA: &str = "\
# Build the adapter
FROM gradle:8.3.0-jdk17 AS build
WORKDIR /home/gradle/project
COPY build.gradle settings.gradle ./
COPY src src
RUN gradle build --no-daemon

FROM base-adapter:java-1.2.0
COPY commands.cfg .
COPY --from=build /home/gradle/project/build/libs/*.jar app.jar
COPY --from=build /home/gradle/project/build/dependencies dependencies
";

const POWERSHELL: &str = "\
FROM base-adapter:powershell-1.2.0
USER root
RUN pwsh -Command \"Set-PSRepository -Name PSGallery -InstallationPolicy Trusted\" && \\
    pwsh -Command 'Install-Module -Name VMware.PowerCLI -Scope AllUsers -Force'
USER aria-ops-adapter-user
COPY commands.cfg .
COPY src src
";

const BASE: &str = "\
FROM python:3.11.12-slim-bookworm
RUN apt-get -q update && apt-get -yq upgrade && \\
    apt-get clean && \\
    rm -rf /var/lib/apt/lists/*
ARG UID=1000
ARG GID=1000
ENV USER_NAME=aria-ops-adapter-user PATH=\"/home/aria-ops-adapter-user/.local/bin:$PATH\"
RUN groupadd --gid $GID aria-ops-adapter-group && \\
    useradd --create-home --uid $UID --gid $GID $USER_NAME
USER $USER_NAME
WORKDIR /home/aria-ops-adapter-user/src/app
COPY --chown=$UID:$GID . .
RUN pip3 install --no-cache-dir -r requirements.txt
EXPOSE 8080
EXPOSE 443
ENTRYPOINT [\"python3\"]
CMD [\"-m\", \"swagger_server\"]
";

/// Base images and what files are taken from, per stage.
fn shape(text: &str) -> Vec<(Base, Vec<StageIndex>)> {
    plan(text).stages.into_iter().map(|stage| (stage.base, stage.dependencies)).collect()
}

fn texts(text: &str) -> Vec<String> {
    expand(&plan(text)).unwrap().0.iter().filter_map(Step::history_text).collect()
}

#[test]
fn a_python_adapter() {
    assert_eq!(shape(PYTHON), [(Base::Image("base-adapter:python-1.2.0".into()), vec![])]);
    assert_eq!(
        texts(PYTHON),
        [
            "COPY commands.cfg . # buildkit",
            "COPY adapter_requirements.txt . # buildkit",
            "RUN /bin/sh -c pip3 install -r adapter_requirements.txt --upgrade # buildkit",
            "COPY app app # buildkit",
        ]
    );
}

#[test]
fn a_java_adapter_is_built_in_a_stage_of_its_own() {
    assert_eq!(
        shape(JAVA),
        [
            (Base::Image("gradle:8.3.0-jdk17".into()), vec![]),
            (Base::Image("base-adapter:java-1.2.0".into()), vec![StageIndex(0)]),
        ]
    );
    let steps = expand(&plan(JAVA)).unwrap().0;
    let Step::Copy(libs) = &steps[5] else { panic!() };
    assert_eq!(libs.sources, ["/home/gradle/project/build/libs/*.jar"]);
    assert_eq!(libs.from, Some(Base::Stage(StageIndex(0))));
    assert_eq!(libs.destination.path, "/app.jar");
}

#[test]
fn a_powershell_adapter_changes_user_for_its_modules() {
    let texts = texts(POWERSHELL);
    assert_eq!(texts[0], "USER root");
    assert_eq!(
        texts[1],
        "RUN /bin/sh -c pwsh -Command \"Set-PSRepository -Name PSGallery -InstallationPolicy Trusted\" &&     \
         pwsh -Command 'Install-Module -Name VMware.PowerCLI -Scope AllUsers -Force' # buildkit"
    );
    assert_eq!(texts.len(), 5);
}

#[test]
fn the_base_image_of_all_adapters() {
    let plan = plan(BASE);
    let inherited = InheritedConfig {
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin".into()), ("LANG".into(), "C.UTF-8".into())],
        ..InheritedConfig::default()
    };
    let mut scope = StageScope::new(&plan, inherited);
    let steps: Vec<Step> = plan.stages[0].steps.iter().map(|step| scope.expand(step).unwrap()).collect();
    assert!(steps.contains(&Step::User("aria-ops-adapter-user".into())));
    assert!(steps.contains(&Step::Cmd(vec!["-m".into(), "swagger_server".into()])));
    assert_eq!(
        scope.image_env()[0],
        ("PATH".to_owned(), "/home/aria-ops-adapter-user/.local/bin:/usr/local/bin:/usr/bin".to_owned())
    );
    let copy = steps.iter().find_map(|step| match step {
        Step::Copy(copy) => Some(copy),
        _ => None,
    });
    let copy = copy.unwrap();
    assert_eq!(copy.chown.as_deref(), Some("1000:1000"));
    assert_eq!(copy.destination.path, "/home/aria-ops-adapter-user/src/app/");
    let history = steps[4].history_text().unwrap();
    assert!(history.starts_with("RUN |2 UID=1000 GID=1000 /bin/sh -c groupadd --gid $GID "), "{history}");
    assert_eq!(scope.take_warnings(), []);
}
