//! Docker's IDs of containers, 64 hexadecimal digits, of mpimg's, which are 12.
//!
//! The rest is the beginning of the digest of the first 12, so that an ID needs no record.

use super::invocation::{Failure, Invocation};
use crate::container::{Container, ContainerInfo, ContainerState};
use crate::error::ErrorKind;
use crate::oci::Digest;

/// Digits of mpimg's own IDs.
const SHORT: usize = 12;

/// The ID as docker prints it where it is not shortened.
pub(super) fn long_id(id: &str) -> String {
    let rest = Digest::of(id).hex();
    format!("{id}{}", &rest[..64_usize.saturating_sub(id.len()).min(rest.len())])
}

/// The container that a name, an ID or the beginning of one means.
pub(super) fn find(invocation: &Invocation, name: &str) -> Result<Container, Failure> {
    let missing = || Failure::daemon(format!("No such container: {name}"));
    let is_long = name.len() > SHORT && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wanted = match is_long {
        true if long_id(&name[..SHORT]).starts_with(name) => &name[..SHORT],
        true | false => name.trim_start_matches('/'),
    };
    invocation.mpimg().container(wanted).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(),
        _ => error.into(),
    })
}

/// Whether its command runs, or is about to.
pub(super) fn is_running(info: &ContainerInfo) -> bool {
    matches!(info.state, ContainerState::Starting | ContainerState::Running)
}

/// The container's name; one that was given none is called by its ID.
pub(super) fn name_of(info: &ContainerInfo) -> &str {
    info.name.as_deref().unwrap_or(&info.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_id_begins_with_the_short_one() {
        let long = long_id("1b9b09ef323d");
        assert_eq!(long.len(), 64);
        assert!(long.starts_with("1b9b09ef323d") && long.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(long[12..], long_id("1b9b09ef323e")[12..]);
    }
}
