//! Git repositories, for ADD.

use std::path::Path;

use crate::build::git_authorization::git_authorization;
use crate::build::session::Session;
use crate::context::{BuildContext, ContextOptions, GitAddress, Source, fetch_git};
use crate::dockerfile::{AddStep, hide_credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::TaskKind;

/// A commit of a git repository that is on this machine.
pub(super) struct Repository {
    /// Its ID.
    pub(super) commit: String,
    /// The folder that is copied.
    pub(super) files: Source,
}

impl Repository {
    /// Fetches what `address` names into `folder`, which is made.
    pub(super) fn fetch(step: &AddStep, address: &str, folder: &Path, session: &Session<'_>) -> Result<Self> {
        let address = with_flags(GitAddress::parse(address)?, step)?;
        let shown = hide_credentials(&address.remote);
        let task = session.progress.task(TaskKind::Pull, &format!("fetch {shown}"), None);
        std::fs::create_dir(folder).map_err(|error| Error::io("create", folder, error))?;
        let commit = session.runtime.block_on(fetch_git(
            &address,
            git_authorization(&session.request.secrets),
            folder,
            session.cancel(),
        ))?;
        task.done();
        session.downloads.add_commit(shown, commit.id.clone());
        let files = BuildContext::open(&commit.folder, ContextOptions::default())?.sources("/")?;
        let files = files.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Context, format!("`{}` is not a folder", commit.folder.display()))
                .with_hint("name a folder of the repository after `#REF:`")
        })?;
        Ok(Self { commit: commit.id, files })
    }
}

/// The address with what the instruction's flags say. Flags and the address may say the same twice,
/// but not two things.
fn with_flags(mut address: GitAddress, step: &AddStep) -> Result<GitAddress> {
    let differ = |flag: &str| {
        Error::new(ErrorKind::Dockerfile, format!("`--{flag}` and the address of the git repository say different things"))
            .with_hint("say it in one of the two")
    };
    if step.keep_git_dir {
        if address.keep_git_dir == Some(false) {
            return Err(differ("keep-git-dir"));
        }
        address.keep_git_dir = Some(true);
    }
    if let Some(checksum) = &step.checksum {
        if address.checksum.as_ref().is_some_and(|other| other != checksum) {
            return Err(differ("checksum"));
        }
        address.checksum = Some(checksum.clone());
    }
    Ok(address)
}
