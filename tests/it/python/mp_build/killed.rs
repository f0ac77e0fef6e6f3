//! mp-build killed with SIGKILL: its adapter goes at once, the names of its images with the next
//! mp-build or `mpimg prune`.

use std::process::Stdio;

use serde_json::Value;

use super::project::{Build, pak_of};
use super::{make_bare, python};
use crate::home::Home;
use crate::registry::fixture::distribution;
use crate::run;
use crate::skip::needs_root;

/// An adapter that never answers: mp-build waits for it, the longest of all that it does.
const SILENT: &str = "ENTRYPOINT [\"sh\", \"-c\", \"while :; do read line </dev/zero; done\"]\n";

fn containers(home: &Home) -> Vec<Value> {
    let list: Value = serde_json::from_str(&run(home.mpimg().args(["ps", "--all", "--json"]))).unwrap();
    list["containers"].as_array().unwrap().clone()
}

/// Names of images that only one mp-build knows.
fn own_names(home: &Home) -> usize {
    let list: Value = serde_json::from_str(&run(home.mpimg().args(["images", "--json"]))).unwrap();
    list.to_string().matches("mpimg-mp-build:").count()
}

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    for _ in 0..600 {
        if ready() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{what}: it does not come about");
}

#[test]
fn a_killed_mp_build_leaves_nothing_that_runs_and_no_name_for_long() {
    needs_root!();
    let home = Home::new();
    let project = home.path().join("bare");
    make_bare(&home, &project);
    let registry = distribution("");
    let build = Build::new(&home, &project, &registry);
    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    let kill = || {
        std::fs::write(project.join("Dockerfile"), format!("{dockerfile}{SILENT}")).unwrap();
        let mut command = build.command(&home.store(), &python("1.3.1"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the adapter runs", || containers(&home).iter().any(|one| one["state"] == "running"));
        assert!(own_names(&home) > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        // Nobody but the container's own process has anything to do with that.
        let kept = home.store().join("containers");
        wait_until("the container is gone", || {
            std::fs::read_dir(&kept).unwrap().all(|entry| entry.unwrap().file_name() == ".gate")
        });
        std::fs::write(project.join("Dockerfile"), &dockerfile).unwrap();
    };

    kill();
    assert!(own_names(&home) > 0);
    pak_of(&project, &build.command(&home.store(), &python("1.3.1")).output().unwrap());
    assert_eq!((own_names(&home), containers(&home)), (0, Vec::new()));

    kill();
    assert!(own_names(&home) > 0);
    run(home.mpimg().arg("prune"));
    assert_eq!(own_names(&home), 0);
}
