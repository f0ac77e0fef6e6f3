"""What the operations of mpimg return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Mapping, Optional

__all__ = [
    "Blob",
    "BuiltImage",
    "CheckItem",
    "CheckReport",
    "ConfEntries",
    "CopiedImage",
    "File",
    "ImageAttestation",
    "ImageDiff",
    "InspectedImage",
    "Layer",
    "Manifest",
    "Package",
    "PushedImage",
    "Sbom",
    "StoredImage",
]


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
    """An image that was built. Of an image for several platforms, size, layers and ``image_id`` are those of the first."""

    #: Of the manifest, or of the index of several: ``sha256:…``. The same project gives the same digest.
    digest: str
    #: Of the configuration: what ``docker images --no-trunc`` shows.
    image_id: str
    #: Bytes that it takes in a registry.
    size: int
    #: Lowest first.
    layers: tuple[Layer, ...]
    #: How long it took, in seconds.
    seconds: float
    #: Of an index: the digests of its images' manifests by platform, in its order.
    manifests: Mapping[str, str] = field(default_factory=dict)


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

    #: What was checked: ``dns``, ``tls``, ``registry``, ``login``, ``push``, ``anonymous pull``, …
    name: str
    #: How it went; ``later``: it can only be told after the first push, or with a connection to what an adapter collects from.
    state: Literal["passed", "failed", "unknown", "later"]
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
    #: Of the manifest, as the registry confirmed it; of the index above it, with ``attest="buildkit"``.
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
    #: The digest of the manifest that carries its bill of materials, if one was wanted.
    sbom: Optional[str] = None
    #: The digest of the manifest that carries its provenance, if one was wanted.
    provenance: Optional[str] = None

    @property
    def reference(self) -> str:
        """``repository@digest``."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Package:
    """A package that is installed in an image."""

    #: Whose it is: the package manager's, or the language's.
    kind: Literal["debian", "python", "rust", "rpm", "apk", "java", "java-runtime", "npm", "go", "gem", "powershell"]
    #: Its name.
    name: str
    #: Its version; empty where nothing tells it.
    version: str
    #: Its package URL: what scanners look it up by.
    purl: str
    #: Its licences: SPDX expressions where they can be told, else the words of the package.
    licenses: tuple[str, ...] = ()
    #: Algorithm (``sha1``, ``sha256``) and digest of the packed package, where they are known.
    checksum: Optional[tuple[str, str]] = None
    #: Where it was found: path in the image, and the number of the layer that brought it, from the lowest, from 0.
    places: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ImageDiff:
    """What differs between two images. The keys are those of ``mpimg diff --json``."""

    #: ``name`` and ``digest`` of the first.
    old: dict[str, Any]
    #: The same of the second.
    new: dict[str, Any]
    #: ``field``, ``old``, ``new`` of each value of the configuration that differs.
    config: list[dict[str, Any]]
    #: ``change`` (``added``, ``removed``) and ``text`` of each step that one of them has.
    history: list[dict[str, Any]]
    #: ``change``, ``text`` (its digest) and ``size`` of each layer that one of them has.
    layers: list[dict[str, Any]]
    #: ``kind``, ``name``, and the versions ``old`` and ``new``.
    packages: list[dict[str, Any]]
    #: ``path``, ``change``, ``kind``, ``size``, ``entries``, ``differs`` (``what``, ``old``, ``new``) and ``text``.
    files: list[dict[str, Any]]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.config or self.history or self.layers or self.packages or self.files)


