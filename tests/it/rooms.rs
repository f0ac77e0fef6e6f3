//! The rooms of the crate: imports point one way, and no files of a room form a circle.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room may use those before it. docs/architecture.md shows the same order.
const ROOMS: [&str; 21] = [
    "error",
    "certificate",
    "size",
    "threads",
    "progress",
    "oci",
    "project",
    "dockerfile",
    "layer",
    "context",
    "store",
    "image",
    "sbom",
    "signature",
    "sandbox",
    "registry",
    "serve",
    "build",
    "container",
    "operation",
    "cli",
];

/// Most lines of a file, its tests left out.
const LONGEST: usize = 500;

/// Columns of a comment. Tables, drawings and code in it may be wider.
const COMMENT_WIDTH: usize = 100;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Tests may look anywhere and be as long as they must.
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = crate::circles::without_tests(&text);
            (path.strip_prefix(&src).unwrap().to_owned(), code)
        })
        .collect()
}

fn room_of(path: &Path) -> Option<usize> {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    ROOMS.iter().position(|room| *room == first.trim_end_matches(".rs"))
}

#[test]
fn imports_point_one_way() {
    let mut wrong = BTreeSet::new();
    for (path, code) in all_sources() {
        let Some(room) = room_of(&path) else { continue };
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let name: String = used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if let Some(used) = ROOMS.iter().position(|room| *room == name)
                    && used > room
                {
                    wrong.insert(format!("{} uses {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_form_a_circle() {
    let circles = crate::circles::circles(&all_sources());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn every_file_says_what_it_does_and_none_is_too_long() {
    let mut wrong = Vec::new();
    for (path, code) in all_sources() {
        if !code.starts_with("//!") {
            wrong.push(format!("{} does not begin with what it does", path.display()));
        }
        let lines = code.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_in_the_list() {
    for (path, _) in all_sources() {
        let root = ["lib.rs", "main.rs"].contains(&path.to_str().unwrap());
        assert!(root || room_of(&path).is_some(), "{} is in no room of the list", path.display());
    }
}

#[test]
fn every_dependency_is_used() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = rest.split("\n[").next().unwrap();
    let code: String = all_sources().into_iter().map(|(_, code)| code).collect();
    // Named in Cargo.toml only to choose the version that `url` gets.
    let chosen = ["idna_adapter"];
    let crates = dependencies.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| match name {
        // Its crate has another name.
        "rust-ini" => "ini".to_owned(),
        name => name.replace('-', "_"),
    });
    let unused: Vec<String> =
        crates.filter(|name| !chosen.contains(&name.as_str()) && !code.contains(&format!("{name}::"))).collect();
    assert!(unused.is_empty(), "remove these dependencies: {unused:?}");
}

#[test]
fn comments_wrap_at_100_columns() {
    let mut wide = Vec::new();
    for (path, code) in all_sources() {
        let mut fenced = false;
        for (number, line) in code.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                fenced = false;
                continue;
            };
            let comment = comment.strip_prefix(['/', '!']).unwrap_or(comment);
            fenced ^= comment.starts_with(" ```");
            // Two blanks: columns of a drawing.
            let is_drawn = comment.starts_with(" |") || comment.trim_start().contains("  ");
            if !fenced && !is_drawn && line.chars().count() > COMMENT_WIDTH {
                wide.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}
