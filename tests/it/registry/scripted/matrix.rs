//! The fault matrix: at every request of a push every fault there is, one at a time and in pairs.
//! The push succeeds and the image is whole, or it ends with an error; never a wrong image, a hang
//! or a secret in what is said.
//!
//! Of the pairs a sample is taken: every 997th. `MPIMG_FAULT_PAIRS=1 cargo test any_two_faults`
//! takes all of them, in an hour; `1:5000` leaves the first 5000 out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mpimg::ErrorKind;
use mpimg::oci::Repository;
use mpimg::progress::{Event, Progress, Reporter};
use mpimg::registry::{Client, ClientOptions, Credential};

use super::auth::{Auth, Scheme};
use super::http_server::{HttpServer, Reply, Request, Response, Script};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service};
use crate::registry::distribution::push;
use crate::registry::fixture::{Image, options};

const CHUNK: u64 = 64 << 10;

/// A registry that is silent for so long is given up. A machine that is busy with something else is
/// silent, too.
const PATIENCE: Duration = Duration::from_millis(100);

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// This status, nothing done.
    Status(u16),
    /// 429, to be tried again at once.
    Later,
    /// 401 as if the token had run out.
    Expired,
    /// The session is gone.
    Gone,
    /// 416, without a word about the right place.
    OutOfPlace,
    /// The connection ends before anything is done.
    Lost,
    /// Half of the body arrives, then the connection ends.
    Half,
    /// All is done, and the answer lost.
    Unanswered,
    /// All is done, and a gateway says 504.
    DoneButLate,
    /// The answer breaks off.
    Truncated,
    /// Nothing comes, and the connection stays.
    Stalled,
    /// The registry says that the bytes are not what they should be.
    WrongDigest,
    /// The registry names another digest than that of what it was sent.
    OtherDigest,
    /// The request is sent on to another host, which has never heard of it.
    Elsewhere,
}

const FAULTS: [Fault; 19] = [
    Fault::Status(408),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Status(504),
    Fault::Later,
    Fault::Expired,
    Fault::Gone,
    Fault::OutOfPlace,
    Fault::Lost,
    Fault::Half,
    Fault::Unanswered,
    Fault::DoneButLate,
    Fault::Truncated,
    Fault::Stalled,
    Fault::WrongDigest,
    Fault::OtherDigest,
    Fault::Elsewhere,
];

impl Fault {
    /// Whether a push must get over it whatever request it hits.
    fn passes(self) -> bool {
        !matches!(self, Self::Gone | Self::OutOfPlace | Self::WrongDigest | Self::OtherDigest | Self::Elsewhere)
    }
}

/// Everything that was said.
#[derive(Default)]
struct Transcript(Mutex<String>);

impl Reporter for Transcript {
    fn event(&self, event: Event<'_>) {
        self.0.lock().unwrap().push_str(&format!("{event:?}\n"));
    }
}

/// A service to which faults happen, each at its request, counted from 0; those to the token server
/// count, too.
struct Faulty {
    service: Service,
    faults: Vec<(usize, Fault)>,
    /// The requests that were hit, but for what they ask with.
    hit: Vec<Request>,
    count: usize,
    /// After how long a silence the client gives up.
    patience: Duration,
    elsewhere: SocketAddr,
}

impl Script for Faulty {
    fn answer(&mut self, request: &Request) -> Reply {
        let fault = self.faults.iter().find(|(at, _)| *at == self.count).map(|(_, fault)| *fault);
        self.count += 1;
        if fault.is_some() {
            self.hit.push(Request { headers: Vec::new(), ..request.clone() });
        }
        let mut done = || match self.service.answer(request) {
            Reply::Response(answer) => answer,
            other => panic!("{other:?}"),
        };
        match fault {
            None => done().into(),
            Some(Fault::Status(status)) => Response::error(status, "UNAVAILABLE", "not now").into(),
            Some(Fault::Later) => Response::error(429, "TOOMANYREQUESTS", "slowly").with("Retry-After", "0").into(),
            // A token server's 401 is another matter: it means a wrong password.
            Some(Fault::Expired) if request.path == "/token" => done().into(),
            Some(Fault::Expired) => self.service.auth.as_ref().unwrap().challenge(None).into(),
            Some(Fault::Gone) => Response::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry").into(),
            Some(Fault::OutOfPlace) => Response::error(416, "BLOB_UPLOAD_INVALID", "out of place").into(),
            Some(Fault::Lost) => Reply::Cut,
            Some(Fault::Half) => {
                if !request.body.is_empty() {
                    let body = request.body[..request.body.len() / 2].to_vec();
                    self.service.answer(&Request { body, whole: false, ..request.clone() });
                }
                Reply::Cut
            }
            Some(Fault::Unanswered) => {
                done();
                Reply::Cut
            }
            Some(Fault::DoneButLate) => {
                done();
                Response::new(504).into()
            }
            Some(Fault::Truncated) => Reply::Truncated(done(), 20),
            Some(Fault::Stalled) => Reply::Silence(4 * self.patience),
            Some(Fault::WrongDigest) => {
                Response::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content").into()
            }
            Some(Fault::OtherDigest) => {
                let mut answer = done();
                let digests = answer.headers.iter_mut().filter(|(name, _)| name == "Docker-Content-Digest");
                digests.for_each(|(_, value)| *value = format!("sha256:{}", "0".repeat(64)));
                answer.into()
            }
            Some(Fault::Elsewhere) => {
                Response::new(307).with("Location", format!("http://{}/signed?secret=1", self.elsewhere)).into()
            }
        }
    }
}

