//! A proxy that misbehaves on order, before a registry that does not: requests are read whole, and
//! a script decides what becomes of each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpimg::oci::Repository;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is passed on.
    None,
    /// This answer instead: status line, headers, body.
    Answer(u16, String, String),
    /// The connection ends before the registry sees anything.
    Reset,
    /// The registry gets all of it; its answer is lost.
    Unanswered,
    /// The registry gets this many bytes of the body, then the connection ends.
    Broken(usize),
    /// Only this many bytes of the answer come through.
    Truncated(usize),
    /// It is passed on after this time.
    Delayed(Duration),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: usize,
}

impl Seen {
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

type Script = Arc<dyn Fn(&Seen, usize) -> Fault + Send + Sync>;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
    count: Arc<AtomicUsize>,
    /// Connections that are open.
    open: Arc<AtomicUsize>,
}

impl Proxy {
    /// A proxy before `upstream` on a free port, on the current runtime.
    pub(crate) async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Self {
            address,
            seen: Arc::default(),
            script: Arc::new(Mutex::new(Arc::new(|_: &Seen, _: usize| Fault::None))),
            count: Arc::default(),
            open: Arc::default(),
        };
        let (seen, script, count) = (proxy.seen.clone(), proxy.script.clone(), proxy.count.clone());
        let open = proxy.open.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (seen, script, count) = (seen.clone(), script.clone(), count.clone());
                open.fetch_add(1, Ordering::SeqCst);
                let open = open.clone();
                tokio::spawn(async move {
                    let mut client = client;
                    let decide = |request: &Seen| {
                        seen.lock().unwrap().push(request.clone());
                        let script = script.lock().unwrap().clone();
                        script(request, count.fetch_add(1, Ordering::SeqCst))
                    };
                    // Ends with the connection, whoever ends it.
                    let _ = serve(&mut client, upstream, decide).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        proxy
    }

    /// From now on this decides; requests are counted from 0 again, and forgotten.
    pub(crate) fn script(&self, script: impl Fn(&Seen, usize) -> Fault + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
        self.count.store(0, Ordering::SeqCst);
        self.seen.lock().unwrap().clear();
    }

    /// Waits until the registry has answered all that it was passed.
    pub(crate) async fn quiet(&self) {
        while self.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Bytes of uploads that came.
    pub(crate) fn uploaded(&self) -> usize {
        self.seen().iter().filter(|seen| seen.target.contains("/blobs/uploads/")).map(|seen| seen.body).sum()
    }

    pub(crate) fn repository(&self, path: &str) -> Repository {
        Repository::parse(&format!("{}/{path}", self.address)).unwrap()
    }
}

async fn serve(client: &mut TcpStream, upstream: SocketAddr, decide: impl FnOnce(&Seen) -> Fault) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let length = text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let body = length.unwrap_or(0);
    while request.len() < head + body {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let fault = decide(&Seen { method, target, head: text.clone(), body });
    // One request a connection: what is left of an answer after a fault cannot be taken for the
    // next one's.
    let mut forwarded = text.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes();
    let whole = &request[head..head + body];
    match fault {
        Fault::Reset => reset(client),
        Fault::Answer(status, headers, body) => {
            let answer =
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
            client.write_all(answer.as_bytes()).await
        }
        Fault::Broken(arrived) => {
            forwarded.extend_from_slice(&whole[..arrived.min(body)]);
            let mut server = TcpStream::connect(upstream).await?;
            server.write_all(&forwarded).await?;
            // The registry has stored what came when the connection ends before its time.
            server.shutdown().await?;
            server.read_to_end(&mut Vec::new()).await?;
            reset(client)
        }
        Fault::None | Fault::Unanswered | Fault::Truncated(_) | Fault::Delayed(_) => {
            if let Fault::Delayed(time) = fault {
                tokio::time::sleep(time).await;
            }
            forwarded.extend_from_slice(whole);
            let mut server = TcpStream::connect(upstream).await?;
            server.write_all(&forwarded).await?;
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).await?;
            match fault {
                Fault::Unanswered => reset(client),
                Fault::Truncated(length) => {
                    client.write_all(&answer[..length.min(answer.len())]).await?;
                    reset(client)
                }
                _ => client.write_all(&answer).await,
            }
        }
    }
}

fn reset(client: &TcpStream) -> std::io::Result<()> {
    // A connection that lingers for no time ends with a reset.
    #[expect(deprecated, reason = "blocks for no time with zero")]
    client.set_linger(Some(Duration::ZERO))
}
