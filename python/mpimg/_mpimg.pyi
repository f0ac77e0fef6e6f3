# The native part of the package. Not an interface: `mpimg` is.

from pathlib import Path
from typing import Iterator, Literal, Optional, Tuple, TypedDict, final, type_check_only

from .events import ProgressCallback

__all__ = [
    "CancellationToken",
    "__VERSION__",
    "Logs",
    "RegistryServer",
    "build",
    "check",
    "container_info",
    "container_logs",
    "container_remove",
    "container_signal",
    "container_stats",
    "container_stop",
    "container_wait",
    "containers",
    "copy",
    "diff",
    "doctor",
    "generate_key",
    "images",
    "import_image",
    "inspect",
    "load",
    "login",
    "logout",
    "migrate",
    "open_project",
    "packages",
    "pak_export",
    "pak_import",
    "pak_inspect",
    "prune",
    "pull",
    "push",
    "remove",
    "remove_remote",
    "run",
    "save",
    "sbom",
    "serve",
    "set_helper",
    "sign",
    "sign_file",
    "tag",
    "tags",
    "verify",
    "verify_file",
]

__VERSION__: str

@final
class CancellationToken:
    def __new__(cls) -> CancellationToken: ...
    def cancel(self) -> None: ...
    def is_cancelled(self) -> bool: ...

@final
class Logs:
    def __iter__(self) -> Iterator[Tuple[bool, float, bytes]]: ...
    def __next__(self) -> Tuple[bool, float, bytes]: ...

@final
class RegistryServer:
    addr: str
    addresses: list[str]
    dir: Path
    def stop(self) -> Optional[int]: ...

@type_check_only
class Options(TypedDict):
    home: Optional[str]
    ca_files: list[str]
    insecure_registries: list[str]
    registry_mirrors: list[str]
    credentials: dict[str, Tuple[str, str]]
    cancel: Optional[CancellationToken]

@type_check_only
class BuildRequest(TypedDict):
    context: str
    dockerfile: Optional[str]
    target: Optional[str]
    build_args: dict[str, str]
    labels: dict[str, str]
    annotations: dict[str, str]
    platform: str
    format: str
    codec: str
    no_cache: bool
    no_cache_stages: list[str]
    pull: bool
    contexts: dict[str, str]
    network: str
    extra_hosts: list[tuple[str, str]]
    shm_size: Optional[int]
    ulimits: list[str]
    cache_max_age: Optional[float]
    source_date_epoch: Optional[int]
    allowed_secret_files: list[str]
    secrets: dict[str, bytes]
    ssh: dict[str, str]
    isolation: str
    cache_repo: Optional[str]
    cache_from: list[str]
    cache_to: list[str]
    squash: bool
    sdk_base: str
    allow_insecure: bool
    threads: Optional[int]
    proxies: Optional[dict[str, str]]
    run_ca_files: list[str]
    run_env: dict[str, str]
    run_mounts: list[Tuple[str, str]]
    names: list[str]
    outputs: list[str]
    push: bool
    load: bool
    sbom: Optional[str]
    attest: Optional[str]
    platforms: list[str]
    check_reproducible: bool
    sbom_file: Optional[str]

@type_check_only
class PushRequest(TypedDict):
    path: str
    image: Optional[str]
    repository: Optional[str]
    push_repository: Optional[str]
    use_default_registry: bool
    tags: list[str]
    username: Optional[str]
    password: Optional[str]
    sbom: Optional[str]
    sbom_file: Optional[str]
    provenance: bool
    attest: Optional[str]
    build: BuildRequest

@type_check_only
class CopyRequest(TypedDict):
    source: str
    destination: str
    platform: Optional[str]
    referrers: bool
    username: Optional[str]
    password: Optional[str]

@type_check_only
class RunRequest(TypedDict):
    image: str
    platform: Optional[str]
    command: list[str]
    name: Optional[str]
    entrypoint: Optional[list[str]]
    env: dict[str, str]
    user: Optional[str]
    workdir: Optional[str]
    hostname: Optional[str]
    volumes: list[str]
    tmpfs: list[str]
    ports: list[str]
    memory: Optional[str]
    ulimits: list[str]
    shm_size: Optional[int]
    extra_hosts: list[tuple[str, str]]
    labels: dict[str, str]
    network: str
    isolation: str
    terminal: bool
    remove: bool
    end_with: Optional[int]

@type_check_only
class ProjectResult(TypedDict):
    name: str
    version: str
    kind: str
    image_name: str
    container_repository: Optional[str]
    container_push_repository: Optional[str]
    use_default_registry: bool
    default_memory_limit: int

@type_check_only
class LayerResult(TypedDict):
    digest: str
    diff_id: str
    size: int
    created_by: Optional[str]

@type_check_only
class BuiltResult(TypedDict):
    digest: str
    image_id: str
    size: int
    layers: list[LayerResult]
    seconds: float

@type_check_only
class BuiltImagesResult(BuiltResult):
    manifests: list[tuple[str, str]]

