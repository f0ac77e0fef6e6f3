"""What `mp-build` leaves for the next step of a job: one JSON object on standard output, and a file with the digest."""

import json
import os
import sys
import time
from types import ModuleType
from typing import Any, Dict, NoReturn, Optional


class BuildReport:
    """What is known of one run of mp-build. With `--json`, standard output has one object and nothing else."""

    def __init__(self, as_json: bool, digest_file: Optional[str], require_anonymous_pull: bool) -> None:
        #: Whether an image that the product cannot pull without logging in is an error.
        self.require_anonymous_pull = require_anonymous_pull
        #: The .pak, once it is there.
        self.pak: Optional[str] = None
        #: What the adapter's trial as the product runs it gave; nothing where it could not be tried.
        self.as_product: Optional[Dict[str, Any]] = None
        #: Why it failed, as far as mpimg knows.
        self.error: Optional[Any] = None
        self._pushed: Dict[str, Any] = {}
        self._digest_file = digest_file
        self._started = time.monotonic()
        self._output: Optional[int] = None
        if as_json:
            # What the SDK prints goes to standard error, whichever of its libraries writes it.
            sys.stdout.flush()
            self._output = os.dup(1)
            os.dup2(2, 1)

    def pushed(self, pushed: Dict[str, Any]) -> None:
        """Takes in what `mpimg push` answered, and writes the digest."""
        self._pushed = pushed
        if self._digest_file:
            temporary = f"{self._digest_file}.{os.getpid()}"
            with open(temporary, "w", encoding="ascii") as file:
                file.write(str(pushed["digest"]))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._digest_file)

    def watch(self, mp_build: ModuleType) -> None:
        """Learns the name of the .pak that the SDK's module makes."""
        original = getattr(mp_build, "build_pak_file", None)
        if original is None:
            return

        async def build_pak_file(project: Any, *arguments: Any, **options: Any) -> Any:
            name = await original(project, *arguments, **options)
            self.pak = os.path.join(project.path, "build", name)
            return name

        mp_build.build_pak_file = build_pak_file  # type: ignore[attr-defined]

    def end(self, code: int) -> None:
        """Prints the object."""
        if self._output is None:
            return
        if code == 0:
            keys = ("repository", "tag", "digest", "anonymous_pull", "sbom")
            answer: Dict[str, Any] = {"pak": self.pak, **{key: self._pushed.get(key) for key in keys}}
            answer["as_product"] = self.as_product
            answer["seconds"] = time.monotonic() - self._started
        else:
            error = self.error
            message = str(error) if error is not None else "mp-build failed: what it said is on standard error"
            causes, hint = getattr(error, "causes", []), getattr(error, "hint", "")
            kind = getattr(error, "kind", "") or "project"
            place = {"file": None, "line": None, "text": None, **getattr(error, "place", {})}
            answer = {"error": {"kind": kind, "message": message, "causes": causes, "hint": hint or None, **place}}
        os.write(self._output, (json.dumps(answer) + "\n").encode())
        os.close(self._output)
        self._output = None

    def fail(self, error: Any) -> NoReturn:
        """Ends with an error that mpimg found itself."""
        self.error = error
        print(f"error: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        self.end(1)
        sys.exit(1)
