//! `mpimg mp-test`: the Integration SDK's own `mp-test`, as `mpimg mp-build` runs its `mp-build`.

use std::ffi::OsString;

use clap::Args;

use super::mp_build::hand_over;
use crate::cli::terminal::Terminal;
use crate::error::Result;

const EXAMPLES: &str = "\
The Python is found as `mpimg mp-build` finds it. Exit code and messages are those of mp-test.

Examples:
  mpimg mp-test                                  The project in this folder; asks what to test
  mpimg mp-test -p ~/nsx -c lab collect          One collection with the connection `lab`
  mpimg mp-test -c lab long-run -d 1h -i 5m      With the statistics of the container
  mpimg mp-test -- --help                        What mp-test takes, and what mpimg adds";

/// Run the Integration SDK's mp-test without Docker
///
/// The installed SDK's own tool tests the adapter; mpimg builds its image and runs it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MpTest {
    /// What mp-test is given
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl MpTest {
    pub(super) fn run(self, _terminal: &Terminal) -> Result<()> {
        hand_over("mpimg.mp_test", &self.arguments)
    }
}
