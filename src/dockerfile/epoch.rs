//! Where the image's times come from: `SOURCE_DATE_EPOCH` as a build argument, or as an ARG before the
//! first FROM (Dockerfile reference, "SOURCE_DATE_EPOCH").

use crate::error::{Error, ErrorKind, Result};

use super::expand::{SOURCE_DATE_EPOCH, platform_variables};
use super::planner::global_variables;
use super::{Dockerfile, PlanOptions};

impl Dockerfile {
    /// Seconds since 1970 as the build argument or the ARG has them, not yet checked to be a number.
    ///
    /// `None` where neither is set, and where the ARG says `context`: the time of the last commit of the
    /// build context, which is the default.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the ARG names a stage: BuildKit asks the server of the stage's
    /// only ADD for the time.
    pub fn source_date_epoch(&self, options: &PlanOptions) -> Result<Option<String>> {
        let globals = global_variables(self, platform_variables(options, ""), &options.build_args)?;
        let given = options.build_args.get(SOURCE_DATE_EPOCH).map(String::as_str);
        let Some(epoch) = given.or_else(|| globals.value(SOURCE_DATE_EPOCH)) else { return Ok(None) };
        let is_stage = self.stages.iter().any(|stage| stage.name.as_deref() == Some(epoch.to_lowercase().as_str()));
        if is_stage {
            let message = format!("SOURCE_DATE_EPOCH names the stage `{epoch}`, whose time mpimg does not look up");
            let error = Error::new(ErrorKind::Unsupported, message);
            return Err(error.with_hint("pass the build argument SOURCE_DATE_EPOCH with seconds, or write `context`"));
        }
        Ok(Some(epoch).filter(|epoch| *epoch != "context").map(str::to_owned))
    }
}
