"""`python -m fastwsh.record`."""

import sys

from fastwsh.record.program import main

if __name__ == "__main__":
    sys.exit(main())
