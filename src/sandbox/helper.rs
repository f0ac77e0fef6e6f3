//! x

use std::path::PathBuf;

/// `argv[0]` of the helper process.
pub const HELPER_NAME: &str = "mpimg-sandbox-init";

/// Becomes the helper if this process was started as one, and then never returns; otherwise does nothing but remember that this
/// program can be its own helper. `main` must call it before anything else, above all before it starts a thread.
pub fn init_main() {}

/// Names the program that is started as the helper: one whose `main` calls [`init_main`]. For programs that cannot do so themselves,
/// such as a Python interpreter or a test harness.
pub fn set_helper(program: PathBuf) {
    let _ = program;
}
