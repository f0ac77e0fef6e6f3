//! A layer that leaves things to the layers below it: what a RUN sees of it depends on those, in
//! one store, too.

use std::path::Path;

use crate::home::Home;
use crate::{judge, judges, run};

/// Builds `dockerfile`; whether it succeeded.
fn builds(home: &Home, dockerfile: &str, flags: &[&str]) -> bool {
    let context = home.path().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let output = home.mpimg().args(["build", "-q"]).args(flags).arg(&context).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() || said.contains("RUN failed"), "{said}");
    output.status.success()
}

/// An image of the base, one change, and a layer made by somebody else.
fn image(home: &Home, name: &str, change: &str, layer: &Path) {
    let layout = home.path().join(name);
    let output = format!("oci:{}:latest", layout.display());
    assert!(builds(home, &format!("FROM base:1\nRUN {change}\n"), &["--output", &output]));
    run(judge("umoci").args(["raw", "add-layer", "--image"]).arg(format!("{}:latest", layout.display())).arg(layer));
    run(home.mpimg().args(["load", "-q", "-t", &format!("{name}:1")]).arg(&layout));
}

/// A layer, made in a shell, that is put on top of two images in one store.
fn two_images(layer: &str, changes: [&str; 2]) -> Home {
    let home = Home::new();
    run(home.mpimg().args(["load", "-q", "-t", "base:1"]).arg(judges().join("base")));
    run(judge("bash").args(["-euc", layer]).current_dir(home.path()));
    let layer = home.path().join("layer.tar");
    image(&home, "one", changes[0], &layer);
    image(&home, "two", changes[1], &layer);
    home
}

#[test]
fn a_folder_that_a_layer_uses_without_saying_so_is_as_the_image_below_has_it() {
    let layer = "mkdir -p opt/q; echo f >opt/q/f; tar -cf layer.tar --owner=0 --group=0 --no-recursion opt/q/f";
    let home = two_images(layer, ["mkdir -p /opt/q && chmod 2770 /opt/q", "mkdir -p /opt/q && chmod 755 /opt/q"]);
    let mode = |image: &str, mode: &str| {
        builds(&home, &format!("FROM {image}:1\nRUN test $(stat -c %a /opt/q) = {mode} && test $(cat /opt/q/f) = f\n"), &[])
    };
    assert!(mode("one", "2770"));
    assert!(mode("two", "755"));
    assert!(!mode("two", "2770"));
    assert!(mode("one", "2770"));
}

#[test]
fn a_hard_link_to_a_file_of_a_lower_layer_is_to_the_file_of_the_image_below() {
    let layer = "mkdir opt; echo x >opt/a; ln opt/a opt/b; tar -cf layer.tar --owner=0 --group=0 --no-recursion opt opt/a opt/b
        tar --delete -f layer.tar opt/a";
    let home = two_images(layer, ["echo 1 >/opt/a", "echo 2 >/opt/a"]);
    let content =
        |image: &str, content: &str| builds(&home, &format!("FROM {image}:1\nRUN test $(cat /opt/b) = {content}\n"), &[]);
    assert!(content("one", "1"));
    assert!(content("two", "2"));
    assert!(!content("two", "1"));
}
