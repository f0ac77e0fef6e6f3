"""The exceptions of mpimg: one class for each kind of error, all of them :class:`Error`.

Texts never hold a password or token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional, Sequence

__all__ = [
    "AuthError",
    "ContextError",
    "CorruptError",
    "DockerfileError",
    "Error",
    "InterruptedError",
    "IoError",
    "NetworkError",
    "NotFoundError",
    "ProjectError",
    "RegistryError",
    "RunFailedError",
    "SandboxError",
    "SecretError",
    "Snippet",
    "StoreError",
    "UnsupportedError",
    "PolicyError",
    "UsageError",
]


@dataclass(frozen=True)
class Snippet:
    """A place in a text file."""

    #: The file as it was named.
    file: str
    #: Line, from 1.
    line: int
    #: First character in question, from 0.
    column: int
    #: How many characters are in question.
    length: int
    #: The line itself, without its end.
    text: str


class Error(Exception):
    """Something that mpimg could not do. ``str()`` gives message, causes and hint, a line each."""

    #: The kind's name, as ``mpimg --json`` tells it: ``"auth"``, ``"run_failed"``.
    kind: ClassVar[str] = ""

    #: What went wrong: lower case, its subject in backticks.
    message: str
    #: What to do about it, in one sentence.
    hint: Optional[str]
    #: What it came from, outermost first.
    causes: tuple[str, ...]
    #: The place in a Dockerfile or another text file.
    snippet: Optional[Snippet]

    def __init__(
        self, message: str, hint: Optional[str] = None, causes: Sequence[str] = (), snippet: Optional[Snippet] = None
    ) -> None:
        # What `args` holds is what pickle gives back to this method.
        super().__init__(message, hint, tuple(causes), snippet)
        self.message = message
        self.hint = hint
        self.causes = tuple(causes)
        self.snippet = snippet

    def __str__(self) -> str:
        lines = [self.message]
        if self.snippet is not None:
            lines.append(f"  at {self.snippet.file}:{self.snippet.line}: {self.snippet.text.strip()}")
        lines.extend(f"  caused by: {cause}" for cause in self.causes)
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class UsageError(Error):
    """An argument is not of the expected form."""

    kind = "usage"


class DockerfileError(Error):
    """The Dockerfile cannot be read as BuildKit would read it."""

    kind = "dockerfile"


class ProjectError(Error):
    """manifest.txt, config.json or another file of the adapter project is missing or wrong."""

    kind = "project"


class ContextError(Error):
    """A source of COPY or ADD is missing, unreadable or outside the build context."""

    kind = "context"


class SecretError(Error):
    """A file that holds secrets was about to enter an image."""

    kind = "secret"


class NotFoundError(Error):
    """An image, name, blob or file that was asked for is not there."""

    kind = "not_found"


class CorruptError(Error):
    """Bytes do not match the digest, size or format that they must have."""

    kind = "corrupt"


class StoreError(Error):
    """The local store cannot be read or written."""

    kind = "store"


class SandboxError(Error):
    """A RUN step could not be started on this machine."""

    kind = "sandbox"


class RunFailedError(Error):
    """A RUN step ended with a status other than 0."""

    kind = "run_failed"


class AuthError(Error):
    """The registry refused the credentials, or asks for some."""

    kind = "auth"


class RegistryError(Error):
    """The registry answered with an error."""

    kind = "registry"


class NetworkError(Error):
    """The registry cannot be reached: name, TLS, connection or time-out."""

    kind = "network"


class IoError(Error):
    """A file or folder of this machine cannot be read or written."""

    kind = "io"


class InterruptedError(Error):
    """The work was broken off, though not by Ctrl-C: that is a ``KeyboardInterrupt``."""

    kind = "interrupted"


class UnsupportedError(Error):
    """Understood, but not something that this version does."""

    kind = "unsupported"


class PolicyError(Error):
    """What a site demands of its images, in ``[policy]`` of mpimg's configuration, would be left out."""

    kind = "policy"


_KINDS = {each.kind: each for each in Error.__subclasses__()}


def _exception(
    kind: str, message: str, hint: Optional[str], causes: list[str], snippet: Optional[tuple[str, int, int, int, str]]
) -> Error:
    """The exception of a kind. A kind that this version does not know is an Error like all others."""
    return _KINDS.get(kind, Error)(message, hint, causes, None if snippet is None else Snippet(*snippet))
