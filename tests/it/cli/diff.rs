//! `mpimg diff`: every kind of difference is told, and nothing else; the exit codes are those of
//! diff(1).

use serde_json::{Value, json};

use super::fixture::{folder, run, text, write};
use crate::home::Home;

const OLD: &str = "FROM scratch\nENV A=1 GONE=x\nLABEL v=1\nCOPY --chmod=0644 root /\nCMD [\"/bin/a\"]\n";

/// Two images of the same folder and what is changed in between.
fn images(home: &Home, change: impl Fn(&std::path::Path)) {
    let project = folder(home, "app", OLD);
    let site = "root/usr/lib/python3/site-packages/aria.dist-info";
    std::fs::create_dir_all(project.join(site)).unwrap();
    std::fs::create_dir_all(project.join("root/etc")).unwrap();
    std::fs::create_dir_all(project.join("root/old/deep")).unwrap();
    for (path, content) in [
        ("root/etc/app.conf", "one\ntwo\nthree\n"),
        ("root/etc/same", "same\n"),
        ("root/etc/equal-size", "aaaa"),
        ("root/old/deep/file", "12345"),
        (&format!("{site}/METADATA"), "Metadata-Version: 2.1\nName: aria\nVersion: 1\n"),
    ] {
        write(&project, path, content);
    }
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:1"]).done();
    change(&project);
    run(&mut home.mpimg(), ["build", "-q", text(&project), "-t", "app:2", "-o", "oci:two"]).done();
}

#[test]
fn every_kind_of_difference_is_told_and_nothing_else() {
    let home = Home::new();
    images(&home, |project| {
        let site = "root/usr/lib/python3/site-packages/aria.dist-info";
        write(project, "Dockerfile", &OLD.replace("A=1 GONE=x", "A=2").replace("v=1", "v=2"));
        write(project, "root/etc/app.conf", "one\n2\nthree\n");
        write(project, "root/etc/equal-size", "bbbb");
        write(project, "root/etc/esc\u{1b}[2J\nape", "x");
        write(project, &format!("{site}/METADATA"), "Metadata-Version: 2.1\nName: aria\nVersion: 2\n");
        std::fs::remove_dir_all(project.join("root/old")).unwrap();
    });
    let left = run(&mut home.mpimg(), ["diff", "--json", "app:1", "app:2"]);
    assert_eq!(left.code, Some(1), "{}", left.err);
    let diff = left.json();
    assert_eq!(diff["same"], false);
    let config: Vec<(&str, &Value, &Value)> =
        diff["config"].as_array().unwrap().iter().map(|one| (one["field"].as_str().unwrap(), &one["old"], &one["new"])).collect();
    assert_eq!(
        config,
        [
            ("config.Env.A", &json!("1"), &json!("2")),
            ("config.Env.GONE", &json!("x"), &Value::Null),
            ("config.Labels.v", &json!("1"), &json!("2")),
        ]
    );
    assert_eq!(diff["packages"], json!([{"kind": "python", "name": "aria", "old": ["1"], "new": ["2"]}]));
    assert_eq!(diff["layers"].as_array().unwrap().len(), 2);
    let files: Vec<(&str, &str, Vec<&str>)> = diff["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let differs = file["differs"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
            (file["change"].as_str().unwrap(), file["path"].as_str().unwrap(), differs)
        })
        .collect();
    assert_eq!(
        files,
        [
            ("changed", "/etc/app.conf", vec!["size", "content"]),
            ("changed", "/etc/equal-size", vec!["content"]),
            ("added", "/etc/esc\u{1b}[2J\nape", vec![]),
            ("removed", "/old", vec![]),
            ("changed", "/usr/lib/python3/site-packages/aria.dist-info/METADATA", vec!["content"]),
        ]
    );
    assert_eq!(diff["files"][0]["text"], "--- a/etc/app.conf\n+++ b/etc/app.conf\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n");
    assert_eq!((&diff["files"][3]["entries"], &diff["files"][3]["size"]), (&json!(2), &json!(5)));

    let text = run(&mut home.mpimg(), ["diff", "app:1", "oci:two"]);
    assert_eq!(text.code, Some(1));
    for line in [
        "~ config.Env.A: \"1\" → \"2\"",
        "- ENV A=1 GONE=x",
        "~ python aria 1 → 2",
        "~ /etc/equal-size (content)",
        "- /old/ (2 in it, 5B)",
        "    +2",
    ] {
        assert!(text.out.lines().any(|one| one.starts_with(line)), "`{line}` is missing:\n{}", text.out);
    }
    assert!(!text.out.contains('\u{1b}'), "a file's name draws: {:?}", text.out);
}

#[test]
fn the_exit_codes_are_those_of_diff() {
    let home = Home::new();
    images(&home, |_| {});
    let left = run(&mut home.mpimg(), ["diff", "app:1", "oci:two"]);
    assert_eq!((left.code, left.out.as_str()), (Some(0), ""), "{}", left.err);
    assert_eq!(run(&mut home.mpimg(), ["diff", "app:1", "nosuch:1"]).code, Some(2));
    assert_eq!(run(&mut home.mpimg(), ["diff", "app:1"]).code, Some(2));
}
