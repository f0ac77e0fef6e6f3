//! Why a request got no answer: what failed, whether it may work the next time, and what to do
//! about it.

use std::error::Error as StdError;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use url::Url;

use super::host::host_and_port;
use super::verifier::ShortKey;
use crate::error::{Error, ErrorKind, Setting};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// It may work the next time.
    Transient(Error),
    /// It will not, or the failure is on this side.
    Permanent(Error),
}

impl RequestError {
    /// Whether it may work the next time.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// What failed, with its causes.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Transient(error) | Self::Permanent(error) => error_text(error),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Transient(error) | Self::Permanent(error) => error,
        }
    }
}

/// The transfer stood still for longer than the policy allows.
pub(super) fn stalled(url: &Url) -> Error {
    Error::new(ErrorKind::Network, format!("`{}` stopped answering", host_and_port(url)))
}

/// A proxy's answer to a request over plain HTTP, which it passes on itself.
pub(super) fn proxy_login(url: &Url) -> Error {
    let hint = "put its user name and password into `HTTP_PROXY`: http://USER:PASSWORD@HOST:PORT";
    let message = format!("the proxy on the way to `{}` asks for another login", host_and_port(url));
    Error::new(ErrorKind::Network, message).with_hint(hint).with_source(ProxyLogin)
}

/// The cause of [`proxy_login`].
#[derive(Debug)]
struct ProxyLogin;

impl std::fmt::Display for ProxyLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it answered 407")
    }
}

impl StdError for ProxyLogin {}

/// What a failure of the HTTP library means.
pub(super) fn classify(error: reqwest::Error, url: &Url) -> RequestError {
    let error = error.without_url();
    let place = host_and_port(url);
    if let Some(own) = cause::<Error>(&error) {
        // The body's own stream failed: a file that cannot be read is not the network's fault.
        let own = Error::new(own.kind(), own.to_string());
        return RequestError::Permanent(own);
    }
    if let Some(tls) = cause::<rustls::Error>(&error) {
        return RequestError::Permanent(tls_error(tls.clone(), &place));
    }
    let failed = |what: String| Error::new(ErrorKind::Network, what);
    if error.is_dns() {
        let temporary = error_text(&error).contains("Temporary failure");
        // The resolver's words tell more only where it got no answer itself.
        let why = if temporary { ": the DNS server does not answer" } else { "" };
        let wrong =
            failed(format!("cannot find the host `{place}`{why}")).with_hint("check the host's name, and this machine's DNS");
        return if temporary { RequestError::Transient(wrong) } else { RequestError::Permanent(wrong) };
    }
    if error.is_builder() {
        return RequestError::Permanent(failed(format!("cannot make a request to `{place}`")).with_source(innermost(&error)));
    }
    // The library has no types for these.
    let text = error_text(&error);
    if error.is_connect() && text.contains("tunnel error: failed to create underlying connection") {
        let hint = format!("check `HTTPS_PROXY`, or list `{place}` in `NO_PROXY` if it is reached without a proxy");
        return RequestError::Transient(
            failed(format!("cannot reach the proxy on the way to `{place}`")).with_hint(hint).with_source(innermost(&error)),
        );
    }
    if error.is_connect() && text.contains("tunnel error: unsuccessful") {
        let hint = format!("have the proxy allow `{place}`, or list it in `NO_PROXY` if it is reached without a proxy");
        let message = format!("the proxy on the way to `{place}` refuses the connection");
        return RequestError::Transient(failed(message).with_hint(hint).with_source(innermost(&error)));
    }
    if error.is_connect() && text.contains("proxy authorization required") {
        let hint = "put its user name and password into `HTTPS_PROXY`: http://USER:PASSWORD@HOST:PORT";
        let message = format!("the proxy on the way to `{place}` asks for another login");
        return RequestError::Permanent(failed(message).with_hint(hint).with_source(innermost(&error)));
    }
    if error.is_connect() {
        let hint = "check the name and the port; where only a proxy leads there, set `HTTPS_PROXY`";
        return RequestError::Transient(
            failed(format!("cannot connect to `{place}`")).with_hint(hint).with_source(innermost(&error)),
        );
    }
    RequestError::Transient(failed(format!("connection to `{place}` broke")).with_source(innermost(&error)))
}

