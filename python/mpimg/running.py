"""Containers of images: what :meth:`Mpimg.run` starts, and what there is to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Literal, Optional

from . import _mpimg

__all__ = ["Container", "ContainerInfo", "LogEntry", "Outcome", "PortMapping", "Stats"]


@dataclass(frozen=True)
class PortMapping:
    """A TCP port of a container, and where this machine listens for it."""

    #: The address that is listened on; None: all of them.
    ip: Optional[str]
    #: The port of this machine.
    host: int
    #: The port of the container.
    container: int


@dataclass(frozen=True)
class Outcome:
    """How a container ended."""

    #: That of its command, or 128 and the signal's number.
    status: int
    #: Whether the limit of its memory made the kernel kill something in it.
    out_of_memory: bool
    #: When, in seconds since 1970.
    finished: int


@dataclass(frozen=True)
class ContainerInfo:
    """What is known of a container."""

    #: 12 hexadecimal digits.
    id: str
    #: The name it was given.
    name: Optional[str]
    #: The image as its starter named it.
    image: str
    #: Of the image's manifest.
    digest: str
    #: Program and arguments.
    command: tuple[str, ...]
    #: When it was made, in seconds since 1970.
    created: int
    #: Its published ports; ``host`` is what is really listened on.
    ports: tuple[PortMapping, ...]
    #: The limit of its memory, in bytes.
    memory: Optional[int]
    #: Its network in words, once it is known.
    network: Optional[str]
    #: How it is isolated, once that is known: ``root``, ``userns``, ``single``, ``chroot`` or ``emulated``.
    isolation: Optional[str]
    #: Its first process, as this machine numbers it.
    pid: Optional[int]
    #: ``lost``: its own process was killed, and all of it with that.
    state: Literal["created", "starting", "running", "ended", "lost"]
    #: How it ended, if it has.
    outcome: Optional[Outcome]


@dataclass(frozen=True)
class Stats:
    """What a container uses at one moment, as docker counts it."""

    #: Bytes of memory in use, without caches that can be dropped.
    memory: int
    #: The limit in bytes: the container's, else the machine's memory.
    memory_limit: int
    #: Nanoseconds of processor time since the start.
    cpu: int
    #: Nanoseconds of processor time of all processors since the machine's start, idle time included.
    system_cpu: int
    #: How many processors there are.
    processors: int
    #: Bytes read from disks.
    read: int
    #: Bytes written to disks.
    written: int
    #: Bytes received by its own network; 0 on the machine's.
    received: int
    #: Bytes sent by its own network; 0 on the machine's.
    sent: int
    #: How many processes.
    processes: int


@dataclass(frozen=True)
class LogEntry:
    """A piece of what a container has written: not necessarily a whole line."""

    #: To which stream.
    stream: Literal["stdout", "stderr"]
    #: When, in seconds since 1970.
    time: float
    #: The bytes.
    data: bytes


class Container:
    """A container of the local store. It lives by itself: it outlives this object and this process.

    As a context manager it is removed at the end of the ``with``.

    Its methods raise :class:`NotFoundError` once it was removed, and :class:`StoreError` where the store cannot be read.
    """

    def __init__(self, options: _mpimg.Options, id: str, notes: tuple[str, ...] = ()) -> None:
        self._options = options
        #: 12 hexadecimal digits.
        self.id = id
        #: What its starter should know: which network it has, a limit that does not hold.
        self.notes = notes

    def __repr__(self) -> str:
        return f"Container({self.id!r})"

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def info(self) -> ContainerInfo:
        """What is known of it now."""
        return _info(_mpimg.container_info(self._options, self.id))

    def stats(self) -> Stats:
        """What it uses now.

        :raises NotFoundError: it is not running
        """
        return Stats(**_mpimg.container_stats(self._options, self.id))

    def logs(self, *, follow: bool = False, tail: Optional[int] = None) -> Iterator[LogEntry]:
        """What it has written so far; with ``follow``, also what it writes until it ends.

        :param tail: only the last lines of what is there

        :raises KeyboardInterrupt: Ctrl-C while it waits; the container goes on
        """
        pieces = _mpimg.container_logs(self._options, self.id, follow, tail)
        return (LogEntry("stderr" if error else "stdout", time, data) for error, time, data in pieces)

    def wait(self) -> Outcome:
        """Wait for its end.

        :raises SandboxError: it was lost with its own process
        :raises KeyboardInterrupt: Ctrl-C; the container goes on
        """
        return Outcome(**_mpimg.container_wait(self._options, self.id))

    def signal(self, number: int) -> None:
        """Send its command a signal; one that does not run gets none."""
        _mpimg.container_signal(self._options, self.id, number)

    def stop(self, grace: float = 10.0) -> None:
        """Send its command the image's STOPSIGNAL, and kill it with all that it has started after ``grace`` seconds.

        Returns when nothing of it runs or is mounted. Log and outcome stay until :meth:`remove`, unless it was run with ``remove``.
        """
        _mpimg.container_stop(self._options, self.id, grace)

    def remove(self) -> None:
        """Kill it if it runs, and forget it: log and outcome, too. One that is gone already stays so."""
        _mpimg.container_remove(self._options, self.id)


def _info(result: _mpimg.ContainerResult) -> ContainerInfo:
    outcome = result["outcome"]
    return ContainerInfo(
        id=result["id"],
        name=result["name"],
        image=result["image"],
        digest=result["digest"],
        command=tuple(result["command"]),
        created=result["created"],
        ports=tuple(PortMapping(*port) for port in result["ports"]),
        memory=result["memory"],
        network=result["network"],
        isolation=result["isolation"],
        pid=result["pid"],
        state=result["state"],
        outcome=None if outcome is None else Outcome(**outcome),
    )
