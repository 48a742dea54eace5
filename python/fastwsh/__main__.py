"""`python -m fastwsh`: the server's command line."""

import sys

from fastwsh.cli import main

sys.exit(main())
