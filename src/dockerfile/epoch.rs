//! Where the image's times come from: `SOURCE_DATE_EPOCH` as a build argument, or as an ARG before
//! the first FROM (Dockerfile reference, "SOURCE_DATE_EPOCH").

use crate::error::{Error, Result};

use super::expand::{SOURCE_DATE_EPOCH, platform_variables, source_kind};
use super::planner::{global_variables, read};
use super::{AddSource, Dockerfile, Instruction, PlanOptions, Stage};

/// Where a Dockerfile says that the time comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpochSource {
    /// Nowhere, or from the build context, which is the default: its last commit.
    Context,
    /// Seconds since 1970 as they are written, not yet checked to be a number.
    Given(String),
    /// The time of the file at this URL: the only source of the stage that was named.
    File(String),
    /// The time of the commit at this address of a git repository: the only source of the stage
    /// that was named.
    Git(String),
}

impl Dockerfile {
    /// Where the build argument or the ARG says that the time comes from.
    ///
    /// # Errors
    /// [`ErrorKind::Dockerfile`] where the ARG names a stage that is more than one ADD of a file or
    /// a git repository from the web.
    pub fn source_date_epoch(&self, options: &PlanOptions) -> Result<EpochSource> {
        let globals = global_variables(self, platform_variables(options, ""), &options.build_args)?;
        let given = options.build_args.get(SOURCE_DATE_EPOCH).map(String::as_str);
        let from = given.or_else(|| globals.value(SOURCE_DATE_EPOCH)).unwrap_or_default();
        if from.is_empty() || from == "context" {
            return Ok(EpochSource::Context);
        }
        let stage = self.stages.iter().find(|stage| stage.name.as_deref() == Some(from.to_lowercase().as_str()));
        match stage.filter(|_| from.parse::<i64>().is_err()) {
            Some(stage) => self.source_of(stage, options),
            None => Ok(EpochSource::Given(from.to_owned())),
        }
    }

    /// The one file that a stage `FROM scratch` adds from the web.
    fn source_of(&self, stage: &Stage, options: &PlanOptions) -> Result<EpochSource> {
        let mut variables = global_variables(self, platform_variables(options, ""), &options.build_args)?;
        variables.set_last(SOURCE_DATE_EPOCH, "");
        let base = stage.base.value();
        let wrong =
            |at: Error| at.with_hint("write the stage as FROM scratch and one ADD of a URL, or pass seconds as a build argument");
        if read(&stage.base, base, &variables)?.text != "scratch" {
            return Err(wrong(stage.base.error_at(base, "SOURCE_DATE_EPOCH names this stage, which is not FROM scratch")));
        }
        let mut source = None;
        for step in &stage.instructions {
            match step.value() {
                Instruction::Arg(arguments) => {
                    for argument in arguments {
                        let value = match (options.build_args.get(&argument.name), &argument.default) {
                            (Some(given), _) => given.clone(),
                            (None, Some(default)) => read(step, default, &variables)?.text,
                            (None, None) => continue,
                        };
                        variables.set_last(&argument.name, &value);
                    }
                }
                Instruction::Add(add) if source.is_none() && add.inline_files.is_empty() && add.sources.len() == 1 => {
                    source = match source_kind(&read(step, &add.sources[0], &variables)?.text) {
                        AddSource::Url { url, .. } => Some(EpochSource::File(url)),
                        AddSource::Git(address) => Some(EpochSource::Git(address)),
                        AddSource::Path(path) => {
                            return Err(wrong(step.error_at(&path, "SOURCE_DATE_EPOCH names this stage, which adds no URL")));
                        }
                    };
                }
                other => {
                    let message = "SOURCE_DATE_EPOCH names this stage, which has more than one ADD of a URL";
                    return Err(wrong(step.error_at(other.name(), message)));
                }
            }
        }
        source.ok_or_else(|| wrong(stage.base.error_at(base, "SOURCE_DATE_EPOCH names this stage, which adds no URL")))
    }
}
