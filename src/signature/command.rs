//! Signing with a key that another program keeps: a PKCS#11 token, a cloud's key service, an HSM.

use std::io::{self, Read, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::DerSignature;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// A signature of P-256 has at most 72 bytes; a program that prints more prints something else.
const LIMIT: u64 = 4096;
const FORM: &str = "the command gets what is signed on standard input, and prints an ECDSA signature of its SHA-256 on P-256: ASN.1, as it is or in base64";

/// How often is looked whether a command is done, or the work was stopped.
const POLL: Duration = Duration::from_millis(10);

/// A command line that signs: run by `/bin/sh -c`, it gets the message on standard input and prints
/// the signature, an ASN.1 `ECDSA-Sig-Value` over its SHA-256, as it is or in base64.
/// `openssl dgst -sha256 -sign key.pem` is such a command.
#[derive(Debug, Clone)]
pub struct SigningCommand {
    line: String,
    cancel: CancellationToken,
}

impl SigningCommand {
    /// The command is not run yet.
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), cancel: CancellationToken::new() }
    }

    /// The same, killed when `cancel` says so.
    #[must_use]
    pub fn cancelled_by(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
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
        // Each pipe has a thread of its own: a command may write to one while the other is full.
        let overflows = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&overflows);
        let output = child.stdout.take().map(|pipe| {
            std::thread::spawn(move || {
                let start = read_start(pipe);
                seen.store(start.1, Ordering::Relaxed);
                start
            })
        });
        let errors = child.stderr.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let start = read_start(&mut pipe);
                // A command that has more to say signs all the same.
                drop(io::copy(&mut pipe, &mut io::sink()));
                start
            })
        });
        // A command need not read all of it.
        if let Some(mut input) = child.stdin.take() {
            let message = message.to_vec();
            std::thread::spawn(move || drop(input.write_all(&message)));
        }
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| failed(error.to_string()))? {
                break status;
            }
            if self.cancel.is_cancelled() {
                drop(child.kill());
                drop(child.wait());
                return Err(Error::new(ErrorKind::Interrupted, "the work was stopped while a key command signed"));
            }
            if overflows.load(Ordering::Relaxed) {
                // It may go on for ever. Its own children see that nobody reads what they write.
                drop(child.kill());
            }
            std::thread::sleep(POLL);
        };
        let (output, is_more) = started(output);
        if is_more {
            return Err(failed("it printed more than a signature".to_owned()).with_hint(FORM));
        }
        if !status.success() {
            let (errors, _) = started(errors);
            let said = String::from_utf8_lossy(&errors);
            return Err(failed([status.to_string().as_str(), said.trim()].join(": ").trim_end_matches(": ").to_owned()));
        }
        // ASN.1 begins with a byte that is not base64: the tag of a sequence, `0`, and a length
        // below 80.
        let text = std::str::from_utf8(&output).ok().map(str::trim);
        let decoded = text
            .and_then(|text| STANDARD.decode(text.replace(['\n', '\r'], "")).ok())
            .filter(|bytes| bytes.first() == Some(&0x30));
        let signature = decoded.unwrap_or(output);
        if DerSignature::from_bytes(&signature).is_err() {
            let what = if signature.is_empty() { "it printed nothing" } else { "what it printed is not a signature" };
            return Err(failed(what.to_owned()).with_hint(FORM));
        }
        Ok(signature)
    }
}

/// What comes first through a pipe, and whether more came than is kept.
fn read_start(pipe: impl Read) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    // What a pipe gave before it failed counts.
    let _ = pipe.take(LIMIT + 1).read_to_end(&mut bytes);
    let is_more = bytes.len() as u64 > LIMIT;
    (bytes, is_more)
}

fn started(reader: Option<JoinHandle<(Vec<u8>, bool)>>) -> (Vec<u8>, bool) {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}
