//! Signing with a key that another program keeps: a PKCS#11 token, a cloud's key service, an HSM.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, Result};

/// A signature of P-256 has at most 72 bytes; a program that prints more prints something else.
const LIMIT: usize = 4096;

/// A command line that signs: run by `/bin/sh -c`, it gets the message on standard input and prints
/// the signature, an ASN.1 `ECDSA-Sig-Value` over its SHA-256, as it is or in base64.
/// `openssl dgst -sha256 -sign key.pem` is such a command.
#[derive(Debug, Clone)]
pub struct SigningCommand {
    line: String,
}

impl SigningCommand {
    /// The command is not run yet.
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into() }
    }

    /// # Errors
    /// [`ErrorKind::Io`]: it fails, or prints something else than a signature.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |source: String| Error::new(ErrorKind::Io, format!("`{}` does not sign", self.line)).with_source(source);
        let mut child = Command::new("/bin/sh")
            .args(["-c", &self.line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        // What is signed has a few hundred bytes: it fits into the pipe even if nobody reads it.
        if let Some(mut input) = child.stdin.take() {
            drop(input.write_all(message));
        }
        let done = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(failed([done.status.to_string().as_str(), said.trim()].join(": ").trim_end_matches(": ").to_owned()));
        }
        if done.stdout.len() > LIMIT {
            return Err(failed("it printed more than a signature".to_owned()));
        }
        // ASN.1 begins with a byte that is not base64: the tag of a sequence, `0`, and a length
        // below 80.
        let text = std::str::from_utf8(&done.stdout).ok().map(str::trim);
        let decoded = text
            .and_then(|text| STANDARD.decode(text.replace(['\n', '\r'], "")).ok())
            .filter(|bytes| bytes.first() == Some(&0x30));
        Ok(decoded.unwrap_or(done.stdout))
    }
}
