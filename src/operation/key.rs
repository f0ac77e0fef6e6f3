//! Key files: read with their password, and made.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::signature::{SigningKey, read_pem};

/// Two files of a key that was made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeyFiles {
    /// The private key, encrypted, readable for its owner only.
    pub private: PathBuf,
    /// The public key.
    pub public: PathBuf,
    /// The key.
    pub key: SigningKey,
}

/// Reads a private key; `password` is asked only where the file is encrypted.
///
/// # Errors
/// [`ErrorKind::Usage`]: it cannot be read, is not a key that can sign, or the password is wrong;
/// what `password` fails with.
pub fn read_signing_key(path: &Path, password: impl FnOnce() -> Result<String>) -> Result<SigningKey> {
    let cannot = |error: Error| error.wrap(format!("cannot use `{}` as a private key", path.display()));
    let pem = read_pem(path).map_err(cannot)?;
    let password = if SigningKey::is_encrypted(&pem) { Some(password()?) } else { None };
    SigningKey::parse(&pem, password.as_deref()).map_err(cannot)
}

/// Makes a key and writes `PREFIX.key`, encrypted in cosign's form, and `PREFIX.pub`. No file is
/// replaced.
///
/// # Errors
/// [`ErrorKind::Usage`]: one of the files exists; [`ErrorKind::Io`]: it cannot be written.
pub fn generate_key(prefix: &Path, password: &str) -> Result<KeyFiles> {
    let with = |extension: &str| {
        let mut name = prefix.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let (private, public) = (with(".key"), with(".pub"));
    let key = SigningKey::generate()?;
    write_new(&private, &key.to_cosign_pem(password)?, 0o600)?;
    if let Err(error) = key.public().to_pem().and_then(|pem| write_new(&public, &pem, 0o644)) {
        // A private key alone is of no use, and would be in the way of the next try.
        let _ = std::fs::remove_file(&private);
        return Err(error);
    }
    Ok(KeyFiles { private, public, key })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::new(ErrorKind::Usage, format!("`{}` exists already", path.display()))
            .with_hint("choose another name; a key that is overwritten is lost"),
        _ => Error::io("write", path, error),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        Error::io("write", path, error)
    })
}
