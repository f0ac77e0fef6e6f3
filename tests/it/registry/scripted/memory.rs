//! A registry in memory whose quirks can be set: what sets Harbor, ECR, Docker Hub and the rest
//! apart when bytes go up.
//!
//! It checks what it is sent as the real ones do, and keeps what they keep. Refuses to know who
//! asks: that is `login`'s.

use std::collections::HashMap;

use mpimg::oci::Digest;

use super::http_server::{Reply, Request, Response};

const MIB: u64 = 1 << 20;

/// What follows the offset in an answer's `Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Standard,
    /// `bytes=0--1` on POST, `0-(n-1)` on PATCH, `bytes=0-n` on GET.
    Quay,
    /// Stays where the first chunk ended (aws/containers-roadmap#2831).
    Stuck,
    /// Gitea: GET names the count of bytes.
    Counted,
}

/// What becomes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounts {
    Work,
    /// An ordinary session instead.
    Ignored,
    /// Harbor without the right to pull from the source (goharbor/harbor#17097).
    Refused,
}

/// How a registry behaves.
#[derive(Debug, Clone)]
pub(super) struct Quirks {
    pub(super) range: Range,
    /// The status of a chunk that was taken.
    pub(super) chunk_status: u16,
    pub(super) has_upload_status: bool,
    /// distribution 2.8: the Location names the offset, and any other cancels the session, whatever
    /// is asked.
    pub(super) offset_in_location: bool,
    /// What came of a broken chunk is kept; otherwise it is forgotten.
    pub(super) keeps_partial_chunk: bool,
    /// zot, ACR: a chunk that breaks ends the session.
    pub(super) broken_chunk_ends_session: bool,
    /// Gitea: the part of a chunk that came before the connection broke stays uncounted, and all that
    /// follows gets 500.
    pub(super) broken_chunk_jams_session: bool,
    /// The least bytes of a part that is not the last.
    pub(super) least: u64,
    /// The most bytes of a request, and what is answered to more.
    pub(super) most: Option<(u64, u16)>,
    /// One PATCH or PUT with everything.
    pub(super) whole_only: bool,
    pub(super) takes_empty_put: bool,
    /// Harbor takes the length of the last request for the blob's, if it is not empty.
    pub(super) books_last_request: bool,
    /// Where uploads are.
    pub(super) uploads: &'static str,
    pub(super) mounts: Mounts,
}

impl Quirks {
    pub(super) const HARBOR: Self = Self {
        range: Range::Standard,
        chunk_status: 202,
        has_upload_status: true,
        offset_in_location: true,
        keeps_partial_chunk: true,
        broken_chunk_ends_session: false,
        broken_chunk_jams_session: false,
        least: 0,
        most: None,
        whole_only: false,
        takes_empty_put: true,
        books_last_request: true,
        uploads: "blobs/uploads",
        mounts: Mounts::Work,
    };
    pub(super) const HUB: Self = Self { books_last_request: false, mounts: Mounts::Ignored, ..Self::HARBOR };
    pub(super) const ECR: Self = Self {
        range: Range::Stuck,
        chunk_status: 201,
        has_upload_status: false,
        offset_in_location: false,
        keeps_partial_chunk: false,
        least: 5 * MIB,
        most: Some((10 * MIB, 413)),
        takes_empty_put: false,
        books_last_request: false,
        mounts: Mounts::Ignored,
        ..Self::HARBOR
    };
    pub(super) const GHCR: Self = Self {
        books_last_request: false,
        most: Some((4 * MIB, 416)),
        uploads: "blobs/upload",
        offset_in_location: false,
        keeps_partial_chunk: false,
        ..Self::HARBOR
    };
    pub(super) const QUAY: Self =
        Self { books_last_request: false, range: Range::Quay, offset_in_location: false, ..Self::HARBOR };
    pub(super) const GOOGLE: Self = Self {
        books_last_request: false,
        whole_only: true,
        offset_in_location: false,
        keeps_partial_chunk: false,
        ..Self::HARBOR
    };
    pub(super) const ZOT: Self =
        Self { books_last_request: false, broken_chunk_ends_session: true, offset_in_location: false, ..Self::HARBOR };
    pub(super) const GITEA: Self = Self {
        books_last_request: false,
        range: Range::Counted,
        broken_chunk_jams_session: true,
        keeps_partial_chunk: false,
        offset_in_location: false,
        ..Self::HARBOR
    };
    pub(super) const ACR: Self =
        Self { books_last_request: false, broken_chunk_ends_session: true, most: Some((20 * MIB, 413)), ..Self::HARBOR };
}