/// A registry, a host that is none of its, and what is pushed there.
struct Rig {
    server: HttpServer<Faulty>,
    elsewhere: HttpServer<fn(&Request) -> Reply>,
    image: Image,
    transcript: Arc<Transcript>,
    slowest: Mutex<(Duration, String)>,
}

impl Rig {
    fn new(quirks: Quirks) -> Self {
        let elsewhere: HttpServer<fn(&Request) -> Reply> =
            HttpServer::plain(|_| Response::error(404, "NOT_FOUND", "who are you").into());
        let service = Service::new(quirks, Some(Auth::new(Scheme::Basic, "user", PASSWORD)));
        let (faults, hit, count, patience) = (Vec::new(), Vec::new(), 0, PATIENCE);
        let server = HttpServer::plain(Faulty { service, faults, hit, count, patience, elsewhere: elsewhere.address });
        let realm = format!("http://{}/token", server.address);
        let scheme = Scheme::Bearer { realm, service: "registry" };
        server.script.lock().unwrap().service.auth.iter_mut().for_each(|auth| auth.scheme = scheme.clone());
        Self { server, elsewhere, image: Image::new(91, &[150_000, 500]), transcript: Arc::default(), slowest: Mutex::default() }
    }

    fn options(&self, patience: Duration) -> ClientOptions {
        let mut options = options();
        options.chunk_size = CHUNK;
        // One request after the other: a fault's place says what it hits.
        options.concurrency = 1;
        options.retry.first_delay = Duration::ZERO;
        options.retry.stall_timeout = patience;
        options.retry.response_timeout = patience;
        // The only other wait that there is: a connection that the kernel drops under load is asked
        // for again after a second.
        options.retry.connect_timeout = Duration::from_secs(2);
        options.progress = Progress::new(self.transcript.clone());
        options.credentials.explicit.push((self.server.address.to_string(), Credential::basic("user", PASSWORD)));
        options
    }

    fn repository(&self, path: &str) -> Repository {
        Repository::parse(&format!("{}/{path}", self.server.address)).unwrap()
    }

    fn have(&self, faults: &[(usize, Fault)], patience: Duration) {
        let mut script = self.server.script.lock().unwrap();
        (script.faults, script.hit, script.count, script.patience) = (faults.to_vec(), Vec::new(), 0, patience);
    }

    /// Whether a request was hit, and then once more when it was repeated.
    fn hit_twice(&self) -> bool {
        matches!(&self.server.script.lock().unwrap().hit[..], [one, other] if one == other)
    }

    /// How many requests a push takes to which nothing happens: the pairs are numbered by it. A
    /// machine that is busy makes it more.
    async fn requests(&self, name: &str) -> usize {
        let mut least = usize::MAX;
        for again in 0..5 {
            least = least.min(self.push(&format!("{name}/clean{again}"), &[]).await);
        }
        least
    }

    /// One push with these faults; how many requests it took.
    async fn push(&self, path: &str, faults: &[(usize, Fault)]) -> usize {
        let mut found = self.attempt(path, faults, PATIENCE).await;
        for again in 0..3 {
            // Silence of a busy machine is one fault more, and moves the others to other requests:
            // it is waited out longer and longer. What is wrong with the push happens each time.
            if found.is_ok() {
                break;
            }
            found = self.attempt(&format!("{path}/again{again}"), faults, PATIENCE * (2 << again)).await;
        }
        found.unwrap_or_else(|why| panic!("{path}, {faults:?}: {why}"))
    }

