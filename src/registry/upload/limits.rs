//! Limits that registries are known to set on uploads, by their names (each number with its
//! source). What a response teaches is the state machine's.

use crate::registry::host::RegistryKind;

const MIB: u64 = 1 << 20;

/// The upload limits of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadLimits {
    /// Bytes of a chunk that is not the last.
    pub(crate) chunk_size: u64,
    /// The upload of a growing blob begins when it has this many bytes: the link stands idle until
    /// then.
    pub(crate) start_at: u64,
    /// What a chunk may grow to where the link carries that in a second or so.
    pub(crate) max_chunk: u64,
    /// Chunks are halved no further than this, after a refusal or broken connections.
    pub(crate) min_chunk: u64,
    /// The registry takes everything in one request only.
    pub(crate) single_request: bool,
    /// The last chunk goes with the PUT that ends the upload, instead of a PATCH before it.
    pub(crate) last_in_put: bool,
    /// The `Range` of an answer is not to be believed.
    pub(crate) ignore_range: bool,
    /// A session cannot be asked where it stands; a chunk that is out of place is answered by 416
    /// with the right offset.
    pub(crate) no_status: bool,
    /// The shortest chunk that the registry takes, as it has announced it.
    pub(crate) announced: Option<u64>,
}

impl UploadLimits {
    /// The limits of a registry, with the chunk size that the caller wishes.
    pub(crate) fn of(kind: RegistryKind, wished: u64) -> Self {
        let chunk = wished.max(1);
        let plain = Self {
            chunk_size: chunk,
            start_at: chunk.min(MIB),
            max_chunk: chunk.max(512 * MIB),
            min_chunk: 64 << 10,
            single_request: false,
            last_in_put: false,
            ignore_range: false,
            no_status: false,
            announced: None,
        };
        match kind {
            // A chunk over 4 MiB with Content-Range is answered by 416 (GitHub community discussion
            // 26299).
            RegistryKind::Ghcr => Self { chunk_size: chunk.min(4 * MIB), max_chunk: 4 * MIB, ..plain },
            // UploadLayerPart takes 5 to 10 MiB; an empty PUT fails (openai/tart#159); Range stands
            // still at the first part (aws/containers-roadmap#2831); GET on a session is 404
            // (dotnet/sdk-container-builds#33019).
            RegistryKind::Ecr => Self {
                chunk_size: chunk.clamp(5 * MIB, 10 * MIB),
                start_at: 5 * MIB,
                max_chunk: 10 * MIB,
                min_chunk: 5 * MIB,
                last_in_put: true,
                ignore_range: true,
                no_status: true,
                ..plain
            },
            // Google documents no chunked uploads: one request a blob.
            RegistryKind::Google => Self { single_request: true, ..plain },
            // Everything by PATCH, then an empty PUT: with a body, Harbor books that body's length
            // as the blob's size, and Harbor cannot be told by its name.
            RegistryKind::Other => plain,
            // Proxies of the large services take 100 MB a request and more (Cloudflare's smallest
            // plan).
            RegistryKind::DockerHub | RegistryKind::Quay => Self { max_chunk: chunk.max(64 * MIB), ..plain },
        }
    }

    /// Takes in the shortest chunk that the registry has announced, if it has
    /// (`OCI-Chunk-Min-Length`).
    pub(crate) fn announce(&mut self, least: Option<u64>) {
        let Some(least) = least else { return };
        self.announced = Some(least);
        let Self { chunk_size, start_at, min_chunk, .. } = self;
        [chunk_size, start_at, min_chunk].into_iter().for_each(|limit| *limit = least.max(*limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wished_chunk_is_brought_within_the_registrys_limits() {
        for (kind, wished, chunk) in [
            (RegistryKind::Other, 5 * MIB, 5 * MIB),
            (RegistryKind::Other, 0, 1),
            (RegistryKind::Ghcr, 5 * MIB, 4 * MIB),
            (RegistryKind::Ghcr, MIB, MIB),
            (RegistryKind::Ecr, MIB, 5 * MIB),
            (RegistryKind::Ecr, 64 * MIB, 10 * MIB),
        ] {
            assert_eq!(UploadLimits::of(kind, wished).chunk_size, chunk, "{kind:?} {wished}");
        }
    }
}
