"""Where the command ``mpimg`` of this package is: the sandbox's helper, and what ``python -m mpimg`` runs."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Iterator, Optional

__all__ = ["find"]


def find() -> Optional[Path]:
    """The command that was installed with this package, if it is still there."""
    return next((path for path in _places() if path.is_file()), None)


def _places() -> Iterator[Path]:
    here = Path(__file__).resolve().parent
    yield Path(sysconfig.get_path("scripts")) / "mpimg"
    # `pip install --user`, `--prefix` and `--root`: <root>/lib/python3.x/site-packages/mpimg belongs to <root>/bin.
    if len(here.parents) > 3:
        yield here.parents[3] / "bin" / "mpimg"
    # `pip install --target`
    yield here.parent / "bin" / "mpimg"
