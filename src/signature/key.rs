//! Keys: read from PEM files of the forms that openssl and cosign write, or made.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, SigningKey as EcdsaKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use p256::{PublicKey as P256PublicKey, SecretKey};

use super::command::SigningCommand;
use super::cosign_key;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::Digest;

/// A key file is a few hundred bytes; what is larger is something else.
const LIMIT: u64 = 64 << 10;

const FORMS: &str =
    "a private key is a PEM file of an ECDSA key on P-256: `mpimg key generate` or `cosign generate-key-pair` makes one";

const ONE_EACH: &str = "put each key into a file of its own";

/// A private key, or a command that has one.
#[derive(Clone)]
pub struct SigningKey {
    signer: Signer,
    public: PublicKey,
}

#[derive(Clone)]
enum Signer {
    Key(EcdsaKey),
    Command(SigningCommand),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public.fingerprint()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key of the system's random numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: the system gives no random numbers.
    pub fn generate() -> Result<Self> {
        loop {
            let mut bytes = [0; 32];
            cosign_key::fill_random(&mut bytes)?;
            // Nearly every number of 32 bytes is a key; those that are not are as rare as a guessed
            // key.
            if let Ok(key) = EcdsaKey::from_slice(&bytes) {
                return Ok(Self::from_key(key));
            }
        }
    }

    fn from_key(key: EcdsaKey) -> Self {
        let public = PublicKey(*key.verifying_key());
        Self { signer: Signer::Key(key), public }
    }

    /// A key that never leaves a token, a key service or another program: `command` signs, and each
    /// signature is verified with `public` before it is used.
    pub fn from_command(command: SigningCommand, public: PublicKey) -> Self {
        Self { signer: Signer::Command(command), public }
    }

    /// Whether the text of a key file needs a password.
    pub fn is_encrypted(pem: &str) -> bool {
        pem.lines().any(|line| line.starts_with("-----BEGIN ENCRYPTED "))
    }

    /// Reads a PEM key: PKCS#8 (`PRIVATE KEY`, `ENCRYPTED PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`),
    /// or cosign's (`ENCRYPTED SIGSTORE PRIVATE KEY`, `ENCRYPTED COSIGN PRIVATE KEY`). What
    /// precedes the first `-----BEGIN` and parameters of a curve, as openssl writes them, are
    /// passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it is not such a key, or the password is missing or wrong.
    pub fn parse(pem: &str, password: Option<&str>) -> Result<Self> {
        let block = match private_blocks(pem)[..] {
            [block] => block,
            [] => return Err(Error::new(ErrorKind::Usage, "no private key found").with_hint(FORMS)),
            // Which one is meant is not for us to guess.
            _ => return Err(Error::new(ErrorKind::Usage, "the file holds several private keys").with_hint(ONE_EACH)),
        };
        let wrong = |error: &dyn fmt::Display| {
            Error::new(ErrorKind::Usage, "the private key is damaged, or not one of ECDSA on P-256")
                .with_source(error.to_string())
                .with_hint(FORMS)
        };
        let password =
            || password.ok_or_else(|| Error::new(ErrorKind::Usage, "the private key is encrypted, and no password was given"));
        if is_encrypted_by_header(block) {
            let message = format!("the `{}` is encrypted in openssl's old form, which mpimg does not read", label(block));
            return Err(
                Error::new(ErrorKind::Usage, message).with_hint("write it anew: `openssl pkcs8 -topk8 -in OLD.pem -out NEW.pem`")
            );
        }
        let secret = match label(block) {
            "PRIVATE KEY" => SecretKey::from_pkcs8_pem(block).map_err(|error| wrong(&error))?,
            "EC PRIVATE KEY" => SecretKey::from_sec1_pem(block).map_err(|error| wrong(&error))?,
            "ENCRYPTED PRIVATE KEY" => match SecretKey::from_pkcs8_encrypted_pem(block, password()?) {
                Ok(key) => key,
                Err(error) => {
                    return Err(Error::new(
                        ErrorKind::Usage,
                        "the private key cannot be decrypted: wrong password, or not a P-256 key",
                    )
                    .with_source(error.to_string())
                    .with_hint("if the password is right, write the key anew: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.pem -out NEW.pem`"));
                }
            },
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let der = cosign_key::decrypt(block, password()?)?;
                SecretKey::from_pkcs8_der(&der).map_err(|error| wrong(&error))?
            }
            other => return Err(Error::new(ErrorKind::Usage, format!("a `{other}` cannot sign")).with_hint(FORMS)),
        };
        Ok(Self::from_key(EcdsaKey::from(secret)))
    }

    /// The key as cosign keeps it, encrypted with a password, which may be empty.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: a command has the key. [`ErrorKind::Io`]: the system gives no
    /// random numbers.
    pub fn to_cosign_pem(&self, password: &str) -> Result<String> {
        let Signer::Key(key) = &self.signer else {
            return Err(Error::new(ErrorKind::Unsupported, "a key that a command keeps cannot be written"));
        };
        let der = key.to_pkcs8_der().context(ErrorKind::Io, || "cannot encode the private key".into())?;
        cosign_key::encrypt(der.as_bytes(), password)
    }

    /// Its public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs something for a trial, if a command has the key: what cannot sign is told before
    /// anything is done that is to be signed.
    ///
    /// # Errors
    /// As [`SigningKey::sign`].
    pub fn try_command(&self) -> Result<()> {
        match &self.signer {
            Signer::Key(_) => Ok(()),
            Signer::Command(_) => self.sign(b"a trial of mpimg's, which signs nothing").map(drop),
        }
    }

    /// Signs a message; the signature is an ASN.1 `ECDSA-Sig-Value` (RFC 3279, section 2.2.3). A
    /// key of ours gives the same signature for the same message each time (RFC 6979).
    ///
    /// # Errors
    /// Those of [`SigningCommand`]; [`ErrorKind::Corrupt`]: what it gave is not a signature by the
    /// public key.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = match &self.signer {
            Signer::Key(key) => {
                let signature: DerSignature = key.try_sign(message).context(ErrorKind::Io, || "cannot sign".to_owned())?;
                signature.as_bytes().to_vec()
            }
            Signer::Command(command) => command.sign(message)?,
        };
        self.public.verify(message, &signature).map_err(|error| {
            error.wrap("what was signed does not verify").with_hint("give the public key that belongs to the private one")
        })?;
        Ok(signature)
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.fingerprint()).finish()
    }
}

