//! Cache mounts across builds: what they begin with, who may use them at once, and how they are
//! pruned.

use std::path::PathBuf;

use crate::home::Home;
use crate::skip::possible;
use crate::{judges, run};

fn context(home: &Home, dockerfile: &str) -> PathBuf {
    let folder = home.path().join("context");
    let _ = std::fs::create_dir(&folder);
    let base = judges().join("base").display().to_string();
    std::fs::write(folder.join("Dockerfile"), dockerfile.replace("@BASE@", &format!("oci:{base}:base"))).unwrap();
    folder
}

/// Does all steps anew; what RUN printed after `>|`. The caches stay.
fn printed(home: &Home, dockerfile: &str, isolation: &str) -> Vec<String> {
    let _ = std::fs::remove_dir_all(home.store().join("cache"));
    printed_by(home, dockerfile, &["--isolation", isolation])
}

fn printed_by(home: &Home, dockerfile: &str, flags: &[&str]) -> Vec<String> {
    let context = context(home, dockerfile);
    let output = home.mpimg().arg("build").args(flags).arg(context).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().filter_map(|line| Some(line.split_once("] >|")?.1.to_owned())).collect()
}

const SEEDED: &str = "FROM @BASE@ AS seed
RUN mkdir -p /seed/sub && echo first >/seed/sub/file && chown -R 5:60 /seed/sub && chmod 710 /seed && ln -s file /seed/sub/link
FROM @BASE@
RUN --mount=type=cache,from=seed,source=/seed,target=/cache echo \">|$(stat -c %a /cache) $(stat -c %u:%g /cache/sub) \
$(readlink /cache/sub/link) $(echo $(cat /cache/sub/file))\"; echo again >>/cache/sub/file
RUN --mount=type=cache,target=/cache echo \">|$(ls -A /cache | wc -l)\"; touch /cache/x
RUN --mount=type=bind,from=seed,source=/seed,target=/bound echo \">|$(echo $(ls /bound/sub))\"
";

#[test]
fn a_cache_begins_with_the_files_of_its_stage_once() {
    for isolation in possible(["root", "userns", "single", "chroot", "emulated"]) {
        let home = Home::new();
        let first = printed(&home, SEEDED, isolation);
        assert_eq!(first, ["710 5:60 file first", "0", "file link"], "{isolation}");
        let second = printed(&home, SEEDED, isolation);
        assert_eq!(second, ["710 5:60 file first again", "1", "file link"], "{isolation}");
        // As BuildKit: such a build begins its caches anew.
        let anew = printed_by(&home, SEEDED, &["--no-cache", "--isolation", isolation]);
        assert_eq!(anew, first, "{isolation}");
    }
}

/// Two stages that would see each other in a cache that both use at once.
const BUSY: &str = "FROM @BASE@ AS one
RUN --mount=type=cache,target=/c,sharing=SHARING echo \">|$(ls /c)\"; mkdir /c/busy; sleep 0.5; rmdir /c/busy
FROM @BASE@ AS two
RUN --mount=type=cache,target=/c,sharing=SHARING echo \">|$(ls /c)\"; mkdir /c/busy; sleep 0.5; rmdir /c/busy
FROM @BASE@
COPY --from=one /etc/passwd /one
COPY --from=two /etc/passwd /two
";

#[test]
fn a_locked_cache_is_used_by_one_step_at_a_time_and_a_private_one_by_nobody_else() {
    for (sharing, isolation) in [("locked", "root"), ("private", "root"), ("shared", "chroot")] {
        let home = Home::new();
        assert_eq!(printed(&home, &BUSY.replace("SHARING", sharing), isolation), ["", ""], "{sharing} on {isolation}");
    }
}

#[test]
fn caches_are_pruned_with_the_build_cache_and_kept_otherwise() {
    let home = Home::new();
    let fill = "FROM @BASE@\nRUN --mount=type=cache,target=/c echo \">|$(ls /c)\"; head -c 3000000 /dev/urandom >/c/kept\n";
    assert_eq!(printed(&home, fill, "auto"), [""]);
    run(home.mpimg().args(["prune"]));
    assert_eq!(printed(&home, fill, "auto"), ["kept"]);
    assert!(run(home.mpimg().args(["prune", "--keep-storage", "1MB"])).contains(" 1 cache folders"));
    assert_eq!(printed(&home, fill, "auto"), [""]);
    assert!(run(home.mpimg().args(["prune", "--all"])).contains(" 1 cache folders"));
    assert_eq!(printed(&home, fill, "auto"), [""]);
}

#[test]
fn what_package_managers_leave_behind_is_pointed_out_with_its_size() {
    let home = Home::new();
    let leave = "FROM @BASE@\nRUN mkdir -p /root/.cache/pip/http /var/lib/apt/lists && head -c 2500000 /dev/zero >/root/.cache/pip/http/a \
                 && head -c 1200000 /dev/zero >/var/lib/apt/lists/deb && echo small >/var/lib/apt/lists/b\n";
    let output = home.mpimg().arg("build").arg(context(&home, leave)).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "warning: RUN leaves 2.5MB of pip's cache in the image, in `/root/.cache/pip`\n",
        "hint: give pip `--no-cache-dir`\n",
        "warning: RUN leaves 1.2MB of apt's lists in the image, in `/var/lib/apt/lists`\n",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}
