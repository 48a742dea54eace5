"""`python -m fastwsh.replay`."""

import sys

from fastwsh.replay.program import main

if __name__ == "__main__":
    sys.exit(main())