/// A blob, and how many bytes the registry believes it has.
#[derive(Debug, Clone)]
struct Blob {
    bytes: Vec<u8>,
    booked: u64,
}

struct Session {
    repository: String,
    bytes: Vec<u8>,
    jammed: bool,
    first: Option<u64>,
    parts: Vec<u64>,
}

/// What the registry has, and how it behaves.
pub(super) struct Registry {
    pub(super) quirks: Quirks,
    blobs: HashMap<(String, String), Blob>,
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    sessions: HashMap<u64, Session>,
    begun: u64,
    cancelled: u64,
}

/// What a path below `/v2/` means.
enum Resource<'a> {
    Blob(&'a str, &'a str),
    Begin(&'a str),
    Session(&'a str, u64),
    Manifest(&'a str, &'a str),
    Tags(&'a str),
}

fn resource<'a>(path: &'a str, uploads: &str) -> Option<Resource<'a>> {
    let path = path.strip_prefix("/v2/")?;
    if let Some(repository) = path.strip_suffix("/blobs/uploads/") {
        return Some(Resource::Begin(repository));
    }
    if let Some((repository, id)) = path.split_once(&format!("/{uploads}/")) {
        return Some(Resource::Session(repository, id.parse().ok()?));
    }
    if let Some((repository, digest)) = path.split_once("/blobs/") {
        return Some(Resource::Blob(repository, digest));
    }
    if let Some((repository, reference)) = path.split_once("/manifests/") {
        return Some(Resource::Manifest(repository, reference));
    }
    path.strip_suffix("/tags/list").map(Resource::Tags)
}

impl Registry {
    pub(super) fn new(quirks: Quirks) -> Self {
        let (blobs, manifests, sessions) = Default::default();
        Self { quirks, blobs, manifests, sessions, begun: 0, cancelled: 0 }
    }

    /// How many sessions were begun and not taken back.
    pub(super) fn sessions_begun(&self) -> u64 {
        self.begun - self.cancelled
    }

    /// How many sessions are neither ended nor cancelled.
    pub(super) fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Loses the largest blob of a repository; its digest.
    pub(super) fn lose_largest_blob(&mut self, repository: &str) -> String {
        let own = self.blobs.iter().filter(|((name, _), _)| name == repository);
        let (key, _) = own.max_by_key(|(_, blob)| blob.bytes.len()).unwrap();
        let key = key.clone();
        self.blobs.remove(&key);
        key.1
    }

    /// Forgets the session that a request is for.
    pub(super) fn forget_session(&mut self, request: &Request) {
        if let Some(Resource::Session(_, id)) = resource(&request.path, self.quirks.uploads) {
            self.sessions.remove(&id);
        }
    }

    /// Puts an image there; its digest. `layers` are tars.
    pub(super) fn put_image(&mut self, repository: &str, tag: &str, layers: &[&[u8]]) -> String {
        let platform = serde_json::json!({"architecture": "amd64", "os": "linux"});
        self.put_image_for(repository, tag, &platform, layers).0
    }

