"""`python -m fastwsh.client`."""

import sys

from fastwsh.client.program import main

if __name__ == "__main__":
    sys.exit(main())
