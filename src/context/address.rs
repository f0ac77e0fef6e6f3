//! Addresses of build contexts that are elsewhere: a git repository, or a file on the web.
//!
//! Source: BuildKit, dfgitutil (`ParseGitRef`) and dockerui (`DetectGitContext`,
//! `DetectHTTPContext`).

use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Where a build context is to be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextAddress {
    /// A git repository.
    Git(GitAddress),
    /// A tar, plain or compressed, or a Dockerfile alone: its URL.
    Http(String),
}

/// A commit of a git repository, and a folder in it: `REMOTE#REF:FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitAddress {
    /// The repository, for git: a URL, or `USER@HOST:PATH`.
    pub remote: String,
    /// A branch, a tag or a commit; the remote's HEAD without it.
    pub reference: Option<String>,
    /// The folder in the repository; its root without it.
    pub folder: Option<String>,
    /// The beginning of the commit's ID that must come.
    pub checksum: Option<String>,
    /// Whether the `.git` folder belongs to what is fetched; not without it.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched.
    pub submodules: bool,
}

impl ContextAddress {
    /// The address that `text` is; `None`: it is a path of this machine.
    pub fn parse(text: &str) -> Option<Result<Self>> {
        let lower = text.to_ascii_lowercase();
        let is_http = lower.starts_with("http://") || lower.starts_with("https://");
        let is_git = lower.starts_with("git://") || lower.starts_with("ssh://") || text.starts_with("git@");
        if is_http {
            let path = Url::parse(text).map(|url| url.path().to_owned()).unwrap_or_default();
            return Some(match path.ends_with(".git") {
                true => GitAddress::parse(text).map(Self::Git),
                false => Ok(Self::Http(text.to_owned())),
            });
        }
        match text.strip_prefix("github.com/") {
            Some(_) => Some(GitAddress::parse(&format!("https://{text}")).map(Self::Git)),
            None => is_git.then(|| GitAddress::parse(text).map(Self::Git)),
        }
    }
}

