"""What a build takes, by name: as :meth:`mpimg.Mpimg.build` documents it, and as the native part reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence, Tuple, Union

from . import _mpimg
from .project import Project, StrPath

__all__ = ["BuildOptions", "Folder", "folder_of"]

Folder = Union[Project, StrPath]


def folder_of(path: Folder) -> str:
    return os.fspath(path.path if isinstance(path, Project) else path)


@dataclass(frozen=True)
class BuildOptions:
    """Parameters of :meth:`mpimg.Mpimg.build`, which has the defaults. The last ones are only that method's:
    :meth:`mpimg.Mpimg.push` has no such parameters, or its own.
    """

    path: Folder
    dockerfile: Optional[StrPath]
    target: Optional[str]
    build_args: Optional[Mapping[str, str]]
    labels: Optional[Mapping[str, str]]
    annotations: Optional[Mapping[str, str]]
    platform: str
    format: str
    codec: str
    no_cache: bool
    no_cache_stages: Sequence[str]
    pull: bool
    contexts: Optional[Mapping[str, StrPath]]
    network: str
    extra_hosts: Sequence[Tuple[str, str]]
    shm_size: Optional[int]
    ulimits: Sequence[str]
    cache_max_age: Optional[float]
    source_date_epoch: Optional[int]
    allowed_secret_files: Sequence[str]
    secrets: Optional[Mapping[str, bytes]]
    ssh: Optional[Mapping[str, StrPath]]
    isolation: str
    cache_repo: Optional[str]
    cache_from: Sequence[str]
    cache_to: Sequence[str]
    squash: bool
    sdk_base: str
    allow_insecure: bool
    threads: Optional[int]
    proxies: Optional[Mapping[str, str]]
    run_ca_files: Sequence[StrPath]
    run_env: Optional[Mapping[str, str]]
    run_mounts: Optional[Mapping[str, StrPath]]
    names: Sequence[str] = ()
    outputs: Sequence[str] = ()
    push: bool = False
    load: bool = False
    sbom: Optional[str] = None
    attest: Optional[str] = None
    platforms: Sequence[str] = ()
    check_reproducible: bool = False
    sbom_file: Optional[StrPath] = None

    def request(self) -> _mpimg.BuildRequest:
        return {
            "context": folder_of(self.path),
            "dockerfile": None if self.dockerfile is None else os.fspath(self.dockerfile),
            "target": self.target,
            "build_args": dict(self.build_args or {}),
            "labels": dict(self.labels or {}),
            "annotations": dict(self.annotations or {}),
            "platform": self.platform,
            "format": self.format,
            "codec": self.codec,
            "no_cache": self.no_cache,
            "no_cache_stages": list(self.no_cache_stages),
            "pull": self.pull,
            "contexts": {name: os.fspath(context) for name, context in (self.contexts or {}).items()},
            "network": self.network,
            "extra_hosts": [(name, address) for name, address in self.extra_hosts],
            "shm_size": self.shm_size,
            "ulimits": list(self.ulimits),
            "cache_max_age": self.cache_max_age,
            "source_date_epoch": self.source_date_epoch,
            "allowed_secret_files": list(self.allowed_secret_files),
            "secrets": dict(self.secrets or {}),
            "ssh": {name: os.fspath(socket) for name, socket in (self.ssh or {}).items()},
            "isolation": self.isolation,
            "cache_repo": self.cache_repo,
            "cache_from": list(self.cache_from),
            "cache_to": list(self.cache_to),
            "squash": self.squash,
            "sdk_base": self.sdk_base,
            "allow_insecure": self.allow_insecure,
            "threads": self.threads,
            "proxies": None if self.proxies is None else dict(self.proxies),
            "run_ca_files": [os.fspath(file) for file in self.run_ca_files],
            "run_env": dict(self.run_env or {}),
            "run_mounts": [(os.fspath(source), target) for target, source in (self.run_mounts or {}).items()],
            "names": list(self.names),
            "outputs": list(self.outputs),
            "push": self.push,
            "load": self.load,
            "sbom": self.sbom,
            "attest": self.attest,
            "platforms": list(self.platforms),
            "check_reproducible": self.check_reproducible,
            "sbom_file": None if self.sbom_file is None else os.fspath(self.sbom_file),
        }
