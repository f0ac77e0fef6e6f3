"""Runs the Integration SDK's own `mp-test` with Docker's part played by mpimg: `python -m mpimg.mp_test [ARGS…]`."""

from .mp_build import main

if __name__ == "__main__":
    main(tool="mp_test")
