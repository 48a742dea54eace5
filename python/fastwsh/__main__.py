"""`python -m fastwsh`: the server's command line."""

import sys

from fastwsh.process import interrupts

with interrupts.EndingAtInterrupts():
    from fastwsh.process import gc_pause

    gc_pause.pause_collection()

    from fastwsh.cli import main

sys.exit(main())
