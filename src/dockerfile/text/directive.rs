//! Parser directives: `# syntax=`, `# escape=`, `# check=` before everything else in the file.
//!
//! A repeated directive, and an escape other than `\` and `` ` ``, is an error.

/// What the directives say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dockerfile) struct Directives {
    /// Whether the file asks for a front end image.
    pub(super) has_syntax: bool,
    /// The escape character.
    pub(in crate::dockerfile) escape: char,
    /// What is checked.
    pub(in crate::dockerfile) check: Check,
    seen: Vec<&'static str>,
    done: bool,
}

/// The `check` directive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::dockerfile) struct Check {
    /// Names of rules that are not checked; `all` is all of them.
    pub(in crate::dockerfile) skip: Vec<String>,
    /// Whether a warning stops the build.
    pub(in crate::dockerfile) error: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self { has_syntax: false, escape: '\\', check: Check::default(), seen: Vec::new(), done: false }
    }
}

impl Directives {
    /// Reads the next line, given without its end and leading blanks. Everything after the first
    /// line that is not a directive is ignored. The error is a message without a location.
    pub(super) fn read(&mut self, line: &str) -> Result<(), String> {
        if self.done {
            return Ok(());
        }
        let Some((name, value)) = split(line) else {
            self.done = true;
            return Ok(());
        };
        let name = match name.to_ascii_lowercase().as_str() {
            "syntax" => "syntax",
            "escape" => "escape",
            "check" => "check",
            _ => {
                self.done = true;
                return Ok(());
            }
        };
        if self.seen.contains(&name) {
            return Err(format!("the `{name}` directive is repeated"));
        }
        self.seen.push(name);
        match (name, value) {
            ("syntax", _) => self.has_syntax = true,
            ("check", _) => self.check = Check::parse(value)?,
            (_, "\\" | "`") => self.escape = value.chars().next().unwrap_or('\\'),
            _ => return Err(format!("`{value}` cannot be the escape character: only `\\` and `` ` `` can")),
        }
        Ok(())
    }
}

/// `# name = value`: the name starts with a letter and goes on with letters and digits.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let right = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (right && !value.is_empty()).then_some((name, value))
}

impl Check {
    /// Parses `skip=A,B;error=true`; `experimental=…` is taken and has no effect, for no rule here
    /// is experimental.
    pub(in crate::dockerfile) fn parse(text: &str) -> Result<Self, String> {
        let mut check = Self::default();
        for part in text.split(';') {
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("`{part}` is not an option of the `check` directive"))?;
            match (name.trim(), value.trim()) {
                ("skip", rules) => check.skip = rules.split(',').map(|rule| rule.trim().to_owned()).collect(),
                ("error", value) => {
                    check.error = super::words::parse_bool(value).ok_or_else(|| format!("`{value}` is not true or false"))?;
                }
                ("experimental", _) => {}
                (name, _) => return Err(format!("`{name}` is not an option of the `check` directive")),
            }
        }
        Ok(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Directives, String> {
        let mut directives = Directives::default();
        lines.iter().try_for_each(|line| directives.read(line)).map(|()| directives)
    }

    #[test]
    fn directives_are_read_up_to_the_first_line_that_is_none() {
        let all = read(&["#syntax=docker/dockerfile:1", "# ESCAPE = `", "# check=skip=StageNameCasing, FromAsCasing;error=true"])
            .unwrap();
        assert!(all.has_syntax);
        assert_eq!(all.escape, '`');
        assert_eq!(all.check, Check { skip: vec!["StageNameCasing".into(), "FromAsCasing".into()], error: true });
        for first in ["", "# a comment", "# other=value", "#!/usr/bin/env docker", "FROM a", "# escape="] {
            assert_eq!(read(&[first, "# escape=`"]).unwrap().escape, '\\', "{first:?}");
        }
    }

    #[test]
    fn wrong_directives_are_refused() {
        for lines in [
            &["# escape=\\", "# escape=\\"][..],
            &["# escape=x"],
            &["# check=skip"],
            &["# check=error=perhaps"],
            &["# check=nothing=1"],
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
    }
}
