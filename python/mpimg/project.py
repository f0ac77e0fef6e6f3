"""Integration SDK projects."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from . import _mpimg

__all__ = ["Project", "StrPath"]

StrPath = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Project:
    """An Integration SDK project: a folder with a manifest.txt. :meth:`open` reads one."""

    #: Its folder.
    path: Path
    #: ``name`` of manifest.txt.
    name: str
    #: ``version`` of manifest.txt: x.y.z.
    version: str
    #: The adapter kind.
    kind: str
    #: The image's name in the local store, as mp-build forms it.
    image_name: str
    #: ``container_repository`` of config.json: where the product pulls from.
    container_repository: Optional[str]
    #: ``container_push_repository`` of config.json: where to push instead.
    container_push_repository: Optional[str]
    #: Whether ``<kind>.conf`` leaves the registry's host out.
    use_default_registry: bool
    #: Memory of the adapter's container, in MB.
    default_memory_limit: int

    @classmethod
    def open(cls, path: StrPath = ".") -> Project:
        """Read the project in the folder ``path``.

        :raises ProjectError: it is not a project; or manifest.txt or config.json is not as mp-build needs it.
        """
        return cls(path=Path(path), **_mpimg.open_project(os.fspath(path)))
