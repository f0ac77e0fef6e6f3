//! AWS's two files of profiles, `~/.aws/config` and `~/.aws/credentials`, as one table of settings.
//!
//! What a setting means is for others to know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ini::{Ini, ParseOption};

use crate::error::{Error, ErrorKind, Result};
use crate::registry::environment::Environment;

/// Settings of one section.
pub(super) type Settings = BTreeMap<String, String>;

/// What both files hold.
#[derive(Default)]
pub(super) struct Profiles {
    profiles: BTreeMap<String, Settings>,
    sso_sessions: BTreeMap<String, Settings>,
    services: BTreeMap<String, Settings>,
}

impl Profiles {
    /// Reads both files; one that is not there is empty.
    pub(super) fn read(environment: &Environment) -> Result<Self> {
        let mut read = Self::default();
        for (variable, default, is_config) in
            [("AWS_CONFIG_FILE", ".aws/config", true), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", false)]
        {
            let given = environment.var(variable).and_then(|path| path.into_string().ok());
            let path = match given.as_deref() {
                Some(path) => path.strip_prefix("~/").map_or(Some(PathBuf::from(path)), |below| environment.home(below)),
                None => environment.home(default),
            };
            let Some(path) = path else { continue };
            match std::fs::read_to_string(&path) {
                Ok(text) => read.add(&text, is_config).map_err(|line| {
                    Error::new(ErrorKind::Auth, format!("`{}` is not in AWS's form near line {line}", path.display()))
                        .with_hint("write profiles as `[profile NAME]` with a setting a line: `name = value`")
                })?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path, error)),
            }
        }
        Ok(read)
    }

    /// Takes in a file's text, over what is there; the number of the line at which it cannot be
    /// read any more. Its text may be a secret.
    fn add(&mut self, text: &str, is_config: bool) -> Result<(), usize> {
        let mut options = ParseOption::default();
        // Secrets are taken as they stand.
        (options.enabled_quote, options.enabled_escape) = (false, false);
        let file = Ini::load_from_str_opt(&unfold(text), options).map_err(|error| error.line)?;
        for (section, settings) in &file {
            let Some(section) = section.map(str::trim) else { continue };
            let word = |word: &str| section.strip_prefix(word).filter(|rest| rest.starts_with([' ', '\t'])).map(str::trim);
            let (table, name) = match (word("profile"), word("sso-session"), word("services")) {
                (Some(name), ..) if is_config => (&mut self.profiles, name),
                (_, Some(name), _) if is_config => (&mut self.sso_sessions, name),
                (.., Some(name)) if is_config => (&mut self.services, name),
                // botocore, too, takes a profile without the word in the configuration file.
                _ => (&mut self.profiles, section),
            };
            let name = name.trim_matches(['"', '\'']);
            let settings = settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
            table.entry(name.to_owned()).or_default().extend(settings);
        }
        Ok(())
    }

    pub(super) fn profile(&self, name: &str) -> Option<&Settings> {
        self.profiles.get(name)
    }

    pub(super) fn sso_session(&self, name: &str) -> Option<&Settings> {
        self.sso_sessions.get(name)
    }

    /// A section `[services NAME]`: addresses of services.
    pub(super) fn services(&self, name: &str) -> Option<&Settings> {
        self.services.get(name)
    }

    /// The names of all profiles.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }
}

/// Settings that belong to another, indented below it, get its name before theirs: `ecr =` and
/// `  endpoint_url = …` become `ecr.endpoint_url = …`. The lines stay as many as they are.
fn unfold(text: &str) -> String {
    let mut unfolded = String::with_capacity(text.len());
    let mut parent: Option<(&str, usize)> = None;
    for line in text.lines() {
        let setting = line.trim();
        let indent = line.len() - line.trim_start().len();
        match parent {
            _ if setting.is_empty() || setting.starts_with(['#', ';']) => {}
            Some((name, outer)) if indent > outer => {
                unfolded.push_str(name);
                unfolded.push('.');
            }
            _ => {
                parent =
                    setting.split_once('=').filter(|(_, value)| value.trim().is_empty()).map(|(name, _)| (name.trim(), indent))
            }
        }
        unfolded.push_str(setting);
        unfolded.push('\n');
    }
    unfolded
}

/// The value of a setting; an empty one counts as unset.
pub(super) fn setting<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_one_table_and_credentials_come_last() {
        let mut profiles = Profiles::default();
        let config = "[default]\nregion=eu-west-1\n[profile  work]\n# why\nrole_arn = r\\n\naws_access_key_id = old\ns3 =\n  \
                      max_queue_size = 1\n[sso-session corp]\nsso_region = us-east-1\n[profile \"two words\"]\nregion = x\n";
        profiles.add(config, true).unwrap();
        profiles.add("[work]\naws_access_key_id = new\naws_secret_access_key = a'b\"c#d\n[sso-session odd]\n", false).unwrap();
        let work = profiles.profile("work").unwrap();
        assert_eq!(setting(work, "role_arn"), Some("r\\n"));
        assert_eq!(setting(work, "aws_access_key_id"), Some("new"));
        assert_eq!(setting(work, "aws_secret_access_key"), Some("a'b\"c#d"));
        assert_eq!((setting(work, "s3"), setting(work, "max_queue_size")), (None, None));
        assert_eq!(setting(work, "s3.max_queue_size"), Some("1"));
        assert_eq!(profiles.names().collect::<Vec<_>>(), ["default", "sso-session odd", "two words", "work"]);
        assert_eq!(setting(profiles.sso_session("corp").unwrap(), "sso_region"), Some("us-east-1"));
        assert_eq!(profiles.add("[a]\nno value\n", true), Err(3));
    }

    #[test]
    fn what_is_indented_belongs_to_the_setting_above_it() {
        let mut profiles = Profiles::default();
        let config = "[services mine]\n  s3 =\n    endpoint_url = a\n\n  # and\n    other=b=c\n  ecr = x\n[services tab]\nsts=\n\tendpoint_url=d\n\
                      [profile p]\n  region = x\n  services = mine\n";
        profiles.add(config, true).unwrap();
        let names = |section: &str| {
            let settings = profiles.services(section).unwrap().iter();
            settings.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(names("mine"), ["ecr=x", "s3=", "s3.endpoint_url=a", "s3.other=b=c"]);
        assert_eq!(names("tab"), ["sts=", "sts.endpoint_url=d"]);
        assert_eq!(setting(profiles.profile("p").unwrap(), "services"), Some("mine"));
    }
}