@type_check_only
class CheckResult(TypedDict):
    name: str
    state: Literal["passed", "failed", "unknown", "later"]
    detail: str
    hint: Optional[str]

@type_check_only
class PushedResult(BuiltResult):
    repository: str
    tags: list[str]
    conf_registry: Optional[str]
    conf_repository: str
    anonymous_pull: bool
    anonymous_pull_checks: list[CheckResult]
    sbom: Optional[str]
    provenance: Optional[str]

@type_check_only
class SignedResult(TypedDict):
    digest: str
    bundle: str
    tag: Optional[str]

@type_check_only
class FoundSignatureResult(TypedDict):
    form: Literal["tag", "bundle"]
    manifest: str
    error: Optional[str]
    key: Optional[str]
    predicate_type: Optional[str]
    predicate: Optional[str]
    repository: Optional[str]

@type_check_only
class FoundAttestationResult(TypedDict):
    manifest: str
    image: str
    error: Optional[str]
    predicate_type: str
    predicate: Optional[str]

@type_check_only
class FoundReferrerResult(TypedDict):
    manifest: str
    artifact_type: str
    predicate_types: list[str]
    error: Optional[str]
    signed: bool
    signatures: list[FoundSignatureResult]

@type_check_only
class VerifiedResult(TypedDict):
    digest: str
    signed: bool
    signatures: list[FoundSignatureResult]
    attestations: list[FoundAttestationResult]
    referrers: list[FoundReferrerResult]

@type_check_only
class PackageResult(TypedDict):
    kind: Literal["debian", "python", "rust", "rpm", "apk", "java", "java-runtime", "npm", "go", "gem", "powershell"]
    name: str
    version: str
    purl: str
    licenses: list[str]
    checksum: Optional[Tuple[str, str]]
    places: list[Tuple[str, int]]

@type_check_only
class SbomResult(TypedDict):
    document: str
    digest: str
    packages: list[PackageResult]
    files: int
    files_without_package: int
    notices: list[str]

@type_check_only
class ManifestResult(TypedDict):
    digest: str
    media_type: str
    platform: Optional[str]

@type_check_only
class BlobResult(TypedDict):
    digest: str
    size: int
    outcome: Literal["exists", "mounted", "uploaded"]
    sent: int

@type_check_only
class CopiedResult(TypedDict):
    digest: str
    media_type: str
    size: int
    manifests: list[ManifestResult]
    referrers: list[ManifestResult]
    left_behind: int
    blobs: list[BlobResult]

@type_check_only
class OutcomeResult(TypedDict):
    status: int
    out_of_memory: bool
    finished: int

@type_check_only
class ContainerResult(TypedDict):
    id: str
    name: Optional[str]
    image: str
    digest: str
    command: list[str]
    created: int
    ports: list[Tuple[Optional[str], int, int]]
    memory: Optional[int]
    network: Optional[str]
    isolation: Optional[str]
    pid: Optional[int]
    state: Literal["created", "starting", "running", "ended", "lost"]
    outcome: Optional[OutcomeResult]

@type_check_only
class StatsResult(TypedDict):
    memory: int
    memory_limit: int
    cpu: int
    system_cpu: int
    processors: int
    read: int
    written: int
    received: int
    sent: int
    processes: int

@type_check_only
class CheckReportResult(TypedDict):
    repository: str
    passed: bool
    items: list[CheckResult]
    pulls: Optional[Tuple[int, int]]

@type_check_only
class StoredResult(TypedDict):
    name: Optional[str]
    digest: str
    image_id: str
    platform: str
    created: Optional[str]
    made: Optional[str]
    size: int

@type_check_only
class FileResult(TypedDict):
    path: str
    kind: Literal[
        "file", "directory", "symlink", "hardlink", "char_device", "block_device", "fifo", "whiteout", "opaque_whiteout"
    ]
    link: Optional[str]
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int

@type_check_only
class ImageAttestationResult(TypedDict):
    manifest: str
    predicate_type: str
    digest: str
    size: int

@type_check_only
class InspectedResult(TypedDict):
    digest: str
    image_id: str
    media_type: str
    platform: str
    size: int
    config: str
    annotations: dict[str, str]
    layers: list[LayerResult]
    files: Optional[list[list[FileResult]]]
    attestations: list[ImageAttestationResult]

@type_check_only
class LoadedResult(TypedDict):
    names: list[str]
    digest: str

@type_check_only
class PruneResult(TypedDict):
    blobs: int
    cache_records: int
    cache_mounts: int
    unpacked_layers: int
    freed: int
    left: int

@type_check_only
class PakResult(TypedDict):
    path: str
    name: str
    version: str
    kind: str
    registry: Optional[str]
    repository: str
    digest: str
    signatures: list[str]
    image: Optional[str]
    present: Optional[bool]
    anonymous_pull: Optional[bool]
    tag: Optional[str]
    referrers: int

@type_check_only
class BaseChangeResult(TypedDict):
    line: int
    before: str
    after: str

@type_check_only
class MigrationResult(TypedDict):
    dockerfile: str
    changes: list[BaseChangeResult]
    left: list[str]
    diff: str

