"""The local store and this machine: the part of :class:`Mpimg` that loads, saves, prunes, serves and looks around."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

from . import _mpimg
from .events import ProgressCallback
from .project import Project, StrPath

__all__ = [
    "BaseChange",
    "ConfigurationFile",
    "DoctorReport",
    "IsolationCheck",
    "LoadedImage",
    "Machine",
    "Migration",
    "PruneReport",
    "RegistryServer",
    "StoredCredential",
]


@dataclass(frozen=True)
class LoadedImage:
    """An image that was loaded into the local store."""

    #: The names that it got.
    names: tuple[str, ...]
    #: Of the manifest.
    digest: str


@dataclass(frozen=True)
class BaseChange:
    """A base image in a Dockerfile that gives way to another."""

    #: The line, from 1.
    line: int
    #: The image as written.
    before: str
    #: What the installed SDK builds instead.
    after: str


@dataclass(frozen=True)
class Migration:
    """What is changed in the Dockerfile of an old project, so that it can be built with the installed SDK."""

    dockerfile: Path
    #: By line.
    changes: tuple[BaseChange, ...]
    #: Images that are to be changed by hand: variables make up their names.
    left: tuple[str, ...]
    #: The change as a unified diff.
    diff: str


@dataclass(frozen=True)
class PruneReport:
    """What was removed from the local store, and what is left."""

    #: How many blobs.
    blobs: int
    #: How many results of steps.
    cache_records: int
    #: How many folders of ``RUN --mount=type=cache``.
    cache_mounts: int
    #: How many unpacked layers.
    unpacked_layers: int
    #: Bytes on disk that became free.
    freed: int
    #: Bytes on disk that the store takes now.
    left: int


@dataclass(frozen=True)
class IsolationCheck:
    """A kind of isolation that was tried."""

    #: ``root``, ``userns``, ``single``, ``chroot`` or ``emulated``.
    name: str
    #: Whether this machine provides it.
    works: bool
    #: What failed.
    step: Optional[str]
    #: What would make it work.
    remedy: Optional[str]


@dataclass(frozen=True)
class ConfigurationFile:
    """A file that mpimg reads if it exists."""

    #: Its path.
    path: Path
    #: What it is for.
    purpose: str
    #: Whether it exists.
    exists: bool


@dataclass(frozen=True)
class StoredCredential:
    """A login that is stored; its password is not read."""

    #: The registry.
    registry: str
    #: The file, variable or credential helper that has it.
    place: str


@dataclass(frozen=True)
class DoctorReport:
    """What this machine provides."""

    #: The best kind of isolation that works; None: RUN cannot be used.
    isolation: Optional[str]
    #: Each kind of isolation, best first.
    isolations: tuple[IsolationCheck, ...]
    #: The local store's folder; None where it cannot be opened.
    store: Optional[Path]
    #: Bytes on disk that it takes.
    store_size: Optional[int]
    #: Bytes that the build cache may take before what was unused for longest goes; None: all of them.
    cache_limit: Optional[int]
    #: Why it cannot be opened.
    store_error: Optional[str]
    #: In the order in which they count.
    files: tuple[ConfigurationFile, ...]
    #: What RUN gets by mpimg's configuration file: certificate authorities.
    run_ca_files: tuple[Path, ...]
    #: The names of the variables that it gets.
    run_env: tuple[str, ...]
    #: The files and folders that it sees, with the path by which it does.
    run_mounts: tuple[tuple[Path, str], ...]
    #: Why the configuration file cannot be read.
    settings_error: Optional[str]
    #: Environment variables that change what mpimg does and are set.
    variables: tuple[str, ...]
    #: Registries with a login.
    credentials: tuple[StoredCredential, ...]


class RegistryServer:
    """A registry that answers requests on a thread of its own. As a context manager it stops at the end of the ``with``."""

    def __init__(self, server: _mpimg.RegistryServer) -> None:
        self._server = server

    def __repr__(self) -> str:
        return f"RegistryServer({self.addr!r})"

    def __enter__(self) -> RegistryServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def addr(self) -> str:
        """Where it listens: ``HOST:PORT``."""
        return self._server.addr

    @property
    def addresses(self) -> Tuple[str, ...]:
        """The addresses by which this machine and others reach it, the best first."""
        return tuple(self._server.addresses)

    @property
    def dir(self) -> Path:
        """The folder with the data."""
        return self._server.dir

    def stop(self) -> Optional[int]:
        """Stop it once requests under way are answered; how many it has answered. None where it was stopped before."""
        return self._server.stop()


class Machine:
    """What :class:`Mpimg` does with the local store and this machine."""

    _options: _mpimg.Options

    def import_image(
        self,
        tar: StrPath,
        name: str,
        *,
        platform: str = "linux/amd64",
        codec: str = "gzip:3",
        source_date_epoch: Optional[int] = None,
    ) -> str:
        """Make a base image of a tar of a root file system; returns its digest.

        :param tar: plain, or compressed with gzip, bzip2, xz or zstd
        :param name: its name in the local store: ``name[:tag]``
        :param platform: what the image runs on
        :param codec: how the layer is compressed; a gzip file stays as it is
        :param source_date_epoch: the image's time; without it the variable ``SOURCE_DATE_EPOCH``, else the file's time
        :raises CorruptError: it is not a tar, or is damaged
        """
        return _mpimg.import_image(self._options, os.fspath(tar), name, platform, codec, source_date_epoch)

    def load(
        self, archive: StrPath, *, name: Optional[str] = None, platform: str = "linux/amd64"
    ) -> Tuple[LoadedImage, ...]:
        """Load the images of an archive into the local store, under the names that they have there.

        :param archive: what ``docker save``, ``podman save`` or :meth:`save` has written, or the folder of an OCI layout
        :param name: a further name, for an archive of one image
        :param platform: which of an image for several platforms
        :raises UsageError: an image has no name, or ``name`` was given for several images
        :raises CorruptError: it is not an archive of images, or is damaged
        """
        loaded = _mpimg.load(self._options, os.fspath(archive), name, platform)
        return tuple(LoadedImage(tuple(image["names"]), image["digest"]) for image in loaded)

    def save(
        self,
        image: str,
        outputs: Union[str, Sequence[str]],
        *,
        platform: str = "linux/amd64",
        progress: Optional[ProgressCallback] = None,
    ) -> str:
        """Write an image to archives and OCI layouts; returns its digest. The same image gives the same bytes.

        :param image: ``name[:tag]`` of the local store, ``docker://NAME``, an archive or a layout
        :param outputs: ``FILE`` (as ``docker save`` writes it), ``oci-archive:FILE[:TAG]``, ``oci:DIR[:TAG]``
        :param platform: which of an image for several platforms
        :param progress: called with each event, on this thread
        :raises NotFoundError: there is no such image
        """
        wanted = [outputs] if isinstance(outputs, str) else list(outputs)
        return _mpimg.save(self._options, image, wanted, platform, progress)

    def migrate(self, path: Union[StrPath, Project] = ".", *, dockerfile: Optional[StrPath] = None, write: bool = False) -> Migration:
        """Put the installed SDK's base images into the Dockerfile of an old project, in place of those that nobody can pull any more.

        :param path: the project, or its folder
        :param dockerfile: the Dockerfile; ``Dockerfile`` in ``path`` without it
        :param write: change the file; without it the change is only returned
        :raises NotFoundError: it needs a change, and no SDK is installed, or none with a base image of that language
        :raises DockerfileError: the Dockerfile is wrong
        """
        folder = path.path if isinstance(path, Project) else path
        file = None if dockerfile is None else os.fspath(dockerfile)
        found = _mpimg.migrate(self._options, os.fspath(folder), file, write)
        changes = tuple(BaseChange(**change) for change in found["changes"])
        return Migration(Path(found["dockerfile"]), changes, tuple(found["left"]), found["diff"])

    def prune(self, *, all: bool = False, keep_storage: Optional[int] = None, keep_cache: Optional[int] = None) -> PruneReport:
        """Free space in the local store: what neither a name nor the build cache refers to is removed.

        :param all: remove the whole build cache and all unpacked layers, too
        :param keep_storage: shrink the build cache, entries unused for longest first, until the store takes at most this many bytes
        :param keep_cache: the same until the build cache itself does, not counting what named images need
        :raises StoreError: it cannot be read or written
        """
        return PruneReport(**_mpimg.prune(self._options, all, keep_storage, keep_cache))

    def serve(
        self,
        addr: str = "127.0.0.1:0",
        *,
        dir: Optional[StrPath] = None,
        read_only: bool = False,
        tls: Union[bool, Tuple[StrPath, StrPath]] = False,
        htpasswd: Optional[StrPath] = None,
        anonymous_pull: bool = False,
    ) -> RegistryServer:
        """Serve a registry from a folder; returns once it listens.

        :param addr: ``HOST:PORT``; port 0 takes a free one
        :param dir: the folder with the data; ``registry`` in the local store's folder without it
        :param read_only: refuse pushes and deletions
        :param tls: encrypt connections: ``True`` with a certificate that is made for this machine and kept in ``dir``
            (``tls/registry.crt``), or with the files of a certificate and its key; else plain HTTP
        :param htpasswd: let only the users of this file in, as ``htpasswd -B`` writes it
        :param anonymous_pull: let anybody pull, too
        :raises UsageError: the folder holds something else, another registry has it open, or a file cannot be used
        :raises NetworkError: the address cannot be used
        """
        folder = None if dir is None else os.fspath(dir)
        files = None if isinstance(tls, bool) else (os.fspath(tls[0]), os.fspath(tls[1]))
        users = None if htpasswd is None else os.fspath(htpasswd)
        made = tls is True
        return RegistryServer(_mpimg.serve(self._options, addr, folder, read_only, made, files, users, anonymous_pull))

    def doctor(self) -> DoctorReport:
        """Look at what this machine provides: isolation for RUN, the local store, configuration, stored logins."""
        found = _mpimg.doctor(self._options)
        return DoctorReport(
            isolation=found["isolation"],
            isolations=tuple(IsolationCheck(**check) for check in found["isolations"]),
            store=found["store"],
            store_size=found["store_size"],
            cache_limit=found["cache_limit"],
            store_error=found["store_error"],
            files=tuple(ConfigurationFile(*file) for file in found["files"]),
            run_ca_files=tuple(Path(file) for file in found["run_ca_files"]),
            run_env=tuple(found["run_env"]),
            run_mounts=tuple((Path(source), target) for source, target in found["run_mounts"]),
            settings_error=found["settings_error"],
            variables=tuple(found["variables"]),
            credentials=tuple(StoredCredential(*credential) for credential in found["credentials"]),
        )
