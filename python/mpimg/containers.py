"""Running images: the part of :class:`Mpimg` that starts containers and finds them again."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence, Tuple, Union

from . import _mpimg
from .events import ProgressCallback
from .running import Container, ContainerInfo, _info

__all__ = ["Containers"]


class Containers:
    """What :class:`Mpimg` does with containers."""

    _options: _mpimg.Options

    def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        name: Optional[str] = None,
        entrypoint: Optional[Sequence[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        user: Optional[str] = None,
        workdir: Optional[str] = None,
        hostname: Optional[str] = None,
        volumes: Sequence[str] = (),
        tmpfs: Sequence[str] = (),
        ports: Sequence[str] = (),
        memory: Union[int, str, None] = None,
        ulimits: Sequence[str] = (),
        shm_size: Optional[int] = None,
        extra_hosts: Sequence[Tuple[str, str]] = (),
        labels: Optional[Mapping[str, str]] = None,
        network: str = "auto",
        isolation: str = "auto",
        terminal: bool = False,
        remove: bool = False,
        end_with: Optional[int] = None,
        platform: Optional[str] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> Container:
        """Start a container of an image, in the background; returns when its command runs.

        :param image: ``name[:tag]`` of the local store, a digest in it, ``oci:DIR``, an archive, or ``docker://NAME``
        :param command: instead of the image's default arguments
        :param name: a name to find it by
        :param entrypoint: instead of the image's; its default arguments are dropped then, too. An empty one means none
        :param env: variables, over those of the image
        :param user: ``NAME|UID[:GROUP|GID]`` instead of the image's
        :param workdir: the working directory; made where it is missing
        :param hostname: the host name inside; the ID without it
        :param volumes: folders and files of this machine: ``HOST:CONTAINER[:ro]``; a missing folder is made
        :param tmpfs: file systems in memory: ``type=tmpfs,target=/PATH[,tmpfs-size=64m][,tmpfs-mode=1777]``
        :param ports: ``[[IP:]HOST:]CONTAINER``; without HOST a free port, which :meth:`Container.info` tells
        :param memory: how much all its processes together may have: bytes, or ``512m``, ``2g``
        :param ulimits: limits of other resources, each for one process: ``nofile=1024:2048``
        :param shm_size: bytes of /dev/shm; 64 MiB without it
        :param extra_hosts: further lines of /etc/hosts: names and addresses
        :param labels: what it is to be found by
        :param network: ``auto``, ``host`` (this machine's), ``private`` (its own) or ``none`` (its own, no way out)
        :param isolation: ``auto``, ``root``, ``userns``, ``single``, ``chroot`` or ``emulated``
        :param terminal: give it a terminal
        :param remove: forget it when its command ends: no log, no outcome
        :param end_with: the number of a process, such as ``os.getpid()``: when that is gone, even if it was killed, the container is
            killed and forgotten
        :param platform: which of an image for several platforms; without it this machine's
        :param progress: called with each event (layers that are fetched), on this thread
        :raises NotFoundError: there is no such image, or no process ``end_with``
        :raises UsageError: no command, a name that is taken, or one of the texts is not of its form
        :raises NetworkError: a port is taken
        :raises SandboxError: this machine cannot run it
        :raises KeyboardInterrupt: Ctrl-C; no container is left then
        """
        request: _mpimg.RunRequest = {
            "image": image,
            "platform": platform,
            "command": list(command),
            "name": name,
            "entrypoint": None if entrypoint is None else list(entrypoint),
            "env": dict(env or {}),
            "user": user,
            "workdir": workdir,
            "hostname": hostname,
            "volumes": list(volumes),
            "tmpfs": list(tmpfs),
            "ports": list(ports),
            "memory": None if memory is None else str(memory),
            "ulimits": list(ulimits),
            "shm_size": shm_size,
            "extra_hosts": list(extra_hosts),
            "labels": dict(labels or {}),
            "network": network,
            "isolation": isolation,
            "terminal": terminal,
            "remove": remove,
            "end_with": end_with,
        }
        id, notes = _mpimg.run(self._options, request, progress)
        return Container(self._options, id, tuple(notes))

    def containers(self) -> Tuple[ContainerInfo, ...]:
        """All containers of the local store, newest first; those that have ended and were not removed, too.

        :raises StoreError: it cannot be read
        """
        return tuple(_info(info) for info in _mpimg.containers(self._options))

    def container(self, name: str) -> Container:
        """The container that a name, an ID or the beginning of one means.

        :raises NotFoundError: there is none, or more than one
        """
        return Container(self._options, _mpimg.container_info(self._options, name)["id"])
