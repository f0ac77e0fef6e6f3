//! The tables of docs/ for the programs that mpimg stands in for, made of the tables that they are
//! parsed by.

use std::path::Path;

use super::{Effect, Flag};

/// The rows of flags: what is the same in one row, all others each with how.
pub(in crate::cli) fn flags(tables: &[&[Flag]]) -> String {
    let all: Vec<&Flag> = tables.iter().copied().flatten().collect();
    let name = |flag: &Flag| match flag.short {
        Some(letter) => format!("`-{letter}`, `--{}`", flag.long),
        None => format!("`--{}`", flag.long),
    };
    let same: Vec<String> = all.iter().filter(|flag| flag.effect == Effect::Same).map(|flag| name(flag)).collect();
    let mut text = if same.is_empty() { String::new() } else { format!("| {} | same | |\n", same.join(", ")) };
    for flag in all {
        let (kind, how) = match flag.effect {
            Effect::Same => continue,
            Effect::Differs(how) => ("different", how),
            Effect::Ignored(why) => ("no effect", why),
            Effect::Refused(remedy) => ("refused", remedy),
        };
        text += &format!("| {} | {kind} | {how} |\n", name(flag));
    }
    text
}

/// Compares what stands between `<!-- made -->` and `<!-- /made -->` of a page with `table`; with
/// UPDATE_DOCS set, writes it there.
pub(in crate::cli) fn check(page: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- made -->\n").unwrap();
    let (found, after) = rest.split_once("<!-- /made -->").unwrap();
    if found != table && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}<!-- made -->\n{table}<!-- /made -->{after}")).unwrap();
        return;
    }
    assert_eq!(found, table, "{page}: run the test again with UPDATE_DOCS=1");
}
