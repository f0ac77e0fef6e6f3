//! The documentation says what is true: messages stand in the code, links lead somewhere. (Recipes: `registry::scripted::recipes`.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else {
            *text += &fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn every_message_in_the_troubleshooting_stands_in_the_code() {
    let mut code = String::new();
    sources(&Path::new(ROOT).join("src"), &mut code);
    let page = read("docs/troubleshooting.md");
    let messages: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(messages.len() > 15, "{messages:?}");
    let missing: Vec<_> = messages.iter().filter(|message| !code.contains(**message)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(Path::new(ROOT).join("README.md"));
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let there = file.is_empty() || link.contains("://") || page.parent().unwrap().join(file).exists();
            assert!(there, "{} links to {link}", page.display());
        }
    }
}

#[test]
fn every_type_of_the_library_is_in_its_documentation_and_none_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let exported: BTreeSet<&str> = source
        .split("pub use ")
        .skip(1)
        .filter_map(|text| text.split_once(';'))
        .flat_map(|(path, _)| path.rsplit("::").next().unwrap().split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .filter(|name| !name.is_empty())
        .chain(["init_main"])
        .collect();
    let page = std::fs::read_to_string(root.join("docs/library.md")).unwrap();
    let (_, table) = page.split_once("### Types").unwrap();
    let listed: BTreeSet<&str> = table.split('`').skip(1).step_by(2).filter(|name| !name.contains("::")).collect();
    let features = BTreeSet::from(["run", "serve"]);
    let listed: BTreeSet<&str> = listed.difference(&features).copied().collect();
    assert_eq!(exported, listed);
}
