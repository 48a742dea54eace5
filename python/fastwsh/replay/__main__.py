"""`python -m fastwsh.replay`."""

from fastwsh.process import interrupts

with interrupts.EndingAtInterrupts():
    from fastwsh.replay.program import main

if __name__ == "__main__":
    interrupts.exit_with(main)
