//! FROM: a stage's base, platform and name.
//!
//! A stage's name starts with a letter, because numbers refer to stages by position.

use std::collections::BTreeMap;

use crate::error::Result;

use super::super::Stage;
use super::super::source::Located;
use super::super::text::{FlagKind, blank_split};
use super::super::warning::{Rule, Warnings};
use super::raw::RawInstruction;

pub(super) fn parse(mut raw: RawInstruction<'_>) -> Result<Stage> {
    let flags = raw.flags(&[("platform", FlagKind::Text)])?;
    let words = blank_split(raw.arguments);
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some((keyword, name))),
        [] => return Err(raw.usage("FROM has no image")),
        [_, keyword] if keyword.eq_ignore_ascii_case("as") => return Err(raw.usage("FROM has no name after AS")),
        [_, extra, ..] => {
            let error = raw.location.error_at(extra, format!("FROM takes an image and a name; `{extra}` is one word too many"));
            return Err(error.with_hint("write it as FROM IMAGE [AS NAME]"));
        }
    };
    if let Some((keyword, name)) = name {
        check_case(&mut raw, keyword, name);
    }
    let name = name.map(|(_, name)| stage_name(&raw, name)).transpose()?;
    Ok(Stage {
        name,
        base: Located::new(base.clone(), raw.location.clone()),
        platform: flags.text("platform"),
        instructions: Vec::new(),
    })
}

/// Warns of AS in another case than FROM, and of capitals in the stage's name.
fn check_case(raw: &mut RawInstruction<'_>, keyword: &str, name: &str) {
    let is_lower = |word: &str| word == word.to_lowercase();
    if is_lower(keyword) != is_lower(raw.written) {
        let message = format!("`{keyword}` and `{}` are in different cases", raw.written);
        raw.warnings.push(Rule::FromAsCasing, message, Some(raw.location.snippet_of(keyword)));
    }
    if !is_lower(name) {
        let message = format!("the stage name `{name}` is read as `{}`: stage names are in lower case", name.to_lowercase());
        raw.warnings.push(Rule::StageNameCasing, message, Some(raw.location.snippet_of(name)));
    }
}

fn stage_name(raw: &RawInstruction<'_>, name: &str) -> Result<String> {
    let lower = name.to_lowercase();
    let right = lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if !right {
        return Err(raw
            .location
            .error_at(name, format!("`{name}` cannot be the name of a stage"))
            .with_hint("a name starts with a letter and goes on with letters, digits, `-`, `_` and `.`"));
    }
    Ok(lower)
}

/// Warns of stages that take another's name, or one that means something else.
pub(super) fn check_names(stages: &[Stage], warnings: &mut Warnings) {
    let mut first = BTreeMap::new();
    for (index, stage) in stages.iter().enumerate() {
        let Some(name) = &stage.name else { continue };
        if ["context", "scratch"].contains(&name.as_str()) {
            warnings.push(
                Rule::ReservedStageName,
                format!("`{name}` has another meaning and should not be the name of a stage"),
                Some(stage.base.snippet_of(name)),
            );
        }
        let first = *first.entry(name).or_insert(index);
        if first != index {
            warnings.push(
                Rule::DuplicateStageName,
                format!("the stages {first} and {index} are both named `{name}`; from here on it means the later one"),
                Some(stage.base.snippet_of(name)),
            );
        }
    }
}