@dataclass(frozen=True)
class Sbom:
    """A bill of materials of an image."""

    #: The document: JSON.
    document: str
    #: The image's digest.
    digest: str
    #: What is installed in the image, sorted.
    packages: tuple[Package, ...]
    #: How many regular files the image has.
    files: int
    #: How many of these belong to no package that was found.
    files_without_package: int
    #: What could not be read.
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A manifest, or an index of manifests."""

    #: Of its bytes.
    digest: str
    #: Whose format it has.
    media_type: str
    #: What it runs on, where an index tells.
    platform: Optional[str]


@dataclass(frozen=True)
class Blob:
    """A configuration or layer that is in a registry now."""

    #: Of its bytes.
    digest: str
    #: Bytes.
    size: int
    #: Whether it was there, came from another repository of the registry, or was uploaded.
    outcome: Literal["exists", "mounted", "uploaded"]
    #: Bytes that were sent for it.
    sent: int


@dataclass(frozen=True)
class CopiedImage:
    """An image that was copied."""

    #: Of the index or manifest: the same at both ends.
    digest: str
    #: Of the index or manifest.
    media_type: str
    #: Bytes of its configurations and layers, each counted once.
    size: int
    #: The index, if there is one, and the manifests.
    manifests: tuple[Manifest, ...]
    #: What refers to it and was copied with it.
    referrers: tuple[Manifest, ...]
    #: How many manifests refer to it and were not copied with it, as far as the source tells.
    left_behind: int
    #: What became of each blob in a registry; empty elsewhere.
    blobs: tuple[Blob, ...]


@dataclass(frozen=True)
class PulledImage:
    """An image that was pulled into the local store."""

    #: Its name there.
    name: str
    #: Of the manifest.
    digest: str
    #: Whether the local store had this image under this name before.
    up_to_date: bool


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    #: What was checked.
    repository: str
    #: Whether all is as it should be.
    passed: bool
    #: Line by line.
    items: tuple[CheckItem, ...]
    #: Docker Hub: pulls left and allowed, for this machine's address.
    pulls: Optional[tuple[int, int]]


@dataclass(frozen=True)
class StoredImage:
    """An image of the local store, by one of its names."""

    #: The name; ``None`` of an image that was built or loaded without one.
    name: Optional[str]
    #: Of the manifest.
    digest: str
    #: Of the configuration.
    image_id: str
    #: What it runs on.
    platform: str
    #: When it was made (RFC 3339), as the image says.
    created: Optional[str]
    #: The same, but if the image says 1970, so that builds are reproducible: when it got its name here.
    made: Optional[str]
    #: Bytes that it takes in a registry.
    size: int


@dataclass(frozen=True)
class File:
    """What a layer says of a path."""

    #: From the root, with a slash before it.
    path: str
    #: A whiteout removes what is below; an opaque one empties a folder.
    kind: Literal[
        "file", "directory", "symlink", "hardlink", "char_device", "block_device", "fifo", "whiteout", "opaque_whiteout"
    ]
    #: Where a link leads.
    link: Optional[str]
    #: Permission bits.
    mode: int
    #: Owner.
    uid: int
    #: Group.
    gid: int
    #: Seconds since 1970.
    mtime: int
    #: Bytes of a regular file.
    size: int


@dataclass(frozen=True)
class ImageAttestation:
    """Something that an image's index says of it."""

    #: The digest of the manifest that carries it.
    manifest: str
    #: What is stated: ``https://slsa.dev/provenance/v1``, ``https://spdx.dev/Document``, …
    predicate_type: str
    #: Of the statement.
    digest: str
    #: Bytes of the statement.
    size: int


@dataclass(frozen=True)
class InspectedImage:
    """An image that was looked into."""

    #: As it was named.
    name: str
    #: Of the manifest.
    digest: str
    #: Of the configuration.
    image_id: str
    #: Of the manifest.
    media_type: str
    #: What it runs on.
    platform: str
    #: Bytes that it takes in a registry.
    size: int
    #: The image's configuration, as OCI's image specification has it.
    config: Mapping[str, Any]
    #: Annotations of the manifest.
    annotations: Mapping[str, str]
    #: Lowest first.
    layers: tuple[Layer, ...]
    #: What each layer holds, lowest first; None unless it was asked for.
    files: Optional[tuple[tuple[File, ...], ...]]
    #: What its index says of it, as BuildKit puts it there.
    attestations: tuple[ImageAttestation, ...] = ()
