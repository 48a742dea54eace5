"""`python -m fastwsh`: the server's command line."""

import sys

from fastwsh import gc_pause

gc_pause.pause_collection()

from fastwsh.cli import main  # noqa: E402 (after the pause has begun)

sys.exit(main())
