//! Paths inside an image as text: joined and cleaned as Go's `path` does, with no file system
//! behind them.
//!
//! No path leads above `/`.

/// `path` without `.`, `..`, double slashes and a slash at its end; `.` if nothing is left.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

/// `path` below `folder` unless it is absolute, cleaned and absolute in either case.
pub(super) fn join(folder: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => clean(path),
        false => clean(&format!("/{folder}/{path}")),
    }
}

/// The last part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// [`join`], with a slash at the end where `path` says that it is a folder: it ends with `/`, `/.`,
/// or is `.` or empty.
pub(super) fn join_destination(folder: &str, path: &str) -> String {
    let joined = join(folder, path);
    let is_folder = path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
    if is_folder && joined != "/" { joined + "/" } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("/a/../b/./c//", "/b/c"),
            ("/../..", "/"),
            ("a/../..", ".."),
            ("./a", "a"),
            ("../../a/..", "../.."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn destinations_keep_the_slash_that_makes_them_folders() {
        for (path, joined) in [
            (".", "/w/"),
            ("", "/w/"),
            ("./", "/w/"),
            ("app", "/w/app"),
            ("app/", "/w/app/"),
            ("app/.", "/w/app/"),
            ("/", "/"),
            ("/x//y/", "/x/y/"),
            ("..", "/"),
        ] {
            assert_eq!(join_destination("/w", path), joined, "{path}");
        }
    }
}