@type_check_only
class IsolationResult(TypedDict):
    name: str
    works: bool
    step: Optional[str]
    remedy: Optional[str]

@type_check_only
class DoctorResult(TypedDict):
    run_ca_files: list[str]
    run_env: list[str]
    run_mounts: list[Tuple[str, str]]
    settings_error: Optional[str]
    isolation: Optional[str]
    isolations: list[IsolationResult]
    store: Optional[Path]
    store_size: Optional[int]
    cache_limit: Optional[int]
    store_error: Optional[str]
    files: list[Tuple[Path, str, bool]]
    variables: list[str]
    credentials: list[Tuple[str, str]]

def import_image(
    options: Options, tar: str, name: str, platform: str, codec: str, source_date_epoch: Optional[int]
) -> str: ...
def load(options: Options, archive: str, name: Optional[str], platform: str) -> list[LoadedResult]: ...
def save(
    options: Options, image: str, outputs: list[str], platform: str, progress: Optional[ProgressCallback]
) -> str: ...
def pak_inspect(options: Options, file: str, registry: Optional[str], progress: Optional[ProgressCallback]) -> PakResult: ...
def pak_export(
    options: Options, file: str, registry: Optional[str], output: str, progress: Optional[ProgressCallback]
) -> PakResult: ...
def pak_import(
    options: Options,
    file: str,
    repository: str,
    tag: Optional[str],
    output: str,
    use_default_registry: bool,
    username: Optional[str],
    password: Optional[str],
    progress: Optional[ProgressCallback],
) -> PakResult: ...
def migrate(options: Options, path: str, dockerfile: Optional[str], write: bool) -> MigrationResult: ...
def prune(options: Options, all: bool, keep_storage: Optional[int], keep_cache: Optional[int]) -> PruneResult: ...
def doctor(options: Options) -> DoctorResult: ...
def serve(
    options: Options,
    addr: str,
    dir: Optional[str],
    read_only: bool,
    tls: bool,
    tls_files: Optional[tuple[str, str]],
    htpasswd: Optional[str],
    anonymous_pull: bool,
) -> RegistryServer: ...
def set_helper(program: str) -> None: ...
def open_project(path: str) -> ProjectResult: ...
def build(options: Options, request: BuildRequest, progress: Optional[ProgressCallback]) -> BuiltImagesResult: ...
def push(options: Options, request: PushRequest, progress: Optional[ProgressCallback]) -> PushedResult: ...
def check(
    options: Options, subject: str, username: Optional[str], password: Optional[str], progress: Optional[ProgressCallback]
) -> CheckReportResult: ...
def inspect(
    options: Options, image: str, files: bool, html: Optional[str], platform: str, progress: Optional[ProgressCallback]
) -> InspectedResult: ...
def packages(options: Options, image: str, platform: str, progress: Optional[ProgressCallback]) -> list[PackageResult]: ...
def diff(
    options: Options, old: str, new: str, html: Optional[str], platform: str, progress: Optional[ProgressCallback]
) -> str: ...
def sbom(options: Options, image: str, format: str, platform: str, progress: Optional[ProgressCallback]) -> SbomResult: ...
def pull(
    options: Options, name: str, platform: str, progress: Optional[ProgressCallback]
) -> Tuple[str, str, bool]: ...
def tags(options: Options, repository: str) -> list[str]: ...
def remove_remote(options: Options, names: list[str]) -> None: ...
def images(options: Options) -> list[StoredResult]: ...
def tag(options: Options, source: str, target: str) -> str: ...
def remove(options: Options, names: list[str], force: bool) -> list[str]: ...
def login(options: Options, registry: str, username: str, password: str) -> str: ...
def logout(options: Options, registry: str) -> bool: ...
def sign(
    options: Options, image: str, key: str, password: Optional[str], what: Tuple[bool, bool, bool]
) -> list[SignedResult]: ...
def verify(options: Options, image: str, keys: list[str], recursive: bool) -> list[VerifiedResult]: ...
def sign_file(options: Options, file: str, key: str, password: Optional[str]) -> Tuple[str, str]: ...
def verify_file(options: Options, file: str, keys: list[str]) -> str: ...
def generate_key(prefix: str, password: str) -> Tuple[str, str, str]: ...
def copy(options: Options, request: CopyRequest, progress: Optional[ProgressCallback]) -> CopiedResult: ...
def run(options: Options, request: RunRequest, progress: Optional[ProgressCallback]) -> Tuple[str, list[str]]: ...
def containers(options: Options) -> list[ContainerResult]: ...
def container_info(options: Options, name: str) -> ContainerResult: ...
def container_stats(options: Options, name: str) -> StatsResult: ...
def container_logs(options: Options, name: str, follow: bool, tail: Optional[int]) -> Logs: ...
def container_wait(options: Options, name: str) -> OutcomeResult: ...
def container_signal(options: Options, name: str, number: int) -> None: ...
def container_stop(options: Options, name: str, grace: float) -> None: ...
def container_remove(options: Options, name: str) -> None: ...
