//! What the isolation `single` only pretends is not handed on to builds that can do it.

use std::os::unix::fs::MetadataExt as _;

use crate::home::Home;
use crate::tree::unpack;
use crate::{judges, run};

/// Builds on an isolation; the owner of the file that another user made.
fn owner(home: &Home, isolation: &str) -> String {
    let layout = home.path().join(format!("layout-{isolation}"));
    let output = format!("oci:{}:built", layout.display());
    run(home.mpimg().args(["build", "-q", "--isolation", isolation, "--output", &output]).arg(home.path().join("context")));
    let root = home.path().join(format!("root-{isolation}"));
    unpack(&layout, "built", &root);
    let made = root.join("tmp/made").metadata().unwrap();
    format!("{}:{}", made.uid(), made.gid())
}

/// A home with a build context.
fn with_dockerfile(text: &str) -> Home {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", "base:1"]).arg(judges().join("base")));
    let context = home.path().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    home
}

#[test]
fn a_step_that_gives_a_folder_its_set_group_id_bit_is_done_again_as_root() {
    // The file is made before its folder has the bit, so that its group is root's.
    let text = "FROM base:1\nRUN mkdir /s && touch /s/f && chown 5:6 /s && chmod 2755 /s && ln /s/f /tmp/made\n";
    let home = with_dockerfile(text);
    owner(&home, "single");
    assert_eq!(owner(&home, "root"), "0:0");
}

#[test]
fn a_step_in_which_a_program_only_seemed_to_become_another_user_is_done_again_as_root() {
    let home = with_dockerfile("FROM base:1\nRUN su aria -c 'touch /tmp/made'\n");
    assert_eq!(owner(&home, "single"), "0:0");
    assert_eq!(owner(&home, "root"), "1000:1000");
    // What root has made is everybody's.
    std::fs::remove_dir_all(home.path().join("layout-single")).unwrap();
    std::fs::remove_dir_all(home.path().join("root-single")).unwrap();
    assert_eq!(owner(&home, "single"), "1000:1000");
}
