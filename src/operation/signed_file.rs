//! Signatures of files: what `cosign sign-blob` makes of them, as a Sigstore bundle and as a bare
//! signature.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::blocking;
use super::verify::first_good;
use crate::error::{Error, ErrorKind, Result};
use crate::image::write_result;
use crate::signature::{Bundle, PublicKey, SigningKey};

/// The end of a bundle's name, after that of the file that was signed (cosign's examples).
const BUNDLE: &str = ".sigstore.json";
/// The same of a bare signature.
const BARE: &str = ".sig";

/// A file that was signed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignedFile {
    /// The file.
    pub file: PathBuf,
    /// `FILE.sigstore.json`: a Sigstore bundle, as `cosign verify-blob --bundle` takes it.
    pub bundle: PathBuf,
    /// `FILE.sig`: the signature's base64 on a line, which openssl can verify, too.
    pub signature: PathBuf,
}

/// Signs a file, and writes the signature beside it in both forms; those of before are replaced.
/// The file is read into memory.
///
/// # Errors
/// [`ErrorKind::Io`]: it cannot be read, or its folder not be written; those of
/// [`SigningKey::sign`].
pub async fn sign_file(file: &Path, key: &SigningKey) -> Result<SignedFile> {
    let (file, key) = (file.to_owned(), key.clone());
    blocking(move || {
        let content = read(&file)?;
        let signature = key.sign(&content)?;
        let signed = SignedFile { bundle: beside(&file, BUNDLE), signature: beside(&file, BARE), file };
        write_result(&signed.bundle, &Bundle::of_file(&content, &signature, key.public()))?;
        write_result(&signed.signature, format!("{}\n", STANDARD.encode(&signature)).as_bytes())?;
        Ok(signed)
    })
    .await
}

/// Verifies a file by the bundle beside it, or where there is none by the bare signature; the key
/// of `keys` that signed.
///
/// # Errors
/// [`ErrorKind::NotFound`]: there is no signature beside it; [`ErrorKind::Corrupt`]: none of the
/// keys signed this file; [`ErrorKind::Io`].
pub async fn verify_file(file: &Path, keys: Vec<PublicKey>) -> Result<PublicKey> {
    let file = file.to_owned();
    blocking(move || {
        let content = read(&file)?;
        let (bundle, signature) = (beside(&file, BUNDLE), beside(&file, BARE));
        let good = if bundle.exists() {
            let bundle = read(&bundle)?;
            first_good(&keys, |key| Bundle::verify_file(&bundle, &content, key))
        } else if signature.exists() {
            // openssl breaks lines, cosign does not.
            let mut text = read(&signature)?;
            text.retain(|byte| !byte.is_ascii_whitespace());
            let not_base64 = |_| Error::new(ErrorKind::Corrupt, "the signature is not base64");
            first_good(&keys, |key| key.verify(&content, &STANDARD.decode(&text).map_err(not_base64)?))
        } else {
            return Err(Error::new(ErrorKind::NotFound, format!("`{}` is not signed", file.display())).with_hint(format!(
                "a signature is in `{}` or `{}`",
                bundle.display(),
                signature.display()
            )));
        };
        let wrong = |error: Error| error.wrap(format!("`{}` has no valid signature by any of the given keys", file.display()));
        good.map(|((), key)| key.clone()).map_err(wrong)
    })
    .await
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io("read", path, error))
}
