//! An HTTP server for scripts, and a small internet: through its proxy every https host of the
//! testbed leads to one script.
//!
//! Requests are read whole before the script sees them. Refuses what no registry client sends:
//! chunked bodies, pipelining.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::registry::tls::certificate;

/// A request as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The host that the client meant, without a port.
    pub(crate) host: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// What follows `?`.
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter of the query, decoded.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).pop()
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// What the client gets.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Response(Response),
    /// The connection ends without an answer.
    Cut,
    /// The connection ends after this many bytes of the answer.
    Truncated(Response, usize),
    /// Nothing happens for this time, then the connection ends.
    Silence(Duration),
    /// The answer at so many bytes a second.
    Slow(Response, usize),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An error in the specification's form.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "errors": [{ "code": code, "message": message }] }))
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status).with("Content-Type", "application/json").with_body(body.to_string())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn bytes(&self, head_only: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} X\r\n", self.status);
        self.headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        // The answer to HEAD tells the length of what GET would bring.
        if self.status != 204 && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend(self.body.iter().filter(|_| !head_only));
        bytes
    }
}

impl From<Response> for Reply {
    fn from(answer: Response) -> Self {
        Self::Response(answer)
    }
}

/// Answers requests.
pub(crate) trait Script: Send + 'static {
    fn answer(&mut self, request: &Request) -> Reply;
}

impl<F: FnMut(&Request) -> Reply + Send + 'static> Script for F {
    fn answer(&mut self, request: &Request) -> Reply {
        self(request)
    }
}

/// A script that listens.
pub(crate) struct HttpServer<S> {
    pub(crate) address: SocketAddr,
    pub(crate) script: Arc<Mutex<S>>,
    seen: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl<S: Script> HttpServer<S> {
    /// Plain HTTP on a free port of this machine.
    pub(crate) fn plain(script: S) -> Self {
        Self::listen(script, None)
    }

    /// A proxy to `hosts`, all of which are the script; and the folder that has their authority as
    /// `authority.crt`.
    pub(crate) fn behind_proxy(hosts: &[&str], script: S) -> (Self, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
        certificate(folder.path(), "authority", "basicConstraints=critical,CA:TRUE", None);
        let extensions = format!("subjectAltName={} basicConstraints=CA:FALSE", names.join(","));
        certificate(folder.path(), "server", &extensions, Some("authority"));
        let chain = vec![CertificateDer::from_pem_file(folder.path().join("server.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(folder.path().join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        (Self::listen(script, Some(Arc::new(config))), folder)
    }

    fn listen(script: S, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, script: Arc::new(Mutex::new(script)), seen: Arc::default(), stopped: Arc::default() };
        let (script, seen, stopped) = (server.script.clone(), server.seen.clone(), server.stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (script, seen, tls) = (script.clone(), seen.clone(), tls.clone());
                std::thread::spawn(move || {
                    // A client that goes away ends its connection and nothing else.
                    let _ = stream.set_nodelay(true).and_then(|()| connection(stream, tls, &*script, &seen));
                });
            }
        });
        server
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

impl<S> Drop for HttpServer<S> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

fn connection<S: Script>(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    script: &Mutex<S>,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let Some(tls) = tls else { return conversation(&mut stream, None, script, seen) };
    let mut beginning = Vec::new();
    let Some(head) = read_head(&mut stream, &mut beginning)? else { return Ok(()) };
    if let Some(target) = head.strip_prefix("CONNECT ") {
        let host = target.split([':', ' ']).next().unwrap_or_default().to_owned();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let session = ServerConnection::new(tls).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        conversation(&mut stream, Some(&host), script, seen)?;
        stream.conn.send_close_notify();
        return stream.flush();
    }
    // A plain request to the proxy, which has no business here.
    stream.write_all(b"HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n")?;
    stream.shutdown(Shutdown::Both)
}

/// Requests and answers, one after the other, until one side has had enough.
fn conversation<S: Script>(
    stream: &mut (impl Read + Write),
    host: Option<&str>,
    script: &Mutex<S>,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(head) = read_head(stream, &mut buffer)? {
        let mut request = parse(&head);
        host.into_iter().for_each(|host| request.host = host.into());
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        request.whole = read_body(stream, &mut buffer, length);
        request.body = std::mem::take(&mut buffer);
        let reply = script.lock().unwrap().answer(&request);
        let head_only = request.method == "HEAD";
        let whole = request.whole;
        seen.lock().unwrap().push(request);
        match reply {
            Reply::Response(answer) if whole => stream.write_all(&answer.bytes(head_only))?,
            Reply::Truncated(answer, length) => {
                let bytes = answer.bytes(head_only);
                stream.write_all(&bytes[..length.min(bytes.len())])?;
                return stream.flush();
            }
            Reply::Silence(time) => {
                std::thread::sleep(time);
                return Ok(());
            }
            Reply::Slow(answer, speed) if whole => {
                for part in answer.bytes(head_only).chunks(speed / 50) {
                    stream.write_all(part)?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Reply::Response(_) | Reply::Slow(..) | Reply::Cut => return Ok(()),
        }
        stream.flush()?;
    }
    Ok(())
}

/// A request's head, taken out of `buffer`; `None` at the end of the connection.
fn read_head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    let mut piece = [0; 8192];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&piece[..read]),
        }
    }
}

/// Fills `buffer` with the body; whether all of it came.
fn read_body(stream: &mut impl Read, buffer: &mut Vec<u8>, length: usize) -> bool {
    let have = buffer.len();
    if have >= length {
        return true;
    }
    buffer.resize(length, 0);
    let mut at = have;
    while at < length {
        match stream.read(&mut buffer[at..]) {
            Ok(0) | Err(_) => {
                buffer.truncate(at);
                return false;
            }
            Ok(read) => at += read,
        }
    }
    true
}

fn parse(head: &str) -> Request {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.trim().into())).collect();
    let mut request = Request { method: method.into(), path: path.into(), query: query.into(), headers, ..Request::default() };
    request.host = request.header("host").unwrap_or_default().into();
    request
}

/// The authority's file in an internet's folder.
pub(crate) fn authority(folder: &TempDir) -> PathBuf {
    folder.path().join("authority.crt")
}

/// Passes a request on to a server on this machine, under the host that the client meant; its
/// answer.
pub(crate) fn forward(to: SocketAddr, request: &Request) -> Reply {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut head = format!("{} {}{query} HTTP/1.1\r\nConnection: close\r\n", request.method, request.path);
    let headers = request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection"));
    headers.for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(&request.body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = bytes.split_off(end + 4);
    let status = String::from_utf8_lossy(&bytes)[9..12].parse().unwrap();
    Response::new(status).with_body(body).into()
}
