//! The command.

fn main() {
    #[cfg(target_os = "linux")]
    mpimg::sandbox::init_main();
}
