# The native part of the package. Not an interface: `mpimg` is.

from typing import Literal, Mapping, Optional, Tuple, TypedDict, type_check_only

from .events import ProgressCallback

__all__ = ["__VERSION__", "set_helper", "open_project", "build", "push"]

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

def set_helper(program: str) -> None: ...
def open_project(path: str) -> ProjectResult: ...
def build(options: Options, request: BuildRequest, progress: Optional[ProgressCallback]) -> BuiltResult: ...
def push(options: Options, request: PushRequest, progress: Optional[ProgressCallback]) -> PushedResult: ...
