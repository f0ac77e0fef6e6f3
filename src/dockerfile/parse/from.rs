//! FROM: a stage's base, platform and name.
//!
//! Refuses names that do not start with a letter: numbers mean stages by their place.

use std::collections::BTreeMap;

use crate::error::Result;

use super::super::Stage;
use super::super::source::Located;
use super::super::text::{FlagKind, blank_split};
use super::super::warning::{Rule, Warnings};
use super::Request;

pub(super) fn parse(mut request: Request<'_>) -> Result<Stage> {
    let flags = request.flags(&[("platform", FlagKind::Text)])?;
    let words = blank_split(request.arguments);
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some((keyword, name))),
        [] => return Err(request.usage("FROM has no image")),
        [_, keyword] if keyword.eq_ignore_ascii_case("as") => return Err(request.usage("FROM has no name after AS")),
        [_, extra, ..] => {
            let error = request.place.error_at(extra, format!("FROM takes an image and a name, and `{extra}` is neither"));
            return Err(error.with_hint("write it as FROM IMAGE [AS NAME]"));
        }
    };
    if let Some((keyword, name)) = name {
        check_case(&mut request, keyword, name);
    }
    let name = name.map(|(_, name)| stage_name(&request, name)).transpose()?;
    Ok(Stage {
        name,
        base: Located::new(base.clone(), request.place.clone()),
        platform: flags.text("platform"),
        instructions: Vec::new(),
    })
}

/// Warns of AS in another case than FROM, and of capitals in the stage's name.
fn check_case(request: &mut Request<'_>, keyword: &str, name: &str) {
    let is_lower = |word: &str| word == word.to_lowercase();
    if is_lower(keyword) != is_lower(request.written) {
        let message = format!("`{keyword}` and `{}` are in different cases", request.written);
        request.warnings.push(Rule::FromAsCasing, message, Some(request.place.snippet_of(keyword)));
    }
    if !is_lower(name) {
        let message = format!("the stage `{name}` is called `{}`: names of stages are in small letters", name.to_lowercase());
        request.warnings.push(Rule::StageNameCasing, message, Some(request.place.snippet_of(name)));
    }
}

fn stage_name(request: &Request<'_>, name: &str) -> Result<String> {
    let lower = name.to_lowercase();
    let right = lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if !right {
        return Err(request
            .place
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
                format!("a stage should not be called `{name}`, which means something else"),
                Some(stage.base.snippet_of(name)),
            );
        }
        let first = *first.entry(name).or_insert(index);
        if first != index {
            warnings.push(
                Rule::DuplicateStageName,
                format!("the stages {first} and {index} are both called `{name}`; from here on it means the later one"),
                Some(stage.base.snippet_of(name)),
            );
        }
    }
}
