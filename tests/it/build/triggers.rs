//! ONBUILD triggers of an image that name stages of the Dockerfile that is built.

use crate::home::Home;
use crate::{judges, run};

fn build(home: &Home, name: &str, dockerfile: &str, flags: &[&str]) -> String {
    let context = home.path().join(name);
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let output =
        home.mpimg().args(["build", "--progress", "plain", "-t", &format!("{name}:1")]).args(flags).arg(&context).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_stage_that_only_a_trigger_of_another_image_takes_files_from_is_built() {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", "base:1"]).arg(judges().join("base")));
    let triggers =
        "FROM base:1\nONBUILD COPY --from=tools /tool /bin/tool\nONBUILD RUN --mount=from=more,target=/m cp /m/more /more\n";
    build(&home, "trig", triggers, &[]);
    let stages = "FROM base:1 AS tools\nRUN echo tool > /tool\nFROM base:1 AS more\nRUN echo more > /more\n\
                  FROM base:1 AS unused\nRUN false\nFROM trig:1\nRUN cat /bin/tool /more\n";
    let said = build(&home, "user", stages, &[]);
    assert!(said.contains("] tool\n") && said.contains("] more\n"), "{said}");
}
