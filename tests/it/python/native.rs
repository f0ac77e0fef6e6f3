//! What Python passes to the native part, and what that reads: the same names, the same types.

use std::collections::BTreeMap;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Dictionaries of the stubs, the structures that read them, and where those are.
const READ_AS: [(&str, &str, &str); 5] = [
    ("Options", "Options", "options.rs"),
    ("BuildRequest", "BuildOptions", "options.rs"),
    ("PushRequest", "PushOptions", "options.rs"),
    ("CopyRequest", "CopyOptions", "options.rs"),
    ("RunRequest", "RunOptions", "containers.rs"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join("python").join(path)).unwrap()
}

/// Names and types of what stands one a line between `head` and the next line that matches `end`.
fn fields(text: &str, head: &str, end: &str) -> BTreeMap<String, String> {
    let (_, body) = text.split_once(head).unwrap_or_else(|| panic!("no {head}"));
    let lines = body.lines().skip(1).take_while(|line| *line != end).map(str::trim);
    let fields = lines.filter(|line| !line.starts_with("///")).filter_map(|line| line.split_once(": "));
    fields.map(|(name, kind)| (name.rsplit(' ').next().unwrap().to_owned(), kind.trim_end_matches(',').to_owned())).collect()
}

/// The type that a value for a field of this type has in Python.
fn in_python(rust: &str) -> String {
    let mut kind = rust.to_owned();
    for (rust, python) in [
        ("Vec<u8>", "bytes"),
        ("BTreeMap<", "dict["),
        ("Vec<", "list["),
        ("Option<", "Optional["),
        ("Py<Cancellation>", "CancellationToken"),
        ("NonZeroUsize", "int"),
        ("PathBuf", "str"),
        ("String", "str"),
        ("BuildOptions", "BuildRequest"),
        ("u64", "int"),
        ("u32", "int"),
        ("f64", "float"),
        ("(", "tuple["),
        (")", "]"),
        (">", "]"),
    ] {
        kind = kind.replace(rust, python);
    }
    kind
}

#[test]
fn python_passes_exactly_what_the_native_part_reads() {
    let stubs = read("mpimg/_mpimg.pyi");
    for (dictionary, structure, file) in READ_AS {
        let passed = fields(&stubs, &format!("class {dictionary}(TypedDict):"), "");
        let passed: BTreeMap<_, _> = passed.into_iter().map(|(name, kind)| (name, kind.replace("Tuple[", "tuple["))).collect();
        let read = fields(&read(&format!("src/{file}")), &format!("struct {structure} {{"), "}");
        let read: BTreeMap<_, _> = read.into_iter().map(|(name, kind)| (name, in_python(&kind))).collect();
        assert!(read.len() > 5, "{structure}: {read:?}");
        assert_eq!(passed, read, "{dictionary} of _mpimg.pyi and {structure} of {file}");
    }
    let readers: usize = ["containers", "lib", "options", "pak", "serve", "signing", "store"]
        .map(|file| read(&format!("src/{file}.rs")).matches("from_item_all").count())
        .iter()
        .sum();
    assert_eq!(readers, READ_AS.len(), "READ_AS lacks a structure");
}
