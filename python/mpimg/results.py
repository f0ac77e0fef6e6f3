"""What the operations of mpimg return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

__all__ = ["BuiltImage", "CheckItem", "ConfEntries", "Layer", "PushedImage"]


@dataclass(frozen=True)
class Layer:
    """A layer of an image."""

    #: Of the stored (compressed) bytes: ``sha256:…``.
    digest: str
    #: Of the tar in it.
    diff_id: str
    #: Bytes as stored.
    size: int
    #: The instruction that made it, where the image tells.
    created_by: Optional[str]


@dataclass(frozen=True)
class BuiltImage:
    """An image that was built."""

    #: Of the manifest: ``sha256:…``. The same project gives the same digest.
    digest: str
    #: Of the configuration: what ``docker images --no-trunc`` shows.
    image_id: str
    #: Bytes that it takes in a registry.
    size: int
    #: Lowest first.
    layers: tuple[Layer, ...]
    #: How long it took, in seconds.
    seconds: float


@dataclass(frozen=True)
class ConfEntries:
    """What ``<kind>.conf`` of a management pack says of an image. ``str()`` gives its lines."""

    #: Host and port; None where the product's own default registry is to be used.
    registry: Optional[str]
    #: The path, with a slash before it.
    repository: str
    #: Of the manifest.
    digest: str

    def __str__(self) -> str:
        registry = "" if self.registry is None else f"REGISTRY={self.registry}\n"
        return f"{registry}REPOSITORY={self.repository}\nDIGEST={self.digest}\n"


@dataclass(frozen=True)
class CheckItem:
    """One line of a check's list."""

    #: What was checked.
    name: str
    #: How it went.
    state: Literal["passed", "failed", "unknown"]
    #: What was found, or why it failed.
    detail: str
    #: What to do about it.
    hint: Optional[str]


@dataclass(frozen=True)
class PushedImage:
    """An image that was pushed."""

    #: Where it went: ``harbor.example.com/mp/nsx``.
    repository: str
    #: Under which tags.
    tags: tuple[str, ...]
    #: Of the manifest, as the registry confirmed it.
    digest: str
    #: Of the configuration.
    image_id: str
    #: Bytes that it takes in the registry.
    size: int
    #: Lowest first.
    layers: tuple[Layer, ...]
    #: How long it took, in seconds.
    seconds: float
    #: What goes into ``<kind>.conf``.
    conf: ConfEntries
    #: Whether it can be pulled without logging in, as the product pulls it.
    anonymous_pull: bool
    #: How that was found out: manifest, configuration, layers.
    anonymous_pull_checks: tuple[CheckItem, ...]

    @property
    def reference(self) -> str:
        """``repository@digest``."""
        return f"{self.repository}@{self.digest}"
