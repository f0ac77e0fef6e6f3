"""Management packs: the part of :class:`Mpimg` that moves a ``.pak`` and its image to another site."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from . import _mpimg
from .events import ProgressCallback
from .project import StrPath

__all__ = ["Pak", "Paks"]


@dataclass(frozen=True)
class Pak:
    """A management pack, and what was found out of its image."""

    #: The file.
    path: Path
    #: ``name`` of manifest.txt.
    name: str
    #: ``version`` of manifest.txt.
    version: str
    #: The adapter kind.
    kind: str
    #: Host and port; None: the product's own default registry.
    registry: Optional[str]
    #: The path in the registry.
    repository: str
    #: Of the image's manifest.
    digest: str
    #: Members that look like a signature of the pack itself.
    signatures: tuple[str, ...]
    #: Where the image is; None: the pack leaves that to the product.
    image: Optional[str]
    #: Whether the image is there; None: not asked, or not found out.
    present: Optional[bool]
    #: Whether the product, which does not log in, can pull it; None: not asked.
    anonymous_pull: Optional[bool]
    #: The image's tag, if it was pushed.
    tag: Optional[str]
    #: How many signatures and bills of materials were exported or pushed with the image.
    referrers: int


class Paks:
    """Operations for management packs."""

    _options: _mpimg.Options

    def pak_inspect(
        self, file: StrPath, *, registry: Optional[str] = None, progress: Optional[ProgressCallback] = None
    ) -> Pak:
        """Read a management pack, and ask its registry for the image.

        :param file: the ``.pak``
        :param registry: the product's default registry, for a pack that names none
        :raises CorruptError: it is not a management pack of the SDK
        """
        return _pak(_mpimg.pak_inspect(self._options, os.fspath(file), registry, progress))

    def pak_export(
        self,
        file: StrPath,
        output: Optional[StrPath] = None,
        *,
        registry: Optional[str] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> Pak:
        """Write a management pack, its image, signatures and bills of materials to one file, an OCI archive.

        :param file: the ``.pak``
        :param output: the file to write; without it the pack's name and ``.tar``, in the current folder
        :param registry: the product's default registry, for a pack that names none
        :raises NotFoundError: the image is not there
        :raises RegistryError, NetworkError, AuthError: the registry
        """
        written = os.fspath(output) if output is not None else f"{Path(file).name}.tar"
        return _pak(_mpimg.pak_export(self._options, os.fspath(file), registry, written, progress))

    def pak_import(
        self,
        file: StrPath,
        repository: str,
        *,
        tag: Optional[str] = None,
        output: StrPath = ".",
        use_default_registry: bool = False,
        username: Optional[str] = None,
        password: Optional[str] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> Pak:
        """Push the image of an exported pack byte for byte, and write the pack that names it there.

        :param file: what :meth:`pak_export` has written
        :param repository: ``host[:port]/path``: where the product pulls from here
        :param tag: the image's tag; without one the pack's version and the beginning of the digest
        :param output: the pack to write, or the folder for it
        :param use_default_registry: leave the registry out of the pack
        :param username: log in to the registry under this name
        :param password: with this password or token
        :raises CorruptError: there is no pack in the file, or another image than it names
        :raises RegistryError, NetworkError, AuthError: the registry
        """
        imported = _mpimg.pak_import(
            self._options, os.fspath(file), repository, tag, os.fspath(output), use_default_registry, username, password, progress
        )
        return _pak(imported)


def _pak(found: _mpimg.PakResult) -> Pak:
    return Pak(
        path=Path(found["path"]),
        name=found["name"],
        version=found["version"],
        kind=found["kind"],
        registry=found["registry"],
        repository=found["repository"],
        digest=found["digest"],
        signatures=tuple(found["signatures"]),
        image=found["image"],
        present=found["present"],
        anonymous_pull=found["anonymous_pull"],
        tag=found["tag"],
        referrers=found["referrers"],
    )
