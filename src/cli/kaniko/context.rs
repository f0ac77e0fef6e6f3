//! kaniko's build contexts: a path, `dir://`, `tar://`, `git://`, `https://`; those in a cloud's
//! storage are refused.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;

use crate::build::BuildRequest;
use crate::context::{ContextAddress, GitAddress};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Mpimg, StreamedInput};
use crate::sandbox::SecretBytes;

/// The remedy of what mpimg does not fetch.
pub(super) const FETCH_IT: &str = "fetch it in a step before, and give it as --context tar://FILE or --context dir://FOLDER";

/// What `--context`, `--context-sub-path` and `--git` say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) text: &'a str,
    pub(super) sub_path: Option<&'a str>,
    pub(super) git: &'a [&'a str],
}

impl Context<'_> {
    /// Puts the build context into the request, fetched and unpacked. What it gives must outlive
    /// the build.
    pub(super) async fn put_into(self, mpimg: &Mpimg, request: &mut BuildRequest) -> Result<Option<StreamedInput>> {
        let (scheme, rest) = match self.text.split_once("://") {
            // As in kaniko, the folder below counts only behind a scheme.
            None => return self.folder(request, Path::new(self.text)).map(|()| None),
            Some(parts) => parts,
        };
        let input = match scheme {
            "dir" => None,
            "tar" if rest == "stdin" => Some(mpimg.read_context(request, std::io::stdin())?),
            "tar" => {
                let file = File::open(rest).map_err(|error| Error::io("open", Path::new(rest), error))?;
                Some(mpimg.read_context(request, file)?)
            }
            "git" => return self.git(mpimg, request, rest).await.map(Some),
            "https" if !is_azure(rest) => Some(mpimg.fetch_context(request, &ContextAddress::Http(self.text.to_owned())).await?),
            _ => {
                let error = Error::new(ErrorKind::Unsupported, format!("mpimg does not fetch the build context `{}`", self.text));
                return Err(error.with_hint(FETCH_IT));
            }
        };
        let folder = if scheme == "dir" { PathBuf::from(rest) } else { request.context.clone() };
        let below = Path::new(self.sub_path.unwrap_or_default());
        if below.components().any(|part| matches!(part, Component::ParentDir | Component::RootDir)) {
            return Err(Error::new(ErrorKind::Usage, format!("`{}` leads out of the build context", below.display()))
                .with_hint("name a folder in it: --context-sub-path app/server"));
        }
        self.folder(request, &folder.join(below))?;
        Ok(input)
    }

    fn folder(&self, request: &mut BuildRequest, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, format!("the build context `{}` is not a folder", folder.display()))
                .with_hint("name the folder with --context, or a tar as --context tar://FILE"));
        }
        request.context = folder.to_owned();
        Ok(())
    }

    /// `REPOSITORY[#REF[#COMMIT]]`, without a scheme of its own; the variables are kaniko's.
    async fn git(&self, mpimg: &Mpimg, request: &mut BuildRequest, rest: &str) -> Result<StreamedInput> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut parts = rest.split('#');
        let repository = parts.next().unwrap_or_default();
        let method = variable("GIT_PULL_METHOD").unwrap_or_else(|| "https".into());
        if !matches!(method.as_str(), "http" | "https") {
            return Err(
                Error::new(ErrorKind::Usage, format!("GIT_PULL_METHOD is `{method}`")).with_hint("set it to https or http")
            );
        }
        let option = |name: &str| {
            let options = self.git.iter().flat_map(|text| text.split(','));
            options.filter_map(|option| option.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let reference = parts.next().filter(|reference| !reference.is_empty());
        let commit = parts.next().filter(|commit| !commit.is_empty());
        let address = GitAddress {
            remote: format!("{method}://{repository}"),
            reference: commit.or(reference).or(option("branch")).map(str::to_owned),
            folder: self.sub_path.filter(|path| !path.is_empty()).map(str::to_owned),
            checksum: None,
            // kaniko copies a clone as it is.
            keep_git_dir: Some(true),
            submodules: option("recurse-submodules") == Some("true"),
        };
        let (username, password) = match variable("GIT_TOKEN") {
            Some(token) => (Some(token), None),
            None => (variable("GIT_USERNAME"), variable("GIT_PASSWORD")),
        };
        const HEADER: &str = "GIT_AUTH_HEADER";
        let before = request.secrets.clone();
        if let Some(username) = username {
            let pair = format!("{username}:{}", password.unwrap_or_default());
            let header = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            request.secrets.insert(HEADER.into(), SecretBytes::new(header));
        }
        let fetched = mpimg.fetch_context(request, &ContextAddress::Git(address)).await;
        // No step is to see it.
        request.secrets = before;
        fetched
    }
}

fn is_azure(rest: &str) -> bool {
    rest.split('/').next().is_some_and(|host| host.contains(".blob.core."))
}
