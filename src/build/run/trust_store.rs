//! A trust store for Java: JKS, which every Java since 1.2 reads
//! (sun.security.provider.JavaKeyStore has its format).

use rustls::pki_types::CertificateDer;
use sha1::{Digest as _, Sha1};

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
/// An entry that is a certificate alone, without a key.
const TRUSTED_CERTIFICATE: u32 = 2;

/// The password that `keytool` expects of a trust store; it protects against damage alone.
const PASSWORD: &str = "changeit";
/// What the digest begins with after the password.
const SALT: &[u8] = b"Mighty Aphrodite";

/// The store of these certificates; the same for the same certificates.
pub(super) fn jks(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut store = Vec::new();
    let count = u32::try_from(certificates.len()).unwrap_or_default();
    [MAGIC, VERSION, count].iter().for_each(|number| store.extend(number.to_be_bytes()));
    for (number, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("ca-{number}"));
        // When it was added, in milliseconds.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(u32::try_from(certificate.len()).unwrap_or_default().to_be_bytes());
        store.extend(certificate.as_ref());
    }
    let mut digest = Sha1::new();
    PASSWORD.encode_utf16().for_each(|unit| digest.update(unit.to_be_bytes()));
    digest.update(SALT);
    digest.update(&store);
    store.extend(digest.finalize());
    store
}

/// As java.io.DataOutput.writeUTF writes ASCII.
fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    store.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_javas_key_store() {
        let store = jks(&[CertificateDer::from(vec![0x30, 0])]);
        let (entries, digest) = store.split_at(store.len() - 20);
        assert_eq!(
            entries,
            b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x04ca-0\0\0\0\0\0\0\0\0\0\x05X.509\0\0\0\x02\x30\0".as_slice()
        );
        let mut expected = Sha1::new();
        expected.update(b"\0c\0h\0a\0n\0g\0e\0i\0tMighty Aphrodite");
        expected.update(entries);
        assert_eq!(digest, expected.finalize().as_slice());
    }
}
