//! Where an adapter's image goes and where the product pulls it from: what the caller says, else
//! config.json.
//!
//! config.json is written only once the image is in the repository.
//!
//! Source: SDK 1.3, `mp_build._tag_and_push`. One thing is left on purpose: where image and pak
//! name different repositories, the SDK pushes to one, then overwrites `container_repository` with
//! it; here `container_repository` stays what the product pulls from, as the SDK's guide says.

use crate::error::{Error, Result};
use crate::project::{ContainerRepository, ProjectConfig};

/// What the caller says of where an image goes. `Default` leaves it to config.json.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestinationOptions {
    /// Where the product pulls from, and, without the next, where the image is pushed to.
    pub repository: Option<ContainerRepository>,
    /// Push here instead: the product reaches the same repository by another name.
    pub push_repository: Option<ContainerRepository>,
    /// The pak leaves the registry's host out.
    pub use_default_registry: bool,
    /// `repository` is the answer to a question: config.json is to learn it.
    pub remember: bool,
}

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destination {
    /// It is pushed to this repository.
    pub push: ContainerRepository,
    /// The product pulls it from this one.
    pub pull: ContainerRepository,
    /// config.json does not know `pull` yet.
    pub remember: bool,
    /// The product uses its own default registry.
    pub use_default_registry: bool,
}

impl DestinationOptions {
    /// Decides from what was given and from config.json; `None` if neither names a repository.
    ///
    /// # Errors
    /// `Usage`: a repository in config.json is not of the form that the SDK takes.
    pub fn find(&self, config: Option<&ProjectConfig>) -> Result<Option<Destination>> {
        let configured = |text: Option<&str>, key: &str| {
            let wrong = |error: Error| error.wrap(format!("`{key}` in config.json cannot be used"));
            text.map(|text| ContainerRepository::parse(text).map_err(wrong)).transpose()
        };
        let pull_config = match (&self.repository, config) {
            (None, Some(config)) => configured(config.container_repository(), "container_repository")?,
            _ => None,
        };
        let push = match (&self.push_repository, config) {
            (None, Some(config)) => configured(config.container_push_repository(), "container_push_repository")?,
            (push, _) => push.clone(),
        };
        let remember = self.remember || self.repository.is_none() && pull_config.is_none() && config.is_some();
        let pull = self.repository.clone().or(pull_config);
        let use_default_registry = self.use_default_registry || config.is_some_and(ProjectConfig::use_default_registry);
        let (push, pull) = match (push, pull) {
            (Some(push), Some(pull)) => (push, pull),
            (Some(one), None) | (None, Some(one)) => (one.clone(), one),
            (None, None) => return Ok(None),
        };
        Ok(Some(Destination { push, pull, remember, use_default_registry }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> (tempfile::TempDir, ProjectConfig) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        let config = ProjectConfig::read(folder.path()).unwrap();
        (folder, config)
    }

    fn known(repository: Option<&str>, push_repository: Option<&str>, json: &str) -> Option<(String, String, bool)> {
        let parse = |text: &str| ContainerRepository::parse(text).unwrap();
        let options = DestinationOptions {
            repository: repository.map(parse),
            push_repository: push_repository.map(parse),
            ..DestinationOptions::default()
        };
        let (_folder, config) = config(json);
        let found = options.find(Some(&config)).unwrap()?;
        Some((found.push.to_string(), found.pull.to_string(), found.remember))
    }

    fn both(push: &str, pull: &str, remember: bool) -> Option<(String, String, bool)> {
        Some((push.into(), pull.into(), remember))
    }

    #[test]
    fn a_flag_wins_over_config_json_and_is_not_remembered() {
        let json = r#"{"container_repository": "old.example.com/a"}"#;
        assert_eq!(known(Some("new.example.com/a"), None, json), both("new.example.com/a", "new.example.com/a", false));
        assert_eq!(known(None, None, json), both("old.example.com/a", "old.example.com/a", false));
        assert_eq!(known(Some("new.example.com/a"), None, "{}"), both("new.example.com/a", "new.example.com/a", false));
    }

    #[test]
    fn an_image_may_be_pushed_elsewhere_than_it_is_pulled_from() {
        let json = r#"{"container_repository": "out.example.com/a", "container_push_repository": "in.example.com/a"}"#;
        assert_eq!(known(None, None, json), both("in.example.com/a", "out.example.com/a", false));
        assert_eq!(known(None, Some("third.example.com/a"), json), both("third.example.com/a", "out.example.com/a", false));
        assert_eq!(known(Some("x.example.com/a"), None, json), both("in.example.com/a", "x.example.com/a", false));
    }

    #[test]
    fn a_push_repository_alone_serves_for_both_and_is_remembered() {
        assert_eq!(known(None, Some("h.example.com/a"), "{}"), both("h.example.com/a", "h.example.com/a", true));
    }

    #[test]
    fn nothing_means_to_ask() {
        assert_eq!(known(None, None, "{}"), None);
        assert_eq!(known(None, None, r#"{"container_repository": null}"#), None);
    }

    #[test]
    fn a_wrong_repository_in_config_json_is_named() {
        let (_folder, config) = config(r#"{"container_repository": "Harbor.example.com/a"}"#);
        let error = DestinationOptions::default().find(Some(&config)).unwrap_err();
        assert_eq!(error.to_string(), "`container_repository` in config.json cannot be used");
        assert!(error.hint().is_some());
    }
}
