//! Deeply nested folders: what a RUN leaves is a layer, a source of COPY and of mounts, and a base
//! image.

use crate::home::Home;
use crate::{judges, run};

const DEPTH: usize = 400;

fn build(home: &Home, dockerfile: &str, flags: &[&str]) {
    let context = home.path().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    run(home.mpimg().args(["build", "-q"]).args(flags).arg(&context));
}

#[test]
fn an_image_with_400_nested_folders_is_built_copied_mounted_and_built_on() {
    for isolation in ["root", "chroot"] {
        let home = Home::new();
        run(home.mpimg().args(["load", "-q", "-t", "base:1"]).arg(judges().join("base")));
        let nest = format!(
            "FROM base:1\nRUN mkdir /n && cd /n && i=0 && while [ $i -lt {DEPTH} ]; do mkdir d && cd d && i=$((i+1)); done && touch end\n"
        );
        let layout = home.path().join("layout");
        let output = format!("oci:{}:deep", layout.display());
        build(&home, &nest, &["--isolation", isolation, "--output", &output]);
        // Another store: what is unpacked there comes out of the layers.
        let other = Home::new();
        let on_it = "FROM @DEEP@ AS deep\nRUN test -n \"$(find /n -name end)\"\nFROM @DEEP@\nCOPY --from=deep /n /copy\n\
                     RUN --mount=from=deep,source=/n,target=/m,rw test -n \"$(find /m -name end)\" && test -n \"$(find /copy -name end)\" && rm -r /n\n";
        build(&other, &on_it.replace("@DEEP@", &format!("oci:{}:deep", layout.display())), &["--isolation", isolation]);
    }
}
