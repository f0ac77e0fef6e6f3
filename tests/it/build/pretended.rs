//! What `single` only pretends, and what a tree without overlay cannot do, is not handed on to builds
//! that can do it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::home::Home;
use crate::skip::needs_emulated;
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

/// What moves, links or changes a file that has another name below, and what overlayfs makes of it:
/// the owner of the other one, and whether that is another file then.
const NAMES: [(&str, &str); 4] = [
    ("chown 5:6 /tmp/other", "0:0"),
    ("mv /tmp/other /opt/moved && chown 5:6 /opt/moved", "0:0"),
    ("ln /tmp/other /opt/third && chown 5:6 /opt/third", "0:0"),
    ("rm /tmp/other && chown 5:6 /tmp/made", "5:6"),
];

#[test]
fn a_step_that_changes_a_file_of_several_names_on_chroot_is_done_again_as_root() {
    for (command, expected) in NAMES {
        let text = format!("FROM base:1\nRUN touch /tmp/made && ln /tmp/made /tmp/other\nRUN {command}\n");
        let home = with_dockerfile(&text);
        assert_eq!(owner(&home, "chroot"), "5:6", "{command}");
        assert_eq!(owner(&home, "root"), expected, "{command}");
        let context = home.path().join("context");
        let build = ["build", "--progress", "plain", "--no-cache", "--isolation", "chroot"];
        let said = String::from_utf8(home.mpimg().args(build).arg(&context).output().unwrap().stderr).unwrap();
        assert_eq!(said.contains("` has several names, and this step"), expected == "0:0", "{said}");
    }
}

/// Each way to change one name of `/@/a`, `/@/b` and `/@/c`, which are one file, and of two links.
const CHANGES: &[&str] = &[
    "chmod 600 /@/a",
    "chown -R 5:6 /@",
    "chown -h 5:6 /@/l",
    "touch -d '1990-01-02 00:00:00' /@/b",
    "touch /@/b",
    "echo more >>/@/c",
    "echo other >/@/c",
    "truncate -s 1 /@/a",
    "dd if=/proc/version of=/@/b bs=1 count=3 conv=notrunc 2>/dev/null",
    "ln /@/a /@/z && echo more >>/@/z",
    "ln /@/l /@/z",
    "mv /@/a /@e",
    "mv /@/a /@/b",
    "mv /@/a /@e && mv /@/b /@f && mv /@e /@/a && chmod 4755 /@/a",
    "rm /@/a /@/b && echo more >>/@/c",
    "rm /@/a /@/b /@/c && echo new >/@/a && ln /@/a /@/b && chmod 700 /@/a",
    "ln /@/a /@/x && rm /@/a && mv /@/x /@/a",
    "cp -a /@ /@e && chmod 711 /@e/b",
    "cp /etc/passwd /@/a",
    "chmod 4711 /@/s && chown 9 /@/t",
    "su aria -c 'chmod 777 /@/a; echo x >>/@/b; mv /@/c /@/e'; true",
    "chmod 644 /@/a /@/b",
    "sh -c 'exec 3</@/a; chmod 600 /@/a; cat <&3 >/@read; cat /@/a >>/@read'",
];

/// The layers of the image in an OCI layout, the lowest one first.
fn layers(layout: &Path) -> Vec<String> {
    let read = |path: &Path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    let index = read(&layout.join("index.json"));
    let manifest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let layers = &read(&layout.join("blobs").join(manifest))["layers"];
    layers.as_array().unwrap().iter().map(|layer| layer["digest"].to_string()).collect()
}

#[test]
fn a_file_of_several_names_is_parted_on_emulated_as_by_overlayfs() {
    needs_emulated!();
    let prepare = "mkdir /@ && echo one >/@/a && ln /@/a /@/b && ln /@/a /@/c && ln -s a /@/l && ln /@/l /@/m && \
                   echo 1 >/@/s && chmod 4755 /@/s && ln /@/s /@/t && chown 3:4 /@/t && chmod 2755 /@/t";
    let in_folder = |text: &str, number: usize| text.replace('@', &format!("d{number}"));
    let mut steps = String::from("FROM base:1\n");
    for number in 0..CHANGES.len() {
        steps += &format!("RUN {}\n", in_folder(prepare, number));
    }
    for (number, change) in CHANGES.iter().enumerate() {
        let again = "RUN echo x >>/@/a; chmod 444 /@/b; true";
        steps += &in_folder(&format!("RUN {change}\n{again}\n"), number);
    }
    let home = with_dockerfile(&steps);
    let [expected, found] = ["root", "emulated"].map(|isolation| {
        let layout = home.path().join(isolation);
        let output = format!("oci:{}:built", layout.display());
        let build = ["build", "-q", "--no-cache", "--isolation", isolation, "--output", &output];
        run(home.mpimg().args(build).arg(home.path().join("context")).env("SOURCE_DATE_EPOCH", "1000000000"));
        layers(&layout)
    });
    let above = expected.len() - 2 * CHANGES.len();
    for (number, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let change = number.checked_sub(above).map(|number| CHANGES[number / 2]);
        assert_eq!(found, expected, "{change:?}");
    }
    assert_eq!(found.len(), expected.len());
}