    /// How many requests a push took that ended as it should; else what is wrong with it. A wrong
    /// image is no matter of chance.
    async fn attempt(&self, path: &str, faults: &[(usize, Fault)], patience: Duration) -> Result<usize, String> {
        self.have(faults, patience);
        self.server.forget();
        let started = Instant::now();
        let client = Client::new(self.options(patience));
        let pushed = push(&client, &self.repository(path), &self.image, &["1"]).await;
        let took = started.elapsed();
        let mut slowest = self.slowest.lock().unwrap();
        if took > slowest.0 {
            *slowest = (took, format!("{faults:?}"));
        }
        drop(slowest);
        let digest = self.image.digest().to_string();
        match pushed {
            Ok(pushed) => {
                assert_eq!(pushed.digest.to_string(), digest, "{faults:?}");
                self.server.script.lock().unwrap().service.registry.validate(path, &digest);
            }
            Err(error) => {
                let text = format!("{error:?}");
                self.transcript.0.lock().unwrap().push_str(&text);
                // A token that is refused as soon as it was given is one without the right, and no
                // matter of time. Another blob's request may come between.
                let at_once = matches!(faults, [(_, Fault::Expired), (_, Fault::Expired)]) && self.hit_twice();
                let kinds = [ErrorKind::Auth, ErrorKind::Registry, ErrorKind::Network, ErrorKind::NotFound, ErrorKind::Corrupt];
                let is_fit = kinds.contains(&error.kind()) && error.to_string().starts_with("cannot push");
                if !is_fit || !at_once && faults.iter().all(|(_, fault)| fault.passes()) {
                    return Err(text);
                }
            }
        }
        match took < Duration::from_secs(60) {
            true => Ok(self.server.seen().len()),
            false => Err(format!("hangs: {took:?}")),
        }
    }

    /// What was said, and who was told, hold no secret.
    fn assert_discreet(&self) {
        let said = std::mem::take(&mut *self.transcript.0.lock().unwrap());
        let secrets = self.server.script.lock().unwrap().service.auth.as_ref().unwrap().secrets();
        for secret in secrets.iter().map(String::as_str).chain([PASSWORD, "secret=1"]) {
            assert!(!said.contains(secret), "{secret} shows");
        }
        let strangers = self.elsewhere.seen();
        assert!(strangers.iter().all(|request| request.header("authorization").is_none()));
    }
}

/// The registries that differ most in what a fault does to them.
fn rigs() -> [(&'static str, Rig); 3] {
    [("harbor", Quirks::HARBOR), ("quay", Quirks::QUAY), ("zot", Quirks::ZOT)].map(|(name, quirks)| (name, Rig::new(quirks)))
}

#[tokio::test(flavor = "multi_thread")]
async fn any_fault_at_any_request_ends_well_or_with_an_error() {
    join_all(rigs().map(|(name, rig)| async move {
        let requests = rig.requests(name).await;
        assert!((12..30).contains(&requests), "{requests} requests");
        for at in 0..requests {
            for (kind, fault) in FAULTS.into_iter().enumerate() {
                rig.push(&format!("{name}/f{kind}/r{at}"), &[(at, fault)]).await;
            }
        }
        rig.assert_discreet();
        println!("{name}: {requests} requests, {} faults at each", FAULTS.len());
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_faults_end_well_or_with_an_error() {
    // Without being told, a sample that wanders through all pairs: 997 is a prime.
    let told = std::env::var("MPIMG_FAULT_PAIRS").unwrap_or_else(|_| "997".into());
    let (step, skipped) = told.split_once(':').unwrap_or((&told, "0"));
    let (step, skipped): (usize, usize) = (step.parse().unwrap(), skipped.parse().unwrap());
    join_all(rigs().map(|(name, rig)| async move {
        let requests = rig.requests(name).await;
        let places = (0..requests).flat_map(|first| (first + 1..requests + 4).map(move |second| (first, second)));
        let kinds = || FAULTS.into_iter().flat_map(|one| FAULTS.into_iter().map(move |other| (one, other)));
        let pairs = places.flat_map(|place| kinds().map(move |kind| [(place.0, kind.0), (place.1, kind.1)]));
        let (mut rig, mut tried) = (rig, 0);
        for (number, pair) in pairs.enumerate().skip(skipped).step_by(step) {
            rig.push(&format!("{name}/{number}"), &pair).await;
            tried += 1;
            if tried % 500 == 0 {
                // What a rig keeps of all pushes would fill the memory, and be searched for every
                // token.
                rig.assert_discreet();
                let quirks = rig.server.script.lock().unwrap().service.registry.quirks.clone();
                rig = Rig::new(quirks);
            }
        }
        rig.assert_discreet();
        println!("{name}: {tried} pairs, slowest {:?}", rig.slowest.lock().unwrap());
    }))
    .await;
}
