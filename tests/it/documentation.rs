//! The documentation says what is true: messages stand in the code, links lead somewhere, files
//! that are named exist. (Recipes: `registry::scripted::recipes`.)

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

/// The pages for people: README, CONTRIBUTING, docs/ with its folders.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![Path::new(ROOT).join("README.md"), Path::new(ROOT).join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/decisions"] {
        let files = fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
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
    let features = BTreeSet::from(["run", "serve", "sign"]);
    let listed: BTreeSet<&str> = listed.difference(&features).copied().collect();
    assert_eq!(exported, listed);
}

#[test]
fn files_that_the_pages_name_are_there() {
    let path = regex::Regex::new(r"`((?:src|tests|docs|python|benches|fixtures|container|\.ci|[a-z]+)/[\w./-]+)`").unwrap();
    let mut missing = Vec::new();
    for page in pages() {
        for found in path.captures_iter(&fs::read_to_string(&page).unwrap()) {
            let (root, name) = (Path::new(ROOT), &found[1]);
            let first = name.split('/').next().unwrap();
            // Files of the crate are named from `src` on in docs/architecture.md.
            let (is_ours, exists) = match root.join("src").join(first).is_dir() && !name.starts_with("container/build") {
                true => (name.ends_with(".rs"), root.join("src").join(name).exists() || root.join(name).exists()),
                false => (root.join(first).is_dir() && !["target", "build"].contains(&first), root.join(name).exists()),
            };
            if is_ours && !exists {
                missing.push(format!("{}: {name}", page.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn tests_that_the_pages_name_are_there() {
    let mut code = String::new();
    sources(&Path::new(ROOT).join("src"), &mut code);
    sources(&Path::new(ROOT).join("tests"), &mut code);
    let name = regex::Regex::new(r"`[a-z_:]+::([a-z0-9]+(?:_[a-z0-9]+){3,})`").unwrap();
    let mut named = 0;
    for page in pages() {
        for found in name.captures_iter(&fs::read_to_string(&page).unwrap()) {
            assert!(code.contains(&format!("fn {}(", &found[1])), "{}: {}", page.display(), &found[0]);
            named += 1;
        }
    }
    assert!(named > 5, "{named}");
}

/// What the manifests of docs/ci/pods say, by name.
fn pods() -> Vec<(String, serde_json::Value)> {
    let files = fs::read_dir(Path::new(ROOT).join("docs/ci/pods")).unwrap().map(|entry| entry.unwrap().path());
    let script = "import json, sys, yaml\nprint(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let read = |path: PathBuf| {
        // The SDK's Python has PyYAML; a machine's need not.
        let python = crate::judges().join("python/bin/python");
        let text = crate::run(std::process::Command::new(python).args(["-c", script]).arg(&path));
        (path.file_stem().unwrap().to_string_lossy().into_owned(), serde_json::from_str(&text).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn recipes_are_yaml() {
    let python = crate::judges().join("python/bin/python");
    for file in
        ["docs/ci/github-actions.yml", "docs/ci/gitlab-ci.yml", "docs/ci/kubernetes-job.yaml", "templates/push.yml", "action.yml"]
    {
        let script = "import sys, yaml\nfor page in yaml.safe_load_all(open(sys.argv[1])): assert isinstance(page, dict), page";
        crate::run(std::process::Command::new(&python).args(["-c", script]).arg(Path::new(ROOT).join(file)));
    }
}

#[test]
fn manifests_of_pods_have_a_form_that_kubernetes_takes_and_the_first_is_restricted() {
    let pods = pods();
    let page = read("docs/environments.md");
    for (name, pod) in &pods {
        assert_eq!((&pod["apiVersion"], &pod["kind"]), (&"v1".into(), &"Pod".into()), "{name}");
        let spec = &pod["spec"];
        let container = &spec["containers"][0];
        let names = |list: &serde_json::Value| -> BTreeSet<String> {
            list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&container["volumeMounts"]), names(&spec["volumes"]), "{name}");
        assert!(container["args"][0].as_str().unwrap().contains("mpimg push --no-ttl"), "{name}");
        assert!(page.contains(&format!("(ci/pods/{name}.yaml)")), "{name} is not in docs/environments.md");
        // What the standard "restricted" asks for (Kubernetes, Pod Security Standards).
        let (of_pod, own) = (&spec["securityContext"], &container["securityContext"]);
        let restricted = of_pod["runAsNonRoot"] == true
            && of_pod["runAsUser"] != 0
            && of_pod["seccompProfile"]["type"] == "RuntimeDefault"
            && own["allowPrivilegeEscalation"] == false
            && own["capabilities"] == serde_json::json!({ "drop": ["ALL"] })
            && own["privileged"].is_null()
            && ["hostNetwork", "hostPID", "hostIPC"].iter().all(|field| spec[field].is_null());
        assert_eq!(restricted, ["restricted", "openshift"].contains(&name.as_str()), "{name}");
    }
    assert_eq!(pods.len(), 6);
}

#[test]
fn the_tests_that_the_architecture_names_are_there() {
    let (mut code, tests, src) = (String::new(), Path::new(ROOT).join("tests/it"), Path::new(ROOT).join("src"));
    sources(&tests, &mut code);
    sources(&src, &mut code);
    let words: BTreeSet<&str> = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let page = read("docs/architecture.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("? | "));
    let mut named = 0;
    for row in rows {
        let column = row.split(" | ").last().unwrap();
        for name in column.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
            let path: PathBuf = name.split("::").collect();
            let is_module =
                [&tests, &src].iter().any(|root| root.join(&path).is_dir() || root.join(&path).with_extension("rs").exists());
            assert!(is_module || words.contains(name.rsplit("::").next().unwrap()), "`{name}` is no test");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}
