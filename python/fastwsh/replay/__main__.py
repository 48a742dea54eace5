"""`python -m fastwsh.replay`."""

import sys

from fastwsh import interrupts

with interrupts.EndingAtInterrupts():
    from fastwsh.replay.program import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(interrupts.INTERRUPTED)
