//! Whether a server's certificate is trusted: by an authority of this machine or of the caller, or
//! because the certificate itself was given as one.
//!
//! A registry's self-signed certificate, made as docker's documentation makes it, says that it is
//! an authority; rustls takes none of these for a server's own. A user who puts it down as trusted
//! means just this certificate, as in Go's programs.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};

use crate::error::{Error, ErrorKind, Result, ResultExt as _};

/// The object identifier of RSA keys, in DER: 1.2.840.113549.1.1.1.
const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// A public RSA key of 2048 bits takes 292 to 294 bytes in DER, one of 1024 bits about 160.
const LEAST_RSA: usize = 280;

/// Checks servers' certificates.
#[derive(Debug)]
pub(crate) struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    /// The trusted certificates, byte for byte.
    given: Vec<CertificateDer<'static>>,
}

/// An RSA key that is too short to be trusted.
#[derive(Debug)]
pub(crate) struct ShortKey;

impl std::fmt::Display for ShortKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the certificate's RSA key is shorter than 2048 bits")
    }
}

impl std::error::Error for ShortKey {}

impl Verifier {
    /// Trusts the system's authorities (`SSL_CERT_FILE`, `SSL_CERT_DIR`) and `further` ones.
    pub(crate) fn new(further: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self> {
        let mut given = further;
        given.extend(rustls_native_certs::load_native_certs().certs);
        let mut roots = RootCertStore::empty();
        // A bundle of the system may hold what nobody can read; the rest serves.
        roots.add_parsable_certificates(given.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        let authorities =
            authorities.context(ErrorKind::Network, || "cannot set up TLS".to_owned()).map_err(|error: Error| {
                error.with_hint(
                    "install the package `ca-certificates`, or name a file of certificate authorities in `SSL_CERT_FILE`",
                )
            })?;
        Ok(Self { authorities, given })
    }

    /// Whether a certificate that the authorities do not vouch for was given itself, and is for
    /// this name. Its dates were looked at before.
    fn is_given(&self, error: &TlsError, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<bool, TlsError> {
        let TlsError::InvalidCertificate(wrong) = error else { return Ok(false) };
        let unsigned = match wrong {
            CertificateError::UnknownIssuer => true,
            CertificateError::Other(other) => {
                matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
            }
            _ => false,
        };
        if !unsigned || !self.given.iter().any(|given| given.as_ref() == certificate.as_ref()) {
            return Ok(false);
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(true)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let error = match self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) => error,
            trusted => return trusted,
        };
        match self.is_given(&error, end_entity, server_name)? {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(reason(error, end_entity)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let checked = self.authorities.verify_tls12_signature(message, certificate, signature);
        checked.map_err(|error| reason(error, certificate))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let checked = self.authorities.verify_tls13_signature(message, certificate, signature);
        checked.map_err(|error| reason(error, certificate))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// The error, or that the key is too short: rustls calls that a wrong signature.
fn reason(error: TlsError, certificate: &CertificateDer<'_>) -> TlsError {
    let signature = matches!(error, TlsError::InvalidCertificate(CertificateError::BadSignature));
    match signature && has_short_key(certificate) {
        true => TlsError::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(ShortKey)))),
        false => error,
    }
}

fn has_short_key(certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let key = parsed.subject_public_key_info();
    key.len() < LEAST_RSA && key.windows(RSA.len()).any(|window| window == RSA)
}

/// Takes any certificate: the caller has said that this registry's need not be trusted.
#[derive(Debug)]
pub(crate) struct AnyCertificate(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
