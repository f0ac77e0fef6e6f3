//! `--filter` of lists and of pruning.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::invocation::{Failure, Invocation};
use crate::cli::when;
use crate::oci::Reference;
use crate::operation::LocalImage;

/// What is asked for: all of different names, any of one name.
#[derive(Debug, Clone, Default)]
pub(super) struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads `NAME=VALUE` each; `known` are the names that the command has.
    pub(super) fn parse(texts: &[&str], known: &[&str]) -> Result<Self, Failure> {
        let mut filters = Vec::new();
        for text in texts {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Failure::new("invalid argument for \"-f, --filter\" flag: invalid filter (expected name=value)").with_code(125)
            })?;
            let name = name.trim().to_ascii_lowercase();
            if !known.contains(&name.as_str()) {
                return Err(Failure::daemon(format!("invalid filter '{name}'")));
            }
            filters.push((name, value.to_owned()));
        }
        Ok(Self(filters))
    }

    /// These filters without those of one name.
    pub(super) fn clone_without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// The values of the filter `name`.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether any value of `name` fits; where there is none, all do.
    pub(super) fn any(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.into_iter().any(fits)
    }

    /// Whether `label` and `label!` ask for what has these labels.
    pub(super) fn takes_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &&str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|label| label == value),
            None => labels.contains_key(*wanted),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }

    /// Whether an image is asked for, by all but `reference`.
    pub(super) fn takes_image(&self, image: &LocalImage, all: &[LocalImage], invocation: &Invocation) -> Result<bool, Failure> {
        if let Some(dangling) = self.values("dangling").last() {
            let wanted = switch("dangling", dangling)?;
            if wanted != (image.names.is_empty() && image.digests.is_empty()) {
                return Ok(false);
            }
        }
        let labels = image.config.as_ref().map(|config| config.config.labels.clone()).unwrap_or_default();
        if !self.takes_labels(&labels) {
            return Ok(false);
        }
        for (name, newer) in [("before", false), ("since", true)] {
            for other in self.values(name) {
                let Some(other) = invocation.mpimg().local_image(other)? else {
                    return Err(Failure::daemon(format!("No such image: {other}")));
                };
                let position = |id| all.iter().position(|image| image.id() == id);
                // Newest first.
                if image.id() == other.id() || newer != (position(image.id()) < position(other.id())) {
                    return Ok(false);
                }
            }
        }
        match self.values("until").last() {
            Some(text) => {
                let until = until(text)?;
                // Reproducible images are as old as their sources: what counts is when the image
                // came here.
                let created = image.created().and_then(|created| created.parse::<Timestamp>().ok());
                let here = image.named_at.and_then(|time| Timestamp::try_from(time).ok());
                Ok(created.max(here).is_none_or(|time| time < until))
            }
            None => Ok(true),
        }
    }

    /// Whether a name is asked for by `reference`.
    pub(super) fn takes_reference(&self, name: Option<&Reference>) -> bool {
        self.any("reference", |wanted| name.is_some_and(|name| fits(name, wanted)))
    }
}

/// Whether a name is of this repository, or has this tag; `*`, `?` and `[…]` match as in a shell.
pub(super) fn fits(name: &Reference, wanted: &str) -> bool {
    let exact = Reference::parse(wanted).is_ok_and(|wanted_name| {
        if Reference::has_tag_or_digest(wanted) { wanted_name == *name } else { wanted_name.repository() == name.repository() }
    });
    let matches = |text: &str| glob(wanted, text);
    exact || matches(&name.repository().familiar()) || matches(&name.familiar())
}

/// `true` or `false`, as docker reads filters.
pub(super) fn switch(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "1" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(Failure::daemon(format!("invalid filter '{name}={value}'"))),
    }
}

/// A time: so long ago (`24h`, `10m30s`), or seconds since 1970, or RFC 3339.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return day.to_zoned(jiff::tz::TimeZone::system()).ok().map(|start| start.timestamp());
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    let (mut seconds, mut number) = (0_i64, String::new());
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(std::mem::take(&mut number).parse::<i64>().ok()?.checked_mul(unit)?)?;
    }
    if number.is_empty() { when::now().checked_sub(SignedDuration::from_secs(seconds)).ok() } else { None }
}

/// The value of the filter `until`.
pub(super) fn until(text: &str) -> Result<Timestamp, Failure> {
    time(text).ok_or_else(|| Failure::daemon(format!("failed to parse value as time or duration: {text:?}")))
}

/// Whether `text` matches a pattern with `*`, `?` and `[…]`, none of which matches a slash (Go's
/// path.Match).
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut expression = String::from("^");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => expression += "[^/]*",
            '?' => expression += "[^/]",
            '[' => {
                let class: String = letters.by_ref().take_while(|letter| *letter != ']').collect();
                expression += &format!("[{}]", class.replace('\\', "\\\\").replace('[', "\\["));
            }
            letter => expression += &regex::escape(&letter.to_string()),
        }
    }
    regex::Regex::new(&(expression + "$")).is_ok_and(|expression| expression.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        for (pattern, text, fits) in [
            ("app*", "app-one", true),
            ("app*", "team/app", false),
            ("*/app", "team/app", true),
            ("app:1.?", "app:1.2", true),
            ("app:1.?", "appx1.2", false),
            ("[ab]pp", "bpp", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn times_are_durations_numbers_or_dates() {
        assert_eq!(time("1000").unwrap().as_second(), 1000);
        assert_eq!(time("2024-02-29T12:00:00Z").unwrap().as_second(), 1_709_208_000);
        let day = when::now().duration_since(time("24h").unwrap());
        assert!((86_399..=86_401).contains(&day.as_secs()), "{day:?}");
        assert!(time("1h30").is_none() && time("soon").is_none());
    }
}