    /// The same for what the fields of `platform` say in its config; its digest and size.
    pub(super) fn put_image_for(
        &mut self,
        repository: &str,
        tag: &str,
        platform: &serde_json::Value,
        layers: &[&[u8]],
    ) -> (String, usize) {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let mut config = platform.clone();
        config["config"] = serde_json::json!({});
        config["rootfs"] = serde_json::json!({"type": "layers", "diff_ids": diff_ids});
        let config = config.to_string().into_bytes();
        let describe = |kind: &str, bytes: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            serde_json::json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("config.v1+json", &config),
            "layers": layers.iter().map(|layer| describe("layer.v1.tar", layer)).collect::<Vec<_>>(),
        });
        layers.iter().copied().chain([config.as_slice()]).for_each(|bytes| self.keep(repository, bytes.to_vec(), bytes.len()));
        let manifest = manifest.to_string().into_bytes();
        let size = manifest.len();
        (self.keep_manifest(repository, tag, "application/vnd.oci.image.manifest.v1+json", manifest), size)
    }

    /// Checks a repository's image as a puller would: every digest, every size. Its layers' sizes.
    pub(super) fn validate(&self, repository: &str, digest: &str) -> Vec<u64> {
        let (_, manifest) = &self.manifests[&(repository.to_owned(), digest.to_owned())];
        assert_eq!(Digest::of(manifest).to_string(), digest);
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let named = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
        let sizes = named.map(|descriptor| {
            let digest = descriptor["digest"].as_str().unwrap();
            let blob = &self.blobs[&(repository.to_owned(), digest.to_owned())];
            assert_eq!(Digest::of(&blob.bytes).to_string(), digest);
            assert_eq!(descriptor["size"], blob.bytes.len() as u64);
            assert_eq!(blob.booked, blob.bytes.len() as u64, "the registry booked another size");
            blob.booked
        });
        let mut sizes: Vec<u64> = sizes.collect();
        sizes.pop();
        sizes
    }

    /// The digest of what stands under a name.
    pub(super) fn digest(&self, repository: &str, reference: &str) -> Option<String> {
        self.manifest(repository, reference).map(|bytes| Digest::of(bytes).to_string())
    }

    /// The manifest that stands under a name.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<&[u8]> {
        self.manifests.get(&(repository.to_owned(), reference.to_owned())).map(|(_, bytes)| bytes.as_slice())
    }

    /// What an artifact carries: the first layer that its manifest names.
    pub(super) fn payload(&self, repository: &str, artifact: &str) -> &[u8] {
        let (_, manifest) = &self.manifests[&(repository.to_owned(), artifact.to_owned())];
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap();
        &self.blobs[&(repository.to_owned(), digest.to_owned())].bytes
    }

    /// Keeps a blob.
    pub(super) fn keep_blob(&mut self, repository: &str, bytes: Vec<u8>) {
        let length = bytes.len();
        self.keep(repository, bytes, length);
    }

    fn keep(&mut self, repository: &str, bytes: Vec<u8>, booked: usize) {
        let digest = Digest::of(&bytes).to_string();
        self.blobs.insert((repository.into(), digest), Blob { bytes, booked: booked as u64 });
    }

    pub(super) fn keep_manifest(&mut self, repository: &str, reference: &str, media_type: &str, bytes: Vec<u8>) -> String {
        let digest = Digest::of(&bytes).to_string();
        for name in [reference, &digest] {
            self.manifests.insert((repository.into(), name.into()), (media_type.into(), bytes.clone()));
        }
        digest
    }

    /// Carries a request out.
    pub(super) fn answer(&mut self, request: &Request) -> Reply {
        let uploads = self.quirks.uploads;
        let answer = match (request.method.as_str(), resource(&request.path, uploads)) {
            ("GET", None) if request.path == "/v2/" => Response::json(200, &serde_json::json!({})),
            ("POST", Some(Resource::Begin(repository))) => self.begin(repository, request),
            (method, Some(Resource::Session(repository, id))) => self.session(method, repository, id, request),
            ("GET" | "HEAD", Some(Resource::Blob(repository, digest))) => {
                match self.blobs.get(&(repository.to_owned(), digest.to_owned())) {
                    Some(blob) => Response::new(200).with("Docker-Content-Digest", digest).with_body(blob.bytes.clone()),
                    None => Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
                }
            }
            ("GET" | "HEAD", Some(Resource::Manifest(repository, reference))) => {
                match self.manifests.get(&(repository.to_owned(), reference.to_owned())) {
                    Some((media_type, bytes)) => Response::new(200)
                        .with("Content-Type", media_type.as_str())
                        .with("Docker-Content-Digest", Digest::of(bytes).to_string())
                        .with_body(bytes.clone()),
                    None => Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
                }
            }
            ("PUT", Some(Resource::Manifest(repository, reference))) => self.put_manifest(repository, reference, request),
            ("GET", Some(Resource::Tags(repository))) => {
                let names = self.manifests.keys().filter(|(own, name)| own == repository && !name.contains(':'));
                let mut tags: Vec<&String> = names.map(|(_, name)| name).collect();
                tags.sort();
                Response::json(200, &serde_json::json!({"name": repository, "tags": tags}))
            }
            _ => Response::error(404, "UNSUPPORTED", "there is no such thing here"),
        };
        answer.into()
    }

    fn begin(&mut self, repository: &str, request: &Request) -> Response {
        if let (Some(digest), Some(from)) = (request.parameter("mount"), request.parameter("from")) {
            let found = self.blobs.get(&(from, digest.clone())).cloned();
            match (self.quirks.mounts, found) {
                (Mounts::Work, Some(blob)) => {
                    self.blobs.insert((repository.into(), digest.clone()), blob);
                    return Response::new(201).with("Location", format!("/v2/{repository}/blobs/{digest}"));
                }
                (Mounts::Refused, _) => return Response::error(401, "UNAUTHORIZED", "unauthorized to access repository"),
                _ => {}
            }
        }
        self.begun += 1;
        let session = Session { repository: repository.into(), bytes: Vec::new(), jammed: false, first: None, parts: Vec::new() };
        self.sessions.insert(self.begun, session);
        let range = if self.quirks.range == Range::Quay { "bytes=0--1" } else { "0-0" };
        self.told(202, self.begun, range.into())
    }

    /// An answer about a session.
    fn told(&self, status: u16, id: u64, range: String) -> Response {
        let session = &self.sessions[&id];
        let state = if self.quirks.offset_in_location { format!("?_state={}", session.bytes.len()) } else { String::new() };
        let location = format!("/v2/{}/{}/{id}{state}", session.repository, self.quirks.uploads);
        Response::new(status).with("Location", location).with("Range", range)
    }

    fn range(&self, id: u64, patched: bool) -> String {
        let session = &self.sessions[&id];
        let held = session.bytes.len() as u64;
        match (self.quirks.range, patched) {
            (Range::Stuck, _) => format!("0-{}", session.first.unwrap_or(held).saturating_sub(1)),
            (Range::Quay, false) => format!("bytes=0-{held}"),
            (Range::Counted, false) => format!("0-{held}"),
            _ => format!("0-{}", held.saturating_sub(1)),
        }
    }

    fn session(&mut self, method: &str, repository: &str, id: u64, request: &Request) -> Response {
        let gone = || Response::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        let Some(session) = self.sessions.get(&id) else { return gone() };
        assert_eq!(session.repository, repository);
        let state = request.parameter("_state");
        if self.quirks.offset_in_location && state != Some(session.bytes.len().to_string()) {
            self.sessions.remove(&id);
            return Response::error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid");
        }
        match method {
            "GET" if !self.quirks.has_upload_status => gone(),
            "GET" => {
                let mut answer = self.told(204, id, self.range(id, false));
                answer.headers.retain(|(name, _)| name != "Location" || self.quirks.range != Range::Quay);
                answer
            }
            "DELETE" => {
                self.sessions.remove(&id);
                self.cancelled += 1;
                Response::new(204)
            }
            "PATCH" | "PUT" => self.take(method == "PUT", id, request),
            _ => Response::error(405, "UNSUPPORTED", "method not allowed"),
        }
    }

    fn take(&mut self, put: bool, id: u64, request: &Request) -> Response {
        let Quirks {
            most,
            least,
            whole_only,
            takes_empty_put,
            books_last_request,
            broken_chunk_ends_session,
            broken_chunk_jams_session,
            keeps_partial_chunk,
            chunk_status,
            ..
        } = self.quirks;
        let Some(session) = self.sessions.get_mut(&id) else { return Response::new(404) };
        let (held, came) = (session.bytes.len() as u64, request.body.len() as u64);
        if let Some((_, status)) = most.filter(|(most, _)| came > *most) {
            return Response::error(status, "SIZE_INVALID", "request is too large");
        }
        let from = request.header("content-range").map(|text| text.split('-').next().unwrap().parse::<u64>().unwrap());
        if let Some(from) = from.filter(|from| *from != held) {
            let words = format!("First byte of the layer part is {from} instead of {held}");
            return Response::error(416, "BLOB_UPLOAD_INVALID", &words);
        }
        if whole_only && held > 0 && came > 0 {
            return Response::error(400, "BLOB_UPLOAD_INVALID", "chunked uploads are not supported");
        }
        session.jammed |= broken_chunk_jams_session && !request.whole && came > 0;
        if session.jammed {
            return Response::new(500);
        }
        if !request.whole {
            match (broken_chunk_ends_session, keeps_partial_chunk) {
                (true, _) => drop(self.sessions.remove(&id)),
                (false, true) => session.bytes.extend_from_slice(&request.body),
                (false, false) => {}
            }
            return Response::new(500);
        }
        session.bytes.extend_from_slice(&request.body);
        session.first.get_or_insert(came);
        session.parts.extend(Some(came).filter(|came| *came > 0));
        if !put {
            return self.told(chunk_status, id, self.range(id, true));
        }
        let wanted = request.parameter("digest").unwrap_or_default();
        if came == 0 && !takes_empty_put {
            return Response::error(400, "BLOB_UPLOAD_INVALID", "layer part must not be empty");
        }
        let Some(session) = self.sessions.remove(&id) else { return Response::new(404) };
        if session.parts.iter().rev().skip(1).any(|part| *part < least) {
            return Response::error(400, "BLOB_UPLOAD_INVALID", &format!("layer parts must be at least {least} bytes in size"));
        }
        if Digest::of(&session.bytes).to_string() != wanted {
            return Response::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        let booked = if came == 0 || !books_last_request { session.bytes.len() } else { request.body.len() };
        self.keep(&session.repository, session.bytes, booked);
        Response::new(201)
            .with("Location", format!("/v2/{}/blobs/{wanted}", session.repository))
            .with("Docker-Content-Digest", wanted)
    }

    fn put_manifest(&mut self, repository: &str, reference: &str, request: &Request) -> Response {
        if !request.whole {
            return Response::new(500);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let here = |digest: &str| (repository.to_owned(), digest.to_owned());
        // An index names manifests, a manifest blobs.
        let (named, known): (Vec<_>, &dyn Fn(&str) -> bool) = match manifest["manifests"].as_array() {
            Some(manifests) => (manifests.iter().collect(), &|digest| self.manifests.contains_key(&here(digest))),
            None => {
                let named = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
                (named.collect(), &|digest| self.blobs.contains_key(&here(digest)))
            }
        };
        let missing = named.iter().map(|descriptor| descriptor["digest"].as_str().unwrap()).find(|digest| !known(digest));
        if let Some(digest) = missing {
            return Response::error(400, "MANIFEST_BLOB_UNKNOWN", &format!("blob unknown to registry: {digest}"));
        }
        let media_type = request.header("content-type").unwrap_or_default().to_owned();
        let digest = self.keep_manifest(repository, reference, &media_type, request.body.clone());
        Response::new(201).with("Location", format!("/v2/{repository}/manifests/{digest}")).with("Docker-Content-Digest", digest)
    }
}