fn tls_error(error: rustls::Error, place: &str) -> Error {
    let hint = match &error {
        rustls::Error::InvalidCertificate(wrong) => Some(certificate_hint(wrong, place)),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            Some(client_certificate_hint(place))
        }
        // Old OpenSSL says so, too, where it wants a certificate of ours and gets none.
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity)
        | rustls::Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => Some(format!(
            "have `{place}` offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20: it takes only older ciphers; or, if it asks for a certificate, {}",
            client_certificate_hint(place)
        )),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Some(format!("have `{place}` offer TLS 1.2 or 1.3: it speaks only older versions")),
        rustls::Error::InvalidMessage(_) => {
            let allow = Setting::InsecureRegistry.with(place);
            Some(format!(
                "`{place}` seems not to speak TLS: if that is right, use {allow}, or list it as `insecure` in registries.conf"
            ))
        }
        _ => None,
    };
    let outer = Error::new(ErrorKind::Network, format!("cannot make a TLS connection to `{place}`")).with_source(error);
    match hint {
        Some(hint) => outer.with_hint(hint),
        None => outer,
    }
}

/// The remedy where a registry, or the proxy before it, asks for a certificate of ours.
pub(crate) fn client_certificate_hint(place: &str) -> String {
    format!("put the certificate and key that it knows you by into /etc/docker/certs.d/{place}/ as client.cert and client.key")
}

fn certificate_hint(wrong: &CertificateError, place: &str) -> String {
    match wrong {
        CertificateError::UnknownIssuer => {
            format!("give its certificate authority with {}, or put it into /etc/docker/certs.d/{place}/ca.crt", Setting::CaFile)
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let (now, end) = (date(*time), date(*not_after));
            format!(
                "have the registry's certificate renewed: it ended on {end}; or set this machine's clock, if today is not {now}"
            )
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (now, begin) = (date(*time), date(*not_before));
            format!("set this machine's clock, if today is not {now}: the registry's certificate begins on {begin}")
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            // As rustls shows them: `DnsName("a.example.com")`.
            let names: Vec<_> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            format!("name the registry as its certificate does ({}), or have one made for `{place}`", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("have a certificate made for `{place}`")
        }
        CertificateError::Other(other) if other.0.is::<ShortKey>() => {
            "have a certificate with an RSA key of 2048 bits or more made for the registry, or with an elliptic curve".to_owned()
        }
        CertificateError::Other(other) if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) => format!(
            "the certificate is its own authority: give it with {}, or put it into /etc/docker/certs.d/{place}/ca.crt",
            Setting::CaFile
        ),
        _ => "have the registry's certificate looked at: another one is needed".to_owned(),
    }
}

/// The day in UTC, as `2024-03-01`.
fn date(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "an unknown day".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

/// Whether an error tells by itself what is wrong, so that no other scheme need be tried: it is
/// about the other side's certificate, or its about ours, so it speaks TLS; or a proxy asks for a
/// login.
pub(crate) fn is_decisive(error: &Error) -> bool {
    let about_tls = matches!(cause(error), Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)));
    about_tls || cause::<ProxyLogin>(error).is_some()
}

/// The first cause of type `T`; looks into `io::Error`, too, which hides what it carries from
/// `source()`.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let carried = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        next = carried.map(|carried| carried as &(dyn StdError + 'static)).or(error.source());
    }
    None
}

/// What happened, without the layers of the HTTP library that it came through.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source()).last().map(ToString::to_string).unwrap_or_default()
}

fn error_text(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