impl PublicKey {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it cannot be read, or is not a public key on P-256.
    pub fn read(path: &Path) -> Result<Self> {
        let cannot = |error: Error| error.wrap(format!("cannot use `{}` as a public key", path.display()));
        read_pem(path).and_then(|pem| pem.parse()).map_err(cannot)
    }

    /// As a PEM file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: never for a key that was read or made here.
    pub fn to_pem(&self) -> Result<String> {
        self.0.to_public_key_pem(LineEnding::LF).context(ErrorKind::Io, || "cannot encode the public key".to_owned())
    }

    /// The digest of its DER form (`SubjectPublicKeyInfo`).
    pub fn fingerprint(&self) -> Digest {
        // Encoding a point on a known curve does not fail.
        Digest::of(self.0.to_public_key_der().map(|der| der.into_vec()).unwrap_or_default())
    }

    /// The fingerprint's bytes in base64: how a Sigstore bundle names a key.
    pub(super) fn hint(&self) -> String {
        let der = self.0.to_public_key_der().map(|der| der.into_vec()).unwrap_or_default();
        STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(&der))
    }

    /// Whether `signature`, an ASN.1 `ECDSA-Sig-Value`, is this key's for `message`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<()> {
        let signature = DerSignature::from_bytes(signature)
            .map_err(|_| Error::new(ErrorKind::Corrupt, "the signature is not an ASN.1 ECDSA signature on P-256"))?;
        self.0
            .verify(message, &signature)
            .map_err(|_| Error::new(ErrorKind::Corrupt, "the signature is not by this key, or what it signs was changed"))
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(pem: &str) -> Result<Self> {
        let hint = "a public key is a PEM file that begins with `-----BEGIN PUBLIC KEY-----`; `mpimg key generate` writes one beside the private key";
        let wrong = |message: &str| Error::new(ErrorKind::Usage, message.to_owned()).with_hint(hint);
        let start = pem.find("-----BEGIN ").ok_or_else(|| wrong("not a PEM file"))?;
        if label(&pem[start..]).ends_with("PRIVATE KEY") {
            return Err(wrong("this is a private key; a public key is needed"));
        }
        if pem.matches("-----BEGIN PUBLIC KEY-----").count() > 1 {
            return Err(Error::new(ErrorKind::Usage, "the file holds several public keys").with_hint(ONE_EACH));
        }
        let key = P256PublicKey::from_public_key_pem(pem[start..].trim_end());
        key.map(|key| Self(VerifyingKey::from(key)))
            .map_err(|error| wrong("not a public key of ECDSA on P-256").with_source(error.to_string()))
    }
}

/// The text of a key file.
///
/// # Errors
/// [`ErrorKind::Usage`]: it cannot be read, or is not a text of at most 64 KiB.
pub fn read_pem(path: &Path) -> Result<String> {
    use std::io::Read as _;
    let open = std::fs::File::open(path);
    let file =
        open.map_err(|error| Error::new(ErrorKind::Usage, format!("cannot open `{}`", path.display())).with_source(error))?;
    let mut text = String::new();
    let read = file.take(LIMIT).read_to_string(&mut text);
    read.map_err(|error| Error::new(ErrorKind::Usage, format!("cannot read `{}`", path.display())).with_source(error))?;
    Ok(text)
}

/// The texts of the private keys, each from its first line to its last.
fn private_blocks(pem: &str) -> Vec<&str> {
    let (mut rest, mut found) = (pem, Vec::new());
    while let Some(start) = rest.find("-----BEGIN ") {
        let block = &rest[start..];
        let end = block.find("-----END ").map(|end| end + block[end..].find("-----\n").map_or(block.len() - end, |at| at + 5));
        if label(block).ends_with("PRIVATE KEY") {
            found.push(&block[..end.unwrap_or(block.len())]);
        }
        rest = &block["-----BEGIN ".len()..];
    }
    found
}

/// Whether a PEM block says in a header that it is encrypted (RFC 1421, section 4.6.1.1).
fn is_encrypted_by_header(block: &str) -> bool {
    block.lines().nth(1).is_some_and(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
}

/// What a PEM block says that it is.
fn label(block: &str) -> &str {
    let first = block.lines().next().unwrap_or_default();
    first.strip_prefix("-----BEGIN ").and_then(|text| text.trim_end().strip_suffix("-----")).unwrap_or_default()
}
