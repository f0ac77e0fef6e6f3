//! The command `mpimg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mpimg::cli::word_hints();
    // Before any thread: this process may have been started to hold a RUN step or a container.
    mpimg::init_main();
    mpimg::cli::main()
}
