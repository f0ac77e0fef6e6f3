"""``python -m mpimg``: the command, from wherever this package was installed to."""

import os
import sys

from . import command


def main() -> None:
    """Become the command."""
    program = command.find()
    if program is None:
        sys.exit("error: the command `mpimg` is no longer where this package was installed\nhint: install it again: `pip install --force-reinstall aria_mpimg-*.whl`")
    os.execv(program, [str(program), *sys.argv[1:]])


if __name__ == "__main__":
    main()
