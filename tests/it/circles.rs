//! Circles of files: which files of the crate use each other's items, in non-test code.
//!
//! An edge leads from a file to the file that *defines* what it names, by `use` or by path;
//! re-exports are resolved. A `pub use` of something that the file itself does not need is not an
//! edge. Calls of methods are not seen: the type's name is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// The path of a module: `["build", "stage"]`.
type Module = Vec<String>;

/// What the file of a module says about names.
#[derive(Default)]
struct File {
    path: PathBuf,
    /// Its code without comments, strings, tests and `use`.
    code: String,
    items: BTreeSet<String>,
    /// `use` by the name that it brings in: path and whether it is public.
    uses: Vec<(String, Vec<String>, bool)>,
    globs: Vec<Vec<String>>,
}

struct Crate(BTreeMap<Module, File>);

/// The circles of files below `src`: each a sorted list of paths.
pub(crate) fn circles(files: &[(PathBuf, String)]) -> Vec<Vec<PathBuf>> {
    let all = Crate::parse(files);
    let modules: Vec<&Module> = all.0.keys().collect();
    let edges: Vec<BTreeSet<usize>> = modules
        .iter()
        .map(|module| all.edges(module).iter().filter_map(|to| modules.binary_search(&to).ok()).collect())
        .collect();
    let mut found: Vec<Vec<PathBuf>> = components(&edges)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| {
            component.into_iter().map(|at| all.0[modules[at]].path.clone()).collect::<BTreeSet<_>>().into_iter().collect()
        })
        .collect();
    found.sort();
    found
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// What is not code: tests, comments, strings, characters; and what stays in its place.
static TEXT: LazyLock<[(Regex, &str); 6]> = LazyLock::new(|| {
    [
        (regex(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?use [^;]*;"), ""),
        (regex(r"//[^\n]*"), ""),
        (regex(r##"(?s)b?r#".*?"#"##), "\"\""),
        (regex(r"'(?:\\.|[^\\'])'"), "' '"),
        (regex(r#"(?s)"(?:\\.|[^"\\])*""#), "\"\""),
        // Who may see something is not an import.
        (regex(r"\bpub\(in [\w:]+\)"), "pub"),
    ]
});
static PATH: LazyLock<Regex> = LazyLock::new(|| regex(r"(\w+)((?:::\w+)+)"));

/// The modules of tests in a file: one that is declared, or one that is written in it and ends it.
static TESTS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?s)#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod \w+(?:;|\s*\{.*\z)"));

/// The code of a file without its tests.
pub(crate) fn without_tests(code: &str) -> String {
    TESTS.replace_all(code, "").into_owned()
}

#[test]
fn code_after_a_declaration_of_tests_is_code() {
    let code = "mod a;\n#[cfg(test)]\nmod tests;\nmod b;\n";
    assert_eq!(without_tests(code), "mod a;\n\nmod b;\n");
    for head in ["mod", "pub(crate) mod", "pub mod"] {
        let code = format!("fn a() {{}}\n#[cfg(test)]\n{head} tests {{\n    fn b() {{}}\n}}\n");
        assert_eq!(without_tests(&code), "fn a() {}\n", "{head}");
    }
}

/// Without tests, comments, strings and characters: what is left holds names alone.
fn without_text(code: &str) -> String {
    let mut code = without_tests(code);
    for (pattern, by) in &*TEXT {
        code = pattern.replace_all(&code, *by).into_owned();
    }
    code
}

/// The paths of a tree of `use`, each with the name that it brings in (`*` for a glob).
fn leaves(tree: &str, head: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    let segments =
        |text: &str| text.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let Some((before, rest)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim().to_owned())));
        let mut path = [head, &segments(path)].concat();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(name) = alias.or_else(|| path.last().cloned()) {
            found.push((path, name));
        }
        return;
    };
    let head = [head, &segments(before)].concat();
    let body = &rest[..rest.rfind('}').unwrap()];
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in body.char_indices().chain([(body.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !body[start..at].trim().is_empty() {
                    leaves(&body[start..at], &head, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

impl Crate {
    fn parse(files: &[(PathBuf, String)]) -> Self {
        let module_of = |path: &Path| -> Module {
            let mut module: Module = path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            module.pop_if(|last| last == "mod" || last == "lib");
            module
        };
        let names: BTreeSet<Module> = files.iter().map(|(path, _)| module_of(path)).collect();
        let used = regex(r"(?:^|[\n;{}\s])((?:pub(?:\([^)]*\))?\s+)?)use\s+([^;]+);");
        let defined = regex(r"\b(?:fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)\s+(?:mut\s+)?(\w+)");
        let inline = regex(r"\bmod \w+ \{");
        let parse = |(path, text): &(PathBuf, String)| {
            let module = module_of(path);
            let text = without_text(text);
            let mut file = File { path: path.clone(), code: used.replace_all(&text, "\n").into_owned(), ..File::default() };
            for found in used.captures_iter(&text) {
                let mut paths = Vec::new();
                leaves(&found[2], &[], &mut paths);
                for (mut path, name) in paths {
                    if name != "*" {
                        file.uses.push((name, path, !found[1].is_empty()));
                    } else if path[0] != "super" || !inline.is_match(&text) {
                        // `use super::*` in a module within the file means the file itself.
                        path.pop();
                        file.globs.push(path);
                    }
                }
            }
            let is_file = |name: &str| names.contains(&[&module[..], &[name.to_owned()]].concat());
            file.items = defined.captures_iter(&file.code).map(|name| name[1].to_owned()).filter(|name| !is_file(name)).collect();
            (module, file)
        };
        Self(files.iter().map(parse).collect())
    }

    /// The module that defines what `path` names as seen from `from`; whether that is an item in
    /// it, or the module itself.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<(Module, bool)> {
        let mut here = from.to_vec();
        if depth > 30 {
            return None;
        }
        for (at, name) in path.iter().enumerate() {
            let inner = [&here[..], std::slice::from_ref(name)].concat();
            match name.as_str() {
                "crate" => here.clear(),
                "self" => {}
                "super" => drop(here.pop()),
                _ if self.0.contains_key(&inner) => here = inner,
                _ => {
                    let file = self.0.get(&here)?;
                    if file.items.contains(name) {
                        return Some((here, true));
                    }
                    let rest = &path[at + 1..];
                    let mut named = file.uses.iter().filter(|(alias, ..)| alias == name).peekable();
                    if named.peek().is_some() {
                        return named.find_map(|(_, path, _)| self.resolve(&here, &[path, rest].concat(), depth + 1));
                    }
                    return file.globs.iter().find_map(|glob| self.resolve(&here, &[glob, &path[at..]].concat(), depth + 1));
                }
            }
        }
        self.0.contains_key(&here).then_some((here, false))
    }

    /// The other files that a file needs.
    fn edges(&self, module: &Module) -> BTreeSet<Module> {
        let file = &self.0[module];
        let words: BTreeSet<&str> = file.code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let mut found = BTreeSet::new();
        for (name, path, public) in &file.uses {
            // Of a module counts what is taken from it, below.
            if let Some((to, true)) = self.resolve(module, path, 0)
                && (!public || words.contains(name.as_str()))
            {
                found.insert(to);
            }
        }
        found.extend(file.globs.iter().filter_map(|glob| self.resolve(module, glob, 0)).map(|(to, _)| to));
        for named in PATH.captures_iter(&file.code) {
            // Not the rest of a longer path, as in `<T as Trait>::name::other`.
            if file.code[..named.get(0).unwrap().start()].ends_with(':') {
                continue;
            }
            let segments: Vec<String> = named[0].split("::").map(str::to_owned).collect();
            let first = &segments[0];
            let is_child = self.0.contains_key(&[&module[..], std::slice::from_ref(first)].concat());
            if is_child
                || ["crate", "self", "super"].contains(&first.as_str())
                || file.uses.iter().any(|(name, ..)| name == first)
            {
                found.extend(self.resolve(module, &segments, 0).map(|(to, _)| to));
            }
        }
        found.retain(|to| to != module && !to.is_empty());
        found
    }
}

/// The strongly connected components of a graph: two nodes are in one if each can be reached from
/// the other.
fn components(edges: &[BTreeSet<usize>]) -> BTreeSet<BTreeSet<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..edges.len())
        .map(|start| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
            while let Some(node) = next.pop() {
                next.extend(edges[node].iter().filter(|to| seen.insert(**to)));
            }
            seen
        })
        .collect();
    (0..edges.len())
        .map(|node| reach[node].iter().copied().filter(|other| reach[*other].contains(&node)).chain([node]).collect())
        .collect()
}
