"""What a progress callback is called with.

Events of one task arrive in order, on the thread that called mpimg. An exception that the callback raises stops the work and
comes out of the call.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, Literal, Optional, Union

__all__ = ["Event", "Finished", "Noted", "Printed", "Progressed", "ProgressCallback", "Retried", "Started", "Warned"]


@dataclass(frozen=True)
class Started:
    """A task began."""

    #: Names the task; unique in the process.
    task: int
    #: An instruction of a Dockerfile, bytes from or to a registry, or anything else that takes time.
    kind: Literal["step", "pull", "push", "work"]
    #: A short name: ``[2/5] COPY app app``.
    name: str
    #: Bytes to do, where it is known.
    total: Optional[int]


@dataclass(frozen=True)
class Progressed:
    """Some bytes are done. A slow callback does not get each of these."""

    #: The task.
    task: int
    #: Bytes done; may go back when a transfer starts again.
    done: int
    #: Bytes to do, where it is known.
    total: Optional[int]


@dataclass(frozen=True)
class Printed:
    """A RUN step printed something."""

    #: The step.
    task: int
    #: What it printed: either stream, not necessarily whole lines.
    data: bytes


@dataclass(frozen=True)
class Retried:
    """Something is tried again after a passing fault."""

    #: The task.
    task: int
    #: Why.
    reason: str
    #: Which try comes next, from 2.
    attempt: int
    #: Seconds until then.
    delay: float


@dataclass(frozen=True)
class Finished:
    """A task ended."""

    #: The task.
    task: int
    #: Done now; there was nothing to do; or failed (the error comes out of the call).
    outcome: Literal["done", "cached", "failed"]


@dataclass(frozen=True)
class Warned:
    """Something the user should know; the work goes on."""

    #: Lower case, no full stop.
    message: str
    #: What to do about it.
    hint: Optional[str]


@dataclass(frozen=True)
class Noted:
    """Something that is worth a line when asked for."""

    #: Lower case, no full stop.
    message: str


#: Any of them.
Event = Union[Started, Progressed, Printed, Retried, Finished, Warned, Noted]

#: Receives events. What it returns is not looked at.
ProgressCallback = Callable[[Event], object]


def _log(warning: Warned) -> None:
    """Without a callback, warnings go to the log."""
    hint = "" if warning.hint is None else f"; {warning.hint}"
    logging.getLogger("mpimg").warning("%s%s", warning.message, hint)
