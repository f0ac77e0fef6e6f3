//! Images of the local store: listed, named, looked into, saved, loaded, imported, removed.

use std::process::{Command, Stdio};

use super::fixture::{DOCKERFILE, Left, folder, run, text};
use crate::home::Home;

fn built(home: &Home) -> String {
    let folder = folder(home, "plain", DOCKERFILE);
    run(&mut home.mpimg(), ["build", "-q", text(&folder), "-t", "app:1", "-t", "app"]).done().out.trim_end().to_owned()
}

#[test]
fn images_are_listed_tagged_and_removed_by_name() {
    let home = Home::new();
    let digest = built(&home);
    run(&mut home.mpimg(), ["tag", "app:1", "harbor.example.com/mp/app:2"]).done();
    let table = run(&mut home.mpimg(), ["images"]).done().out;
    let columns: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(columns, [["REPOSITORY", "TAG"], ["app", "1"], ["app", "latest"], ["harbor.example.com/mp/app", "2"]]);
    assert_eq!(run(&mut home.mpimg(), ["images", "app"]).done().out.lines().count(), 3);
    assert_eq!(run(&mut home.mpimg(), ["images", "-q", "app:1"]).done().out, format!("{digest}\n"));
    let json = run(&mut home.mpimg(), ["images", "--json"]).done().json();
    assert_eq!((&json["images"][0]["name"], &json["images"][0]["digest"]), (&"app:1".into(), &digest.as_str().into()));

    let missing = run(&mut home.mpimg(), ["rm", "app:1", "nothing"]);
    assert_eq!(missing.code, Some(1));
    assert_eq!(run(&mut home.mpimg(), ["images", "-q"]).done().out.lines().count(), 3, "nothing was removed");
    run(&mut home.mpimg(), ["rm", "-f", "app:1", "nothing"]).done();
    run(&mut home.mpimg(), ["rm", "app", "harbor.example.com/mp/app:2"]).done();
    let pruned = run(&mut home.mpimg(), ["prune", "--all", "--json"]).done().json();
    assert!(pruned["blobs"].as_u64().unwrap() >= 4 && pruned["freed"].as_u64().unwrap() > 0, "{pruned}");
    assert_eq!(run(&mut home.mpimg(), ["images", "-q"]).done().out, "");
}

#[test]
fn inspect_shows_configuration_layers_and_files() {
    let home = Home::new();
    let digest = built(&home);
    let left = run(&mut home.mpimg(), ["inspect", "--files", "app:1"]).done().out;
    assert!(left.contains(&format!("Digest      {digest}\n")), "{left}");
    assert!(left.contains("Cmd         [\"run\"]\n"), "{left}");
    assert!(left.contains("COPY app app"), "{left}");
    assert!(left.lines().any(|line| line.starts_with("-rw-r--r-- 0/0") && line.ends_with(" app/adapter.py")), "{left}");
    let json = run(&mut home.mpimg(), ["inspect", "--json", "app:1"]).done().json();
    assert_eq!(json["digest"], digest.as_str());
    assert_eq!(json["config"]["Cmd"], serde_json::json!(["run"]));
    assert_eq!(json["layers"][1]["unpacked_size"], 15);
    assert_eq!(json["layers"][1].get("files"), None);
}

#[test]
fn an_image_survives_saving_and_loading_through_files_and_pipes() {
    let home = Home::new();
    let digest = built(&home);
    run(&mut home.mpimg(), ["save", "app:1", "-o", "app.tar", "-o", "oci-archive:oci.tar", "-o", "oci:layout:v1"]).done();
    for (archive, names) in [("app.tar", &[][..]), ("oci.tar", &["-t", "b:1"]), ("layout", &["-t", "c:1"])] {
        let other = Home::new();
        let archive = home.path().join(archive);
        let json = Left::of(other.mpimg().args(["load", "--json", text(&archive)]).args(names).output().unwrap()).done().json();
        assert_eq!(json["images"][0]["digest"], digest.as_str());
        let name = names.get(1).copied().unwrap_or("app:1");
        assert_eq!(json["images"][0]["names"], serde_json::json!([name]));
        assert_eq!(run(&mut other.mpimg(), ["inspect", "-q", name]).done().out.trim_end(), digest);
    }
    let mut save = home.mpimg().args(["save", "app:1"]).stdout(Stdio::piped()).spawn().unwrap();
    let other = Home::new();
    let load = other.mpimg().args(["load", "-q", "-"]).stdin(save.stdout.take().unwrap()).output().unwrap();
    assert!(save.wait().unwrap().success());
    assert_eq!(Left::of(load).done().out.trim_end(), digest);
    let unnamed = run(&mut other.mpimg(), ["load", text(&home.path().join("oci.tar"))]);
    assert_eq!(unnamed.code, Some(2), "{}", unnamed.err);
}

#[test]
fn a_root_file_system_becomes_a_base_image_with_the_same_digest_each_time() {
    let home = Home::new();
    let rootfs = home.path().join("rootfs");
    std::fs::create_dir_all(rootfs.join("etc")).unwrap();
    std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    let tar = home.path().join("rootfs.tar");
    let made = Command::new("tar").args(["--create", "--file", text(&tar), "--directory", text(&rootfs), "."]).status().unwrap();
    assert!(made.success());
    let import = |name: &str| {
        let mut command = home.mpimg();
        run(command.env("SOURCE_DATE_EPOCH", "1700000000"), ["import", text(&tar), name]).done().out
    };
    assert_eq!(import("base:1"), import("base:2"));
    let folder = folder(&home, "plain", "FROM base:1\nCOPY app app\n");
    run(&mut home.mpimg(), ["build", text(&folder), "-t", "app:1"]).done();
    let files = run(&mut home.mpimg(), ["inspect", "--files", "app:1"]).done().out;
    assert!(files.contains("etc/passwd") && files.contains("app/adapter.py"), "{files}");
}
