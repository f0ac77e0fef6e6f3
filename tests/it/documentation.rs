//! The documentation says what is true: messages stand in the code, recipes run, links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::Home;
use crate::registry::fixture::distribution;
use crate::{judge, run};

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

/// The commands of a recipe that call mpimg, without what its CI puts before them.
fn commands(recipe: &str) -> Vec<String> {
    let lines = recipe.lines().map(str::trim).filter(|line| line.contains("mpimg push"));
    lines.map(|line| line.trim_start_matches("- ").trim_start_matches("run: ").to_owned()).collect()
}

#[test]
fn the_recipes_push_the_project_and_leave_the_digest() {
    let registry = distribution("");
    for name in ["gitlab-ci.yml", "github-actions.yml", "Jenkinsfile", "kubernetes-job.yaml"] {
        let home = Home::new();
        let project = home.path().join("my-adapter");
        run(judge("cp").arg("-r").arg(Path::new(ROOT).join("fixtures/hello-adapter")).arg(&project));
        let commands = commands(&read(Path::new("docs/ci").join(name)));
        assert_eq!(commands.len(), 1, "{name}");
        let repository = registry.repository(&format!("ci/{}", name.to_lowercase().replace('.', "-"))).to_string();
        let mut shell = Command::new("sh");
        shell.env_clear().envs(home.mpimg().get_envs().filter_map(|(name, value)| Some((name, value?))));
        let program = Path::new(home.mpimg().get_program()).parent().unwrap().to_owned();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        shell.env("PATH", path).env("CI", "true").env("REPOSITORY", &repository).current_dir(&project);
        for (name, value) in [("HARBOR_USER", "robot$mp+ci"), ("HARBOR_SECRET", "s"), ("HUB_USR", "me"), ("HUB_PSW", "t")] {
            shell.env(name, value);
        }
        run(shell.arg("-ec").arg(&commands[0]));
        let digest = fs::read_to_string(project.join("digest")).unwrap();
        let told: serde_json::Value = serde_json::from_str(&fs::read_to_string(project.join("push.json")).unwrap()).unwrap();
        assert_eq!(told["digest"], digest.as_str());
        assert!(told["sbom"].as_str().is_some_and(|sbom| sbom.starts_with("sha256:")), "{told}");
        run(judge("skopeo").args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{repository}@{digest}")]));
    }
}
