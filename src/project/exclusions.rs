//! What `mp-build` leaves out of the build context (SDK 1.3,
//! `docker_wrapper._docker_context_inclusion_func`).
//!
//! Never touches the disk: names in, verdict out. Only folders are ever left out; hidden files are
//! sent.

/// Folders left out at the top of a project, and only there.
pub const EXCLUDED_FOLDERS: [&str; 4] = ["build", "content", "logs", "resources"];

/// A folder that holds both files of a pair is a virtual environment and left out at any depth.
pub const VIRTUAL_ENVIRONMENTS: [[&str; 2]; 2] = [["bin/activate", "bin/python"], ["Scripts/activate.bat", "Scripts/python.exe"]];

/// Whether `mp-build` leaves out a folder called `name` for its name alone, and why, in words that
/// end a sentence.
///
/// `top` tells whether it is directly in the project's folder.
pub fn excludes_folder(name: &[u8], top: bool) -> Option<&'static str> {
    if top && EXCLUDED_FOLDERS.iter().any(|excluded| excluded.as_bytes() == name) {
        return Some("the SDK keeps this folder for the pak, not for the image");
    }
    name.starts_with(b".").then_some("the SDK leaves hidden folders out of the image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pak_folders_are_left_out_at_the_top_only_and_hidden_ones_everywhere() {
        for name in ["build", "content", "logs", "resources"] {
            assert!(excludes_folder(name.as_bytes(), true).is_some(), "{name}");
            assert_eq!(excludes_folder(name.as_bytes(), false), None, "{name}");
        }
        assert!(excludes_folder(b".git", true).is_some() && excludes_folder(b".cache", false).is_some());
        assert_eq!(excludes_folder(b"app", true), None);
        assert_eq!(excludes_folder(b"Build", true), None);
    }
}
