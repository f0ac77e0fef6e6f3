//! Files from the web: sources of ADD. Only http and https, and no credential is ever sent.

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, HeaderValue, LAST_MODIFIED, LOCATION};
use url::Url;

use super::client::Client;
use super::failure::RequestError;
use super::host::host_and_port;
use super::transport::HttpRequest;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::{Descriptor, Repository};
use crate::store::{BlobSource, ByteStream};

use super::blob::RegistryBlob;

/// As browsers and curl do.
const MOST_REDIRECTS: usize = 10;

/// A file on the web whose bytes are about to come.
pub struct Download {
    /// Bytes, where the server says it.
    pub size: Option<u64>,
    /// When the file was changed last, in seconds since 1970, where the server says it.
    pub last_modified: Option<i64>,
    /// Whether the bytes are the file's as gzip packs them: a server may send them so unasked (RFC
    /// 9110, 8.4.1.3).
    pub is_gzip: bool,
    /// The bytes.
    pub bytes: ByteStream,
}

impl Client {
    /// Starts to download the file at `address`. Redirects are followed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is not an http or https URL, [`ErrorKind::NotFound`] for any
    /// answer but 200.
    pub async fn download(&self, address: &str) -> Result<Download> {
        let mut url = parse(address)?;
        let (progress, name) = (&self.options().progress, format!("download from `{}`", host_and_port(&url)));
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.transport().send_with_retry(HttpRequest::new(Method::GET, url.clone()), progress, &name).await?;
            if answer.status().is_redirection() {
                let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
                let missing =
                    || Error::new(ErrorKind::Network, format!("`{}` answered {} and no address", shown(&url), answer.status()));
                url = parse(to.ok_or_else(missing)?.as_str())?;
                continue;
            }
            if !answer.status().is_success() {
                return Err(Error::new(ErrorKind::NotFound, format!("`{}` answered {}", shown(&url), answer.status())));
            }
            let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            let changed = header(LAST_MODIFIED).and_then(|text| httpdate::parse_http_date(text).ok());
            let last_modified = changed
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .and_then(|since| i64::try_from(since.as_secs()).ok());
            let is_gzip = header(CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
            let size = answer.content_length();
            let transport = self.transport().clone();
            let bytes = stream::try_unfold((transport, answer), |(transport, mut answer)| async move {
                let piece = transport.next_piece(&mut answer).await.map_err(RequestError::into_error)?;
                Ok(piece.map(|piece| (piece, (transport, answer))))
            });
            return Ok(Download { size, last_modified, is_gzip, bytes: bytes.boxed() });
        }
        Err(Error::new(ErrorKind::Network, format!("`{}` redirects more than {MOST_REDIRECTS} times", shown(&url))))
    }

    /// A blob of a repository, fetched when its bytes are needed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where registries.conf blocks the repository.
    pub fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<BlobSource> {
        let routes = self.sources(repository, true)?;
        Ok(BlobSource::Remote(std::sync::Arc::new(RegistryBlob::new(self, repository, routes, descriptor.clone()))))
    }
}

/// An address for messages: without user, password and query, which may be secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // An address that cannot have a user has none to be taken out.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.to_string()
}

fn parse(address: &str) -> Result<Url> {
    let bare = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    let url = Url::parse(address).context(ErrorKind::Usage, || format!("`{bare}` is not a URL"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => {
            let message = format!("`{}` is of the kind `{other}`", shown(&url));
            Err(Error::new(ErrorKind::Usage, message).with_hint("use http or https"))
        }
    }
}
