# The native part of the package. Not an interface: `mpimg` is.

from typing import Literal, Optional, Tuple, TypedDict, type_check_only

from .events import ProgressCallback

__all__ = [
    "__VERSION__",
    "build",
    "check",
    "images",
    "inspect",
    "login",
    "logout",
    "open_project",
    "push",
    "remove",
    "set_helper",
    "tag",
]

__VERSION__: str

@type_check_only
class Options(TypedDict):
    home: Optional[str]
    ca_files: list[str]
    insecure_registries: list[str]
    registry_mirrors: list[str]
    credentials: dict[str, Tuple[str, str]]

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
    cache_max_age: Optional[float]
    source_date_epoch: Optional[int]
    allowed_secret_files: list[str]
    secrets: dict[str, bytes]
    ssh: dict[str, str]
    isolation: str
    names: list[str]
    outputs: list[str]

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
    build: BuildRequest

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
class CheckResult(TypedDict):
    name: str
    state: Literal["passed", "failed", "unknown"]
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

@type_check_only
class CheckReportResult(TypedDict):
    repository: str
    passed: bool
    items: list[CheckResult]
    pulls: Optional[Tuple[int, int]]

@type_check_only
class StoredResult(TypedDict):
    name: str
    digest: str
    image_id: str
    platform: str
    created: Optional[str]
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

def set_helper(program: str) -> None: ...
def open_project(path: str) -> ProjectResult: ...
def build(options: Options, request: BuildRequest, progress: Optional[ProgressCallback]) -> BuiltResult: ...
def push(options: Options, request: PushRequest, progress: Optional[ProgressCallback]) -> PushedResult: ...
def check(
    options: Options, subject: str, credential: Optional[Tuple[str, str]], progress: Optional[ProgressCallback]
) -> CheckReportResult: ...
def inspect(
    options: Options, image: str, files: bool, platform: str, progress: Optional[ProgressCallback]
) -> InspectedResult: ...
def images(options: Options) -> list[StoredResult]: ...
def tag(options: Options, source: str, target: str) -> str: ...
def remove(options: Options, names: list[str], force: bool) -> list[str]: ...
def login(options: Options, registry: str, username: str, password: str) -> str: ...
def logout(options: Options, registry: str) -> bool: ...
