//! The names of build contexts (docker's `--build-context NAME=…`), as FROM and `--from` find them.

use crate::oci::Reference;

/// The name by which a build context is found: in lower case; of an image's name the shortest form,
/// without `latest` (BuildKit, dockerui, `namedContext`).
pub fn context_name(name: &str) -> String {
    match Reference::parse(name) {
        Ok(reference) => {
            let familiar = reference.familiar();
            familiar.strip_suffix(":latest").map_or(familiar.clone(), str::to_owned)
        }
        // What is not a reference may be a stage's name, such as `Base`.
        Err(_) => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_name_however_it_is_written() {
        for name in ["alpine", "alpine:latest", "docker.io/library/alpine", "index.docker.io/library/alpine:latest"] {
            assert_eq!(context_name(name), "alpine");
        }
        assert_eq!(context_name("alpine:3"), "alpine:3");
        assert_eq!(context_name("Base"), "base");
    }
}
