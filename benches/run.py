#!/usr/bin/env python3
"""Compare fastwsh with other WebSocket servers, end to end.

    python3 benches/run.py

installs the others, builds fastwsh from this checkout, measures, and prints tables. Nothing is
written but `benches/.peers/`, and what --json names. README.md beside this file says more.
"""

import sys

MINIMUM_PYTHON = (3, 11)


def main() -> int:
    """Check that the rest can run here, and run it."""
    if sys.version_info < MINIMUM_PYTHON or sys.platform != "linux":
        sys.exit("run.py: Python 3.11 or newer on Linux is needed: start it with such a python3")
    import matrix  # noqa: PLC0415 (older Pythons do not understand it)

    return matrix.main(__doc__)


if __name__ == "__main__":
    sys.exit(main())
