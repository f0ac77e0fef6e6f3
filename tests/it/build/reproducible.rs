//! `mpimg build --check-reproducible`.

use crate::home::Home;
use crate::{judges, run};

fn build(home: &Home, dockerfile: &str) -> (bool, String) {
    let context = home.path().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let output = home.mpimg().args(["build", "--check-reproducible", "-t", "app:1"]).arg(&context).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn each_file_that_differs_between_two_builds_is_named_with_its_step_and_nothing_is_tagged() {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", "base:1"]).arg(judges().join("base")));
    let noisy = "FROM base:1\nRUN echo same > /same\nRUN head -c 9 /dev/urandom > /noise && echo x > /made-$(head -c 3 /dev/urandom | od -An -tx1 | tr -d ' ')\n\
                 COPY Dockerfile /d\n";
    let (succeeded, said) = build(&home, noisy);
    assert!(!succeeded, "{said}");
    assert!(said.contains("the image is not reproducible: "), "{said}");
    assert!(said.contains("`/noise` differs in content (RUN /bin/sh -c head -c 9"), "{said}");
    assert!(said.contains("is only in the first (RUN ") && said.contains("is only in the second (RUN "), "{said}");
    assert!(!said.contains("`/same`") && !said.contains("`/d`"), "{said}");
    assert_eq!(run(home.mpimg().args(["images", "-q", "app"])), "");

    let (succeeded, said) = build(&home, "FROM base:1\nRUN echo same > /same && sleep 1\nCOPY Dockerfile /d\n");
    assert!(succeeded, "{said}");
    assert!(run(home.mpimg().args(["images", "-q", "app"])).starts_with("sha256:"));
}
