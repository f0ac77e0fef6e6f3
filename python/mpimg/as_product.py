"""Starts what mp-build pushes as VMware Aria Operations starts it, beside the push: `mpimg check --as-product`.

mp-build itself asks the adapter by plain HTTP on port 8080; the product asks it by HTTPS on port 443.
"""

import json
import logging
import subprocess
from typing import Any, Callable, Dict, List, Optional


class ProductTrial:
    """One check, while other work goes on."""

    def __init__(self, image: str, command: List[str], log: Callable[[int, str], None]) -> None:
        #: The image that is tried.
        self.image = image
        self._log = log
        self._process: Optional["subprocess.Popen[str]"] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
        )

    def result(self) -> Optional[Dict[str, Any]]:
        """What was found, with warnings in the SDK's log of what the product would not run; nothing where it cannot be tried."""
        if self._process is None:
            return None
        out, notes = self._process.communicate()
        self._process = None
        try:
            checks = json.loads(out)["checks"]
        except (ValueError, KeyError, TypeError):
            self._log(logging.DEBUG, f"the adapter was not tried as the product runs it: {notes.strip()}")
            return None
        for check in checks:
            text = f"{check['name']}: {check['detail']}"
            if check["state"] == "failed":
                hint = f"\nhint: {check['hint']}" if check["hint"] else ""
                self._log(logging.WARNING, f"the product may not be able to run this adapter: {text}{hint}")
            else:
                self._log(logging.DEBUG, f"as the product runs it: {text}")
        # Where no container has a network of its own, nothing can be said.
        if any(check["state"] == "unknown" for check in checks):
            return None
        return {"passed": not any(check["state"] == "failed" for check in checks), "checks": checks}

    def stop(self) -> None:
        """Gives it up: its container ends with it."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None
