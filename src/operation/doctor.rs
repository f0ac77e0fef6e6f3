//! What this machine provides: isolation for RUN and containers, the store, configuration files,
//! and where credentials are stored.

use super::configuration::{self, ConfigurationFile, StoredCredential};
use super::{Mpimg, Settings, blocking};
use crate::error::Result;
use crate::sandbox::Report;
use crate::store::{CacheLimit, DiskUsage};

/// What this machine provides.
#[derive(Debug)]
#[non_exhaustive]
pub struct DoctorReport {
    /// Each kind of isolation, really tried.
    pub isolation: Report,
    /// The local store's folder and what it takes on disk; an error if it cannot be opened.
    pub store: Result<(std::path::PathBuf, DiskUsage)>,
    /// The bytes that the build cache may take on this disk before what was unused for longest
    /// goes; `None`: all of it.
    pub cache_limit: Option<u64>,
    /// Files that are read if they exist, in the order in which they count.
    pub files: Vec<ConfigurationFile>,
    /// What mpimg's configuration file says; an error if it is wrong.
    pub settings: Result<Settings>,
    /// Environment variables that change what mpimg does and are set.
    pub variables: Vec<&'static str>,
    /// Registries with a login.
    pub credentials: Vec<StoredCredential>,
}

impl Mpimg {
    /// Tries each kind of isolation and looks at store and configuration. Passwords are not read.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted): stopped. What is wrong with this
    /// machine is in the report.
    pub async fn doctor(&self) -> Result<DoctorReport> {
        let store = self.open_store().await;
        // What is tried out goes with this process, however it ends.
        let scratch = store.as_ref().ok().and_then(|store| store.scratch().ok());
        let state = scratch.as_ref().map_or_else(std::env::temp_dir, |scratch| scratch.path().to_owned());
        let isolation = blocking(move || Ok(Report::of_all(&state))).await?;
        drop(scratch);
        let settings = Settings::read();
        let limit = settings.as_ref().map_or_else(|_| CacheLimit::default(), |settings| settings.cache_limit);
        let disk = store.as_ref().ok().and_then(|store| store.disk().ok());
        let cache_limit = disk.and_then(|disk| limit.keeps(u64::MAX, disk));
        let store = store.and_then(|store| Ok((store.root().to_owned(), store.disk_usage()?)));
        let files = configuration::files();
        let credentials = configuration::credentials(&files);
        Ok(DoctorReport { isolation, store, cache_limit, settings, variables: configuration::variables(), credentials, files })
    }
}