impl GitAddress {
    /// Parses `REMOTE#REF:FOLDER`; a URL may say the same in its query: `?ref=`, `branch=`, `tag=`,
    /// `subdir=`, `checksum=`, `keep-git-dir=`, `submodules=`. `mtime=` and `fetch-by-commit=` are
    /// accepted: all files have the build's time, and a commit is fetched by its ID where the
    /// server gives it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: a query that is not known or says another thing than the rest of the
    /// address, or something that git would take for a flag.
    pub fn parse(text: &str) -> Result<Self> {
        let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = whole.split_once('?').unwrap_or((whole, ""));
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut address = Self {
            remote: remote.to_owned(),
            reference: given(reference),
            folder: given(folder.trim_matches('/')),
            checksum: None,
            keep_git_dir: None,
            submodules: true,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let full = |prefix: &str| {
                if value.starts_with(prefix) { value.to_string() } else { format!("{prefix}{value}") }
            };
            let may_be_empty = matches!(&*name, "keep-git-dir" | "submodules" | "fetch-by-commit");
            if value.is_empty() && !may_be_empty {
                return Err(wrong(format!("`{name}` has no value in the address of a git repository")));
            }
            match &*name {
                "ref" => set_once(&mut address.reference, "reference", value.to_string())?,
                "branch" => set_once(&mut address.reference, "reference", full("refs/heads/"))?,
                "tag" => set_once(&mut address.reference, "reference", full("refs/tags/"))?,
                "subdir" => set_once(&mut address.folder, "folder", value.trim_matches('/').to_owned())?,
                "checksum" | "commit" => set_once(&mut address.checksum, "checksum", value.to_string())?,
                "keep-git-dir" => address.keep_git_dir = Some(boolean(&name, &value)?),
                "submodules" => address.submodules = boolean(&name, &value)?,
                "fetch-by-commit" => _ = boolean(&name, &value)?,
                "mtime" if matches!(&*value, "checkout" | "commit") => {}
                "mtime" => return Err(wrong(format!("`mtime` is `checkout` or `commit`, not `{value}`"))),
                _ => return Err(wrong(format!("`{name}` is not known in the address of a git repository"))),
            }
        }
        let flag = [Some(&address.remote), address.reference.as_ref()].into_iter().flatten().find(|word| word.starts_with('-'));
        if let Some(flag) = flag {
            return Err(
                Error::new(ErrorKind::Usage, format!("`{flag}` would be a flag of git")).with_hint("write URL#REF:FOLDER")
            );
        }
        Ok(address)
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
        .with_hint("write URL#REF:FOLDER, or ref, branch, tag, subdir, checksum, keep-git-dir or submodules after `?`")
}

/// Sets what the address may say at several places, if they agree.
fn set_once(field: &mut Option<String>, what: &str, value: String) -> Result<()> {
    match field.replace(value) {
        Some(earlier) if field.as_deref() != Some(&earlier) => {
            let later = field.as_deref().unwrap_or_default();
            Err(wrong(format!("the address of the git repository has two values for the {what}: `{earlier}` and `{later}`")))
        }
        _ => Ok(()),
    }
}

/// As Go's `strconv.ParseBool`; a name without a value is set.
fn boolean(name: &str, value: &str) -> Result<bool> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(wrong(format!("`{name}` is `true` or `false`, not `{value}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(text: &str) -> GitAddress {
        match ContextAddress::parse(text) {
            Some(Ok(ContextAddress::Git(address))) => address,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn addresses_are_told_from_paths_as_docker_tells_them() {
        for path in [".", "./git@x", "../a.git", "dir", "/a/b", "-", "github.com"] {
            assert!(ContextAddress::parse(path).is_none(), "{path}");
        }
        let http = ContextAddress::parse("https://h/a.tar.gz?x=1#y").unwrap().unwrap();
        assert_eq!(http, ContextAddress::Http("https://h/a.tar.gz?x=1#y".into()));
        for (text, remote, reference, folder) in [
            ("https://h/a.git", "https://h/a.git", None, None),
            ("https://h/a.git#main", "https://h/a.git", Some("main"), None),
            ("https://u:p@h/a.git#v1:docker/app/", "https://u:p@h/a.git", Some("v1"), Some("docker/app")),
            ("http://h/a.git#:docker", "http://h/a.git", None, Some("docker")),
            ("git@h:a/b.git#feature/x", "git@h:a/b.git", Some("feature/x"), None),
            ("git://h/a", "git://h/a", None, None),
            ("ssh://git@h/a#v1", "ssh://git@h/a", Some("v1"), None),
            ("github.com/a/b#v1", "https://github.com/a/b", Some("v1"), None),
            ("https://h/a.git?branch=x&subdir=d", "https://h/a.git", Some("refs/heads/x"), Some("d")),
        ] {
            let address = git(text);
            let found = (address.remote.as_str(), address.reference.as_deref(), address.folder.as_deref());
            assert_eq!(found, (remote, reference, folder), "{text}");
        }
        let address = git("https://h/a.git?tag=v1&checksum=abc&keep-git-dir=1&submodules=false");
        assert_eq!((address.checksum.as_deref(), address.keep_git_dir, address.submodules), (Some("abc"), Some(true), false));
        let address = git("https://h/a.git?tag=refs/tags/v1&mtime=commit&fetch-by-commit#refs/tags/v1");
        assert_eq!((address.reference.as_deref(), address.keep_git_dir), (Some("refs/tags/v1"), None));
    }

    #[test]
    fn what_git_would_take_for_a_flag_or_contradicts_itself_is_refused() {
        for text in [
            "https://h/a.git#--upload-pack=x",
            "https://h/a.git?ref=-x",
            "https://h/a.git?mode=1",
            "https://h/a.git?ref=a#b",
            "https://h/a.git?branch=a&tag=a",
            "https://h/a.git?subdir=a#:b",
            "https://h/a.git?subdir=",
            "https://h/a.git?submodules=2",
            "https://h/a.git?mtime=now",
        ] {
            assert!(ContextAddress::parse(text).unwrap().is_err(), "{text}");
        }
    }
}
