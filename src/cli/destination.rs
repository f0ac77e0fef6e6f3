//! Where an adapter's image goes and where the product pulls it from: flags, config.json, the prompt, in this order.
//!
//! Refuses to write: config.json learns the repository only once the image is in it.
//!
//! Source: SDK 1.3, `mp_build._tag_and_push`. One thing is left on purpose: where image and pak name different repositories,
//! the SDK pushes to one, then overwrites `container_repository` with it; here `container_repository` stays what the product
//! pulls from, as the SDK's guide says.

use clap::Args;

use super::prompt;
use super::terminal::Terminal;
use crate::error::{Error, ErrorKind, Result};
use crate::project::{ContainerRepository, GlobalConfig, Project, ProjectConfig};

/// Where an image goes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct DestinationFlags {
    /// The repository: HOST[:PORT]/PATH, or NAMESPACE/NAME on Docker Hub [default: config.json, else asked for]
    ///
    /// It is what <kind>.conf names and the product pulls from. Without the flag it is `container_repository` of config.json.
    /// If there is none, it is asked for, and written to config.json once the push has succeeded.
    #[arg(short, long, value_name = "REPOSITORY", visible_alias = "repository")]
    registry_tag: Option<String>,

    /// Push here instead, if the product reaches the same repository by another name [default: `container_push_repository`]
    #[arg(long, value_name = "REPOSITORY")]
    push_registry: Option<String>,

    /// Leave REGISTRY out of the printed entries: the product then uses its own default registry
    #[arg(long)]
    use_default_registry: bool,

    /// Ask nothing, even on a terminal
    #[arg(long)]
    no_ttl: bool,
}

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// It is pushed to this repository.
    pub(super) push: ContainerRepository,
    /// The product pulls it from this one.
    pub(super) pull: ContainerRepository,
    /// config.json does not know `pull` yet.
    pub(super) remember: bool,
    /// The product uses its own default registry.
    pub(super) use_default_registry: bool,
}

impl DestinationFlags {
    /// Decides, and asks if nothing else tells.
    pub(super) fn decide(&self, terminal: &Terminal, project: Option<(&Project, &ProjectConfig)>) -> Result<Destination> {
        if let Some(known) = self.known(project.map(|(_, config)| config))? {
            return Ok(known);
        }
        let Some((project, config)) = project else {
            return Err(Error::new(ErrorKind::Usage, "no repository to push to was given")
                .with_hint("give it with `-r HOST/PATH`; only an Integration SDK project can keep it in config.json"));
        };
        if self.no_ttl || !terminal.can_ask() {
            let config = config.path().display();
            return Err(Error::new(ErrorKind::Usage, "no repository to push to was given, and nobody can be asked")
                .with_hint(format!("give it with `-r HOST/PATH`, or set `container_repository` in `{config}`")));
        }
        let default = GlobalConfig::read()?.default_repository(project.kind()?);
        let repository = prompt::repository(terminal, default.as_deref())?;
        Ok(self.destination(repository.clone(), repository, true, Some(config)))
    }

    fn known(&self, config: Option<&ProjectConfig>) -> Result<Option<Destination>> {
        // An empty flag comes from a CI variable that is not set; mp-build takes it as no flag.
        let flag = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let parse = |text: String| ContainerRepository::parse(&text);
        let configured = |text: Option<&str>, key: &str| {
            let wrong = |error: Error| error.wrap(format!("`{key}` in config.json cannot be used"));
            text.map(|text| ContainerRepository::parse(text).map_err(wrong)).transpose()
        };
        let pull_flag = flag(&self.registry_tag).map(parse).transpose()?;
        let pull_config = match (&pull_flag, config) {
            (None, Some(config)) => configured(config.container_repository(), "container_repository")?,
            _ => None,
        };
        let push_flag = flag(&self.push_registry).map(parse).transpose()?;
        let push = match (push_flag, config) {
            (None, Some(config)) => configured(config.container_push_repository(), "container_push_repository")?,
            (push, _) => push,
        };
        let remember = pull_flag.is_none() && pull_config.is_none() && config.is_some();
        let pull = pull_flag.or(pull_config);
        Ok(match (push, pull) {
            (Some(push), Some(pull)) => Some(self.destination(push, pull, remember, config)),
            (Some(one), None) | (None, Some(one)) => Some(self.destination(one.clone(), one, remember, config)),
            (None, None) => None,
        })
    }

    fn destination(
        &self,
        push: ContainerRepository,
        pull: ContainerRepository,
        remember: bool,
        config: Option<&ProjectConfig>,
    ) -> Destination {
        let use_default_registry = self.use_default_registry || config.is_some_and(ProjectConfig::use_default_registry);
        Destination { push, pull, remember, use_default_registry }
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

    fn known(registry_tag: Option<&str>, push_registry: Option<&str>, json: &str) -> Option<(String, String, bool)> {
        let flags = DestinationFlags {
            registry_tag: registry_tag.map(str::to_owned),
            push_registry: push_registry.map(str::to_owned),
            ..DestinationFlags::default()
        };
        let (_folder, config) = config(json);
        let found = flags.known(Some(&config)).unwrap()?;
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
    fn nothing_and_empty_flags_mean_to_ask() {
        assert_eq!(known(None, None, "{}"), None);
        assert_eq!(known(Some(""), Some(""), r#"{"container_repository": null}"#), None);
    }

    #[test]
    fn a_wrong_repository_in_config_json_is_named() {
        let (_folder, config) = config(r#"{"container_repository": "Harbor.example.com/a"}"#);
        let error = DestinationFlags::default().known(Some(&config)).unwrap_err();
        assert_eq!(error.to_string(), "`container_repository` in config.json cannot be used");
        assert!(error.hint().is_some());
    }
}
