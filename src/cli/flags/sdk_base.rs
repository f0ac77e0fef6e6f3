//! The question on which image a project is built whose Dockerfile names a base image of the SDK
//! that cannot be had.

use crate::build::{BuildRequest, SdkBase};
use crate::cli::prompt;
use crate::cli::terminal::Terminal;
use crate::error::Result;
use crate::operation::Mpimg;

/// Asks on a terminal whether to build on the installed SDK's image, where the Dockerfile's own
/// cannot be had.
pub(crate) async fn ask_for_sdk_base(terminal: &Terminal, mpimg: &Mpimg, request: &mut BuildRequest) -> Result<()> {
    if !terminal.can_ask() {
        return Ok(());
    }
    if let Some(change) = mpimg.replaceable_bases(request).await?.first() {
        terminal.say(&format!("`{}` is in no registry any more, and the installed SDK does not build it", change.from));
        // It must fit on a line of a narrow terminal.
        let question = format!("Build on `{}` of the installed SDK instead?", change.to);
        if prompt::confirm(terminal, &question)? {
            request.sdk_base = SdkBase::Installed;
        }
    }
    Ok(())
}
