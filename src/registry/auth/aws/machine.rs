//! Files, variables and requests of reqsign, through this program's own transport.
//!
//! Nothing of a request or an answer goes into an error: all of it may be secret.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqsign_core::{Context, Env, FileRead, HttpSend};
use url::Url;

use crate::progress::Progress;
use crate::registry::environment::Environment;
use crate::registry::transport::{HttpRequest, Transport};

/// Limit in bytes for an answer of an AWS service.
pub(super) const RESPONSE_LIMIT: usize = 1 << 20;

/// Instance metadata answers at once or is not there.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// What reqsign works with.
pub(super) fn context(environment: &Environment, transport: &Arc<Transport>) -> Context {
    let environment = MachineEnvironment(environment.clone());
    Context::new().with_file_read(Files).with_http_send(Requests(transport.clone())).with_env(environment)
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        Ok(tokio::fs::read(path).await?)
    }
}

#[derive(Debug)]
struct MachineEnvironment(Environment);

impl Env for MachineEnvironment {
    fn var(&self, key: &str) -> Option<String> {
        self.0.var(key)?.into_string().ok()
    }

    fn vars(&self) -> HashMap<String, String> {
        self.0.vars()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.0.path("HOME")
    }
}

struct Requests(Arc<Transport>);

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

impl HttpSend for Requests {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        // Requests and answers hold secrets: neither goes into an error.
        let failed = || reqsign_core::Error::unexpected("no answer");
        let (head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(|_| failed())?;
        // Metadata services alone are not encrypted. They are this machine's: a proxy would answer
        // with its own identity.
        let metadata = url.scheme() == "http";
        let outgoing = HttpRequest { headers: head.headers, direct: metadata, ..HttpRequest::new(head.method, url) };
        let outgoing = if body.is_empty() { outgoing } else { outgoing.with_bytes(body) };
        let exchange = async {
            let response = match metadata {
                true => self.0.send(&outgoing).await.map_err(|_| failed())?,
                false => self.0.send_with_retry(outgoing, &Progress::silent(), "AWS").await.map_err(|_| failed())?,
            };
            let mut answer = http::Response::builder().status(response.status());
            answer.headers_mut().into_iter().for_each(|headers| headers.clone_from(response.headers()));
            let body = self.0.read_body(response, RESPONSE_LIMIT).await.map_err(|_| failed())?;
            answer.body(body).map_err(|_| failed())
        };
        match metadata {
            true => tokio::time::timeout(METADATA_PATIENCE, exchange).await.map_err(|_| failed())?,
            false => exchange.await,
        }
    }
}
