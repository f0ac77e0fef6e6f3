//! The grammar of names: registry and repository (distribution's package `reference`, whose Go code
//! defines it).
//!
//! Written out because start-up time counts: the regular expression that oci-spec has for it takes
//! 40 ms and 20 MB to compile, longer than a whole push of a small project. A test holds both to
//! the same answers.

/// The longest path of a repository, in bytes (`NameTotalLengthMax`).
const LONGEST: usize = 255;

const HUB: &str = "docker.io";
/// What Docker Hub was called in docker's early days, and still is in its configuration.
const LEGACY_HUB: &str = "index.docker.io";
const OFFICIAL: &str = "library";

/// A name as registry and path, with what docker lets people leave out; or what is wrong with it.
pub(super) fn split(name: &str) -> Result<(String, String), String> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (HUB, name),
    };
    check_registry(registry)?;
    if path.is_empty() {
        return Err("it has no name".into());
    }
    let registry = if registry == LEGACY_HUB { HUB } else { registry };
    let path = match registry {
        HUB if !path.contains('/') => format!("{OFFICIAL}/{path}"),
        _ => path.to_owned(),
    };
    // Completed: the whole name must fit, as in the Go code.
    check_path(&path)?;
    Ok((registry.to_owned(), path))
}

/// `host[:port]`; the host a name, an IPv4 address, or an IPv6 address in brackets.
fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| format!("`{address}` is not an IPv6 address"))?;
            (None, port.strip_prefix(':').or((!port.is_empty()).then_some(port)))
        }
        None => registry.split_once(':').map_or((Some(registry), None), |(host, port)| (Some(host), Some(port))),
    };
    if let Some(port) =
        port.filter(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err())
    {
        return Err(format!("`{port}` is not a port"));
    }
    let right = |part: &str| {
        let dash = part.starts_with('-') || part.ends_with('-');
        !part.is_empty() && !dash && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // Without a port, the expression takes a host with `_` in it, too: it could be the first part
    // of a path.
    let wrong = |host: &&str| !(host.split('.').all(right) || port.is_none() && is_component(host));
    match host.filter(wrong) {
        Some(host) => Err(format!("`{host}` is not a host name")),
        None => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.len() > LONGEST {
        return Err(format!("`{path}` is longer than {LONGEST} letters"));
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository must be in lower case".into());
    }
    match path.split('/').find(|part| !is_component(part)) {
        Some("") => Err("it has an empty part between slashes".into()),
        Some(part) => Err(format!("`{part}` is not a part of a name")),
        None => Ok(()),
    }
}

/// Letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = part.split(|letter: char| letter.is_ascii() && word(letter as u8)).filter(|between| !between.is_empty());
    let ends = |b: Option<&u8>| b.is_some_and(|b| word(*b));
    ends(part.as_bytes().first())
        && ends(part.as_bytes().last())
        && separators.into_iter().all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for (name, why) in [
            ("", "it has no name"),
            ("a//b", "it has an empty part between slashes"),
            ("a/B", "the repository must be in lower case"),
            ("a/b..c", "`b..c` is not a part of a name"),
            ("a___b", "`a___b` is not a part of a name"),
            ("-a.b/c", "`-a.b` is not a host name"),
            ("host:70000/a", "`70000` is not a port"),
            ("host:/a", "`` is not a port"),
            ("[::g]:5000/a", "`::g` is not an IPv6 address"),
        ] {
            assert_eq!(split(name).unwrap_err(), why, "{name}");
        }
        assert_eq!(split("[::1]:5000/a").unwrap(), ("[::1]:5000".into(), "a".into()));
        // Found by benches/fuzz: `library/` counts, too.
        assert!(split(&"a".repeat(248)).is_err() && split(&"a".repeat(247)).is_ok());
    }
}
