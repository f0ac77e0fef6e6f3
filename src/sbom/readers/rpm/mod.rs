//! rpm's database in the three forms that it has had: SQLite, ndb (SUSE), and Berkeley DB (before
//! 2020). Each holds the headers of the installed packages.
//!
//! Never writes, and does not recover what a crash left: only what is in the main file counts.

mod berkeley;
mod header;
mod ndb;
mod sqlite;

use crate::sbom::package::PackageRecord;

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Sqlite,
    Ndb,
    Berkeley,
}

impl Form {
    /// That of the file, if it is a database of rpm's. `/var/lib/rpm` is a link where the database
    /// is in `/usr/lib/sysimage/rpm`.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        if !["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"].contains(&folder) {
            return None;
        }
        match name {
            "rpmdb.sqlite" => Some(Self::Sqlite),
            "Packages.db" => Some(Self::Ndb),
            "Packages" => Some(Self::Berkeley),
            _ => None,
        }
    }
}

/// The packages; `None` if it is not such a database, or a damaged one.
pub(super) fn packages(form: Form, database: &[u8]) -> Option<Vec<PackageRecord>> {
    let headers = match form {
        Form::Sqlite => sqlite::blobs(database)?,
        Form::Ndb => ndb::blobs(database)?,
        Form::Berkeley => berkeley::blobs(database)?,
    };
    Some(headers.iter().filter_map(|header| header::package(header)).collect())
}
