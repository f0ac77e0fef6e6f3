//! Where an image goes: flags, and the question if neither they nor config.json tell.
//!
//! The library decides, for every program.

use clap::Args;

use crate::cli::prompt;
use crate::cli::terminal::Terminal;
use crate::error::{Error, Result};
use crate::operation::{Destination, DestinationOptions, Mpimg, PushRequest, PushSource};
use crate::project::{ContainerRepository, GlobalConfig};

/// Where an image goes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DestinationFlags {
    /// The repository: HOST[:PORT]/PATH, or NAMESPACE/NAME on Docker Hub
    /// [default: config.json, else asked for]
    ///
    /// It is what <kind>.conf names and the product pulls from. Without the flag it is
    /// `container_repository` of config.json. If there is none, it is asked for, and written to
    /// config.json once the push has succeeded. `mp-build` calls it --registry-tag.
    #[arg(short = 'r', long, value_name = "REPOSITORY", visible_alias = "registry-tag")]
    repository: Option<String>,

    /// Push here instead, if the product reaches the same repository by another name
    /// [default: `container_push_repository`]
    #[arg(long, value_name = "REPOSITORY", visible_alias = "push-repository")]
    push_registry: Option<String>,

    /// Leave REGISTRY out of the printed entries: the product then uses its own default registry
    #[arg(long)]
    use_default_registry: bool,

    /// Never prompt, even on a terminal
    #[arg(long)]
    no_ttl: bool,
}

impl DestinationFlags {
    /// Puts the flags into the request; asks if neither they nor config.json tell where it goes.
    pub(crate) fn decide(&self, terminal: &Terminal, mpimg: &Mpimg, request: &mut PushRequest) -> Result<Destination> {
        request.destination = self.options()?;
        if let Some(known) = request.destination()? {
            return Ok(known);
        }
        let Some((project, config)) = request.project.as_ref().filter(|_| !self.no_ttl && terminal.can_ask()) else {
            let error = request.no_destination();
            // A project that is built could be asked for on a terminal.
            let askable = request.project.is_some() && matches!(request.source, PushSource::Build(_));
            return Err(match error.hint() {
                Some(hint) if askable => {
                    Error::new(error.kind(), format!("{error}, and there is no terminal to ask on")).with_hint(hint)
                }
                _ => error,
            });
        };
        let of_image = matches!(request.source, PushSource::Image { .. });
        let default = match config.container_repository().filter(|_| of_image) {
            Some(configured) => Some(configured.to_owned()),
            None => match mpimg.repository_answer(config) {
                Some(answer) => Some(answer),
                None => GlobalConfig::read()?.default_repository(project.kind()?),
            },
        };
        let answer = prompt::repository(terminal, default.as_deref())?;
        mpimg.keep_repository_answer(config, &answer);
        let use_default_registry = self.use_default_registry || config.use_default_registry();
        // Only a project's own image says where its repository is.
        let remember = !of_image;
        request.destination = DestinationOptions { repository: Some(answer.clone()), remember, ..request.destination.clone() };
        Ok(Destination { push: answer.clone(), pull: answer, remember, use_default_registry })
    }

    /// Whether questions are allowed.
    pub(crate) fn may_ask(&self) -> bool {
        !self.no_ttl
    }

    fn options(&self) -> Result<DestinationOptions> {
        // An empty flag comes from a CI variable that is not set; mp-build takes it as no flag.
        let parse =
            |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(ContainerRepository::parse).transpose();
        Ok(DestinationOptions {
            repository: parse(&self.repository)?,
            push_repository: parse(&self.push_registry)?,
            use_default_registry: self.use_default_registry,
            remember: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_flags_are_no_flags() {
        let empty = Some(String::new());
        let flags = DestinationFlags { repository: empty.clone(), push_registry: empty, ..DestinationFlags::default() };
        assert_eq!(flags.options().unwrap(), DestinationOptions::default());
    }
}
