//! Cache mounts through `--cache-repo`: what a machine without them begins with, and what becomes
//! of entries that are damaged, foreign or shared by many.

use std::process::Stdio;

use mpimg::oci::{Repository, Tag};

use super::remote_cache::{damage_layer, manifest, replace_layer, tags};
use crate::home::Home;
use crate::judges;
use crate::registry::fixture::distribution;
use crate::skip::possible;

/// What the step finds is after `>|`; `ROUND` has its command run again.
const DOCKERFILE: &str = "FROM oci:@BASE@:base\nARG ROUND\nARG ADD=\n\
    RUN --mount=type=cache,target=/c,id=wheels@OPTIONS@ : $ROUND; \
    echo \">|$(stat -c %a:%u:%g /c) $(cd /c; find . -type f -exec stat -c '%n %a %u:%g %s' {} + | sort | tr '\\n' ' ')$(readlink /c/link)\"; \
    if [ -n \"$ADD\" ]; then mkdir -p /c/sub; echo $ADD >/c/sub/$ADD; chown 5:60 /c/sub/$ADD; chmod 640 /c/sub/$ADD; ln -sf sub /c/link; fi\n";

/// A build on a machine that has nothing.
struct Job {
    home: Home,
    isolation: &'static str,
    options: &'static str,
}

impl Job {
    fn new() -> Self {
        Self { home: Home::new(), isolation: "root", options: "" }
    }

    fn command(&self, repository: &Repository, round: usize, add: &str) -> std::process::Command {
        let context = self.home.path().join("context");
        let _ = std::fs::create_dir(&context);
        let base = judges().join("base").display().to_string();
        let dockerfile = DOCKERFILE.replace("@BASE@", &base).replace("@OPTIONS@", self.options);
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let mut command = self.home.mpimg();
        command.args(["build", "-v", "--isolation", self.isolation, "--cache-repo", &repository.to_string()]);
        command.args(["--build-arg", &format!("ROUND={round}"), "--build-arg", &format!("ADD={add}")]).arg(context);
        command.env("MPIMG_LOG", self.log());
        command
    }

    fn log(&self) -> std::path::PathBuf {
        self.home.path().join("log")
    }

    /// What the step found.
    fn found(&self, repository: &Repository, round: usize, add: &str) -> String {
        let output = self.command(repository, round, add).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said.lines().find_map(|line| Some(line.split_once("] >|")?.1.trim().to_owned())).unwrap_or_else(|| panic!("{said}"))
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }
}

async fn mount_tags(repository: &Repository) -> Vec<Tag> {
    tags(repository).await.into_iter().filter(|tag| tag.as_str().starts_with("mount-")).collect()
}

#[tokio::test]
async fn a_machine_without_the_cache_begins_with_what_another_has_saved() {
    for isolation in possible(["root", "userns", "single", "chroot", "emulated"]) {
        let registry = distribution("");
        let repository = registry.repository("cache/steps");
        let job = || Job { isolation, ..Job::new() };
        assert_eq!(job().found(&repository, 1, "first"), "755:0:0", "{isolation}");
        let [tag] = &mount_tags(&repository).await[..] else { panic!("one cache is one tag") };
        let saved = manifest(&repository, tag).await;
        let second = job();
        assert_eq!(second.found(&repository, 2, ""), "755:0:0 ./sub/first 640 5:60 6 sub", "{isolation}");
        assert_eq!(manifest(&repository, tag).await, saved, "{isolation}: nothing has changed, nothing is sent");
        // What it has itself counts, and what it adds is saved.
        second.found(&repository, 3, "second");
        assert_ne!(manifest(&repository, tag).await, saved);
        assert_eq!(job().found(&repository, 4, ""), "755:0:0 ./sub/first 640 5:60 6 ./sub/second 640 5:60 7 sub", "{isolation}");
    }
}

#[tokio::test]
async fn another_owner_or_mode_is_another_cache_and_a_build_without_cache_begins_anew() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    Job::new().found(&repository, 1, "first");
    let owned = || Job { options: ",uid=7,gid=8,mode=0700", ..Job::new() };
    assert_eq!(owned().found(&repository, 2, "own"), "700:7:8");
    assert_eq!(owned().found(&repository, 3, ""), "700:7:8 ./sub/own 640 5:60 4 sub");
    assert_eq!(mount_tags(&repository).await.len(), 2);
    let anew = Job::new();
    let output = anew.command(&repository, 4, "").arg("--no-cache").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(">|755:0:0\n"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_damaged_or_foreign_entry_is_a_miss_that_the_log_tells_and_the_next_save_replaces() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    Job::new().found(&repository, 1, "first");
    let [tag] = &mount_tags(&repository).await[..] else { panic!("one cache is one tag") };
    damage_layer(&registry, &repository, tag).await;
    let damaged = Job::new();
    assert_eq!(damaged.found(&repository, 2, "second"), "755:0:0");
    assert!(damaged.log_text().contains("a saved cache mount is not used"), "{}", damaged.log_text());
    assert_eq!(Job::new().found(&repository, 3, ""), "755:0:0 ./sub/second 640 5:60 7 sub");

    // A layer that is not the one that its config tells of, and the result of a step.
    let tar = crate::judge("tar").args(["-C", "/etc", "-c", "hostname"]).output().unwrap().stdout;
    replace_layer(&repository, tag, &tar).await;
    let foreign = Job::new();
    assert_eq!(foreign.found(&repository, 4, "third"), "755:0:0");
    assert!(foreign.log_text().contains("a saved cache mount is not used"), "{}", foreign.log_text());
    let step = tags(&repository).await.into_iter().find(|tag| tag.as_str().starts_with("step-")).unwrap();
    let name = |tag: &Tag| format!("docker://{repository}:{tag}");
    let plain = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
    crate::run(crate::judge("skopeo").args(plain).args([name(&step), name(tag)]));
    let other = Job::new();
    assert_eq!(other.found(&repository, 5, "fourth"), "755:0:0");
    assert!(other.log_text().contains("is not what the mount has kept"), "{}", other.log_text());
    assert_eq!(Job::new().found(&repository, 6, ""), "755:0:0 ./sub/fourth 640 5:60 7 sub");
}

#[tokio::test]
async fn jobs_that_begin_at_once_with_an_empty_repository_all_end_and_leave_one_cache() {
    let registry = distribution("");
    let repository = registry.repository("cache/steps");
    let words = ["one", "two", "three", "four", "five", "six"];
    let jobs: Vec<(Job, &str)> = words.into_iter().map(|word| (Job::new(), word)).collect();
    let begun = jobs.iter().enumerate().map(|(round, (job, word))| {
        let mut command = job.command(&repository, round, word);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for job in begun.collect::<Vec<_>>() {
        let output = job.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(mount_tags(&repository).await.len(), 1);
    // What one of them has saved, whole; it may have begun with what another had saved by then.
    let found = Job::new().found(&repository, 100, "");
    let files: Vec<&str> = found.strip_prefix("755:0:0 ").unwrap().strip_suffix(" sub").unwrap().split(" ./").collect();
    let is_whole = |file: &&str| {
        let file = file.trim_start_matches("./");
        words.iter().any(|word| file == format!("sub/{word} 640 5:60 {}", word.len() + 1))
    };
    assert!(!files.is_empty() && files.iter().all(is_whole), "{found}");
}
