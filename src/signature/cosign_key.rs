//! cosign's private key files: a PEM block with JSON that names scrypt and NaCl's secret box.
//!
//! The format is that of `go-securesystemslib/encrypted`, which cosign writes keys with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use pkcs8::der::pem;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, ResultExt as _};

const LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// What cosign writes today; `encrypted.go` calls it "standard".
const COST: ScryptParams = ScryptParams { n: 65536, r: 8, p: 1 };
/// scrypt's memory is 128 times N times r bytes: a file must not ask for more than 1 GiB.
const MEMORY_LIMIT: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Envelope {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The PKCS#8 key in a key file.
pub(super) fn decrypt(text: &str, password: &str) -> Result<Vec<u8>> {
    let damaged = || "the key file is damaged".to_owned();
    let (_, json) =
        pem::decode_vec(text.trim_end().as_bytes()).map_err(|error| wrong(damaged()).with_source(error.to_string()))?;
    let Envelope { kdf, cipher, ciphertext } = serde_json::from_slice(&json).context(ErrorKind::Usage, damaged)?;
    if kdf.name != "scrypt" || cipher.name != "nacl/secretbox" {
        return Err(wrong(format!("the key is encrypted with {} and {}, which are unknown", kdf.name, cipher.name)));
    }
    let bytes = |text: &str| STANDARD.decode(text).context(ErrorKind::Usage, damaged);
    let nonce = bytes(&cipher.nonce)?;
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| wrong(damaged()))?;
    let secret = derive(password, &bytes(&kdf.salt)?, kdf.params)?;
    let opened = secret.decrypt(&Nonce::from(nonce), bytes(&ciphertext)?.as_slice());
    opened.map_err(|_| wrong("the private key cannot be decrypted: wrong password".to_owned()))
}

/// A key file of a PKCS#8 key.
pub(super) fn encrypt(key: &[u8], password: &str) -> Result<String> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    fill_random(&mut salt)?;
    fill_random(&mut nonce)?;
    let ciphertext = derive(password, &salt, COST)?.encrypt(&Nonce::from(nonce), key);
    let ciphertext = ciphertext.map_err(|_| Error::new(ErrorKind::Io, "cannot encrypt the private key"))?;
    let envelope = Envelope {
        kdf: Kdf { name: "scrypt".to_owned(), params: COST, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    let json = serde_json::to_vec(&envelope).context(ErrorKind::Io, || "cannot write the private key".to_owned())?;
    pem::encode_string(LABEL, pem::LineEnding::LF, &json)
        .map_err(|error| Error::new(ErrorKind::Io, "cannot write the private key").with_source(error.to_string()))
}

fn derive(password: &str, salt: &[u8], cost: ScryptParams) -> Result<XSalsa20Poly1305> {
    let ScryptParams { n, r, p } = cost;
    let unsupported = || wrong(format!("the key's scrypt parameters (N={n}, r={r}, p={p}) are not supported"));
    if !n.is_power_of_two() || u64::from(n) * u64::from(r) * 128 > MEMORY_LIMIT || p > 16 {
        return Err(unsupported());
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| unsupported())?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| unsupported())?;
    let mut secret = [0; 32];
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut secret).map_err(|_| unsupported())?;
    Ok(XSalsa20Poly1305::new(&Key::from(secret)))
}

/// Fills `bytes` with random numbers of the system.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let more = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += more.map_err(|error| {
            Error::new(ErrorKind::Io, "the system gives no random numbers").with_source(std::io::Error::from(error))
        })?;
    }
    Ok(())
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}
